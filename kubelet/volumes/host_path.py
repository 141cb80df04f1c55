"""hostPath: a path of the node, checked (and made where the type says so) when the pod starts.

The check is at mount time, not at admission: the pod waits until the path is there (pkg/volume/hostpath).
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from kube.objects.core_v1 import Pod, Volume
from kubelet.volumes.answering import Answering
from kubelet.volumes.inputs import VolumeInputs
from kubelet.volumes.plugin import MountedVolume, VolumeError

_DIRECTORY_MODE = 0o755
_FILE_MODE = 0o644
# type -> (test of st_mode, how upstream's message ends)
_KINDS = {
    "Directory": (stat.S_ISDIR, "directory"),
    "DirectoryOrCreate": (stat.S_ISDIR, "directory"),
    "File": (stat.S_ISREG, "file"),
    "FileOrCreate": (stat.S_ISREG, "file"),
    "Socket": (stat.S_ISSOCK, "socket file"),
    "CharDevice": (stat.S_ISCHR, "character device"),
    "BlockDevice": (stat.S_ISBLK, "block device"),
}


class HostPathPlugin:
    """`answering` is asked before anything looks at a user's path."""

    directory = ""

    def __init__(self, answering: Answering | None = None) -> None:
        self._answering = answering or Answering()

    def supports(self, volume: Volume) -> bool:
        return volume.host_path is not None

    def setup(self, pod: Pod, volume: Volume, _inputs: VolumeInputs) -> MountedVolume:
        if volume.host_path is None:
            raise VolumeError(f'volume "{volume.name}" is no hostPath volume')
        path, kind = volume.host_path.path, volume.host_path.type or ""
        self._answering.check(path)
        check_host_path(path, kind)
        return MountedVolume(volume.name, path)

    def teardown(self, pod_dir: str, volume_name: str) -> None:
        """Nothing of a hostPath volume is the agent's."""


def check_host_path(path: str, kind: str) -> None:
    """Check, or make, what the type asks for; "" checks nothing. VolumeError in upstream's words."""
    if kind == "":
        return
    if kind not in _KINDS:
        raise VolumeError(f"{kind} is an invalid volume type")
    is_kind, noun = _KINDS[kind]
    state = _state(path)
    if state is None and kind == "DirectoryOrCreate":
        _make_directories(path)
    elif state is None and kind == "FileOrCreate":
        # No parents are made: a typo must not grow a tree.
        os.close(os.open(path, os.O_CREAT | os.O_RDONLY | os.O_CLOEXEC, _FILE_MODE))
        Path(path).chmod(_FILE_MODE)
    elif state is None or not is_kind(state.st_mode):
        raise VolumeError(f"hostPath type check failed: {path} is not a {noun}")


def _state(path: str) -> os.stat_result | None:
    try:
        return Path(path).stat()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _make_directories(path: str) -> None:
    missing = [place for place in (Path(path), *Path(path).parents) if not place.exists()]
    for place in reversed(missing):
        place.mkdir(mode=_DIRECTORY_MODE, exist_ok=True)
        place.chmod(_DIRECTORY_MODE)
