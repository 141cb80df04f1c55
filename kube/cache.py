"""A local copy of a collection, kept by list and watch: what client-go calls an informer.

    pods = Cache(client, resources.PODS, lambda raw: objects.decode(raw, Pod), clock=clock,
                 scope=Scope(field_selector=f"spec.nodeName={node}"),
                 indexes={"node": lambda pod: [pod.spec.node_name or ""]})
    pods.add_handler(lambda change: queue.add(change.key))
    supervisor.add("pods", pods.run, stage="watch")
    await pods.wait_synced()

The first load is a streaming list where the server has it, else a list in pages; then changes are followed
from there. When the version is no longer kept (410) the collection is loaded again and compared: handlers see
only what differs. What is kept per object is what `decode` returns, decoded once; objects are immutable
values, shared with all readers. Reads never wait.

Promises: handlers see changes of one object in order, after the copy has them; an object that was replaced by
another of its name is deleted and then added; nothing is ever dropped because the server cannot be reached,
and an object whose new state cannot be decoded keeps its last good one.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from enum import Enum
from typing import Any, Generic, NoReturn, TypeVar

from aio import log as logs
from aio.clock import Clock
from kube import status
from kube.client.follow import Failure, Pacer, follow, hint_of
from kube.client.model import Client, EventType, Identity, ListOptions, WatchEvent, WatchOptions, identify
from kube.client.paging import PAGE_SIZE, pages
from kube.client.resources import Resource
from kube.client.unreachable import Unreachable
from kube.errors import StatusError

log = logs.get(__name__)

T = TypeVar("T")
# After a version expired the next load begins at once, unless the last one was just now.
_SOON_SECONDS = 10.0


class ChangeKind(Enum):
    ADDED = "added"
    UPDATED = "updated"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True)
class Change(Generic[T]):
    """`key` is "namespace/name" or "name". ADDED has only `new`, DELETED only `old` (the last state)."""

    kind: ChangeKind
    key: str
    old: T | None
    new: T | None

    @property
    def value(self) -> T:
        """The new state, or the last one of what is gone."""
        found = self.new if self.new is not None else self.old
        assert found is not None
        return found


@dataclass(frozen=True, slots=True)
class Scope:
    """Which part of the collection is kept."""

    namespace: str = ""
    label_selector: str = ""
    field_selector: str = ""


Handler = Callable[[Change[T]], None]
Index = Callable[[T], Iterable[str]]
EVERYTHING = Scope()


class _Entry(Generic[T]):
    __slots__ = ("uid", "value", "version")

    def __init__(self, identity: Identity, value: T) -> None:
        self.uid = identity.uid
        self.version = identity.resource_version
        self.value = value


class Cache(Generic[T]):
    """`decode` makes of an object's bytes what is kept; its ValueError means the bytes are no such object.
    `indexes` name functions from a value to the index keys it is found under."""

    def __init__(
        self,
        client: Client,
        resource: Resource,
        decode: Callable[[bytes], T],
        *,
        clock: Clock,
        scope: Scope = EVERYTHING,
        indexes: Mapping[str, Index[T]] | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.resource = resource
        self.problem = ""
        self._client = client
        self._decode = decode
        self._clock = clock
        self._scope = scope
        self._pacer = Pacer(clock, jitter)
        self._store = _Store[T](indexes or {})
        self._handlers: list[Handler[T]] = []
        self._synced = asyncio.Event()
        self._version = ""
        self._loaded_at = float("-inf")
        self._serves_streaming_lists = True

    # --- reading ---

    def get(self, key: str) -> T | None:
        entry = self._store.entries.get(key)
        return entry.value if entry else None

    def values(self) -> Iterator[T]:
        """Everything, in no order. Do not await while iterating."""
        return (entry.value for entry in self._store.entries.values())

    def keys(self) -> Iterable[str]:
        return self._store.entries.keys()

    def by_index(self, index: str, key: str) -> tuple[T, ...]:
        """What is found under `key`, in the order it came. KeyError when there is no such index."""
        return tuple(self._store.entries[name].value for name in self._store.found(index, key))

    def index_keys(self, index: str) -> Iterable[str]:
        """The keys that have something under them."""
        return self._store.lookup[index].keys()

    def __iter__(self) -> Iterator[str]:
        return iter(self._store.entries)

    def __len__(self) -> int:
        return len(self._store.entries)

    def __contains__(self, key: str) -> bool:
        return key in self._store.entries

    @property
    def has_synced(self) -> bool:
        """Whether the collection has been here in full at least once."""
        return self._synced.is_set()

    @property
    def version(self) -> str:
        """The server's version this copy has reached; "" before the first load."""
        return self._version

    async def wait_synced(self) -> None:
        await self._synced.wait()

    def add_handler(self, handler: Handler[T]) -> None:
        """Called for every change, from inside `run`, and at once for all that is here already. It must not
        block; one that raises ends `run`."""
        self._handlers.append(handler)
        for key, entry in list(self._store.entries.items()):
            handler(Change(ChangeKind.ADDED, key, None, entry.value))

    # --- keeping ---

    async def run(self) -> NoReturn:
        """Keep the copy; a loop for ever. Cancel to stop."""
        while True:
            try:
                await self._load_and_follow()
            except status.Expired as error:
                log.info("Listing anew", resource=self.resource.qualified, because=error)
                if self._clock.monotonic() - self._loaded_at >= _SOON_SECONDS:
                    continue
                await self._pacer.wait()
            except Failure as error:
                self.problem = str(error)
                log.warning("Cannot load a collection", resource=self.resource.qualified, err=error)
                await self._pacer.wait(hint_of(error))

    async def _load_and_follow(self) -> None:
        if self._serves_streaming_lists:
            try:
                await self._stream()
            except StatusError as error:
                if self._is_passing(error):
                    raise
                log.v(2).info("Server has no streaming lists", resource=self.resource.qualified, err=error)
                self._serves_streaming_lists = False
                await self._list()
        else:
            await self._list()
        options = WatchOptions(
            self._scope.label_selector, self._scope.field_selector, resource_version=self._version
        )
        stream = follow(
            self._client, self.resource, pacer=self._pacer, namespace=self._scope.namespace, options=options
        )
        async with aclosing(stream) as events:
            async for event in events:
                self._apply(event)

    def _is_passing(self, error: StatusError) -> bool:
        """A refusal that has nothing to do with how the list was asked for."""
        passing = (status.Expired, status.Unauthorized, status.Forbidden, status.NotFound)
        return isinstance(error, passing) or error.status.code == 429 or error.status.code >= 500

    async def _stream(self) -> None:
        """A streaming list, and the changes that follow on the same stream until it ends."""
        options = WatchOptions(
            self._scope.label_selector, self._scope.field_selector, initial_events=True,
            timeout_seconds=self._pacer.watch_seconds(),
        )  # fmt: skip
        stream = self._client.watch(self.resource, namespace=self._scope.namespace, options=options)
        async with aclosing(stream) as events:
            await self._take_initial(events)
            try:
                async for event in events:
                    self._apply(event)
            except status.Expired:
                raise
            except Failure as error:
                # Nothing is lost: `follow` goes on from the version reached.
                log.warning("Watch failed, going on", resource=self.resource.qualified, err=error)

    async def _take_initial(self, events: AsyncIterator[WatchEvent]) -> None:
        fresh: dict[str, _Entry[T] | None] = {}
        async for event in events:
            identity = event.identity
            if identity.is_initial_events_end:
                self._replace(fresh, identity.resource_version)
                return
            if event.type is EventType.DELETED:
                fresh.pop(identity.key, None)
            elif event.type is not EventType.BOOKMARK:
                fresh[identity.key] = self._entry(identity, event.raw)
        raise Unreachable(self.resource.qualified, "the streaming list ended before it was complete")

    async def _list(self) -> None:
        fresh: dict[str, _Entry[T] | None] = {}
        version = ""
        options = ListOptions(self._scope.label_selector, self._scope.field_selector, limit=PAGE_SIZE)
        listed = pages(self._client, self.resource, namespace=self._scope.namespace, options=options)
        async with aclosing(listed) as found:
            async for page in found:
                version = page.resource_version
                for raw in page.items:
                    identity = identify(raw)
                    fresh[identity.key] = self._entry(identity, raw)
        self._replace(fresh, version)

    def _entry(self, identity: Identity, raw: bytes) -> _Entry[T] | None:
        """None when it cannot be decoded. What is unchanged is not decoded again."""
        known = self._store.entries.get(identity.key)
        if known and (known.version, known.uid) == (identity.resource_version, identity.uid):
            return known
        try:
            return _Entry(identity, self._decode(raw))
        except ValueError as error:
            kind, key = self.resource.qualified, identity.key
            log.error("Cannot read an object, keeping its last state", resource=kind, object=key, err=error)
            return None

    def _replace(self, fresh: dict[str, _Entry[T] | None], version: str) -> None:
        """A whole collection: tell what differs from the copy."""
        for key in [key for key in self._store.entries if key not in fresh]:
            self._remove(key)
        for key, entry in fresh.items():
            if entry is not None:
                self._put(key, entry)
        self._version = version
        self._loaded_at = self._clock.monotonic()
        self.problem = ""
        self._synced.set()

    def _apply(self, event: WatchEvent) -> None:
        identity = event.identity
        self._version = identity.resource_version or self._version
        if event.type is EventType.DELETED:
            self._remove(identity.key)
        elif event.type is not EventType.BOOKMARK and (entry := self._entry(identity, event.raw)):
            self._put(identity.key, entry)

    def _put(self, key: str, entry: _Entry[T]) -> None:
        known = self._store.entries.get(key)
        if known is entry:
            return
        if known is not None and known.uid != entry.uid:
            self._remove(key)
            known = None
        self._store.put(key, entry)
        if known is None:
            self._tell(Change(ChangeKind.ADDED, key, None, entry.value))
        else:
            self._tell(Change(ChangeKind.UPDATED, key, known.value, entry.value))

    def _remove(self, key: str) -> None:
        gone = self._store.pop(key)
        if gone is not None:
            self._tell(Change(ChangeKind.DELETED, key, gone.value, None))

    def _tell(self, change: Change[T]) -> None:
        for handler in self._handlers:
            handler(change)


