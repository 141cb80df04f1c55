"""Watches of the fake: every change after a version, in order, as this watcher's selection sees it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass, field

import msgspec

from kube import errors, status
from kube.client.model import INITIAL_EVENTS_END, EventType, JsonObject, WatchEvent, WatchOptions
from kube.client.resources import Resource
from kube.errors import Status
from kube.fake.history import Change, History
from kube.fake.paging import parse_version
from kube.selection import Selection


@dataclass(slots=True, eq=False)
class Stream:
    """One open watch. `end` is set to finish it, with `error` where it is to break."""

    resource: Resource
    position: int
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    is_ended: bool = False
    error: Exception | None = None
    bookmark_due: bool = False

    def end(self, error: Exception | None) -> None:
        self.is_ended, self.error = True, error
        self.wake.set()


class Watches:
    """All open watches of one fake server."""

    def __init__(self, history: History) -> None:
        self._history = history
        self.open: list[Stream] = []
        self.serves_streaming_lists = True

    def wake(self) -> None:
        for stream in self.open:
            stream.wake.set()

    async def run(self, selection: Selection, options: WatchOptions) -> AsyncGenerator[WatchEvent, None]:
        position = parse_version(options.resource_version)
        is_whole = options.initial_events or position == 0
        if not is_whole:
            self._history.must_know(position)
        stream = Stream(selection.resource, self._history.revision if is_whole else position)
        self.open.append(stream)
        try:
            if is_whole:
                for event in self._initial(selection, options):
                    yield event
            deadline = None
            if options.timeout_seconds:
                deadline = asyncio.get_running_loop().time() + options.timeout_seconds
            while not stream.is_ended:
                for event in self._due(stream, selection, options):
                    yield event
                if not await _woken(stream, self._history, deadline):
                    return
            if stream.error is not None:
                raise stream.error
        finally:
            self.open.remove(stream)

    @property
    def slowest(self) -> int:
        """The oldest revision that an open watch goes on from."""
        return min((stream.position for stream in self.open), default=self._history.revision)

    def _due(self, stream: Stream, selection: Selection, options: WatchOptions) -> Iterator[WatchEvent]:
        """What has happened since, until there is nothing more or the stream is ended."""
        for change in self._history.after(stream.position):
            if stream.is_ended:
                return
            stream.position = change.revision
            event = _seen(change, selection)
            if event is not None:
                yield event
        if stream.bookmark_due and options.bookmarks:
            yield _bookmark(selection.resource, stream.position)
        stream.bookmark_due = False

    def _initial(self, selection: Selection, options: WatchOptions) -> Iterator[WatchEvent]:
        if options.initial_events and not self.serves_streaming_lists:
            wrong = errors.forbidden(
                "sendInitialEvents", "is forbidden for watch unless WatchList is enabled"
            )
            raise status.error_of(Status(422, "Invalid", f"ListOptions is invalid: {wrong}"))
        state = dict(self._history.all(selection.resource))
        revision = self._history.revision
        for place in sorted(state):
            if selection.holds(state[place]):
                yield WatchEvent(EventType.ADDED, msgspec.json.encode(state[place]))
        if options.initial_events and options.bookmarks:
            yield _bookmark(selection.resource, revision, ends_initial=True)


async def _woken(stream: Stream, history: History, deadline: float | None) -> bool:
    """True when there may be something to do, False when the stream's time is over."""
    if stream.is_ended or stream.position < history.revision:
        return True  # written while the reader was busy with what it got
    stream.wake.clear()
    try:
        async with asyncio.timeout_at(deadline):
            await stream.wake.wait()
    except TimeoutError:
        return False
    return True


def _seen(change: Change, selection: Selection) -> WatchEvent | None:
    """The change as the watcher must learn it: an object may come into, or drop out of, what it selects."""
    if change.resource != selection.resource:
        return None
    was = change.old is not None and selection.holds(change.old)
    is_now = change.new is not None and selection.holds(change.new)
    if is_now:
        kind = EventType.MODIFIED if was else EventType.ADDED
        return WatchEvent(kind, msgspec.json.encode(change.last))
    if not was:
        return None
    return WatchEvent(EventType.DELETED, msgspec.json.encode(_last_seen(change)))


def _last_seen(change: Change) -> JsonObject:
    """Of an object that left the selection: its last state in it, with the revision of the leaving."""
    if change.new is None or change.old is None:
        return change.last
    version = change.last["metadata"]["resourceVersion"]
    return {**change.old, "metadata": {**change.old["metadata"], "resourceVersion": version}}


def _bookmark(resource: Resource, revision: int, *, ends_initial: bool = False) -> WatchEvent:
    metadata: JsonObject = {"resourceVersion": str(revision)}
    if ends_initial:
        metadata["annotations"] = {INITIAL_EVENTS_END: "true"}
    body = {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": metadata}
    return WatchEvent(EventType.BOOKMARK, msgspec.json.encode(body))
