"""An asyncio event loop whose time jumps: whole loops are tested in microseconds, in a repeatable order.

Nothing ready to run means the loop may jump to its next timer. Work outside the loop (a thread, a real
socket) has no virtual duration: while a thread's call is counted by `outside_work`, the loop waits for it
in real time, but no longer than `patience` seconds, after which virtual time goes on (a call that hangs
for ever is then seen by whatever time-out the code under test has). A loop that has neither timers nor
outside work can never wake again: that is reported as `Stuck` instead of hanging the test.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from typing import Any, TypeVar, TypeVarTuple

from aio.clock import VirtualClock

T = TypeVar("T")
R = TypeVar("R")
Ts = TypeVarTuple("Ts")
START_SECONDS = 1000.0
PATIENCE_SECONDS = 0.5


class Stuck(AssertionError):
    """Every task waits for something that nothing left in this loop can bring."""


class LeakedTasks(AssertionError):
    """The scenario ended and left tasks running."""


class _JumpingSelector(selectors.DefaultSelector):
    """Polls the real descriptors; where nothing is ready, turns waiting into a jump of the loop's time."""

    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        if self.loop.waits_for_outside(is_timer_set=timeout is not None):
            ready = super().select(self.loop.patience)
            if ready:
                return ready
        if timeout is None:
            if self.loop.outside_work:
                return super().select(None)
            raise Stuck("no timer is set and nothing is ready: the tasks wait for each other")
        self.loop.jump(timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """`time()` starts at 1000 s and moves only by jumps to the next timer."""

    def __init__(self, *, patience: float = PATIENCE_SECONDS) -> None:
        selector = _JumpingSelector()
        selector.loop = self
        self._virtual_now = START_SECONDS
        self._outside_work = 0
        self._out_of_patience = False
        self.patience = patience
        super().__init__(selector)
        # asyncio asks whether a timer is due at time() + this; after months a nanosecond is lost in rounding.
        self._clock_resolution = 1e-6

    def time(self) -> float:
        return self._virtual_now

    @property
    def outside_work(self) -> int:
        """Calls under way in threads; whoever starts and ends them keeps count."""
        return self._outside_work

    @outside_work.setter
    def outside_work(self, count: int) -> None:
        self._outside_work = count
        self._out_of_patience = False

    def waits_for_outside(self, *, is_timer_set: bool) -> bool:
        """True once per change of `outside_work`: a call that hangs costs one wait, not one per timer."""
        if not is_timer_set:
            return True
        patient = self._outside_work > 0 and not self._out_of_patience
        self._out_of_patience = patient or self._out_of_patience
        return patient

    def jump(self, seconds: float) -> None:
        self._virtual_now += seconds

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*Ts], R], *args: *Ts
    ) -> asyncio.Future[R]:
        future = super().run_in_executor(executor, func, *args)
        self.outside_work += 1
        future.add_done_callback(lambda _: self._outside_work_done())
        return future

    def _outside_work_done(self) -> None:
        self.outside_work -= 1


def run(scenario: Callable[[VirtualClock], Awaitable[T]], *, patience: float = PATIENCE_SECONDS) -> T:
    """Run `scenario(clock)` in a fresh virtual loop and return its result.

    Raises `LeakedTasks` when the scenario succeeds but leaves tasks behind; they are cancelled either way.
    """
    loop = VirtualLoop(patience=patience)
    asyncio.set_event_loop(loop)
    try:
        main: asyncio.Future[T] = asyncio.ensure_future(scenario(VirtualClock(loop)), loop=loop)
        try:
            result = loop.run_until_complete(main)
        finally:
            leaked = [task for task in asyncio.all_tasks(loop) if task is not main]
            _drop(loop, [*leaked, main])
        if leaked:
            raise LeakedTasks("left running: " + ", ".join(sorted(task.get_name() for task in leaked)))
        return result
    finally:
        asyncio.set_event_loop(None)
        loop.close()


def _drop(loop: VirtualLoop, tasks: list[asyncio.Future[Any]]) -> None:
    pending = [task for task in tasks if not task.done()]
    for task in pending:
        task.cancel()
    if pending:
        loop.run_until_complete(asyncio.wait(pending, timeout=60))
    loop.run_until_complete(loop.shutdown_asyncgens())
