"""A debug monitor that reports what kept the event loop from turning.

A watchdog thread asks the loop for a sign of life every `interval`; when none comes within `threshold` it
takes the loop thread's stack, waits for the sign, and records how long that took and where the loop was. It
costs a wake-up per interval, so it is off unless somebody starts it. Stalls are kept in a bounded list.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

THRESHOLD_SECONDS = 0.010  # the design's limit for one turn of the loop
INTERVAL_SECONDS = 0.010
KEPT_STALLS = 100


@dataclass(frozen=True, slots=True)
class Stall:
    """`stack` is innermost last, as in a traceback; taken once, when the threshold had passed."""

    seconds: float
    at_wall: float
    stack: tuple[str, ...]


class StallMonitor:
    """Watches the loop it is started on. `report` is called on the watchdog's thread."""

    def __init__(
        self,
        *,
        threshold: float = THRESHOLD_SECONDS,
        interval: float = INTERVAL_SECONDS,
        report: Callable[[Stall], None] | None = None,
    ) -> None:
        self._threshold = threshold
        self._interval = interval
        self._report = report
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.stalls: deque[Stall] = deque(maxlen=KEPT_STALLS)

    def start(self) -> None:
        """Begin watching; call it on the loop's own thread."""
        loop = asyncio.get_running_loop()
        self._stop.clear()
        self._thread = threading.Thread(
            target=self._watch, args=(loop, threading.get_ident()), name="stall-monitor", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end; it does so within an interval, and never later than the loop's next turn."""
        self._stop.set()
        self._thread = None

    def _watch(self, loop: asyncio.AbstractEventLoop, loop_thread: int) -> None:
        while not self._stop.wait(self._interval):
            alive = threading.Event()
            asked = time.perf_counter()
            try:
                loop.call_soon_threadsafe(alive.set)
            except RuntimeError:  # the loop is closed: nothing left to watch
                return
            if alive.wait(self._threshold):
                continue
            stack = _stack_of(loop_thread)
            while not alive.wait(0.1):
                if self._stop.is_set() or loop.is_closed():
                    return
            stall = Stall(time.perf_counter() - asked, time.time(), stack)
            self.stalls.append(stall)
            if self._report is not None:
                self._report(stall)


def _stack_of(thread: int) -> tuple[str, ...]:
    frame = sys._current_frames().get(thread)
    if frame is None:
        return ()
    return tuple(f"{f.filename}:{f.lineno} {f.name}" for f in traceback.extract_stack(frame))
