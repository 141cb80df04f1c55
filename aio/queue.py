"""A work queue of keys: deduplicated, delayable, and never handing out a key that is being worked on.

A key added while somebody processes it is handed out again after `done()`. Delays are kept by the event
loop's own timers; of two delays for one key the earlier wins. Belongs to one event loop.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class QueueClosed(Exception):
    """The queue was closed: its readers end."""


class KeyedQueue(Generic[K]):
    """Any number of writers and readers on one loop."""

    def __init__(self) -> None:
        self._order: deque[K] = deque()
        self._queued: set[K] = set()
        self._processing: set[K] = set()
        self._again: set[K] = set()
        self._timers: dict[K, asyncio.TimerHandle] = {}
        self._readers: deque[asyncio.Future[None]] = deque()
        self._closed = False

    def add(self, key: K) -> None:
        """Hand out `key` as soon as a reader is free. No effect on a closed queue."""
        if self._closed or key in self._queued:
            return
        if key in self._processing:
            self._again.add(key)
            return
        self._queued.add(key)
        self._order.append(key)
        self._wake_one()

    def add_after(self, key: K, seconds: float) -> None:
        """Add `key` in `seconds`, or earlier when an earlier delay is already set."""
        if self._closed:
            return
        if seconds <= 0:
            self.cancel_delay(key)
            self.add(key)
            return
        loop = asyncio.get_running_loop()
        when = loop.time() + seconds
        timer = self._timers.get(key)
        if timer is not None:
            if timer.when() <= when:
                return
            timer.cancel()
        self._timers[key] = loop.call_at(when, self._due, key)

    def cancel_delay(self, key: K) -> None:
        """Forget a delayed add; one that was already due stays queued."""
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()

    async def get(self) -> K:
        """The oldest key that is due. The caller owes `done(key)`. Raises `QueueClosed`."""
        while not self._order:
            if self._closed:
                raise QueueClosed
            reader: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._readers.append(reader)
            try:
                await reader
            except asyncio.CancelledError:
                if reader.done() and not reader.cancelled():
                    self._wake_one()  # the wake-up was ours: somebody else must have it
                elif reader in self._readers:  # else a wake-up already passed over it
                    self._readers.remove(reader)
                raise
        key = self._order.popleft()
        self._queued.discard(key)
        self._processing.add(key)
        return key

    def done(self, key: K) -> None:
        """The work on `key` is over; it is queued again if it was added meanwhile."""
        self._processing.discard(key)
        if key in self._again:
            self._again.discard(key)
            self.add(key)

    def close(self) -> None:
        """End every reader once the queue is empty; delayed keys are dropped."""
        self._closed = True
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._again.clear()
        while self._readers:
            self._wake_one()

    def __len__(self) -> int:
        """Keys ready to be handed out."""
        return len(self._order)

    def is_processing(self, key: K) -> bool:
        return key in self._processing

    def _due(self, key: K) -> None:
        self._timers.pop(key, None)
        self.add(key)

    def _wake_one(self) -> None:
        while self._readers:
            reader = self._readers.popleft()
            if not reader.done():
                reader.set_result(None)
                return
