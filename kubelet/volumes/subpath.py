"""subPath of a volumeMount, safe against symlinks that a container may have placed in the volume.

The path is resolved (symlinks inside the volume are allowed, the atomic writer's layout is made of them),
must end inside the volume, and is then walked again component by component with O_NOFOLLOW. What that walk
holds open, and nothing else, is bound through /proc/self/fd to
`pods/<uid>/volume-subpaths/<volume>/<container>/<index>`, which the container gets (pkg/volume/util/subpath).
Whoever exchanges a component between the two steps gets an error, not another file.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import ExitStack
from pathlib import Path

from kubelet.podspec.mounts import SubPath
from kubelet.volumes.mountinfo import mounts_below
from kubelet.volumes.mounting import MS_BIND, MS_REC, Mounter, MountRequest
from kubelet.volumes.plugin import VolumeError
from kubelet.volumes.trees import opened, remove_tree

SUBPATHS = "volume-subpaths"
_STEP = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_PERMISSIONS = 0o7777


def prepare_subpath(mounter: Mounter, pod_dir: str, container: str, wanted: SubPath) -> str:
    """The host path to mount. Details stay out of the errors: they would tell about the host.

    Raises VolumeError, in upstream's two sentences; OSError never leaves.
    """
    where = f'for volumeMount "{wanted.volume}" of container "{container}"'
    try:
        _create(wanted)
    except (OSError, ValueError) as failed:
        raise VolumeError(f"failed to create subPath directory {where}") from failed
    try:
        return _bind(mounter, pod_dir, container, wanted)
    except (OSError, ValueError) as failed:
        raise VolumeError(f"failed to prepare subPath {where}") from failed


def clean_subpaths(mounter: Mounter, pod_dir: str, volume: str | None = None) -> None:
    """Undo every bind of one volume (or of all) of a pod; idempotent. Raises OSError, VolumeError."""
    top = f"{pod_dir}/{SUBPATHS}" + (f"/{volume}" if volume is not None else "")
    if not os.path.lexists(top):
        return
    for mount in mounts_below(mounter.table(top), top):
        mounter.unmount(mount.path)
    remove_tree(top)


def _create(wanted: SubPath) -> None:
    """Make missing directories with the mode and group of the volume, never through a symlink out of it."""
    if os.path.lexists(f"{wanted.volume_path}/{wanted.path}"):
        return
    base = os.path.realpath(wanted.volume_path)
    existing, missing = _split_existing(base, wanted.path)
    with ExitStack() as stack:
        fd = _open_inside(stack, base, existing)
        state = Path(base).stat()
        for name in missing:
            _make_directory(fd, name)
            fd = stack.enter_context(opened(name, dir_fd=fd, flags=_STEP))
            if not stat.S_ISDIR(os.fstat(fd).st_mode):
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
            target = f"/proc/self/fd/{fd}"
            if state.st_mode & stat.S_ISGID:
                os.chown(target, -1, state.st_gid)
            Path(target).chmod(state.st_mode & _PERMISSIONS)


def _make_directory(parent_fd: int, name: str) -> None:
    try:
        os.mkdir(name, 0o750, dir_fd=parent_fd)
    except FileExistsError:
        return  # another container of the pod was quicker


def _split_existing(base: str, path: str) -> tuple[str, tuple[str, ...]]:
    """The resolved part of base/path that is there, and the names that are not."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    for count in range(len(parts) - 1, -1, -1):
        candidate = "/".join((base, *parts[:count]))
        if Path(candidate).exists():
            return os.path.realpath(candidate), tuple(parts[count:])
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), base)


def _open_inside(stack: ExitStack, base: str, resolved: str) -> int:
    """Open a path that has no symlinks any more, refusing any; ValueError when it lies outside of base."""
    relative = os.path.relpath(resolved, base)
    if relative == ".." or relative.startswith("../"):
        raise ValueError("subpath not within volume path")
    fd = stack.enter_context(opened(base, flags=_STEP))
    for part in relative.split("/") if relative != "." else ():
        fd = stack.enter_context(opened(part, dir_fd=fd, flags=_STEP))
        if stat.S_ISLNK(os.fstat(fd).st_mode):
            raise OSError(errno.ELOOP, "unexpected symlink found", part)
    return fd


def _bind(mounter: Mounter, pod_dir: str, container: str, wanted: SubPath) -> str:
    base = os.path.realpath(wanted.volume_path)
    resolved = os.path.realpath(f"{wanted.volume_path}/{wanted.path}", strict=True)
    target = f"{pod_dir}/{SUBPATHS}/{wanted.volume}/{container}/{wanted.index}"
    with ExitStack() as stack:
        fd = _open_inside(stack, base, resolved)
        if _is_bound(mounter, target):
            if os.path.samestat(Path(target).stat(), os.fstat(fd)):
                return target
            mounter.unmount(target)
        _make_target(target, is_directory=stat.S_ISDIR(os.fstat(fd).st_mode))
        mounter.mount(MountRequest(f"/proc/self/fd/{fd}", target, flags=MS_BIND | MS_REC))
    return target


def _is_bound(mounter: Mounter, target: str) -> bool:
    return any(mount.path == target for mount in mounter.table(target))


def _make_target(target: str, *, is_directory: bool) -> None:
    """A bind needs something of the same kind to cover."""
    place = Path(target)
    place.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    if os.path.lexists(target) and place.is_dir() != is_directory:
        remove_tree(target)
    if is_directory:
        place.mkdir(mode=0o750, exist_ok=True)
    else:
        place.touch(mode=0o640, exist_ok=True)