class _Store(Generic[T]):
    """Entries by key, and the indexes over them."""

    def __init__(self, indexes: Mapping[str, Index[T]]) -> None:
        self.entries: dict[str, _Entry[T]] = {}
        # A dict of None is a set that keeps its order.
        self.lookup: dict[str, dict[str, dict[str, None]]] = {name: {} for name in indexes}
        self._indexes = indexes

    def found(self, index: str, key: str) -> Iterable[str]:
        return self.lookup[index].get(key, ())

    def put(self, key: str, entry: _Entry[T]) -> None:
        old = self.entries.get(key)
        for name, index in self._indexes.items():
            after = set(index(entry.value))
            before = set(index(old.value)) if old else set[str]()
            self._unlink(name, before - after, key)
            for value in after - before:
                self.lookup[name].setdefault(value, {})[key] = None
        self.entries[key] = entry

    def pop(self, key: str) -> _Entry[T] | None:
        entry = self.entries.pop(key, None)
        if entry is not None:
            for name, index in self._indexes.items():
                self._unlink(name, set(index(entry.value)), key)
        return entry

    def _unlink(self, name: str, values: set[str], key: str) -> None:
        lookup: dict[str, dict[str, Any]] = self.lookup[name]
        for value in values:
            lookup[value].pop(key)
            if not lookup[value]:
                del lookup[value]
