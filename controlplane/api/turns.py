"""Turns: whoever changes the same object does it one after the other, in the order of coming.

Without them a change that others disturb is made again, and of many at once all but one are disturbed each
time: the work grows with the square, and the unlucky are refused although they named no version.
Promise: nothing is kept of an object that nobody changes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Turns:
    def __init__(self) -> None:
        self._locks: dict[str, asyncio.Lock] = {}
        self._waiting: dict[str, int] = {}

    @asynccontextmanager
    async def of(self, key: str) -> AsyncIterator[None]:
        """While it is held nobody else holds the turn of this key."""
        lock = self._locks.get(key)
        if lock is None:
            lock = self._locks[key] = asyncio.Lock()
        self._waiting[key] = self._waiting.get(key, 0) + 1
        try:
            async with lock:
                yield
        finally:
            self._waiting[key] -= 1
            if not self._waiting[key]:
                del self._waiting[key], self._locks[key]

    def __len__(self) -> int:
        """Keys that somebody holds or waits for."""
        return len(self._locks)
