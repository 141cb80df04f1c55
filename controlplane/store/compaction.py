"""Forgetting history in the SQLite engine's file, in steps that each take the writer a few milliseconds.

`begin` decides: from then on reads and watches of what is forgotten are refused. `sweep` removes, a
hundred rows at a time, so that writes pass in between; a process that dies in the middle goes on from there.
`shrink` gives free pages back to the file system, but for a reserve that the next writes use up anyway.
"""

from __future__ import annotations

from collections.abc import Callable

import apsw

from controlplane.store.failures import translating
from controlplane.store.position import first_of
from controlplane.store.schema import fact, latest_revision, number, set_fact

SWEEP_ROWS = 100
SHRINK_PAGES = 100
RESERVE_PAGES = 512
"""2 MiB of free pages stay, and a quarter of the file."""


def begin(db: apsw.Connection, revision: int) -> None:
    """Make `revision` the oldest one that can be read, unless that is already a later one."""
    with translating("compact the store"), db:
        # Rows at the very end may go; what they said of the revision is noted first.
        set_fact(db, "floor", latest_revision(db))
        set_fact(db, "compacted", max(revision, fact(db, "compacted")))


def sweep(db: apsw.Connection) -> bool:
    """One step; false when nothing is left to remove."""
    swept = fact(db, "swept")
    end = first_of(fact(db, "compacted") + 1)
    if swept >= end:
        return False
    with translating("compact the store"), db:
        rows = "SELECT position FROM log WHERE position >= ? AND position < ? ORDER BY position"
        next_one = db.execute(f"{rows} LIMIT 1 OFFSET {SWEEP_ROWS}", (swept, end)).get
        until = next_one if isinstance(next_one, int) else end
        part = "WHERE position >= ? AND position < ?"
        bounds = (swept, until)
        db.execute(f"DELETE FROM log WHERE position IN (SELECT prev FROM log {part})", bounds)
        gone = f"SELECT key, position FROM log {part} AND value IS NULL"
        db.execute(f"DELETE FROM live WHERE (key, position) IN ({gone})", bounds)
        db.execute(f"DELETE FROM log {part} AND value IS NULL", bounds)
        set_fact(db, "swept", until)
    return until < end


def shrink(db: apsw.Connection) -> bool:
    """One step; false when no more pages should be given back."""
    with translating("shrink the store"):
        free = number(db, "PRAGMA freelist_count")
        spare = free - max(RESERVE_PAGES, number(db, "PRAGMA page_count") // 4)
        if spare > 0:
            db.execute(f"PRAGMA incremental_vacuum({min(spare, SHRINK_PAGES)})").fetchall()
    return spare > SHRINK_PAGES


Step = Callable[[apsw.Connection], bool]
