"""mount(2) and umount2(2) through libc, without forking, and the mount table as this process sees it.

Every call blocks for as long as the filesystem does: call from the "mount" executor only. `Mounter` is the
protocol; `LinuxMounter` the real one. Nothing here follows a symlink at the last step of a target.
"""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from kubelet.volumes.mountinfo import MountPoint, parse_mountinfo

# <sys/mount.h>
MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_REMOUNT = 0x20
MS_BIND = 0x1000
MS_REC = 0x4000
MS_SHARED = 1 << 20
UMOUNT_NOFOLLOW = 0x8


@dataclass(frozen=True, slots=True)
class MountRequest:
    """Arguments of mount(2); `data` holds the filesystem's own options, comma separated."""

    source: str
    target: str
    fs_type: str = ""
    flags: int = 0
    data: str = ""


class Mounter(Protocol):
    def table(self, below: str = "") -> tuple[MountPoint, ...]:
        """Every mount this process sees, oldest first; at least those at or below `below`."""
        ...

    def mount(self, request: MountRequest) -> None:
        """Raises OSError."""
        ...

    def unmount(self, target: str) -> None:
        """Take the topmost mount off `target`. Raises OSError (EINVAL: it is no mount point)."""
        ...


class LinuxMounter:
    """The kernel, in the mount namespace of this process."""

    def __init__(self) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._mount = libc.mount
        self._mount.argtypes = (
            ctypes.c_char_p,
            ctypes.c_char_p,
            ctypes.c_char_p,
            ctypes.c_ulong,
            ctypes.c_char_p,
        )
        self._umount2 = libc.umount2
        self._umount2.argtypes = (ctypes.c_char_p, ctypes.c_int)

    def table(self, below: str = "") -> tuple[MountPoint, ...]:
        return parse_mountinfo(Path("/proc/self/mountinfo").read_text("utf-8", "surrogateescape"), below)

    def mount(self, request: MountRequest) -> None:
        done = self._mount(
            os.fsencode(request.source),
            os.fsencode(request.target),
            os.fsencode(request.fs_type) if request.fs_type else None,
            request.flags,
            os.fsencode(request.data) if request.data else None,
        )
        if done != 0:
            _raise(f'mount "{request.source}"', request.target)

    def unmount(self, target: str) -> None:
        if self._umount2(os.fsencode(target), UMOUNT_NOFOLLOW) != 0:
            _raise("unmount", target)


def _raise(what: str, target: str) -> None:
    number = ctypes.get_errno()
    raise OSError(number, f"cannot {what}: {os.strerror(number)}", target)


def make_shared(mounter: Mounter, path: str) -> None:
    """Let mounts made below `path` reach containers and the other way, as upstream does for its root.

    A directory that is no mount point of its own on a private parent becomes one by a bind to itself.
    """
    containing = _containing_mount(mounter.table(), path)
    if containing is not None and containing.is_shared:
        return
    if containing is None or containing.path != path:
        mounter.mount(MountRequest(path, path, flags=MS_BIND | MS_REC))
    mounter.mount(MountRequest("", path, flags=MS_SHARED | MS_REC))


def _containing_mount(table: tuple[MountPoint, ...], path: str) -> MountPoint | None:
    best: MountPoint | None = None
    for mount in table:
        root = mount.path.rstrip("/") + "/"
        holds = path == mount.path or path.startswith(root)
        if holds and (best is None or len(mount.path) >= len(best.path)):
            best = mount
    return best
