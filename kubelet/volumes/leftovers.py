"""Which mounts and directories belong to which pod, from the disk and the mount table alone. Pure.

An agent that was killed knows nothing but these; what no pod wants any more is taken down by them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from kubelet.volumes.mountinfo import MountPoint, mounts_below


@dataclass(frozen=True, slots=True)
class VolumeOnDisk:
    """A directory below `pods/<uid>/volumes`: the plugin's folder and the volume's name."""

    plugin: str
    name: str


@dataclass(frozen=True, slots=True)
class PodOnDisk:
    """What is left of one pod. `mounts` are in the order in which they can be unmounted."""

    uid: str
    volumes: tuple[VolumeOnDisk, ...] = ()
    mounts: tuple[str, ...] = ()

    @property
    def holds_volumes(self) -> bool:
        return bool(self.volumes or self.mounts)


def pods_on_disk(
    pods_dir: str, directories: Mapping[str, Iterable[VolumeOnDisk]], mounts: Iterable[MountPoint]
) -> dict[str, PodOnDisk]:
    """Every pod that has a directory or a mount below `pods_dir`, by uid."""
    below = mounts_below(mounts, pods_dir)
    paths: dict[str, list[str]] = {}
    for mount in below:
        uid = mount.path[len(pods_dir) + 1 :].split("/", 1)[0]
        if uid:
            paths.setdefault(uid, []).append(mount.path)
    return {
        uid: PodOnDisk(uid, tuple(directories.get(uid, ())), tuple(paths.get(uid, ())))
        for uid in sorted({*directories, *paths})
    }


def orphans(pods: Mapping[str, PodOnDisk], wanted: Collection[str]) -> tuple[PodOnDisk, ...]:
    """The pods on disk that nobody wants; whether they still run is for the caller to know."""
    return tuple(pod for uid, pod in pods.items() if uid not in wanted)
