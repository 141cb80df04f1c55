"""The embedded default: a store in one SQLite file, safe against `kill -9` and power loss.

Mechanism: one thread writes, with group commit to a write-ahead log that is synced before anybody is answered
(`writer`); two threads read (`connections`); watches live on the event loop (`hub`). What was read or written
is handed out only when the events up to it are published, so no reader is ahead of the watches. Compaction
and expiry are a task each, made of small steps through the same threads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from aio import log
from aio.clock import Clock, SystemClock
from controlplane.store import backup, compaction, queries
from controlplane.store.connections import Connections, Opened, open_all
from controlplane.store.decide import check, check_key, check_revision, check_text, check_watch
from controlplane.store.errors import Closed, FutureRevision, StoreError, Unavailable
from controlplane.store.expiry import Due, Expiry
from controlplane.store.hub import BUFFER_EVENTS, History, Hub, HubWatch, Range
from controlplane.store.lane import Caller, settle
from controlplane.store.lock import StoreLock
from controlplane.store.model import Committed, Create, Delete, Deleted, Operation, Page, Record, Update
from controlplane.store.retention import Retention, Sample, noted, target, target_by_size
from controlplane.store.schema import Limits
from controlplane.store.writer import Outcome, Write

LOG = log.get(__name__)


@dataclass(frozen=True, slots=True)
class Settings:
    """Compaction runs every `compact_every_seconds`: etcd's and Kubernetes' 5 min; looked at in between, lest
    history grow too large. The log is emptied after `idle_seconds` without a write."""

    limits: Limits = field(default_factory=Limits)
    retention: Retention = field(default_factory=Retention)
    compact_every_seconds: float = 300.0
    sample_every_seconds: float = 30.0
    watch_buffer: int = BUFFER_EVENTS
    idle_seconds: float = 5.0


async def open_store(
    path: Path, *, clock: Clock | None = None, settings: Settings | None = None
) -> SqliteStore:
    """Open the store in the file `path`, or make it there.

    Raises `InUse` when another process has it, `Corrupt` or `WrongVersion` for a file that cannot be served
    (which is left as it is), `NoSpace`, `Unavailable`, OSError.
    """
    settings = settings or Settings()
    lock = StoreLock(path)
    opening = Caller("store-open")
    try:
        opened = await opening.run(open_all, path, settings.limits)
    except BaseException:
        lock.release()
        raise
    finally:
        await opening.stop()
    return SqliteStore(opened, lock, clock or SystemClock(), settings)


class SqliteStore:
    """See `model.Store`. Made by `open_store`."""

    def __init__(self, opened: Opened, lock: StoreLock, clock: Clock, settings: Settings) -> None:
        self._lock = lock
        self._clock = clock
        self._settings = settings
        self._hub = Hub(opened.revision, self._read_history, buffer_events=settings.watch_buffer)
        self._dbs = Connections(opened, self._publish, idle_seconds=settings.idle_seconds)
        self._compacted = opened.compacted
        self._compacting = asyncio.Lock()
        self._written = 0
        self._trouble = ""
        self._expiry = Expiry(clock, self._find_due, self.delete)
        self._tasks = (
            asyncio.create_task(self._expiry.run(), name="store expiry"),
            asyncio.create_task(self._compact_by_time(), name="store compaction"),
        )
        for task in self._tasks:
            task.add_done_callback(_report)
        self._closing: asyncio.Task[None] | None = None

    async def get(self, key: str, revision: int = 0) -> Record | None:
        check_key(key)
        check_revision(revision)
        self._refuse_when_closed()
        record = await self._dbs.read_key(queries.get, key, revision)
        if record is not None:
            await self._hub.reached(record.mod_revision)
        return record

    async def list(self, prefix: str, *, start: str = "", limit: int = 0, revision: int = 0) -> Page:
        check_text(prefix)
        check_text(start)
        check_revision(revision)
        self._refuse_when_closed()
        page = await self._dbs.read_range(queries.page, queries.Listing(prefix, start, limit, revision))
        await self._hub.reached(page.revision)
        return page

    async def create(self, key: str, value: bytes, *, ttl: float | None = None) -> int:
        return (await self.transact((Create(key, value, ttl),))).revision

    async def update(
        self, key: str, value: bytes, expected_mod_revision: int, *, ttl: float | None = None
    ) -> int:
        return (await self.transact((Update(key, value, expected_mod_revision, ttl),))).revision

    async def delete(self, key: str, expected_mod_revision: int = 0) -> Deleted:
        committed = await self.transact((Delete(key, expected_mod_revision),))
        return Deleted(committed.events[0].record, committed.revision)

    async def transact(self, operations: Sequence[Operation]) -> Committed:
        check(operations)
        self._refuse_when_closed()
        future: asyncio.Future[Committed] = asyncio.get_running_loop().create_future()
        self._dbs.submit(Write(operations, self._clock.wall(), future))
        return await future

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
        async with self._compacting:
            if revision > self._compacted:
                await self._dbs.in_writer(lambda db: compaction.begin(db, revision))
                self._compacted = revision
            await self._sweep()

    async def _sweep(self) -> None:
        """Remove what was compacted, step by step; writes pass in between."""
        for step in (compaction.sweep, compaction.shrink):
            is_more = True
            while is_more:
                is_more = await self._dbs.in_writer(step)

    async def backup(self, target: Path) -> None:
        """Write the store as it is now to the file `target`, replacing it when complete; writes go on."""
        self._refuse_when_closed()
        await self._dbs.read_range(backup.write_to, target)

    def trouble(self) -> str:
        """Why it cannot be relied on now, "" when it can: the last write failed, or a task has ended."""
        if self._hub.closed:
            return "it is closed"
        ended = next((task.get_name() for task in self._tasks if task.done()), "")
        return f'its task "{ended}" has ended' if ended else self._trouble

    async def expire_due(self) -> int:
        """Delete what is due now, without waiting for the task that does so; how many keys that was."""
        return await self._expiry.expire_due()

    async def close(self) -> None:
        if self._closing is None:
            self._closing = asyncio.create_task(self._close(), name="store close")
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        self._hub.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        try:
            await self._dbs.close()
        finally:
            self._lock.release()

    def _refuse_when_closed(self) -> None:
        if self._hub.closed:
            raise Closed("the store is closed")

    def _publish(self, outcome: Outcome) -> None:
        """What one commit brought: first to the watches, then to those who wait for it."""
        self._written += outcome.bytes
        failed = next((one.error for one in outcome.answers if isinstance(one.error, Unavailable)), None)
        if failed is not None:
            self._trouble = str(failed)
        elif outcome.events:
            self._trouble = ""
        if not self._hub.closed:
            self._hub.publish(outcome.events, outcome.revision)
        if outcome.expires is not None:
            self._expiry.noted(outcome.expires)
        settle(outcome.answers)

    async def _read_history(self, wanted: Range) -> History:
        return await self._dbs.read_range(queries.history, wanted)

    async def _find_due(self, now: float, limit: int) -> Due:
        return await self._dbs.read_range(queries.due, now, limit)

    async def _compact_by_time(self) -> None:
        """For ever: note how the revision grows, and compact when it is time or history is too large."""
        samples: list[Sample] = []
        is_first = True
        retention = self._settings.retention
        last = self._clock.monotonic()
        while True:
            latest = Sample(self._clock.monotonic(), self._hub.revision, self._written)
            wanted = target_by_size(samples, latest, retention)
            if latest.at - last >= self._settings.compact_every_seconds:
                last = latest.at
                wanted = max(wanted, target(samples, latest, retention))
            try:
                if wanted > self._compacted or is_first:  # an earlier process may have left some half done
                    await self.compact(max(wanted, 0))
            except StoreError as problem:
                LOG.error("Cannot compact the store now", err=problem, revision=wanted)
            is_first = False
            samples = noted(samples, latest, self._compacted)
            await self._clock.sleep(self._settings.sample_every_seconds)


def _report(task: asyncio.Task[None]) -> None:
    """One of the store's own tasks ended; only closing may do that."""
    if not task.cancelled() and (error := task.exception()) is not None:
        LOG.error("A task of the store has ended", task=task.get_name(), err=error)
