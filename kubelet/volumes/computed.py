"""configMap, secret, downwardAPI and projected volumes: computed files, exchanged atomically.

They differ in what their files are and whether they may touch a disk: a configMap's may, all others live in
memory. Setting one up again brings it up to date: unchanged content writes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from aio.errors import Rejected, Retry
from kube.objects.core_v1 import (
    ConfigMapVolumeSource,
    DownwardAPIVolumeSource,
    Pod,
    ProjectedVolumeSource,
    SecretVolumeSource,
    Volume,
)
from kubelet.podspec.context import NodeFacts
from kubelet.podspec.downward import DownwardFacts
from kubelet.podspec.names import pod_dir
from kubelet.podspec.resources import amount
from kubelet.volumes.atomic_writer import write_payload
from kubelet.volumes.directory import DirectorySpec, set_up_directory, tear_down_directory
from kubelet.volumes.empty_dir import tmpfs_options
from kubelet.volumes.inputs import VolumeInputs
from kubelet.volumes.layout import CONFIG_MAP, DOWNWARD_API, PROJECTED, SECRET
from kubelet.volumes.mounting import Mounter
from kubelet.volumes.payload import (
    Files,
    config_map_files,
    downward_files,
    for_group,
    projected_files,
    secret_files,
)
from kubelet.volumes.plugin import MountedVolume, VolumeError


@dataclass(frozen=True, slots=True)
class ComputedKind:
    """One kind: its folder, its field of a Volume, and the pure function that makes its files."""

    directory: str
    field: str
    files: Callable[[Pod, Volume, DownwardFacts, VolumeInputs], Files]
    in_memory: bool = True


class ComputedPlugin:
    """Implements `VolumePlugin` for one kind. `now` names the data directory."""

    def __init__(
        self,
        kind: ComputedKind,
        mounter: Mounter,
        node: Callable[[], NodeFacts],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.directory = kind.directory
        self._kind = kind
        self._mounter = mounter
        self._node = node
        self._now = now

    def supports(self, volume: Volume) -> bool:
        return getattr(volume, self._kind.field) is not None

    def setup(self, pod: Pod, volume: Volume, inputs: VolumeInputs) -> MountedVolume:
        node = self._node()
        # Files cannot show addresses: the API refuses those fields in volumes.
        facts = DownwardFacts(node_name=node.node_name, allocatable=node.allocatable)
        try:
            files = self._kind.files(pod, volume, facts, inputs)
        except (Retry, Rejected) as fault:
            raise VolumeError(fault.message) from fault
        context = pod.spec.security_context
        spec = DirectorySpec(
            pod_dir=pod_dir(node.root_dir, pod.metadata.uid),
            plugin=self.directory,
            volume=volume.name,
            fs_type="tmpfs" if self._kind.in_memory else "",
            mount_data=tmpfs_options(amount(node.allocatable, "memory")) if self._kind.in_memory else "",
        )
        path = set_up_directory(self._mounter, spec)
        write_payload(path, for_group(files, context.fs_group if context else None), self._now())
        return MountedVolume(volume.name, path, read_only=True, selinux_relabel=True)

    def teardown(self, pod_dir: str, volume_name: str) -> None:
        tear_down_directory(self._mounter, pod_dir, self.directory, volume_name)


def _config_map(pod: Pod, volume: Volume, _facts: DownwardFacts, inputs: VolumeInputs) -> Files:
    source = volume.config_map or ConfigMapVolumeSource()
    return config_map_files(pod, source, source.default_mode, inputs)


def _secret(pod: Pod, volume: Volume, _facts: DownwardFacts, inputs: VolumeInputs) -> Files:
    source = volume.secret or SecretVolumeSource()
    return secret_files(pod, source, source.default_mode, inputs)


def _downward(pod: Pod, volume: Volume, facts: DownwardFacts, _inputs: VolumeInputs) -> Files:
    source = volume.downward_api or DownwardAPIVolumeSource()
    return downward_files(pod, source.items, source.default_mode, facts)


def _projected(pod: Pod, volume: Volume, facts: DownwardFacts, inputs: VolumeInputs) -> Files:
    return projected_files(pod, volume.projected or ProjectedVolumeSource(), facts, inputs)


COMPUTED = (
    ComputedKind(CONFIG_MAP, "config_map", _config_map, in_memory=False),
    ComputedKind(SECRET, "secret", _secret),
    ComputedKind(DOWNWARD_API, "downward_api", _downward),
    ComputedKind(PROJECTED, "projected", _projected),
)
