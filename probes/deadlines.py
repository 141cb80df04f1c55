"""One heap of deadlines on the event loop: a single timer, however many items wait.

Due items are handed out a few per turn of the loop, so that a hundred that are due at once (the agent has
just started) do not hold up everybody else.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from aio.clock import Clock

K = TypeVar("K", bound=Hashable)

FIRED_PER_TURN = 16
EARLY_SECONDS = 0.0005  # an event loop's timers are rounded to a millisecond: closer than this is due


class DeadlineHeap(Generic[K]):
    """At most one deadline per key, on the clock's monotonic scale. `fire(key, due)` must not block."""

    def __init__(self, clock: Clock, fire: Callable[[K, float], None]) -> None:
        self._clock = clock
        self._fire = fire
        self._heap: list[tuple[float, int, K]] = []
        self._due: dict[K, tuple[float, int]] = {}
        self._sequence = 0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due = 0.0

    def set(self, key: K, due: float) -> None:
        """Replace the deadline of `key`."""
        self._sequence += 1
        self._due[key] = (due, self._sequence)
        heapq.heappush(self._heap, (due, self._sequence, key))
        self._arm()

    def discard(self, key: K) -> None:
        self._due.pop(key, None)

    def due_of(self, key: K) -> float | None:
        entry = self._due.get(key)
        return entry[0] if entry is not None else None

    def __len__(self) -> int:
        return len(self._due)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._heap.clear()
        self._due.clear()

    def _drop_stale(self) -> None:
        """Entries that were replaced or discarded stay in the heap until they come up."""
        heap = self._heap
        while heap and self._due.get(heap[0][2]) != heap[0][:2]:
            heapq.heappop(heap)

    def _arm(self) -> None:
        self._drop_stale()
        if not self._heap:
            return
        due = self._heap[0][0]
        if self._timer is not None:
            if self._timer_due <= due:
                return
            self._timer.cancel()
        self._timer_due = due
        delay = max(0.0, due - self._clock.monotonic())
        self._timer = asyncio.get_running_loop().call_later(delay, self._turn)

    def _turn(self) -> None:
        self._timer = None
        limit = self._clock.monotonic() + EARLY_SECONDS
        for _ in range(FIRED_PER_TURN):
            self._drop_stale()
            if not self._heap or self._heap[0][0] > limit:
                break
            due, _sequence, key = heapq.heappop(self._heap)
            del self._due[key]
            self._fire(key, due)
        self._arm()
