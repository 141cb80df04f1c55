"""Watches, for engines in this process: past events read from the engine's history, then pushed ones.

Mechanism: a watch is attached, from some position on, to what the engine publishes; everything between the
next event to deliver and that position is read from history in pages. A new watch and one whose reader is
slow are the same case: when its buffer is full the buffer is dropped and the watch detached, and the next
read attaches it anew and reads the gap. So memory is bounded, writers never wait for readers, and only a
reader that falls behind the kept history sees `Compacted`. Everything runs on the engine's event loop.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import NamedTuple

from aio.errors import Bug
from controlplane.store.errors import Closed, StoreError
from controlplane.store.model import Event, Progress
from controlplane.store.position import Placed, first_of

BUFFER_EVENTS = 1024
"""Per watch; two or three large group commits."""
HISTORY_PAGE = 500


class History(NamedTuple):
    """A part of the past: matching events, and the position up to which that is all of them."""

    events: Sequence[Placed]
    complete_until: int


class Range(NamedTuple):
    """Past events wanted: of keys with `prefix`, positions `first` <= p < `end`, at most `limit`."""

    prefix: str
    first: int
    end: int
    limit: int = HISTORY_PAGE


ReadHistory = Callable[[Range], Awaitable[History]]


class Hub:
    """Takes what an engine has committed, in order, to every watch of a matching prefix."""

    def __init__(
        self, revision: int, read_history: ReadHistory, *, buffer_events: int = BUFFER_EVENTS
    ) -> None:
        self.revision = revision
        self.closed = False
        self._read_history = read_history
        self._buffer_events = buffer_events
        self._watches: dict[str, set[HubWatch]] = {}
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []

    def publish(self, events: Sequence[Placed], revision: int) -> None:
        """The events of one or more whole transactions, up to and including those of `revision`."""
        for prefix, watches in self._watches.items():
            for placed in events:
                if placed.event.record.key.startswith(prefix):
                    for watch in watches:
                        watch.push(placed)
        self.revision = revision
        for waiting in [waiting for waiting in self._waiting if waiting[0] <= revision]:
            self._waiting.remove(waiting)
            if not waiting[1].done():
                waiting[1].set_result(None)

    async def reached(self, revision: int) -> None:
        """Wait until `revision` is published."""
        if self.revision >= revision or self.closed:
            return
        future = asyncio.get_running_loop().create_future()
        self._waiting.append((revision, future))
        await future

    def watch(self, prefix: str, from_revision: int) -> HubWatch:
        if self.closed:
            raise Closed("the store is closed")
        watch = HubWatch(self, prefix, first_of(from_revision), self._buffer_events)
        self._watches.setdefault(prefix, set()).add(watch)
        return watch

    def forget(self, watch: HubWatch) -> None:
        watches = self._watches.get(watch.prefix)
        if watches is not None:
            watches.discard(watch)
            if not watches:
                del self._watches[watch.prefix]

    async def read_history(self, wanted: Range) -> History:
        return await self._read_history(wanted)

    def close(self) -> None:
        """End every watch with `Closed`."""
        self.closed = True
        for watches in self._watches.values():
            for watch in watches:
                watch.wake()
        self._watches.clear()
        for _, future in self._waiting:
            if not future.done():
                future.set_result(None)
        self._waiting.clear()


class HubWatch:
    """See `model.Watch`."""

    def __init__(self, hub: Hub, prefix: str, position: int, buffer_events: int) -> None:
        self.prefix = prefix
        self._hub = hub
        self._position = position  # of the next event to deliver
        self._buffer: deque[Event] = deque()
        self._buffered_until = position
        self._buffer_events = buffer_events
        self._ready: deque[Event | Progress] = deque()  # taken, for readers of one at a time
        self._is_progress_wanted = True
        self._is_reading = False
        self._is_closed = False
        self._waiter: asyncio.Future[None] | None = None
        # From here on events are in the buffer; None while detached.
        self._attached_at: int | None = self._present_position()

    def push(self, placed: Placed) -> None:
        if self._attached_at is None or placed.position < self._position:
            return
        if len(self._buffer) >= self._buffer_events:
            self._buffer.clear()
            self._attached_at = None
            return
        if not self._buffer and self._position >= self._attached_at:
            self._position = placed.position  # there was nothing for this watch before it
        self._buffer.append(placed.event)
        self._buffered_until = placed.position + 1
        self.wake()

    def wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def request_progress(self) -> None:
        self._is_progress_wanted = True
        self.wake()

    async def take(self) -> Sequence[Event | Progress]:
        if self._ready:
            taken = tuple(self._ready)
            self._ready.clear()
            return taken
        if self._is_reading:
            raise Bug(f'two readers of one watch of "{self.prefix}"')
        self._is_reading = True
        try:
            return await self._take()
        finally:
            self._is_reading = False

    async def _take(self) -> Sequence[Event | Progress]:
        while not self._is_closed:
            if self._hub.closed:
                raise Closed("the store is closed")
            if self._attached_at is None:
                self._attached_at = self._present_position()
            if self._position < self._attached_at:
                found: Sequence[Event | Progress] = await self._read_past(self._attached_at)
            else:
                found = self._take_present()
                if not found:
                    await self._wait()
            if found:
                return found
        return ()

    def _present_position(self) -> int:
        """The first position that is not published yet, or this watch's own if that is later."""
        return max(first_of(self._hub.revision + 1), self._position)

    async def _read_past(self, end: int) -> Sequence[Event]:
        """The next events before `end`; may be none, and is then a step further."""
        try:
            found = await self._hub.read_history(Range(self.prefix, self._position, end))
        except StoreError:
            if self._hub.closed:
                raise Closed("the store is closed") from None
            raise
        self._position = found.complete_until
        return [placed.event for placed in found.events]

    def _take_present(self) -> Sequence[Event | Progress]:
        if self._buffer:
            events = tuple(self._buffer)
            self._buffer.clear()
            self._position = max(self._position, self._buffered_until)
            return events
        published_until = first_of(self._hub.revision + 1)
        if self._is_progress_wanted and published_until >= self._position:
            self._is_progress_wanted = False
            self._position = published_until
            return (Progress(self._hub.revision),)
        return ()

    async def _wait(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def __aiter__(self) -> HubWatch:
        return self

    async def __anext__(self) -> Event | Progress:
        if not self._ready:
            self._ready.extend(await self.take())
        if not self._ready:
            raise StopAsyncIteration
        return self._ready.popleft()

    async def aclose(self) -> None:
        self._is_closed = True
        self._hub.forget(self)
        self.wake()

    async def __aenter__(self) -> HubWatch:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()
