"""Background processes: started detached, found again by pid and start time, stopped, waited for.

A process is named by its pid together with its start time, so that a pid used again is never mistaken. They
are children of nobody: once the command that started them has ended, init has them.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pykubelet.errors import CommandError
from pykubelet.instance.record import Component

_POLL_SECONDS = 0.01
KILL_SECONDS = 10.0
_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Process:
    """One line of the process table; `argv` is empty for kernel threads and zombies."""

    pid: int
    ppid: int
    state: str
    started_ticks: int
    argv: tuple[str, ...]

    @property
    def is_dead(self) -> bool:
        """A zombie runs no more, whether or not anyone has asked how it ended."""
        return self.state in "ZX"


def read_process(pid: int) -> Process | None:
    """None when it is gone."""
    try:
        stat = (_PROC / str(pid) / "stat").read_text()
        argv = (_PROC / str(pid) / "cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name in parentheses may itself hold spaces and parentheses.
    fields = stat[stat.rindex(")") + 2 :].split()
    words = tuple(argv.decode(errors="replace").rstrip("\0").split("\0")) if argv else ()
    return Process(pid, int(fields[1]), fields[0], int(fields[19]), words)


def all_processes() -> dict[int, Process]:
    found = (read_process(int(entry.name)) for entry in _PROC.iterdir() if entry.name.isdigit())
    return {process.pid: process for process in found if process is not None}


def descendants(pids: Iterable[int], among: Mapping[int, Process]) -> set[int]:
    """Everything below `pids`, without themselves (pure)."""
    start = {pid for pid in pids if pid in among}
    found = set(start)
    grown = True
    while grown:
        below = {process.pid for process in among.values() if process.ppid in found} - found
        grown = bool(below)
        found |= below
    return found - start


def program_beside(name: str, module: str) -> list[str]:
    """The words that run a program installed beside this command, by the same interpreter."""
    beside = Path(sys.executable).with_name(name)
    return [sys.executable, str(beside)] if beside.exists() else [sys.executable, "-m", module]


def start_detached(name: str, argv: Sequence[str], log: Path, env: Mapping[str, str]) -> Component:
    """Start a program in a session of its own, its output in `log`; the log before it is kept as `log.1`."""
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists():
        log.replace(log.with_name(f"{log.name}.1"))
    actions = (
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    )
    try:
        pid = os.posix_spawn(
            argv[0], list(argv), dict(env), file_actions=actions, setsid=True, setsigmask=(), setsigdef=()
        )
    except OSError as error:
        raise CommandError(f'cannot start "{argv[0]}": because {error.strerror}') from error
    process = read_process(pid)
    assert process is not None, "our own child is there until it is waited for"
    return Component(name=name, pid=pid, started_ticks=process.started_ticks)


def is_running(component: Component) -> bool:
    process = read_process(component.pid)
    if process is None or process.started_ticks != component.started_ticks:
        return False
    if process.is_dead:
        with suppress(ChildProcessError):
            os.waitpid(component.pid, os.WNOHANG)
        return False
    return True


def started_at(component: Component) -> datetime:
    """When it was started, by the clock of now; early by up to a tick (a hundredth of a second)."""
    up_seconds = float((_PROC / "uptime").read_text().split()[0])
    age_seconds = up_seconds - component.started_ticks / os.sysconf("SC_CLK_TCK")
    return datetime.now(UTC) - timedelta(seconds=age_seconds)


def rss_bytes(component: Component) -> int:
    """Resident memory, 0 when it does not run."""
    try:
        pages = int((_PROC / str(component.pid) / "statm").read_text().split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE") if is_running(component) else 0


def stop_process(component: Component, patience_seconds: float) -> str:
    """SIGTERM, and SIGKILL after `patience_seconds`; returns how it ended in a word or two."""
    if not is_running(component):
        return "did not run"
    with suppress(ProcessLookupError):
        os.kill(component.pid, signal.SIGTERM)
    deadline = time.monotonic() + patience_seconds
    while is_running(component):
        if time.monotonic() > deadline:
            kill_all([component.pid])
            return "killed"
        time.sleep(_POLL_SECONDS)
    return "stopped"


def kill_all(pids: Iterable[int]) -> None:
    """SIGKILL, and wait until none runs. CommandError when one does not die (stuck in the kernel)."""
    left = set(pids)
    for pid in left:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + KILL_SECONDS
    while left:
        found = {pid: read_process(pid) for pid in left}
        left = {pid for pid, process in found.items() if process is not None and not process.is_dead}
        if left and time.monotonic() > deadline:
            raise CommandError(f"cannot end processes {sorted(left)}: because they ignore SIGKILL")
        if left:
            time.sleep(_POLL_SECONDS)


def boot_id() -> str:
    return (_PROC / "sys/kernel/random/boot_id").read_text().strip()
