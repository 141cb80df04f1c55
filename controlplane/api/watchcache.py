"""Every object in memory as the bytes that are sent, and the last changes of each kind: what reads are
served from.

One watch of the whole store feeds all kinds, so the cache stands at one revision, and a read that must be the
latest waits until the cache has reached the store's. An object is decoded only for selectors and admission,
once. An event is encoded once for all watchers; they read the changes at their own pace from a ring, and one
that falls out of the ring is ended. `run` is the loop that follows the store; it must run for reads to work.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from itertools import islice

from aio import log
from aio.clock import Clock
from controlplane.api import codec
from controlplane.api.registry.model import Kind, Registry
from controlplane.store.errors import Closed, Compacted, Unavailable
from controlplane.store.model import FIRST_REVISION, Event, EventKind, Page, Progress, Record, Store
from kube.client.model import EventType, JsonObject
from kube.client.resources import Resource

_log = log.get(__name__)

PREFIX = "/"
CHANGES_KEPT = 10_000
"""Of one kind; upstream's ring has 100 to 102,400."""
REPLAYED = 1000
"""Revisions before the present that a start reads again, so that watchers of before go on where they were."""
KEPT_WARM = 512
"""Of one kind: decoded values and encoded events that are kept beside the bytes they come from. Who looks
looks soon after a write; kept for all, they would be most of the server's memory."""
RETRY_SECONDS = 1.0
WAIT_SECONDS = 3.0
"""For a revision that is not there yet (watch_cache.go blockTimeout)."""


class Warm:
    """The last things that keep something made of their bytes; who falls out makes it anew when asked."""

    __slots__ = ("_kept",)

    def __init__(self) -> None:
        self._kept: deque[Cached | Change] = deque()

    def note(self, item: Cached | Change) -> None:
        self._kept.append(item)
        if len(self._kept) > KEPT_WARM:
            self._kept.popleft().cool()


class Cached:
    """One object at one revision. `place` is its key after the kind's prefix; `value` must not be changed."""

    __slots__ = ("_value", "_warm", "namespace", "place", "raw", "revision")

    def __init__(self, place: str, revision: int, raw: bytes, warm: Warm) -> None:
        self._warm = warm
        self.place = place
        self.namespace = place.partition("/")[0] if "/" in place else ""
        self.revision = revision
        self.raw = raw
        self._value: JsonObject | None = None

    @property
    def value(self) -> JsonObject:
        if self._value is None:
            self._value = codec.decode(self.raw)
            self._warm.note(self)
        return self._value

    def cool(self) -> None:
        self._value = None


class Change:
    """One write: `old` None = created, `new` None = removed. `last` is the state after it, for a removal the
    final one with the removal's revision."""

    __slots__ = ("_lines", "_warm", "last", "new", "old", "revision")

    def __init__(
        self, revision: int, old: Cached | None, new: Cached | None, last: Cached, warm: Warm
    ) -> None:
        self._warm = warm
        self.revision = revision
        self.old = old
        self.new = new
        self.last = last
        self._lines: tuple[tuple[EventType, bytes], ...] = ()

    def line(self, type_: EventType) -> bytes:
        """The event as it goes over the wire, encoded once."""
        for known, line in self._lines:
            if known is type_:
                return line
        if not self._lines:
            self._warm.note(self)
        line = event_line(type_, self.last.raw)
        self._lines = (*self._lines, (type_, line))
        return line

    def cool(self) -> None:
        self._lines = ()


def event_line(type_: str, raw: bytes) -> bytes:
    return b'{"type":"%b","object":%b}\n' % (type_.encode(), raw)


class KindCache:
    """The objects of one kind, and its changes. `forgotten` is the revision up to which changes are gone."""

    def __init__(self, kind: Kind, changes_kept: int) -> None:
        self.kind = kind
        self.head = codec.head(kind.resource)
        self.forgotten = 0
        self.watchers: set[asyncio.Event] = set()
        self._warm = Warm()
        self._items: dict[str, Cached] = {}
        self._order: list[str] | None = None
        self._changes: deque[Change] = deque(maxlen=changes_kept)
        self._count = 0

    def get(self, namespace: str, name: str) -> Cached | None:
        return self._items.get(f"{namespace}/{name}" if self.kind.resource.namespaced else name)

    def items(self, namespace: str = "") -> list[Cached]:
        """In the order of their keys."""
        if self._order is None:
            self._order = sorted(self._items)
        order = self._order
        if namespace:
            order = order[bisect_left(order, f"{namespace}/") : bisect_left(order, f"{namespace}0")]
        return [self._items[place] for place in order]

    @property
    def position(self) -> int:
        """Of the change that comes next; see `since`."""
        return self._count

    def position_after(self, revision: int) -> int:
        """Of the first change later than `revision`."""
        newer = 0
        for change in reversed(self._changes):
            if change.revision <= revision:
                break
            newer += 1
        return self._count - newer

    def since(self, position: int) -> list[Change] | None:
        """The changes from `position` on; None when some of them are forgotten."""
        missing = self._count - position
        if missing > len(self._changes):
            return None
        if not missing:
            return []
        if missing == 1:
            return [self._changes[-1]]
        return list(islice(reversed(self._changes), missing))[::-1]

    def read(self, record: Record) -> Cached:
        raw = codec.with_version(self.head, record.value, record.mod_revision)
        return Cached(record.key[len(self.kind.prefix) :], record.mod_revision, raw, self._warm)

    def replace(self, records: Sequence[Record], revision: int) -> None:
        """Begin anew from a listing."""
        self._items = {item.place: item for item in map(self.read, records)}
        self._order = None
        self._count += len(self._changes) + 1  # no watcher's position is valid
        self._changes.clear()
        self.forgotten = revision
        self.wake()

    def apply(self, event: Event) -> None:
        place = event.record.key[len(self.kind.prefix) :]
        old = self._items.get(place)
        if event.kind is EventKind.PUT:
            new = self.read(event.record)
            self._items[place] = new
            if old is None:
                self._order = None
            change = Change(event.revision, old, new, new, self._warm)
        else:
            self._items.pop(place, None)
            self._order = None
            raw = codec.with_version(self.head, event.record.value, event.revision)
            last = Cached(place, event.revision, raw, self._warm)
            change = Change(event.revision, old, None, last, self._warm)
        if len(self._changes) == self._changes.maxlen:
            self.forgotten = self._changes[0].revision
        self._changes.append(change)
        self._count += 1

    def wake(self) -> None:
        for watcher in self.watchers:
            watcher.set()


