"""What a test session leaves on its host: a picture before, a picture after, and the difference in words.

Two ways to look. `Scope` names what this session owns by construction (its directory, its environment mark,
its bridges), and is right on a host that others use at the same time. Without a scope everything new counts,
which is right on a host that only runs the tests.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from tests.runtimes import host

MARK_VARIABLE = "PYKUBELET_TEST_SESSION"
"""Set in the session's environment: whatever it starts inherits it, except the inside of containers."""

# Without a scope only processes with these names count: cron, sshd and the like come and go on any host.
OUR_PROGRAMS = (
    "containerd",
    "containerd-shim",
    "containerd-shim-runc-v2",
    "runc",
    "catatonit",
    "pause",
    "busybox",
    "kubelet",
    "pykubelet",
    "docker-registry",
)

# Files that outlive processes, in places that no configuration moves.
SHARED_PLACES = (
    "/run/netns/*",
    "/run/containerd/s/*",
    "/run/containerd/runc/*/*",
    "/var/lib/cni/results/*",
    "/var/lib/cni/networks/*",
    "/var/lib/kubelet/*",
    "/var/lib/pykubelet/*",
    "/run/pykubelet/*",
    "/var/log/pods/*",
    "/tmp/pkt*",
)


@dataclass(frozen=True, slots=True)
class Scope:
    """What belongs to one session: `mark` in the environment, paths at and below `base`, link names."""

    mark: str
    base: Path
    links: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class HostState:
    """Names of what is there, by kind of thing."""

    things: dict[str, frozenset[str]] = field(default_factory=dict)


def picture(scope: Scope | None = None) -> HostState:
    """What is on the host now; with a scope, only what that session owns."""
    mine = _is_within(scope)
    seen: dict[str, Iterable[str]] = {
        "process": _processes(scope),
        "mount": (point for point in host.mount_points() if mine(point)),
        "link": (name for name in host.links() if scope is None or name in scope.links),
        "file": (path for path in _files() if mine(path)),
    }
    if scope is None:
        seen["cgroup"] = (str(path) for path in host.cgroups())
        seen["nftables table"] = _tables()
    return HostState({kind: frozenset(names) for kind, names in seen.items()})


def leftovers(before: HostState, after: HostState) -> list[str]:
    """One line per thing that is there now and was not before."""
    return [
        f"{kind} {name}"
        for kind, names in after.things.items()
        for name in sorted(names - before.things.get(kind, frozenset()))
    ]


def _is_within(scope: Scope | None) -> Callable[[str], bool]:
    if scope is None:
        return lambda path: True
    base = str(scope.base)
    return lambda path: path == base or path.startswith(f"{base}/")


def _processes(scope: Scope | None) -> Iterable[str]:
    running = host.processes()
    own = set(_ancestry_of_self(running))
    for process in running.values():
        if process.state in "ZX" or process.pid in own or not process.argv:
            continue
        if scope is None:
            program = Path(process.argv[0]).name
            script = Path(process.argv[1]).name if len(process.argv) > 1 else ""
            counts = program in OUR_PROGRAMS or script in OUR_PROGRAMS
        else:
            counts = _has_mark(process.pid, scope.mark) or host.has_mount_below(process.pid, scope.base)
        if counts:
            yield f"{process.pid} ({process.started_ticks}): {' '.join(process.argv)}"


def _ancestry_of_self(running: dict[int, host.Process]) -> Iterable[int]:
    pid = os.getpid()
    while pid in running:
        yield pid
        pid = running[pid].ppid


def _has_mark(pid: int, mark: str) -> bool:
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False
    return f"{MARK_VARIABLE}={mark}".encode() in environment.split(b"\0")


def _files() -> Iterable[str]:
    for pattern in SHARED_PLACES:
        yield from (str(path) for path in Path("/").glob(pattern[1:]))


def _tables() -> Iterable[str]:
    if shutil.which("nft") is None:
        return
    listing = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=False)
    yield from listing.stdout.split("\n")[:-1]
