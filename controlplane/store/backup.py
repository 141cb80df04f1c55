"""Copies of the SQLite engine's file: taken while it is written to, and put in its place while it is not.

A backup is one file, complete and compact, made aside and renamed. Restoring moves the store forward to a new
revision and forgets history up to it, so that a client whose watch or listing is from the time before is told
to list anew instead of seeing revisions run backwards.
"""

from __future__ import annotations

import os
from pathlib import Path

import apsw

from aio import log
from controlplane.store.errors import StoreError
from controlplane.store.failures import translating
from controlplane.store.lock import StoreLock
from controlplane.store.schema import (
    Limits,
    check,
    check_header,
    latest_revision,
    make_private,
    open_reader,
    set_fact,
    sync_directory,
    wal_path,
)

LOG = log.get(__name__)
JUMP_WHEN_UNKNOWN = 1_000_000_000
"""Revisions skipped when the replaced store cannot say how far it was: as etcd's guide has it."""
ALL_BYTES = 1 << 62


def write_to(db: apsw.Connection, target: Path) -> None:
    """Copy the store that `db` reads to the file `target`, as of one moment. Blocks."""
    part = target.with_name(target.name + ".part")
    try:
        _copy(db, part)
        part.rename(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    sync_directory(target.parent)


def backup_file(store: Path, target: Path) -> None:
    """The same for the store in the file `store`, whether a process has it open or not. Blocks."""
    db = _open_checked(store, check_bytes=0)
    try:
        write_to(db, target)
    finally:
        db.close()


def restore_file(source: Path, store: Path) -> int:
    """Put the backup `source` in the place of the store in the file `store`; the new revision. Blocks.

    What was there is kept beside it, as `NAME.replaced`. Raises `InUse` while a process has it open, and
    `Corrupt` or `WrongVersion` for a backup that is not whole; then nothing has changed. A process that dies
    in the middle leaves the one or the other, never none.
    """
    lock = StoreLock(store)
    new = store.with_name(store.name + ".new")
    try:
        backup = _open_checked(source, check_bytes=ALL_BYTES)
        try:
            _copy(backup, new)
        finally:
            backup.close()
        revision = _move_forward(new, _last_revision(store))
        _set_aside(store)
        new.rename(store)
        sync_directory(store.parent)
        return revision
    finally:
        new.unlink(missing_ok=True)
        lock.release()


def replaced_path(store: Path) -> Path:
    return store.with_name(store.name + ".replaced")


def _open_checked(store: Path, *, check_bytes: int) -> apsw.Connection:
    check_header(store)
    db = open_reader(store)
    try:
        with translating(f'read "{store}"'):
            check(db, store, Limits(check_bytes=check_bytes))
    except BaseException:
        db.close()
        raise
    return db


def _copy(db: apsw.Connection, target: Path) -> None:
    """A whole, compact copy in a file of its own, on stable storage."""
    make_private(target)
    with translating(f'write "{target}"'):
        db.execute("VACUUM INTO ?", (str(target),))
    with target.open("rb") as file:
        os.fsync(file.fileno())


def _move_forward(store: Path, last: int | None) -> int:
    """Give a store that nobody uses a revision later than its own and than `last`, and no history."""
    with translating(f'write "{store}"'):
        db = apsw.Connection(str(store), flags=apsw.SQLITE_OPEN_READWRITE)
        try:
            own = latest_revision(db)
            revision = own + JUMP_WHEN_UNKNOWN if last is None else max(own, last) + 1
            with db:
                set_fact(db, "floor", revision)
                set_fact(db, "compacted", revision)
        finally:
            db.close()
    return revision


def _last_revision(store: Path) -> int | None:
    """Of the store to be replaced; None when there is none, or it cannot say. Its log is copied back."""
    if not store.exists():
        return None
    try:
        check_header(store)
        with translating(f'read "{store}"'):
            db = apsw.Connection(str(store), flags=apsw.SQLITE_OPEN_READWRITE)
            try:
                check(db, store, Limits(check_bytes=0))
                return latest_revision(db)
            finally:
                db.close()
    except StoreError as problem:
        LOG.warning("The store to be replaced cannot be read", err=problem)
        return None


def _set_aside(store: Path) -> None:
    """Keep the files of the old store under another name; the old file itself stays until it is replaced."""
    aside = replaced_path(store)
    for old, kept in ((store, aside), (wal_path(store), wal_path(aside))):
        kept.unlink(missing_ok=True)
        if old.exists():
            os.link(old, kept)
    wal_path(store).unlink(missing_ok=True)
    store.with_name(store.name + "-shm").unlink(missing_ok=True)