class WatchCache:
    """All kinds. Also the `View` of admission."""

    def __init__(
        self, store: Store, registry: Registry, clock: Clock, *, changes_kept: int = CHANGES_KEPT
    ) -> None:
        self._store = store
        self._clock = clock
        self._registry = registry
        stored = (kind for kind in registry if kind.is_stored)
        self._kinds = {kind.resource: KindCache(kind, changes_kept) for kind in stored}
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        self.revision = 0

    def of(self, resource: Resource) -> KindCache:
        return self._kinds[resource]

    def get(self, resource: Resource, namespace: str, name: str) -> JsonObject | None:
        found = self._kinds[resource].get(namespace, name)
        return found.value if found else None

    def list(self, resource: Resource, namespace: str = "") -> Sequence[JsonObject]:
        return [item.value for item in self._kinds[resource].items(namespace)]

    async def run(self) -> None:
        """Follow the store until it is closed."""
        while True:
            try:
                await self._follow(await self._load())
                _log.warning("The watch cache fell behind the store, reading everything anew")
            except Unavailable as error:
                _log.warning("The watch cache cannot read the store, trying again", err=error)
                await self._clock.sleep(RETRY_SECONDS)
            except Closed:
                _log.v(2).info("The store is closed")
                return

    async def reach_latest(self) -> int:
        """Wait until every write that has returned is seen; the cache's revision then."""
        wanted = await self._store.revision()
        if wanted > self.revision:
            await self.reach(wanted)
        return self.revision

    async def reach(self, revision: int) -> None:
        """TimeoutError when the store does not get there within WAIT_SECONDS."""
        if revision <= self.revision:
            return
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.append((revision, waiter))
        async with asyncio.timeout(WAIT_SECONDS):
            await waiter

    async def _load(self) -> int:
        page = await self._page()
        found: dict[str, list[Record]] = {}
        for record in page.records:
            kind = self._registry.of_key(record.key)
            if kind is not None:
                found.setdefault(kind.prefix, []).append(record)
        for cache in self._kinds.values():
            cache.replace(found.get(cache.kind.prefix, ()), page.revision)
        self._advance(page.revision)
        return page.revision

    async def _page(self) -> Page:
        """What is stored: at first as of a while ago, and what came after it is then told as changes."""
        if not self.revision:
            earlier = await self._store.revision() - REPLAYED
            try:
                return await self._store.list(PREFIX, revision=max(earlier, FIRST_REVISION))
            except Compacted:
                _log.v(2).info("The store has forgotten what was before", revision=earlier)
        return await self._store.list(PREFIX)

    async def _follow(self, revision: int) -> None:
        """Returns when the store has forgotten what comes next."""
        async with self._store.watch(PREFIX, revision + 1) as watch:
            while True:
                try:
                    events = await watch.take()
                except Compacted:
                    return
                self._apply(events)

    def _apply(self, events: Sequence[Event | Progress]) -> None:
        changed: set[KindCache] = set()
        for event in events:
            if isinstance(event, Progress):
                continue
            kind = self._registry.of_key(event.record.key)
            if kind is not None:
                cache = self._kinds[kind.resource]
                cache.apply(event)
                changed.add(cache)
        if events:
            self._advance(max(self.revision, events[-1].revision))
        for cache in changed:
            cache.wake()

    def _advance(self, revision: int) -> None:
        self.revision = revision
        if not self._waiting:
            return
        still = []
        for wanted, waiter in self._waiting:
            if waiter.done():
                continue
            if wanted <= revision:
                waiter.set_result(None)
            else:
                still.append((wanted, waiter))
        self._waiting = still
