"""Watches: every change after a revision, in one order for all, as each watcher's selection sees it.

A watcher wakes when its kind changes, takes all changes since its position and sends them as one piece. It is
ended when it falls out of the cache's ring; the client lists anew.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence

from aio.clock import Clock
from controlplane.api import codec
from controlplane.api.handlers.lists import reach
from controlplane.api.options import Reading
from controlplane.api.registry.model import Kind
from controlplane.api.watchcache import Cached, Change, KindCache, WatchCache, event_line
from kube import selection, status
from kube.client.model import INITIAL_EVENTS_END, EventType
from kube.selection import Selection

LEAST_TIMEOUT_SECONDS = 1800
"""Of a watch that names none; the actual one is up to twice as long (handlers/get.go)."""
_ERROR = "ERROR"
BOOKMARK_SECONDS = 60.0
BEFORE_END_SECONDS = 2.0
"""The last bookmark comes that long before the end."""
AT_ONCE = 200
"""Objects of a watch's beginning that are sent together."""


class Watches:
    def __init__(self, cache: WatchCache, clock: Clock) -> None:
        self._cache = cache
        self._clock = clock

    async def open(self, kind: Kind, namespace: str, options: Reading) -> AsyncIterator[bytes]:
        """Lines of events. Before anything is sent: Expired when the revision is forgotten already, Timeout
        when it does not come."""
        chosen = selection.select(kind.resource, namespace, options.label_selector, options.field_selector)
        starts_whole = options.initial_events or (
            options.initial_events is None and options.version in ("", "0")
        )
        await reach(self._cache, options.version)
        cache = self._cache.of(kind.resource)
        if starts_whole:
            position, first = cache.position, _initial(cache, chosen, options, self._cache.revision)
        else:
            if options.revision < cache.forgotten:
                raise status.too_old(options.revision, cache.forgotten)
            position, first = cache.position_after(options.revision), iter(())
        timeout = options.timeout_seconds or LEAST_TIMEOUT_SECONDS * (1 + random.random())
        return self._run(cache, _Watcher(chosen, position, bookmarks=options.bookmarks), first, timeout)

    async def _run(
        self, cache: KindCache, watcher: _Watcher, first: Iterator[bytes], timeout: float
    ) -> AsyncIterator[bytes]:
        end = self._clock.monotonic() + timeout
        first_bookmark = end - timeout + BOOKMARK_SECONDS + random.uniform(-1, 1)
        next_bookmark = min(first_bookmark, end - BEFORE_END_SECONDS)
        alarm = _Alarm(watcher.woken, self._clock)
        cache.watchers.add(watcher.woken)
        try:
            for piece in first:
                yield piece
            while True:
                watcher.woken.clear()
                changes = cache.since(watcher.position)
                if changes is None:
                    yield _too_old(cache)
                    return
                watcher.position += len(changes)
                if piece := watcher.see(changes):
                    yield piece
                    continue  # the sender may have waited
                now = self._clock.monotonic()
                if now >= end:
                    return
                if watcher.bookmarks and now >= next_bookmark:
                    next_bookmark = _after(next_bookmark, now, end)
                    yield _bookmark(cache.kind, self._cache.revision)
                    continue
                wake_at = min(next_bookmark, end) if watcher.bookmarks else end
                alarm.ring_at(wake_at)
                await watcher.woken.wait()
        finally:
            alarm.stop()
            cache.watchers.discard(watcher.woken)


class _Watcher:
    def __init__(self, chosen: Selection, position: int, *, bookmarks: bool) -> None:
        self.woken = asyncio.Event()
        self.position = position
        self.bookmarks = bookmarks
        self._chosen = chosen
        self._sees_all = not chosen.namespace and not chosen.has_selectors

    def see(self, changes: Iterable[Change]) -> bytes:
        return b"".join(line for change in changes if (line := self._line(change)))

    def _line(self, change: Change) -> bytes:
        if self._sees_all:
            was, is_now = change.old is not None, change.new is not None
        else:
            was, is_now = self._holds(change.old), self._holds(change.new)
        if is_now:
            return change.line(EventType.MODIFIED if was else EventType.ADDED)
        if not was:
            return b""
        if change.new is None or change.old is None:
            return change.line(EventType.DELETED)
        # It left the selection: the last state in it, with the revision of the leaving.
        old = change.old.value
        shown = {**old, "metadata": {**old["metadata"], "resourceVersion": str(change.revision)}}
        return event_line(EventType.DELETED, codec.encode(shown))

    def _holds(self, item: Cached | None) -> bool:
        if item is None or (self._chosen.namespace and item.namespace != self._chosen.namespace):
            return False
        return not self._chosen.has_selectors or self._chosen.holds(item.value)


class _Alarm:
    """Wakes a watcher at a time, by the given clock. It stays set while changes come: they wake too."""

    def __init__(self, woken: asyncio.Event, clock: Clock) -> None:
        self._woken = woken
        self._clock = clock
        self._at: float | None = None
        self._task: asyncio.Task[None] | None = None

    def ring_at(self, at: float) -> None:
        if at != self._at or self._task is None or self._task.done():
            self.stop()
            self._at = at
            self._task = asyncio.create_task(self._ring(at), name="watch-alarm")

    def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _ring(self, at: float) -> None:
        await self._clock.sleep(max(at - self._clock.monotonic(), 0.0))
        self._woken.set()


def _after(last: float, now: float, end: float) -> float:
    """The next regular bookmark, or the one before the end; after that none."""
    if last >= end - BEFORE_END_SECONDS:
        return end
    return min(now + BOOKMARK_SECONDS, end - BEFORE_END_SECONDS)


def _initial(cache: KindCache, chosen: Selection, options: Reading, revision: int) -> Iterator[bytes]:
    """Everything there is now as ADDED, in pieces, so that others get their turn between them; with
    `sendInitialEvents`, the bookmark that says so at the end."""
    items = cache.items(chosen.namespace)
    if chosen.has_selectors:
        items = [item for item in items if chosen.holds(item.value)]
    ends = options.initial_events and options.bookmarks
    mark = _bookmark(cache.kind, revision, ends_initial=True) if ends else b""
    return _pieces(items, mark)


def _pieces(items: Sequence[Cached], mark: bytes) -> Iterator[bytes]:
    for at in range(0, len(items), AT_ONCE):
        yield b"".join([event_line(EventType.ADDED, item.raw) for item in items[at : at + AT_ONCE]])
    if mark:
        yield mark


def _bookmark(kind: Kind, revision: int, *, ends_initial: bool = False) -> bytes:
    metadata: dict[str, object] = {"resourceVersion": str(revision)}
    if ends_initial:
        metadata["annotations"] = {INITIAL_EVENTS_END: "true"}
    head = {"kind": kind.resource.kind, "apiVersion": kind.resource.api_version}
    return event_line(EventType.BOOKMARK, codec.encode({**head, "metadata": metadata}))


def _too_old(cache: KindCache) -> bytes:
    error = status.too_old(cache.forgotten, cache.forgotten)
    return event_line(_ERROR, codec.encode(error.status.to_json()))
