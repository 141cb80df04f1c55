"""A bounded number of places, given to whoever is furthest along: a semaphore with ranks.

Work that goes through several stages in the same places would, first come first served, bring everything
through the first stage before anything leaves the last. Here the lower rank goes first, and among equals
whoever came first; so what has begun is finished before more is begun.

A place that is held longer than the patience is given on all the same: its holder hangs, on a filesystem that
never answers perhaps, and must not keep the others waiting.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Places:
    """`async with places.at(rank)`: one of `count` places; the lowest rank that waits goes first.

    `patience_seconds` after it was taken a place no longer counts as taken; None: it does for ever.
    """

    def __init__(self, count: int, patience_seconds: float | None = None) -> None:
        self._free = count
        self._patience_seconds = patience_seconds
        self._sequence = 0
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []

    @property
    def is_crowded(self) -> bool:
        """Whether somebody waits for a place."""
        return bool(self._waiting)

    @asynccontextmanager
    async def at(self, rank: int) -> AsyncIterator[None]:
        await self._take(rank)
        has_left = False

        def leave() -> None:
            nonlocal has_left
            if not has_left:
                has_left = True
                self._leave()

        loop, patience = asyncio.get_running_loop(), self._patience_seconds
        lapse = loop.call_later(patience, leave) if patience is not None else None
        try:
            yield
        finally:
            if lapse is not None:
                lapse.cancel()
            leave()

    async def _take(self, rank: int) -> None:
        if self._free:
            self._free -= 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sequence += 1
        heapq.heappush(self._waiting, (rank, self._sequence, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._leave()  # the place came in the very moment of the cancellation
            raise

    def _leave(self) -> None:
        """Hand the place on; those that were cancelled while they waited are passed over."""
        while self._waiting:
            _, _, turn = heapq.heappop(self._waiting)
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1
