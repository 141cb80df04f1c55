"""Deleting trees and changing their owner without leaving the mount or following a symlink.

A path below a volume is under the control of containers, which may swap a directory for a symlink at any
moment: every step is taken relative to an open directory, never by name from the root. Deletion refuses to
cross a mount point, also a bind of the same filesystem (the mount id of each directory is compared).
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kubelet.volumes.plugin import VolumeError

_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_PATH = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
# pkg/volume/volume_linux.go
_FILE_MASK = 0o660
_READ_ONLY_MASK = 0o440
_DIRECTORY_MASK = 0o110
_MAX_DEPTH = 64


@contextmanager
def opened(path: str, *, dir_fd: int | None = None, flags: int = _OPEN_DIRECTORY) -> Iterator[int]:
    fd = os.open(path, flags, dir_fd=dir_fd)
    try:
        yield fd
    finally:
        os.close(fd)


def mount_id(fd: int) -> int:
    """Which mount an open file is on (proc_pid_fdinfo(5))."""
    with open(f"/proc/self/fdinfo/{fd}", encoding="ascii") as info:
        for line in info:
            if line.startswith("mnt_id:"):
                return int(line.split()[1])
    raise OSError(errno.ENOTSUP, "no mnt_id in /proc/self/fdinfo")


def remove_tree(path: str) -> None:
    """Delete `path` and all below it; gone already is fine. VolumeError at a mount point: nothing beyond
    it is touched. The top itself must not be a mount point either."""
    parent, name = os.path.split(path.rstrip("/"))
    try:
        with opened(parent) as parent_fd:
            if not stat.S_ISDIR(os.lstat(name, dir_fd=parent_fd).st_mode):
                _unlink(parent_fd, name, path)
                return
            with opened(name, dir_fd=parent_fd) as top_fd:
                _Removal(top_fd, mount_id(parent_fd)).run(path)
            os.rmdir(name, dir_fd=parent_fd)
    except FileNotFoundError:
        return


class _Removal:
    """One deletion. Each level holds a descriptor, so a directory that lies too deep is moved up to the top
    first: a container can nest directories without end, and must not thereby become undeletable."""

    def __init__(self, top_fd: int, mount: int) -> None:
        self.top_fd = top_fd
        self.mount = mount
        self.moved = 0

    def run(self, path: str) -> None:
        if mount_id(self.top_fd) != self.mount:
            raise VolumeError(f'cannot remove "{path}": it is a mount point')
        while names := os.listdir(self.top_fd):  # noqa: PTH208
            for name in names:
                self.remove(self.top_fd, name, f"{path}/{name}", 0)

    def remove(self, parent_fd: int, name: str, shown: str, depth: int) -> None:
        try:
            if not stat.S_ISDIR(os.lstat(name, dir_fd=parent_fd).st_mode):
                _unlink(parent_fd, name, shown)
            elif depth >= _MAX_DEPTH:
                self.moved += 1
                os.rename(name, f"..deep-{self.moved}", src_dir_fd=parent_fd, dst_dir_fd=self.top_fd)
            else:
                self.remove_directory(parent_fd, name, shown, depth)
        except FileNotFoundError:
            return

    def remove_directory(self, parent_fd: int, name: str, shown: str, depth: int) -> None:
        with opened(name, dir_fd=parent_fd) as fd:
            if mount_id(fd) != self.mount:
                raise VolumeError(f'cannot remove "{shown}": it is a mount point')
            for entry in os.listdir(fd):  # noqa: PTH208
                self.remove(fd, entry, f"{shown}/{entry}", depth + 1)
        os.rmdir(name, dir_fd=parent_fd)


def _unlink(parent_fd: int, name: str, shown: str) -> None:
    try:
        os.unlink(name, dir_fd=parent_fd)
    except OSError as refused:
        if refused.errno == errno.EBUSY:
            raise VolumeError(f'cannot remove "{shown}": it is a mount point') from refused
        raise


def set_group(path: str, gid: int, *, read_only: bool = False, on_root_mismatch: bool = False) -> None:
    """Give a volume to an fsGroup: group, and modes OR-ed so that it can be read and written.

    With `on_root_mismatch` nothing is done when the top directory is right already.
    """
    mask = _READ_ONLY_MASK if read_only else _FILE_MASK
    with opened(path) as fd:
        if on_root_mismatch and not _needs_change(os.fstat(fd), gid, mask):
            return
        _group_below(fd, gid, mask)
        # The top last: with OnRootMismatch it stands for the whole having been done.
        _group_one(fd, os.fstat(fd), gid, mask)


def _group_below(fd: int, gid: int, mask: int) -> None:
    for name in os.listdir(fd):
        try:
            with opened(name, dir_fd=fd, flags=_OPEN_PATH) as entry:
                state = os.fstat(entry)
                if stat.S_ISLNK(state.st_mode):
                    os.chown(name, -1, gid, dir_fd=fd, follow_symlinks=False)
                    continue
                if stat.S_ISDIR(state.st_mode):
                    with opened(name, dir_fd=fd) as directory:
                        _group_below(directory, gid, mask)
                _group_one(entry, state, gid, mask)
        except FileNotFoundError:
            continue  # deleted while we walk


def _group_one(fd: int, state: os.stat_result, gid: int, mask: int) -> None:
    """One file or directory, named by its descriptor so that nobody can exchange it meanwhile."""
    target = f"/proc/self/fd/{fd}"
    os.chown(target, -1, gid)
    wanted = mask | (_DIRECTORY_MASK | stat.S_ISGID if stat.S_ISDIR(state.st_mode) else 0)
    Path(target).chmod(stat.S_IMODE(state.st_mode) | wanted)


def _needs_change(state: os.stat_result, gid: int, mask: int) -> bool:
    wanted = mask | _DIRECTORY_MASK | stat.S_ISGID
    return state.st_gid != gid or stat.S_IMODE(state.st_mode) & wanted != wanted
