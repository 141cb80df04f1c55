"""What one host holds outside of files: processes, mounts, links, cgroups, and how to remove some of it.

Everything is read from /proc, /sys and the tools' machine-readable output, at the moment of the call.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

CAP_SYS_RESOURCE_BIT = 24  # linux/capability.h
CGROUP_ROOT = Path("/sys/fs/cgroup")
GONE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Process:
    pid: int
    ppid: int
    state: str
    started_ticks: int
    argv: tuple[str, ...]


def may_lower_oom_score() -> bool:
    """Whether this process holds CAP_SYS_RESOURCE."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> CAP_SYS_RESOURCE_BIT & 1)
    return False


def processes() -> dict[int, Process]:
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            process = read_process(int(entry.name))
            if process is not None:
                found[process.pid] = process
    return found


def read_process(pid: int) -> Process | None:
    """None when it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        argv = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name in parentheses may itself hold spaces and parentheses.
    fields = stat[stat.rindex(")") + 2 :].split()
    words = tuple(argv.decode(errors="replace").rstrip("\0").split("\0")) if argv else ()
    return Process(pid, int(fields[1]), fields[0], int(fields[19]), words)


def descendants(pids: Iterable[int], among: dict[int, Process]) -> set[int]:
    """`pids` and everything below them."""
    found = {pid for pid in pids if pid in among}
    grown = True
    while grown:
        below = {p.pid for p in among.values() if p.ppid in found} - found
        grown = bool(below)
        found |= below
    return found


def has_mount_below(pid: int, root: Path) -> bool:
    """Whether a process lives on a filesystem whose layers are below `root`, as a container of ours does."""
    try:
        return f"{root}/" in Path(f"/proc/{pid}/mountinfo").read_text().split("\n", 1)[0]
    except (FileNotFoundError, ProcessLookupError, PermissionError, OSError):
        return False


def kill_all(pids: Iterable[int]) -> None:
    """SIGKILL, and wait until none is left (a zombie that someone else must reap counts as gone)."""
    left = set(pids)
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + GONE_SECONDS
    while left:
        left = {pid for pid in left if (p := read_process(pid)) is not None and p.state not in "ZX"}
        if left and time.monotonic() > deadline:
            raise RuntimeError(f"processes {sorted(left)} did not die in {GONE_SECONDS} s")
        if left:
            time.sleep(0.01)


def mount_points(below: Path | None = None) -> list[str]:
    """Mount points in the order they were mounted, all of them or those at and below a path."""
    points = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        point = line.split(" ")[4].encode().decode("unicode_escape")
        if below is None or point == str(below) or point.startswith(f"{below}/"):
            points.append(point)
    return points


def unmount_below(root: Path) -> None:
    for point in reversed(mount_points(root)):
        subprocess.run(["umount", "--lazy", point], check=True, capture_output=True, text=True)


def links() -> set[str]:
    return {path.name for path in Path("/sys/class/net").iterdir()}


def delete_link(name: str) -> None:
    if name in links():
        subprocess.run(["ip", "link", "delete", name], check=True, capture_output=True, text=True)


def routed_subnets() -> str:
    return subprocess.run(["ip", "route"], check=True, capture_output=True, text=True).stdout


def cgroups() -> Iterator[Path]:
    """Every cgroup directory of every hierarchy, parents first."""
    for directory, below, _ in os.walk(CGROUP_ROOT):
        for name in below:
            yield Path(directory, name)


def remove_cgroups(ids: Iterable[str]) -> None:
    """Remove what containers of these ids left: `.../<id>` and systemd's `cri-containerd-<id>.scope`."""
    names = {name for id in ids for name in (id, f"cri-containerd-{id}.scope")}
    if not names:
        return
    for path in [path for path in cgroups() if path.name in names]:
        for inner, _, _ in os.walk(path, topdown=False):
            _remove_cgroup(Path(inner))


def remove_empty_cgroups(name: str) -> None:
    """Remove the cgroups of this name that hold no other; the rest stays as it is."""
    for path in [path for path in cgroups() if path.name == name]:
        if not any(inner.is_dir() for inner in path.iterdir()):
            _remove_cgroup(path)


def _remove_cgroup(path: Path) -> None:
    # The kernel needs a moment to notice that the last process has gone (EBUSY until then).
    deadline = time.monotonic() + GONE_SECONDS
    while True:
        try:
            path.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def iptables_rules_of(network: str) -> None:
    """Remove the DNAT chains that CNI's portmap plugin made for containers of one network."""
    if shutil.which("iptables-save") is None:
        return
    saved = subprocess.run(["iptables-save", "-t", "nat"], check=True, capture_output=True, text=True).stdout
    mark = f'dnat name: \\"{network}\\"'
    chains = set()
    for line in saved.splitlines():
        if mark in line and line.startswith("-A CNI-HOSTPORT-DNAT"):
            chains.add(line.rsplit(" ", 1)[1])
            _restore(["*nat", line.replace("-A ", "-D ", 1), "COMMIT"])
    for chain in sorted(chains):
        _restore(["*nat", f"-F {chain}", f"-X {chain}", "COMMIT"])


def _restore(lines: list[str]) -> None:
    subprocess.run(
        ["iptables-restore", "--noflush"],
        input="\n".join(lines) + "\n",
        check=True,
        capture_output=True,
        text=True,
    )
