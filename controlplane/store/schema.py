"""The file of the SQLite engine: its tables, how it is made, checked and opened.

`log` holds one row per write, numbered by position (revision and place in its transaction); a row without a
value is a deletion. `prev` is the row of the same key before it. `live` has one row per key, of its newest
log row; a deleted key keeps its row until the deletion is compacted, so the chain of `prev` from `live` shows
every key at every kept revision. Two b-trees, no further index: history is read by position, and compaction
to a revision removes the `prev` of each row up to it.

A file is made aside and renamed, so one that is empty or has no header was damaged, and is never written to.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import apsw

from aio.errors import cannot
from controlplane.store.errors import Corrupt, WrongVersion
from controlplane.store.failures import translating
from controlplane.store.model import FIRST_REVISION
from controlplane.store.position import SHIFT

APPLICATION_ID = 0x706B7374
"""The letters "pkst" in the file's header."""
VERSION = 1
HEADER = b"SQLite format 3\0"
AUTO_VACUUM_INCREMENTAL = 2
WAL_KEPT_BYTES = 8 << 20
WRITER_CACHE_KIB = 8192
READER_CACHE_KIB = 2048
BUSY_MS = 10_000

TABLES = """
CREATE TABLE log (
  position INTEGER PRIMARY KEY,
  prev INTEGER,
  created INTEGER NOT NULL,
  key TEXT NOT NULL,
  value BLOB
);
CREATE TABLE live (
  key TEXT PRIMARY KEY,
  position INTEGER NOT NULL,
  deleted INTEGER NOT NULL,
  expires REAL
) WITHOUT ROWID;
CREATE INDEX live_expires ON live (expires) WHERE expires IS NOT NULL;
CREATE TABLE facts (name TEXT PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Limits:
    """`max_pages` of 4 KiB the file may have (0: SQLite's own limit); files up to `check_bytes` are read
    through and checked whenever they are opened."""

    max_pages: int = 0
    check_bytes: int = 32 << 20


def wal_path(store: Path) -> Path:
    return store.with_name(store.name + "-wal")


def open_or_make(store: Path, limits: Limits) -> apsw.Connection:
    """A connection that writes. `Corrupt`, `WrongVersion`, `Unavailable`, OSError; the lock must be held."""
    if not store.exists():
        if wal_path(store).exists():
            because = f'it is missing, while its write-ahead log "{wal_path(store)}" is there'
            raise Corrupt(cannot(f'open "{store}"', because))
        _make(store)
    check_header(store)
    with translating(f'open "{store}"'):
        db = apsw.Connection(str(store), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        with translating(f'open "{store}"'):
            db.set_busy_timeout(BUSY_MS)
            check(db, store, limits)
            _tune_writer(db, limits)
    except BaseException:
        db.close()
        raise
    return db


def open_reader(store: Path) -> apsw.Connection:
    """A connection that only reads, beside a writer or alone."""
    with translating(f'read "{store}"'):
        db = apsw.Connection(str(store), flags=apsw.SQLITE_OPEN_READONLY)
        db.set_busy_timeout(BUSY_MS)
        db.execute(f"PRAGMA cache_size = -{READER_CACHE_KIB}; PRAGMA mmap_size = 0; PRAGMA query_only = ON")
    return db


def check_header(store: Path) -> None:
    """Raises `Corrupt` for a file that no store can be in, before SQLite touches it."""
    with store.open("rb") as file:
        start = file.read(len(HEADER))
    if not start:
        raise Corrupt(cannot(f'open "{store}"', "it is empty, and a store never is"))
    if start != HEADER:
        raise Corrupt(cannot(f'open "{store}"', "it does not begin as a store does"))


def check(db: apsw.Connection, store: Path, limits: Limits) -> None:
    """Raises `Corrupt` or `WrongVersion` unless `db` holds a sound store of ours."""
    if number(db, "PRAGMA application_id") != APPLICATION_ID:
        raise Corrupt(cannot(f'open "{store}"', "it is a database of some other program"))
    version = number(db, "PRAGMA user_version")
    if version != VERSION:
        because = f"its format is {version}, and this program knows {VERSION}"
        raise WrongVersion(cannot(f'open "{store}"', because))
    if store.stat().st_size <= limits.check_bytes:
        found = db.execute("PRAGMA quick_check(1)").fetchall()
        if found != [("ok",)]:
            raise Corrupt(cannot(f'open "{store}"', f"it is damaged: {found[0][0]}"))
    tables = {name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    if not {"log", "live", "facts"} <= tables:
        raise Corrupt(cannot(f'open "{store}"', "it lacks tables of a store"))
    for name in ("floor", "compacted", "swept"):
        fact(db, name)


def number(db: apsw.Connection, query: str) -> int:
    value = db.execute(query).get
    assert isinstance(value, int)
    return value


def fact(db: apsw.Connection, name: str) -> int:
    """`floor`: the store was at least at this revision. `compacted`: history up to it is forgotten.
    `swept`: rows up to this position have had what compaction lets go removed."""
    value = db.execute("SELECT number FROM facts WHERE name = ?", (name,)).get
    if not isinstance(value, int):
        raise Corrupt(cannot("open the store", f'it does not say its "{name}"'))
    return value


def set_fact(db: apsw.Connection, name: str, value: int) -> None:
    db.execute("UPDATE facts SET number = ? WHERE name = ?", (value, name))


def latest_revision(db: apsw.Connection) -> int:
    """Of the newest row, or the one noted when rows were last compacted away."""
    newest = db.execute("SELECT max(position) FROM log").get
    floor = fact(db, "floor")
    return max(floor, newest >> SHIFT) if isinstance(newest, int) else floor


def sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_private(path: Path) -> None:
    """An empty file that only its owner reads: a store holds Secrets. SQLite's side files get its mode."""
    path.unlink(missing_ok=True)
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def _make(store: Path) -> None:
    new = store.with_name(store.name + ".new")
    wal_path(new).unlink(missing_ok=True)
    make_private(new)
    with translating(f'make "{store}"'):
        db = apsw.Connection(str(new), flags=apsw.SQLITE_OPEN_READWRITE)
        try:
            db.execute(f"PRAGMA auto_vacuum = {AUTO_VACUUM_INCREMENTAL}; PRAGMA journal_mode = WAL")
            with db:
                db.execute(TABLES)
                db.execute(f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {VERSION}")
                facts = (("floor", FIRST_REVISION), ("compacted", 0), ("swept", 0))
                db.executemany("INSERT INTO facts VALUES (?, ?)", facts)
        finally:
            db.close()
    new.rename(store)
    sync_directory(store.parent)


def _tune_writer(db: apsw.Connection, limits: Limits) -> None:
    db.execute(
        f"PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA mmap_size = 0;"
        f"PRAGMA cache_size = -{WRITER_CACHE_KIB}; PRAGMA journal_size_limit = {WAL_KEPT_BYTES};"
        f"PRAGMA cell_size_check = ON; PRAGMA trusted_schema = OFF"
    )
    if limits.max_pages:
        db.execute(f"PRAGMA max_page_count = {limits.max_pages}")
