"""What one worker has to read: the newest desired value, and every event.

`Slot` holds at most one value; a second one is merged into it by the caller's rule (newest wins unless the
rule says otherwise, for example that a stop is never replaced and its grace only shrinks). `Mailbox` adds an
ordered queue of events, none of which is ever dropped. Both belong to one event loop and have one reader.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

D = TypeVar("D")
E = TypeVar("E")


def newest(_old: D, new: D) -> D:
    """The plain merge rule."""
    return new


class Slot(Generic[D]):
    """One place for one value. `None` means empty, so it cannot be stored."""

    def __init__(self, merge: Callable[[D, D], D] = newest) -> None:
        self._merge = merge
        self._value: D | None = None

    def put(self, value: D) -> None:
        """Store `value`, merged with one that nobody took yet."""
        self._value = value if self._value is None else self._merge(self._value, value)

    def take(self) -> D | None:
        value, self._value = self._value, None
        return value

    def peek(self) -> D | None:
        return self._value


@dataclass(frozen=True, slots=True)
class Delivery(Generic[D, E]):
    """Everything that had arrived: at most one desired value, and the events in order."""

    desired: D | None
    events: tuple[E, ...]

    def __bool__(self) -> bool:
        return self.desired is not None or bool(self.events)


class Mailbox(Generic[D, E]):
    """A slot for the desired value beside a queue of events; one reader waits for either."""

    def __init__(self, merge: Callable[[D, D], D] = newest) -> None:
        self._slot: Slot[D] = Slot(merge)
        self._events: deque[E] = deque()
        self._arrived = asyncio.Event()

    def post_desired(self, value: D) -> None:
        self._slot.put(value)
        self._arrived.set()

    def post_event(self, event: E) -> None:
        self._events.append(event)
        self._arrived.set()

    def peek_desired(self) -> D | None:
        return self._slot.peek()

    def __len__(self) -> int:
        return len(self._events) + (self._slot.peek() is not None)

    def take(self) -> Delivery[D, E]:
        """What is there now, perhaps nothing; never waits."""
        delivery = Delivery(self._slot.take(), tuple(self._events))
        self._events.clear()
        self._arrived.clear()
        return delivery

    async def receive(self, timeout: float | None = None) -> Delivery[D, E]:
        """Wait for anything and take all of it; an empty delivery after `timeout` seconds."""
        if not self._arrived.is_set():
            try:
                async with asyncio.timeout(timeout):
                    await self._arrived.wait()
            except TimeoutError:
                pass
        return self.take()
