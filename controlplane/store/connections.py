"""The connections and threads of an open SQLite store: one that writes, two that read.

One reading thread is for single keys and one for listings, history and backups, so that the long ones do not
hold up the short. Each connection is used by its own thread alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, Concatenate, NamedTuple, ParamSpec, TypeVar

import apsw

from controlplane.store.errors import Closed
from controlplane.store.failures import translating
from controlplane.store.lane import Call, Caller, Lane
from controlplane.store.schema import Limits, fact, latest_revision, open_or_make, open_reader
from controlplane.store.writer import Outcome, Task, Write, Writer

P = ParamSpec("P")
T = TypeVar("T")
WRITES_AT_ONCE = 128
"""Transactions of one commit at most."""


class Opened(NamedTuple):
    writing: apsw.Connection
    reading_keys: apsw.Connection
    reading_ranges: apsw.Connection
    revision: int
    compacted: int


def open_all(path: Path, limits: Limits) -> Opened:
    """Blocks. Raises what `open_or_make` does."""
    dbs = [open_or_make(path, limits)]
    try:
        dbs += [open_reader(path), open_reader(path)]
        with translating(f'open "{path}"'):
            return Opened(dbs[0], dbs[1], dbs[2], latest_revision(dbs[0]), fact(dbs[0], "compacted"))
    except BaseException:
        for db in dbs:
            db.close()
        raise


class Connections:
    """`publish` gets every outcome of the writer, in order, on the event loop."""

    def __init__(self, opened: Opened, publish: Callable[[Outcome], None], *, idle_seconds: float) -> None:
        self._opened = opened
        self._keys = Caller("store-keys")
        self._ranges = Caller("store-ranges")
        self._writes: Lane[Task] = Lane(
            "store-writer",
            lambda tasks: writer.serve(tasks),
            most=WRITES_AT_ONCE,
            idle=lambda: writer.idle(),
            idle_seconds=idle_seconds,
        )
        self._is_closing = False
        writer = Writer(opened.writing, opened.revision, self._writes.post, publish)

    def submit(self, write: Write) -> None:
        """Its future gets `Committed`, or the error that it met."""
        self._refuse_when_closing()
        self._writes.submit(write)

    async def in_writer(self, function: Callable[[apsw.Connection], T]) -> T:
        """Run `function` between two commits, outside any transaction."""
        self._refuse_when_closing()
        return await self._in_writer(function)

    async def _in_writer(self, function: Callable[[apsw.Connection], T]) -> T:
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._writes.submit(Call(lambda: function(self._opened.writing), future))
        return await future

    async def read_key(
        self, function: Callable[Concatenate[apsw.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        self._refuse_when_closing()
        return await self._keys.run(_read, function, self._opened.reading_keys, args, kwargs)

    async def read_range(
        self, function: Callable[Concatenate[apsw.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        self._refuse_when_closing()
        return await self._ranges.run(_read, function, self._opened.reading_ranges, args, kwargs)

    async def close(self) -> None:
        """Everything asked before is done first; the file is then alone, without a write-ahead log."""
        self._is_closing = True
        await self._keys.run(self._opened.reading_keys.close)
        await self._ranges.run(self._opened.reading_ranges.close)
        await self._keys.stop()
        await self._ranges.stop()
        try:
            await self._in_writer(lambda db: db.close())
        finally:
            await self._writes.stop()

    def _refuse_when_closing(self) -> None:
        if self._is_closing:
            raise Closed("the store is closed")


def _read(function: Callable[..., T], db: apsw.Connection, args: Any, kwargs: Any) -> T:
    with translating("read the store"):
        return function(db, *args, **kwargs)
