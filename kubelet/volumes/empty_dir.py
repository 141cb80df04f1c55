"""emptyDir: a directory for the life of the pod, on disk, in memory, or of huge pages."""

from __future__ import annotations

from collections.abc import Callable

from kube import quantity
from kube.objects.core_v1 import EmptyDirVolumeSource, Pod, Volume
from kubelet.podspec.context import NodeFacts
from kubelet.podspec.names import all_containers, pod_dir
from kubelet.podspec.resources import amount, limits_of, pod_memory_limit, requests_of
from kubelet.volumes.directory import DirectorySpec, set_up_directory, tear_down_directory
from kubelet.volumes.inputs import VolumeInputs
from kubelet.volumes.layout import EMPTY_DIR
from kubelet.volumes.mounting import Mounter
from kubelet.volumes.plugin import MountedVolume, VolumeError

MEMORY = "Memory"
HUGE_PAGES = "HugePages"
_HUGE_PAGES_SIZED = "HugePages-"
_RESOURCE_PREFIX = "hugepages-"


class EmptyDirPlugin:
    """`node` is asked at each set-up: allocatable memory may change."""

    directory = EMPTY_DIR

    def __init__(self, mounter: Mounter, node: Callable[[], NodeFacts]) -> None:
        self._mounter = mounter
        self._node = node

    def supports(self, volume: Volume) -> bool:
        return volume.empty_dir is not None

    def setup(self, pod: Pod, volume: Volume, _inputs: VolumeInputs) -> MountedVolume:
        source = volume.empty_dir or EmptyDirVolumeSource()
        node = self._node()
        fs_type, data = medium_mount(pod, source, amount(node.allocatable, "memory"))
        context = pod.spec.security_context
        spec = DirectorySpec(
            pod_dir=pod_dir(node.root_dir, pod.metadata.uid),
            plugin=EMPTY_DIR,
            volume=volume.name,
            fs_type=fs_type,
            mount_data=data,
            fs_group=context.fs_group if context is not None else None,
            on_root_mismatch=context is not None and context.fs_group_change_policy == "OnRootMismatch",
        )
        return MountedVolume(volume.name, set_up_directory(self._mounter, spec), selinux_relabel=True)

    def teardown(self, pod_dir: str, volume_name: str) -> None:
        tear_down_directory(self._mounter, pod_dir, EMPTY_DIR, volume_name)


def medium_mount(pod: Pod, source: EmptyDirVolumeSource, allocatable_bytes: int) -> tuple[str, str]:
    """Filesystem and mount options for the medium; ("", "") = a plain directory. Pure."""
    medium = source.medium or ""
    if medium == "":
        return "", ""
    if medium == MEMORY:
        return "tmpfs", tmpfs_options(memory_size(pod, source, allocatable_bytes))
    if medium == HUGE_PAGES or medium.startswith(_HUGE_PAGES_SIZED):
        return "hugetlbfs", f"pagesize={_huge_page_size(pod, medium)}"
    raise VolumeError(f'unknown storage medium "{medium}"')


def tmpfs_options(size_bytes: int) -> str:
    """`noswap` keeps what is in memory volumes off the disk; size 0 leaves the kernel's default."""
    return f"size={size_bytes},noswap" if size_bytes else "noswap"


def memory_size(pod: Pod, source: EmptyDirVolumeSource, allocatable_bytes: int) -> int:
    """The least of what the node gives, what the pod may use, and sizeLimit; 0 = none of them is known."""
    own = quantity.parse(source.size_limit).to_int() if source.size_limit else 0
    return min((size for size in (allocatable_bytes, pod_memory_limit(pod), own) if size > 0), default=0)


def _huge_page_size(pod: Pod, medium: str) -> str:
    """The page size that the medium names, else the only one that the pod's containers ask for."""
    asked = {
        name.removeprefix(_RESOURCE_PREFIX)
        for box in all_containers(pod)
        for name in (*limits_of(box), *requests_of(box))
        if name.startswith(_RESOURCE_PREFIX)
    }
    named = medium.removeprefix(_HUGE_PAGES_SIZED) if medium != HUGE_PAGES else ""
    if named:
        if named not in asked:
            raise VolumeError(f"medium {medium} page size is not requested by any container of the pod")
        size = named
    elif len(asked) == 1:
        size = asked.pop()
    else:
        fault = "no page size is requested" if not asked else "multiple page sizes are requested"
        raise VolumeError(f'cannot find the page size of medium "{HUGE_PAGES}": {fault}')
    # hugetlbfs reads K, M, G; quantities write Ki, Mi, Gi for the same.
    return size.removesuffix("i")
