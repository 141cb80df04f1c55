"""Every write to the SQLite engine's file, in one thread: many transactions in one commit.

Mechanism: what waits is decided in order against what is stored and what was decided before it, then written
by three statements and one durable commit. Few statements, because each gives up Python's lock and may wait
for a busy event loop to get it back. When the commit fails nothing of it happened, and each transaction is
tried alone, so that one too big for the room left does not take the others with it. Answers and events leave
together, in revision order, only after the commit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, NamedTuple, TypeVar

import apsw

from aio import log
from controlplane.store.decide import Change, Standing, decide
from controlplane.store.errors import StoreError
from controlplane.store.failures import translated
from controlplane.store.lane import Answer, Call
from controlplane.store.model import Committed, EventKind, Operation, Record
from controlplane.store.position import Placed, first_of, revision_of
from controlplane.store.schema import BUSY_MS

T = TypeVar("T")
LOG = log.get(__name__)
ROWS_AT_ONCE = 64
"""Of one statement; statements are made for powers of two up to this, so that few are compiled."""
WAL_CHECKPOINT_PAGES = 1000
"""SQLite's own default: about 4 MiB of log are copied back at a time."""
WAL_LIMIT_PAGES = 8192
"""Readers that never pause keep the log from starting over; every 32 MiB the writer waits for them a bit."""
WAIT_FOR_READERS_MS = 200


class Write(NamedTuple):
    """One transaction that somebody waits for. `now` in unix seconds."""

    operations: Sequence[Operation]
    now: float
    future: asyncio.Future[Committed]


Task = Write | Call


@dataclass(slots=True)
class Outcome:
    """What one commit brought, in order, for the event loop. `bytes` is how much history grew, about."""

    revision: int
    answers: list[Answer] = field(default_factory=list)
    events: list[Placed] = field(default_factory=list)
    expires: float | None = None
    bytes: int = 0


class _Held(NamedTuple):
    """What `live` knows of a key: its newest row, which may be a deletion."""

    position: int | None
    standing: Standing


_NOTHING = _Held(None, Standing())


@dataclass(slots=True)
class _Batch:
    """Transactions decided and not yet written."""

    revision: int
    held: dict[str, _Held]
    log_rows: list[tuple[object, ...]] = field(default_factory=list)
    outcome: Outcome = field(default_factory=lambda: Outcome(0))

    def add(self, write: Write) -> None:
        """Decide one; a refusal is its answer, and changes nothing."""
        revision = self.revision + 1
        try:
            changes = decide(write.operations, self._standing, revision, write.now)
        except StoreError as refused:
            self.outcome.answers.append(Answer(write.future, None, refused))
            return
        if changes:
            self.revision = revision
            for index, change in enumerate(changes):
                self._note(first_of(revision) + index, change)
        events = tuple(change.event for change in changes)
        self.outcome.answers.append(Answer(write.future, Committed(self.revision, events)))

    def _standing(self, key: str) -> Standing:
        return self.held.get(key, _NOTHING).standing

    def _note(self, position: int, change: Change) -> None:
        event, expires = change
        key = event.record.key
        record = None if event.kind is EventKind.DELETE else event.record
        value = None if record is None else record.value
        previous = self.held.get(key, _NOTHING).position
        self.log_rows.append((position, previous, event.record.create_revision, key, value))
        self.held[key] = _Held(position, Standing(record, expires))
        outcome = self.outcome
        outcome.events.append(Placed(position, event))
        outcome.bytes += len(key) * 2 + len(value or b"") + 64
        if expires is not None:
            outcome.expires = expires if outcome.expires is None else min(outcome.expires, expires)


