"""A simulated process: runs a program on the event loop's timers, so it costs nothing while it waits.

It knows signals as a container's process does: KILL always ends it (137), TERM does what the program's trap
says, is ignored by PID 1 of a namespace without a trap, and ends any other process without one (143).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from cri.fake.behaviour import FOREVER, Exit, Program, Say, Trap, Wait

KILLED_CODE = 137  # 128 + SIGKILL
TERMINATED_CODE = 143  # 128 + SIGTERM


class Process:
    """Started by `start()`; `on_exit(code)` is called once, `on_output(stream, text)` as it writes."""

    def __init__(
        self,
        program: Program,
        *,
        is_init: bool,
        on_exit: Callable[[int], None],
        on_output: Callable[[str, bytes], None],
    ) -> None:
        self._program = program
        self._is_init = is_init
        self._on_exit = on_exit
        self._on_output = on_output
        self._has_handler, self._term_code = program.has_handler, program.on_term
        self._is_term_pending = False
        self._is_waiting_deferred = False
        self._next = 0
        self._timer: asyncio.TimerHandle | None = None
        self._exited: asyncio.Event = asyncio.Event()
        self.exit_code: int | None = None

    @property
    def is_running(self) -> bool:
        return self.exit_code is None

    def start(self) -> None:
        """Take the first steps now: a program that does not wait has exited when this returns."""
        self._step()

    async def wait(self) -> int:
        await self._exited.wait()
        assert self.exit_code is not None
        return self.exit_code

    def kill(self, code: int = KILLED_CODE) -> None:
        self._finish(code)

    def terminate(self) -> None:
        """TERM, as the kernel and the program's own trap decide."""
        if not self.is_running:
            return
        if not self._has_handler:
            if not self._is_init:
                self._finish(TERMINATED_CODE)
        elif self._is_waiting_deferred:
            self._is_term_pending = True
        elif self._term_code is not None:
            self._finish_after(self._program.term_seconds, self._term_code)

    def _step(self) -> None:
        self._timer, self._is_waiting_deferred = None, False
        steps = self._program.steps
        while self.is_running:
            if self._is_term_pending and self._term_code is not None:
                self._finish(self._term_code)
                return
            if self._next >= len(steps):
                self._finish(0)
                return
            step = steps[self._next]
            self._next += 1
            match step:
                case Say(text=text, stream=stream):
                    self._on_output(stream, text)
                case Trap(exit_code=code):
                    self._has_handler, self._term_code = True, code
                case Exit(code=code):
                    self._finish(code)
                case Wait(seconds=seconds, defers_traps=defers):
                    if seconds <= 0:
                        continue
                    self._is_waiting_deferred = defers
                    if seconds != FOREVER:
                        self._timer = asyncio.get_running_loop().call_later(seconds, self._step)
                    return

    def _finish_after(self, seconds: float, code: int) -> None:
        if seconds <= 0:
            self._finish(code)
            return
        self._term_code = None  # a second TERM changes nothing
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, self._finish, code)

    def _finish(self, code: int) -> None:
        if not self.is_running:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.exit_code = code
        self._exited.set()
        self._on_exit(code)
