"""Container events of the fake runtime: every subscriber gets every event from the moment it subscribed."""

from __future__ import annotations

import asyncio
from typing import Self

from cri.errors import CriError
from cri.types import ContainerEventResponse


class Subscription:
    """An async iterator of events; `break_off` makes it raise after what is already queued."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._queue: asyncio.Queue[ContainerEventResponse | CriError] = asyncio.Queue()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ContainerEventResponse:
        if self not in self._hub.subscribers and self._queue.empty():
            raise StopAsyncIteration
        item = await self._queue.get()
        if isinstance(item, CriError):
            raise item
        return item

    async def aclose(self) -> None:
        self._hub.subscribers.discard(self)

    def put(self, item: ContainerEventResponse | CriError) -> None:
        self._queue.put_nowait(item)


class Hub:
    def __init__(self) -> None:
        self.subscribers: set[Subscription] = set()
        self.up = asyncio.Event()
        self.up.set()

    def subscribe(self) -> Subscription:
        subscription = Subscription(self)
        self.subscribers.add(subscription)
        return subscription

    def publish(self, event: ContainerEventResponse) -> None:
        for subscriber in self.subscribers:
            subscriber.put(event)

    def break_off(self, error: CriError) -> None:
        """The connection of every subscriber is lost."""
        for subscriber in self.subscribers:
            subscriber.put(error)
        self.subscribers.clear()
