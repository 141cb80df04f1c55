"""What the figures depend on: the machine, its load, the commit; and what a process costs (from /proc)."""

from __future__ import annotations

import os
import platform
import subprocess
from dataclasses import dataclass
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
MIB = 1 << 20


def facts() -> dict[str, str]:
    """Machine and commit in a few words."""
    cpu = next(
        (line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
         if line.startswith("model name")), platform.machine(),
    )  # fmt: skip
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / (1 << 30)
    return {
        "cpu": f"{os.cpu_count()} x {cpu}",
        "memory": f"{memory:.0f} GiB",
        "kernel": platform.release(),
        "python": platform.python_version(),
        "commit": commit(),
        "load before": f"{os.getloadavg()[0]:.1f}",
    }


def commit() -> str:
    """The commit that was measured, with "+" when files differ from it."""

    def git(*args: str) -> str:
        done = subprocess.run(["git", *args], capture_output=True, text=True, check=False)
        return done.stdout.strip()

    changed = git(
        "status", "--porcelain", "--untracked-files=no", "--", ":!bench/RESULTS.md", ":!bench/*.json"
    )
    return (git("rev-parse", "--short=10", "HEAD") or "unknown") + ("+" if changed else "")


def tree_of(pid: int) -> list[int]:
    """The process and everything below it."""
    found = [pid]
    for each in found:
        for task in Path(f"/proc/{each}/task").glob("*"):
            found += map(int, (task / "children").read_text().split())
    return found


def cpu_seconds(pid: int) -> float:
    """User and system time of the process and of its children, living and reaped."""
    total = 0
    for number, each in enumerate(tree_of(pid)):
        fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
        total += sum(map(int, fields[11:15] if number == 0 else fields[11:13]))
    return total / TICKS_PER_SECOND


@dataclass(frozen=True, slots=True)
class Memory:
    """Sums over a process and everything below it, in MiB."""

    rss: float
    pss: float
    anonymous: float
    processes: int
    threads: int


def memory(pid: int) -> Memory:
    totals = {"Rss": 0, "Pss": 0, "Anonymous": 0}
    tree = tree_of(pid)
    for each in tree:
        for line in Path(f"/proc/{each}/smaps_rollup").read_text().splitlines()[1:]:
            name, _, rest = line.partition(":")
            if name in totals:
                totals[name] += int(rest.split()[0]) * 1024
    threads = sum(len(list(Path(f"/proc/{each}/task").iterdir())) for each in tree)
    return Memory(
        totals["Rss"] / MIB, totals["Pss"] / MIB, totals["Anonymous"] / MIB, len(tree), threads
    )  # fmt: skip
