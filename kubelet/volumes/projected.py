"""downwardAPI and projected volumes: computed files, in memory, exchanged atomically.

Setting one up again brings it up to date: unchanged content writes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from kube.objects.core_v1 import DownwardAPIVolumeSource, Pod, ProjectedVolumeSource, Volume
from kubelet.podspec.context import NodeFacts
from kubelet.podspec.downward import DownwardFacts
from kubelet.podspec.errors import ContainerConfigError
from kubelet.podspec.names import pod_dir
from kubelet.podspec.resources import amount
from kubelet.volumes.atomic_writer import FileProjection, write_payload
from kubelet.volumes.directory import DirectorySpec, set_up_directory, tear_down_directory
from kubelet.volumes.empty_dir import tmpfs_options
from kubelet.volumes.layout import DOWNWARD_API, PROJECTED
from kubelet.volumes.mounting import Mounter
from kubelet.volumes.payload import (
    NoProjections,
    ProjectionSource,
    downward_files,
    for_group,
    projected_files,
)
from kubelet.volumes.plugin import MountedVolume, VolumeError


@dataclass(frozen=True, slots=True)
class ComputedVolumes:
    """What both kinds need. `now` names the data directory."""

    mounter: Mounter
    node: Callable[[], NodeFacts]
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    def show(self, pod: Pod, volume: str, plugin: str, files: dict[str, FileProjection]) -> MountedVolume:
        node = self.node()
        context = pod.spec.security_context
        spec = DirectorySpec(
            pod_dir=pod_dir(node.root_dir, pod.metadata.uid),
            plugin=plugin,
            volume=volume,
            fs_type="tmpfs",
            mount_data=tmpfs_options(amount(node.allocatable, "memory")),
        )
        path = set_up_directory(self.mounter, spec)
        write_payload(path, for_group(files, context.fs_group if context else None), self.now())
        return MountedVolume(volume, path, read_only=True, selinux_relabel=True)

    def facts(self) -> DownwardFacts:
        """Files cannot show addresses: the API refuses those fields in volumes."""
        node = self.node()
        return DownwardFacts(node_name=node.node_name, allocatable=node.allocatable)


class DownwardApiPlugin:
    directory = DOWNWARD_API

    def __init__(self, computed: ComputedVolumes) -> None:
        self._computed = computed

    def supports(self, volume: Volume) -> bool:
        return volume.downward_api is not None

    def setup(self, pod: Pod, volume: Volume) -> MountedVolume:
        source = volume.downward_api or DownwardAPIVolumeSource()
        try:
            files = downward_files(pod, source.items, source.default_mode, self._computed.facts())
        except ContainerConfigError as fault:
            raise VolumeError(fault.message) from fault
        return self._computed.show(pod, volume.name, DOWNWARD_API, files)

    def teardown(self, pod_dir: str, volume_name: str) -> None:
        tear_down_directory(self._computed.mounter, pod_dir, DOWNWARD_API, volume_name)


class ProjectedPlugin:
    directory = PROJECTED

    def __init__(self, computed: ComputedVolumes, source: ProjectionSource | None = None) -> None:
        self._computed = computed
        self._source = source or NoProjections()

    def supports(self, volume: Volume) -> bool:
        return volume.projected is not None

    def setup(self, pod: Pod, volume: Volume) -> MountedVolume:
        asked = volume.projected or ProjectedVolumeSource()
        facts = self._computed.facts()
        try:
            files = projected_files(pod, asked.sources, asked.default_mode, facts, self._source)
        except ContainerConfigError as fault:
            raise VolumeError(fault.message) from fault
        return self._computed.show(pod, volume.name, PROJECTED, files)

    def teardown(self, pod_dir: str, volume_name: str) -> None:
        tear_down_directory(self._computed.mounter, pod_dir, PROJECTED, volume_name)
