"""What starting the components of an instance has in common: their ports, and the wait for each process, that
may also end or never answer.
"""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass
from pathlib import Path

from pykubelet.errors import CommandError
from pykubelet.instance.facts import free_port, is_port_taken
from pykubelet.instance.layout import Layout
from pykubelet.instance.processes import is_running
from pykubelet.instance.record import Component

LOOK_AGAIN_SECONDS = 0.02
LOG_TAIL_LINES = 15
LOG_TAIL_BYTES = 1 << 16


def choose_port(layout: Layout, before: int, usual: int, address: str) -> int:
    """The one used before, the usual one for the usual instance, else any that is free."""
    wanted = before or (usual if layout.is_default else 0)
    return wanted if wanted and not is_port_taken(wanted, address) else free_port(address)


@dataclass(frozen=True, slots=True)
class Start:
    """A process that was started and does not answer yet. `what` is its name in sentences, `seconds` how long
    it may take, of which `deadline` is the end (monotonic)."""

    what: str
    component: Component
    log: Path
    seconds: float
    deadline: float

    @classmethod
    def now(cls, what: str, component: Component, log: Path, seconds: float) -> Start:
        return cls(what, component, log, seconds, time.monotonic() + seconds)

    async def look_again(self) -> None:
        """Wait a moment. CommandError with the end of the log when it has ended, or takes too long."""
        is_alive = is_running(self.component)
        if not is_alive or time.monotonic() > self.deadline:
            how = f"was not ready in {self.seconds:g} s" if is_alive else "ended"
            raise CommandError(
                f"cannot start {self.what}: because it {how}; the end of its log:\n{log_tail(self.log)}"
            )
        await asyncio.sleep(LOOK_AGAIN_SECONDS)


def log_tail(path: Path) -> str:
    """The last lines of a log, indented; says so when there is none."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - LOG_TAIL_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
    except FileNotFoundError:
        return f'  (there is no "{path}")'
    return "\n".join(f"  {line}" for line in lines[-LOG_TAIL_LINES:])
