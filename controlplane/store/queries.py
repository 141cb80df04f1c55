"""Reading the file of the SQLite engine: each function is one short transaction on a reader's connection.

Short, because a reader holds back the reuse of the write-ahead log for as long as it reads.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import apsw

from controlplane.store.errors import Compacted, FutureRevision
from controlplane.store.expiry import Due
from controlplane.store.hub import History, Range
from controlplane.store.model import Event, EventKind, Page, Record, prefix_end
from controlplane.store.position import SHIFT, Placed, first_of, revision_of
from controlplane.store.schema import fact, latest_revision

_LATEST = "SELECT live.key, value, created, position FROM live JOIN log USING (position)"


class Listing(NamedTuple):
    """See `model.Store.list`."""

    prefix: str
    start: str
    limit: int
    revision: int


@contextmanager
def _snapshot(db: apsw.Connection) -> Iterator[None]:
    db.execute("BEGIN")
    try:
        yield
    finally:
        db.execute("ROLLBACK")


def get(db: apsw.Connection, key: str, revision: int) -> Record | None:
    if not revision:
        row = db.execute(f"{_LATEST} WHERE live.key = ? AND NOT deleted", (key,)).fetchone()
        return _record(row) if row else None
    with _snapshot(db):
        _check_readable(db, revision)
        row = db.execute("SELECT position FROM live WHERE key = ?", (key,)).fetchone()
        position = _as_of(db, row[0], revision) if row else None
        return None if position is None else _at(db, key, position)


def page(db: apsw.Connection, listing: Listing) -> Page:
    with _snapshot(db):
        if listing.revision:
            _check_readable(db, listing.revision)
            return _old_page(db, listing)
        return _latest_page(db, listing)


def _latest_page(db: apsw.Connection, listing: Listing) -> Page:
    where, bounds = _within(listing)
    most = listing.limit + 1 if listing.limit else -1
    query = f"{_LATEST} WHERE {where} AND NOT deleted ORDER BY live.key LIMIT {most}"
    records = [_record(row) for row in db.execute(query, bounds)]
    revision = latest_revision(db)
    if not listing.limit or len(records) <= listing.limit:
        return Page(tuple(records), revision)
    count = db.execute(f"SELECT count(*) FROM live WHERE {where} AND NOT deleted", bounds).get
    assert isinstance(count, int)
    return Page(tuple(records[: listing.limit]), revision, True, count - listing.limit)


def _old_page(db: apsw.Connection, listing: Listing) -> Page:
    """Follow each key back to the wanted revision; what has not changed since is found at once."""
    where, bounds = _within(listing)
    records: list[Record] = []
    remaining = 0
    rows: Any = db.execute(f"SELECT key, position FROM live WHERE {where} ORDER BY key", bounds)
    for key, newest in rows:
        position = _as_of(db, newest, listing.revision)
        if position is None:
            continue
        if listing.limit and len(records) >= listing.limit:
            is_there = db.execute("SELECT value IS NOT NULL FROM log WHERE position = ?", (position,)).get
            remaining += bool(is_there)
            continue
        record = _at(db, key, position)
        if record is not None:
            records.append(record)
    return Page(tuple(records), listing.revision, remaining > 0, remaining)


def history(db: apsw.Connection, wanted: Range) -> History:
    """Past events; `Compacted` when the first one wanted may be gone."""
    with _snapshot(db):
        compacted = fact(db, "compacted")
        if wanted.first < first_of(compacted + 1):
            raise Compacted(revision_of(wanted.first), compacted)
        end = prefix_end(wanted.prefix)
        below = "" if end is None else "AND new.key < ?"
        query = (
            "SELECT new.position, new.key, new.value, new.created, old.value, old.created, old.position "
            "FROM log AS new LEFT JOIN log AS old ON old.position = new.prev "
            f"WHERE new.position >= ? AND new.position < ? AND new.key >= ? {below} "
            "ORDER BY new.position LIMIT ?"
        )
        bounds = (wanted.first, wanted.end, wanted.prefix, *(() if end is None else (end,)), wanted.limit)
        events = [_placed(row) for row in db.execute(query, bounds)]
    complete = len(events) < wanted.limit
    return History(events, wanted.end if complete else events[-1].position + 1)


def due(db: apsw.Connection, now: float, limit: int) -> Due:
    """Keys that have expired at unix time `now`, oldest first, and the next expiry after these."""
    query = "SELECT key, position, expires FROM live WHERE expires IS NOT NULL ORDER BY expires LIMIT ?"
    rows: Any = db.execute(query, (limit + 1,)).fetchall()
    expired = [(key, position >> SHIFT) for key, position, expires in rows[:limit] if expires <= now]
    rest = rows[len(expired) :]
    return Due(expired, rest[0][2] if rest else None)


def _within(listing: Listing) -> tuple[str, tuple[str, ...]]:
    """The condition on live.key, and its values."""
    first = max(listing.prefix, listing.start)
    end = prefix_end(listing.prefix)
    if end is None:
        return "live.key >= ?", (first,)
    return "live.key >= ? AND live.key < ?", (first, end)


def _check_readable(db: apsw.Connection, revision: int) -> None:
    compacted = fact(db, "compacted")
    if revision < compacted:
        raise Compacted(revision, compacted)
    latest = latest_revision(db)
    if revision > latest:
        raise FutureRevision(revision, latest)


def _as_of(db: apsw.Connection, position: int, revision: int) -> int | None:
    """The row of the same key that was the newest at `revision`; `position` is its newest of all."""
    end = first_of(revision + 1)
    found: Any = position
    while found is not None and found >= end:
        found = db.execute("SELECT prev FROM log WHERE position = ?", (found,)).get
    return found if isinstance(found, int) else None


def _at(db: apsw.Connection, key: str, position: int) -> Record | None:
    """None for a deletion, and for a row that compaction has removed: what it held was not there then."""
    row = db.execute("SELECT value, created FROM log WHERE position = ?", (position,)).fetchone()
    if row is None or row[0] is None:
        return None
    return Record(key, row[0], row[1], revision_of(position))


def _record(row: Any) -> Record:
    key, value, created, position = row
    return Record(key, value, created, position >> SHIFT)


def _placed(row: Any) -> Placed:
    position, key, value, created, old_value, old_created, old_position = row
    revision = revision_of(position)
    previous = None
    if old_value is not None:
        previous = Record(key, old_value, old_created, revision_of(old_position))
    if value is not None:
        record = Record(key, value, created, revision)
        return Placed(position, Event(EventKind.PUT, record, previous, revision))
    assert previous is not None
    return Placed(position, Event(EventKind.DELETE, previous, previous, revision))
