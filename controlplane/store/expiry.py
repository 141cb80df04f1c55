"""Deletes what has outlived its TTL, for any engine; asleep while nothing has one.

Mechanism: one task sleeps until the next expiry that it knows of, no more often than every `PAUSE_SECONDS`,
then deletes what is due as any client would, expecting the revision it saw: a key written in between stays.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from aio import log
from aio.clock import Clock
from controlplane.store.errors import Conflict, NotFound, Unavailable

LOG = log.get(__name__)
PAUSE_SECONDS = 5.0
"""Expiries are gathered for this long, so that a stream of Events is deleted in batches."""
BATCH = 100


class Due(NamedTuple):
    """Keys that have expired, each with its revision, and when the next of the others will (unix seconds)."""

    keys: Sequence[tuple[str, int]]
    next_expiry: float | None


FindDue = Callable[[float, int], Awaitable[Due]]
DeleteKey = Callable[[str, int], Awaitable[object]]


class Expiry:
    """`find_due(now, limit)` and `delete(key, expected_mod_revision)` are the engine's."""

    def __init__(self, clock: Clock, find_due: FindDue, delete: DeleteKey) -> None:
        self._clock = clock
        self._find_due = find_due
        self._delete = delete
        self._next: float | None = None
        self._changed = asyncio.Event()

    def noted(self, expires: float) -> None:
        """A record with an expiry was written."""
        if self._next is None or expires < self._next:
            self._next = expires
            self._changed.set()

    async def run(self) -> None:
        """For ever; a store that cannot write now is tried again."""
        while True:
            try:
                await self.expire_due()
            except Unavailable as problem:
                LOG.warning("Cannot delete expired records now", err=problem)
                self.noted(self._clock.wall())
            await self._clock.sleep(PAUSE_SECONDS)
            await self._until_next()

    async def expire_due(self) -> int:
        """Delete everything that is due now; how many keys that was."""
        deleted = 0
        while True:
            self._next = None
            due = await self._find_due(self._clock.wall(), BATCH)
            if due.next_expiry is not None:
                self.noted(due.next_expiry)
            results = await asyncio.gather(
                *(self._delete(key, revision) for key, revision in due.keys), return_exceptions=True
            )
            for result in results:
                if isinstance(result, BaseException) and not isinstance(result, Conflict | NotFound):
                    raise result
            deleted += len(due.keys)
            if len(due.keys) < BATCH:
                return deleted

    async def _until_next(self) -> None:
        """Return when the next known expiry has come; an earlier one that is noted meanwhile counts."""
        while True:
            self._changed.clear()
            left = None if self._next is None else self._next - self._clock.wall()
            if left is not None and left <= 0:
                return
            try:
                async with asyncio.timeout(left):
                    await self._changed.wait()
            except TimeoutError:
                continue