class Writer:
    """`serve` runs in the writer's lane; `post(function, argument)` takes an outcome to the event loop."""

    def __init__(
        self,
        db: apsw.Connection,
        revision: int,
        post: Callable[..., None],
        publish: Callable[[Outcome], None],
    ) -> None:
        self._db = db
        self._revision = revision
        self._post = post
        self._publish = publish
        self._wal_pages = 0
        self._copy_back_at = WAL_CHECKPOINT_PAGES
        self._truncate_at = WAL_LIMIT_PAGES
        db.set_wal_hook(self._note_wal)

    def serve(self, tasks: list[Task]) -> None:
        for is_write, group in groupby(tasks, lambda task: isinstance(task, Write)):
            if is_write:
                self._commit([task for task in group if isinstance(task, Write)])
                continue
            for call in group:
                assert isinstance(call, Call)
                self._post(self._publish, Outcome(self._revision, [call.answer()]))

    def _commit(self, writes: list[Write]) -> None:
        try:
            outcome = self._attempt(writes)
        except apsw.Error as error:
            self._roll_back()
            if len(writes) > 1:
                for write in writes:
                    self._commit([write])
                return
            outcome = self._failed(writes, translated("write to the store", error))
        except Exception as error:  # noqa: BLE001 - a mistake of ours, handed to whoever waits
            self._roll_back()
            outcome = self._failed(writes, error)
        self._post(self._publish, outcome)
        self._copy_back()

    def _failed(self, writes: list[Write], error: Exception) -> Outcome:
        return Outcome(self._revision, [Answer(write.future, None, error) for write in writes])

    def _attempt(self, writes: list[Write]) -> Outcome:
        db = self._db
        db.execute("BEGIN IMMEDIATE")
        keys = list({operation.key for write in writes for operation in write.operations})
        batch = _Batch(self._revision, dict(_held(db, keys)))
        for write in writes:
            batch.add(write)
        if batch.log_rows:
            changed = {placed.event.record.key for placed in batch.outcome.events}
            _insert(db, "INSERT INTO log VALUES", 5, batch.log_rows)
            _insert(db, "REPLACE INTO live VALUES", 4, [_live_row(key, batch.held[key]) for key in changed])
        db.execute("COMMIT")
        self._revision = batch.outcome.revision = batch.revision
        return batch.outcome

    def _roll_back(self) -> None:
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")

    def _note_wal(self, _db: apsw.Connection, _name: str, pages: int) -> int:
        if pages < self._wal_pages:
            self._log_is_new()
        self._wal_pages = pages
        return apsw.SQLITE_OK

    def _copy_back(self) -> None:
        """Bring the write-ahead log into the database now and then; after the answers, so nobody waits."""
        if self._wal_pages >= self._truncate_at:
            self._truncate_at = self._wal_pages + WAL_LIMIT_PAGES
            self._checkpoint(apsw.SQLITE_CHECKPOINT_TRUNCATE)
        elif self._wal_pages >= self._copy_back_at:
            self._copy_back_at = self._wal_pages + WAL_CHECKPOINT_PAGES
            self._checkpoint(apsw.SQLITE_CHECKPOINT_PASSIVE)

    def idle(self) -> None:
        """Nothing to write for a while: empty the log, so that the file alone is the store."""
        if self._wal_pages:
            self._checkpoint(apsw.SQLITE_CHECKPOINT_TRUNCATE)

    def _checkpoint(self, mode: int) -> None:
        """A log that cannot be copied back now is tried again later; what it holds is safe meanwhile."""
        self._db.set_busy_timeout(WAIT_FOR_READERS_MS)
        try:
            self._db.wal_checkpoint(mode=mode)
        except apsw.Error as error:
            LOG.warning("Cannot copy the store's log back now", err=error, pages=self._wal_pages)
            return
        finally:
            self._db.set_busy_timeout(BUSY_MS)
        if mode == apsw.SQLITE_CHECKPOINT_TRUNCATE:
            self._wal_pages = 0
            self._log_is_new()

    def _log_is_new(self) -> None:
        self._copy_back_at = WAL_CHECKPOINT_PAGES
        self._truncate_at = WAL_LIMIT_PAGES


def _held(db: apsw.Connection, keys: Sequence[str]) -> Iterator[tuple[str, _Held]]:
    """What is stored under `keys`; those never written, or compacted away, are left out."""
    for part in _parts(keys):
        query = (
            "SELECT live.key, position, expires, created, value FROM live JOIN log USING (position) "
            f"WHERE live.key IN ({','.join('?' * len(part))})"
        )
        row: Any
        for row in db.execute(query, tuple(part)):
            key, position, expires, created, value = row
            record = None if value is None else Record(key, value, created, revision_of(position))
            yield key, _Held(position, Standing(record, expires))


def _live_row(key: str, held: _Held) -> tuple[object, ...]:
    return key, held.position, held.standing.record is None, held.standing.expires


def _insert(db: apsw.Connection, statement: str, columns: int, rows: Sequence[tuple[object, ...]]) -> None:
    values = f"({','.join('?' * columns)})"
    for part in _parts(rows):
        db.execute(
            f"{statement} {','.join([values] * len(part))}", tuple(cell for row in part for cell in row)
        )


def _parts(rows: Sequence[T]) -> Iterator[Sequence[T]]:
    """`rows` in order, cut into lengths that are powers of two, the longest ones first."""
    start = 0
    size = ROWS_AT_ONCE
    while start < len(rows):
        while size > len(rows) - start:
            size //= 2
        yield rows[start : start + size]
        start += size
