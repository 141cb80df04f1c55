"""Processes of a container that its runtime has lost sight of.

A runtime whose caller dies in the middle of a start may keep a task that it neither stops nor deletes
("cannot delete running task"). No CRI call helps; ending the processes does. They are found by their
cgroup, whose path bears the container's id in both hierarchies. Blocking: belongs in an executor.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterable
from pathlib import Path

_STUCK = re.compile(r"cannot delete running task ([0-9a-f]{64})")


def stuck_task(message: str) -> str:
    """The id of the task that a runtime's refusal names, "" when it is about something else (pure)."""
    found = _STUCK.search(message)
    return found[1] if found is not None else ""


def kill_processes_of(container_id: str, proc: Path = Path("/proc")) -> tuple[int, ...]:
    """SIGKILL every process in a cgroup named after the container; the pids."""
    pids = tuple(_processes_of(container_id, proc))
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue  # it has just ended by itself
    return pids


def _processes_of(container_id: str, proc: Path) -> Iterable[int]:
    for entry in proc.iterdir():
        if not entry.name.isdigit():
            continue
        try:
            cgroups = (entry / "cgroup").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue  # gone meanwhile
        if container_id in cgroups:
            yield int(entry.name)
