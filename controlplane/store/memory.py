"""A store in memory: small, complete, with history. For tests, and for what may be lost.

Every version of every key is kept until it is compacted, by `compact` alone. Each call lets other tasks run
as well, as one that waits for a disk would.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence
from dataclasses import dataclass, field

from aio.clock import Clock, SystemClock
from controlplane.store.decide import (
    Standing,
    check,
    check_key,
    check_revision,
    check_text,
    check_watch,
    decide,
)
from controlplane.store.errors import Closed, Compacted, FutureRevision
from controlplane.store.expiry import Due, Expiry
from controlplane.store.hub import BUFFER_EVENTS, History, Hub, HubWatch, Range
from controlplane.store.model import (
    FIRST_REVISION,
    Committed,
    Create,
    Delete,
    Deleted,
    EventKind,
    Operation,
    Page,
    Record,
    Update,
)
from controlplane.store.position import Placed, first_of, revision_of


@dataclass(slots=True)
class _Versions:
    """All kept states of one key, oldest first; None is a deletion."""

    revisions: list[int] = field(default_factory=list)
    records: list[Record | None] = field(default_factory=list)
    expires: float | None = None

    def at(self, revision: int) -> Record | None:
        index = bisect_right(self.revisions, revision)
        return self.records[index - 1] if index else None

    def forget_before(self, revision: int) -> bool:
        """Drop what `revision` does not show; true when nothing is left at all."""
        index = bisect_right(self.revisions, revision) - 1
        if index >= 0 and self.records[index] is None:
            index += 1
        del self.revisions[: max(0, index)]
        del self.records[: max(0, index)]
        return not self.revisions


class MemoryStore:
    """See `model.Store`. Made while its event loop runs; has a task until it is closed."""

    def __init__(self, *, clock: Clock | None = None, watch_buffer: int = BUFFER_EVENTS) -> None:
        self._clock = clock or SystemClock()
        self._keys: list[str] = []
        self._versions: dict[str, _Versions] = {}
        self._log: list[Placed] = []
        self._compacted = 0
        self._hub = Hub(FIRST_REVISION, self._read_history, buffer_events=watch_buffer)
        self._expiry = Expiry(self._clock, self._find_due, self.delete)
        self._expiring = asyncio.create_task(self._expiry.run(), name="store expiry")

    async def get(self, key: str, revision: int = 0) -> Record | None:
        check_key(key)
        await asyncio.sleep(0)
        at = self._readable(revision)
        versions = self._versions.get(key)
        return versions.at(at) if versions else None

    async def list(self, prefix: str, *, start: str = "", limit: int = 0, revision: int = 0) -> Page:
        check_text(prefix)
        check_text(start)
        await asyncio.sleep(0)
        at = self._readable(revision)
        found = []
        for index in range(bisect_left(self._keys, max(prefix, start)), len(self._keys)):
            key = self._keys[index]
            if not key.startswith(prefix):
                break
            record = self._versions[key].at(at)
            if record is not None:
                found.append(record)
        shown = found[:limit] if limit else found
        remaining = len(found) - len(shown)
        return Page(tuple(shown), at, remaining > 0, remaining)

    async def create(self, key: str, value: bytes, *, ttl: float | None = None) -> int:
        return (await self._transact((Create(key, value, ttl),))).revision

    async def update(
        self, key: str, value: bytes, expected_mod_revision: int, *, ttl: float | None = None
    ) -> int:
        return (await self._transact((Update(key, value, expected_mod_revision, ttl),))).revision

    async def delete(self, key: str, expected_mod_revision: int = 0) -> Deleted:
        committed = await self._transact((Delete(key, expected_mod_revision),))
        return Deleted(committed.events[0].record, committed.revision)

    async def transact(self, operations: Sequence[Operation]) -> Committed:
        return await self._transact(operations)

    def watch(self, prefix: str, from_revision: int) -> HubWatch:
        check_watch(prefix, from_revision)
        return self._hub.watch(prefix, from_revision)

    async def revision(self) -> int:
        self._refuse_when_closed()
        return self._hub.revision

    async def compact(self, revision: int) -> None:
        self._refuse_when_closed()
        if revision > self._hub.revision:
            raise FutureRevision(revision, self._hub.revision)
        if revision <= self._compacted:
            return
        self._compacted = revision
        del self._log[: bisect_left(self._log, first_of(revision + 1), key=lambda placed: placed.position)]
        gone = [key for key, versions in self._versions.items() if versions.forget_before(revision)]
        for key in gone:
            del self._versions[key]
            del self._keys[bisect_left(self._keys, key)]

    async def expire_due(self) -> int:
        """Delete what is due now, without waiting for the task that does so; how many keys that was."""
        return await self._expiry.expire_due()

    async def close(self) -> None:
        self._hub.close()
        self._expiring.cancel()
        await asyncio.wait((self._expiring,))

    def _refuse_when_closed(self) -> None:
        if self._hub.closed:
            raise Closed("the store is closed")

    def _readable(self, revision: int) -> int:
        """The revision to read for one asked for."""
        self._refuse_when_closed()
        check_revision(revision)
        if revision > self._hub.revision:
            raise FutureRevision(revision, self._hub.revision)
        if revision and revision < self._compacted:
            raise Compacted(revision, self._compacted)
        return revision or self._hub.revision

    def _standing(self, key: str) -> Standing:
        versions = self._versions.get(key)
        return Standing(versions.records[-1], versions.expires) if versions else Standing()

    async def _transact(self, operations: Sequence[Operation]) -> Committed:
        check(operations)
        self._refuse_when_closed()
        try:
            return self._do(operations)
        finally:
            await asyncio.sleep(0)

    def _do(self, operations: Sequence[Operation]) -> Committed:
        revision = self._hub.revision + 1
        changes = decide(operations, self._standing, revision, self._clock.wall())
        if not changes:
            return Committed(revision - 1, ())
        placed = []
        for index, (event, expires) in enumerate(changes):
            self._store(event.record.key, None if event.kind is EventKind.DELETE else event.record, revision)
            self._versions[event.record.key].expires = expires
            if expires is not None:
                self._expiry.noted(expires)
            placed.append(Placed(first_of(revision) + index, event))
        self._log += placed
        self._hub.publish(placed, revision)
        return Committed(revision, tuple(event for event, _ in changes))

    def _store(self, key: str, record: Record | None, revision: int) -> None:
        versions = self._versions.get(key)
        if versions is None:
            versions = self._versions[key] = _Versions()
            insort(self._keys, key)
        versions.revisions.append(revision)
        versions.records.append(record)

    async def _find_due(self, now: float, limit: int) -> Due:
        expiring = sorted(
            (versions.expires, key, versions.records[-1].mod_revision)
            for key, versions in self._versions.items()
            if versions.expires is not None and versions.records[-1] is not None
        )
        due = [(key, revision) for expires, key, revision in expiring if expires <= now][:limit]
        rest = expiring[len(due) :]
        return Due(due, rest[0][0] if rest else None)

    async def _read_history(self, wanted: Range) -> History:
        if wanted.first < first_of(self._compacted + 1):
            raise Compacted(revision_of(wanted.first), self._compacted)
        found: list[Placed] = []
        for index in range(
            bisect_left(self._log, wanted.first, key=lambda placed: placed.position), len(self._log)
        ):
            placed = self._log[index]
            if placed.position >= wanted.end:
                break
            if placed.event.record.key.startswith(wanted.prefix):
                found.append(placed)
                if len(found) == wanted.limit:
                    return History(found, placed.position + 1)
        return History(found, wanted.end)
