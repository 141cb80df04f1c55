"""A volume that is a directory of the agent's own, on disk or in memory: made, marked ready, taken down.

The marker is written last: a set-up that was cut short is done again, a finished one is not repeated over a
container's head. After a reboot the marker of a volume in memory is there and its mount is not, so the
mount table decides for those.
"""

from __future__ import annotations

import errno
import stat
from dataclasses import dataclass
from pathlib import Path

from kubelet.volumes.layout import marker_dir, ready_marker, volume_dir
from kubelet.volumes.mountinfo import is_mount_point, mounts_below
from kubelet.volumes.mounting import Mounter, MountRequest
from kubelet.volumes.plugin import VolumeError
from kubelet.volumes.trees import remove_tree, set_group

WORLD_MODE = 0o777  # pkg/volume/emptydir/empty_dir.go
_PRIVATE_MODE = 0o750


@dataclass(frozen=True, slots=True)
class DirectorySpec:
    """Where, on which filesystem ("" = the disk's own), with which mount options, for which group."""

    pod_dir: str
    plugin: str
    volume: str
    fs_type: str = ""
    mount_data: str = ""
    fs_group: int | None = None
    on_root_mismatch: bool = False

    @property
    def path(self) -> str:
        return volume_dir(self.pod_dir, self.plugin, self.volume)


def set_up_directory(mounter: Mounter, spec: DirectorySpec) -> str:
    """Make the directory ready for containers and return its path. Raises OSError."""
    marker = Path(ready_marker(spec.pod_dir, spec.plugin, spec.volume))
    mounted = bool(spec.fs_type) and is_mount_point(mounter.table(spec.path), spec.path)
    if marker.exists() and Path(spec.path).is_dir() and mounted == bool(spec.fs_type):
        return spec.path
    _make_directory(spec.path)
    if spec.fs_type and not mounted:
        _mount(mounter, spec)
    directory = Path(spec.path)
    # The sticky bit of a fresh tmpfs stays: only the permission bits are compared, as upstream does.
    if stat.S_IMODE(directory.stat().st_mode) & WORLD_MODE != WORLD_MODE:
        directory.chmod(WORLD_MODE)
    if spec.fs_group is not None:
        set_group(spec.path, spec.fs_group, on_root_mismatch=spec.on_root_mismatch)
    marker.parent.mkdir(mode=_PRIVATE_MODE, parents=True, exist_ok=True)
    marker.touch()
    return spec.path


def tear_down_directory(mounter: Mounter, pod_dir: str, plugin: str, volume: str) -> None:
    """Unmount and delete; idempotent. VolumeError when something else is mounted inside."""
    path = volume_dir(pod_dir, plugin, volume)
    Path(ready_marker(pod_dir, plugin, volume)).unlink(missing_ok=True)
    inside = mounts_below(mounter.table(path), path)
    foreign = [mount.path for mount in inside if mount.path != path]
    if foreign:
        raise VolumeError(f'cannot remove volume "{volume}": "{foreign[0]}" is still mounted inside of it')
    for mount in inside:
        mounter.unmount(mount.path)
    remove_tree(path)
    remove_tree(marker_dir(pod_dir, plugin, volume))


def _make_directory(path: str) -> None:
    directory = Path(path)
    directory.parent.mkdir(mode=_PRIVATE_MODE, parents=True, exist_ok=True)
    directory.mkdir(mode=_PRIVATE_MODE, exist_ok=True)


def _mount(mounter: Mounter, spec: DirectorySpec) -> None:
    try:
        mounter.mount(MountRequest(spec.fs_type, spec.path, spec.fs_type, data=spec.mount_data))
    except OSError as refused:
        # Kernels before 6.4 do not know tmpfs's noswap and refuse all of it.
        options = spec.mount_data.split(",")
        if refused.errno != errno.EINVAL or "noswap" not in options:
            raise
        without = ",".join(option for option in options if option != "noswap")
        mounter.mount(MountRequest(spec.fs_type, spec.path, spec.fs_type, data=without))
