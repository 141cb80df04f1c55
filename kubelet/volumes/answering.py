"""Whether a filesystem of somebody else's answers, asked through a child process.

A look at a path on NFS, FUSE and their like may never come back, and a thread that waits in the kernel keeps
even a killed process from ending. So before anything of ours touches such a path a child looks at it: one
that does not answer in time is killed, or left behind when it cannot be killed, and its volume is refused
until somebody answers. At most one child per mount waits at any time. Paths on local filesystems cost one
read of the mount table.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path

from kubelet.volumes.mountinfo import parse_mountinfo
from kubelet.volumes.plugin import VolumeError

ANSWER_SECONDS = 3.0
GIVE_UP_SECONDS = 60  # a child that can be killed ends by itself, also when the agent has gone
MOST_LINKS = 40  # path_resolution(7)
REMOTE_TYPES = frozenset(
    ("9p", "afs", "autofs", "beegfs", "ceph", "cifs", "coda", "fuse", "gfs2", "glusterfs", "lustre", "ncpfs",
     "nfs", "nfs4", "ocfs2", "orangefs", "smb3", "smbfs", "virtiofs")
)  # fmt: skip
_LOOK = "import os, signal, sys; signal.alarm(int(sys.argv[2])); os.stat(sys.argv[1])"


def remote_mounts(mountinfo: str) -> dict[str, str]:
    """Type by mount point of the filesystems that others serve (pure)."""
    found = {}
    for line in mountinfo.split("\n"):
        kind = line.partition(" - ")[2].partition(" ")[0]
        if kind.partition(".")[0] in REMOTE_TYPES:
            (mount,) = parse_mountinfo(line)
            found[mount.path] = kind
    return found


def first_remote(path: str, mounts: Collection[str], readlink: Callable[[str], str | None]) -> str | None:
    """The first of `mounts` that a walk along `path` enters, links included (pure).

    `readlink` is never asked about anything at or below one of them.
    """
    walked, rest, links = "", deque(_parts(path)), 0
    while rest:
        part = rest.popleft()
        if part == "..":
            walked = walked.rpartition("/")[0]
            continue
        step = f"{walked}/{part}"
        if step in mounts:
            return step
        target = readlink(step)
        if target is None:
            walked = step
            continue
        links += 1
        if links > MOST_LINKS:
            return None  # looking at it fails at once
        rest.extendleft(reversed(_parts(target)))
        if target.startswith("/"):
            walked = ""
    return None


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]


@dataclass(slots=True)
class _Look:
    child: subprocess.Popen[bytes]
    since: float


@dataclass(slots=True)
class Answering:
    """Blocking, for threads. `mountinfo` gives the text of the mount table."""

    mountinfo: Callable[[], str] = lambda: Path("/proc/self/mountinfo").read_text("utf-8", "surrogateescape")
    answer_seconds: float = ANSWER_SECONDS
    _looks: dict[str, _Look] = field(default_factory=dict)  # by mount point
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def check(self, path: str) -> None:
        """Return when the filesystem of `path` is local or answers, whatever it answers. VolumeError."""
        mounts = remote_mounts(self.mountinfo())
        where = first_remote(path, mounts, _readlink) if mounts else None
        if where is None:
            return
        look = self._look(where, path)
        try:
            look.child.wait(max(0.0, look.since + self.answer_seconds - time.monotonic()))
        except subprocess.TimeoutExpired:
            look.child.kill()
        else:
            if look.child.returncode >= 0:  # below: killed by us or by its own alarm
                return
        waited = time.monotonic() - look.since
        raise VolumeError(
            f'cannot use "{path}": because the {mounts[where]} filesystem at "{where}" has not answered '
            f"for {waited:.0f}s"
        )

    def _look(self, where: str, path: str) -> _Look:
        """The child that waits for this mount already, or a new one."""
        with self._lock:
            look = self._looks.get(where)
            if look is None or look.child.poll() is not None:
                command = [sys.executable, "-I", "-S", "-c", _LOOK, path, str(GIVE_UP_SECONDS)]
                child = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
                )
                look = self._looks[where] = _Look(child, time.monotonic())
            return look


def _readlink(path: str) -> str | None:
    try:
        return os.readlink(path)  # noqa: PTH115 - the target is text, not a path here
    except OSError:
        return None
