"""What a kind of volume must be able to do, and what the rest of the agent gets from it.

Plugins are synchronous: every call may block on a filesystem and is run by `PodVolumes` in the executor
of kind "mount", keyed by the pod's uid, so that a hung one delays only its own pod. Both calls are
idempotent: a set-up repeated after a crash finishes what was begun, a repeated tear-down finds nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from aio.errors import Retry
from kube.objects.core_v1 import Pod, Volume
from kubelet.volumes.inputs import VolumeInputs

FAILED_MOUNT = "FailedMount"


class VolumeError(Retry):
    """A volume is not there (yet): the pod waits and tries again. The message is upstream's."""

    def __init__(self, message: str, *, after_seconds: float | None = None) -> None:
        super().__init__(message, reason=FAILED_MOUNT, after_seconds=after_seconds)


@dataclass(frozen=True, slots=True)
class MountedVolume:
    """A volume ready for containers.

    `host_path` is "" for an image volume, which the runtime itself mounts (`image` = its reference).
    """

    name: str
    host_path: str
    read_only: bool = False
    selinux_relabel: bool = False
    gid: int | None = None  # a supplemental group that the volume asks for
    image: str = ""


class VolumePlugin(Protocol):
    """One kind of volume. `directory` names its folder below `pods/<uid>/volumes`, "" = it has none."""

    @property
    def directory(self) -> str: ...

    def supports(self, volume: Volume) -> bool:
        """Is this volume of my kind?"""
        ...

    def setup(self, pod: Pod, volume: Volume, inputs: VolumeInputs, /) -> MountedVolume:
        """Make it ready, or bring it up to date; blocking. Raises VolumeError or OSError."""
        ...

    def teardown(self, pod_dir: str, volume_name: str) -> None:
        """Release and delete it, knowing nothing but its directory; blocking. VolumeError or OSError."""
        ...
