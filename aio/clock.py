"""Time as a value somebody hands in: `Clock`, the system's, and one that follows a virtual event loop.

`monotonic()` is for durations and never steps; `wall()` and `now()` are the calendar. On both clocks
`monotonic()` equals the running loop's own time scale, so `loop.call_at` and a clock may be mixed.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Protocol

DEFAULT_EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


class Clock(Protocol):
    """What time it is, and how to wait."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary fixed moment."""
        ...

    def wall(self) -> float:
        """Unix seconds."""
        ...

    def now(self) -> datetime:
        """The same moment as `wall()`, aware, in UTC."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait; zero or less yields once."""
        ...


class SystemClock:
    """The host's clocks."""

    def monotonic(self) -> float:
        return time.monotonic()

    def wall(self) -> float:
        return time.time()

    def now(self) -> datetime:
        return datetime.now(UTC)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))


class VirtualClock:
    """A clock that reads the time of `loop` (see `aio.virtual.VirtualLoop`) and a calendar set by tests.

    `step_wall` moves the calendar alone, as NTP or an operator does; durations do not notice.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, *, epoch: datetime = DEFAULT_EPOCH) -> None:
        self._loop = loop
        self._offset = epoch.timestamp() - loop.time()

    def monotonic(self) -> float:
        return self._loop.time()

    def wall(self) -> float:
        return self._loop.time() + self._offset

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.wall(), UTC)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))

    def step_wall(self, seconds: float) -> None:
        self._offset += seconds
