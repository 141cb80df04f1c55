"""`PodVolumes`: the volumes of all pods, for the pod core.

One hop to the "mount" executor per pod and call, keyed by uid: calls for one pod run one after the other, a
hung filesystem delays only its own pod. What volumes show of the API is gathered on the loop before. Nothing
is remembered that the disk does not know: a restarted agent sets volumes up again (idempotent) or takes down
what `on_disk` finds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

from aio.backoff import Backoff
from cri.types import Mount
from kube.objects.core_v1 import Pod, Volume
from kubelet.podspec.context import NodeFacts, UserNamespaceMapping
from kubelet.podspec.hostname import pod_hostname
from kubelet.podspec.mounts import MountFacts, VolumeView, plan_mounts, wants_etc_hosts
from kubelet.podspec.names import (
    AnyContainer,
    PodIdentity,
    etc_hosts_path,
    pod_dir,
    pod_log_dir,
    pods_dir,
    termination_file,
)
from kubelet.volumes.container_files import ContainerFiles, HostsFile, prepare_files
from kubelet.volumes.directory import tear_down_directory
from kubelet.volumes.inputs import NO_INPUTS, InputSource, NoInputs, VolumeInputs, is_computed
from kubelet.volumes.layout import PLUGINS, VOLUMES, volumes_dir
from kubelet.volumes.leftovers import PodOnDisk, VolumeOnDisk, orphans, pods_on_disk
from kubelet.volumes.mountinfo import mounts_below
from kubelet.volumes.mounting import Mounter
from kubelet.volumes.plugin import MountedVolume, VolumeError, VolumePlugin
from kubelet.volumes.subpath import clean_subpaths
from kubelet.volumes.trees import remove_tree

T = TypeVar("T")
MOUNT_TIMEOUT_SECONDS = 123.0  # volumemanager podAttachAndMountTimeout: 2m3s
# goroutinemap/exponentialbackoff: initialDurationBeforeRetry, maxDurationBeforeRetry (2m2s)
OBJECT_BACKOFF = Backoff(initial=0.5, maximum=122.0, reset_after=244.0)
_PRIVATE_MODE = 0o750


class Offload(Protocol):
    """`aio.executors.Executors`, as far as volumes need it."""

    async def run(
        self,
        kind: str,
        fn: Callable[..., T],
        *args: Any,
        key: Any = None,
        timeout: float | None = None,
    ) -> T: ...


# Pulls the image of an image volume and returns its reference.
ImageResolver = Callable[[Pod, Volume], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class MountWishes:
    """What the mounts of one container depend on beyond the pod."""

    restart_count: int = 0
    pod_ips: tuple[str, ...] = ()
    envs: Mapping[str, str] = field(default_factory=dict)
    user_namespace: UserNamespaceMapping | None = None


class PodVolumes:
    """`resolve_image` None: image volumes are refused (the runtime cannot mount images)."""

    def __init__(
        self,
        plugins: Collection[VolumePlugin],
        mounter: Mounter,
        offload: Offload,
        node: Callable[[], NodeFacts],
        resolve_image: ImageResolver | None = None,
        inputs: InputSource | None = None,
    ) -> None:
        self._plugins = tuple(plugins)
        self._by_directory = {plugin.directory: plugin for plugin in plugins if plugin.directory}
        self._mounter = mounter
        self._offload = offload
        self._node = node
        self._resolve_image = resolve_image
        self._inputs = inputs or NoInputs()
        self._mounted: dict[str, dict[str, MountedVolume]] = {}
        self._backoffs: dict[str, Backoff] = {}  # uid -> of attempts that failed for want of an object

    async def mount_all(self, pod: Pod) -> dict[str, MountedVolume]:
        """Make the pod's directories and every volume ready; by volume name. Again: brings up to date.

        VolumeError names the volume and the cause in upstream's words; nothing that was done is undone.
        """
        uid = pod.metadata.uid
        images = {volume.name: await self._image(pod, volume) for volume in pod.spec.volumes if volume.image}
        inputs = await self._gather(pod)
        try:
            ready = await self._offload.run(
                "mount", self._set_up_pod, pod, images, inputs, key=uid, timeout=MOUNT_TIMEOUT_SECONDS
            )
        except _NotComputed as fault:
            raise VolumeError(fault.message, after_seconds=self._next_pause(uid)) from fault
        except TimeoutError as late:
            names = " ".join(volume.name for volume in pod.spec.volumes)
            raise VolumeError(
                f"Unable to attach or mount volumes: unmounted volumes=[{names}], unattached volumes=[], "
                "failed to process volumes=[]: timed out waiting for the condition"
            ) from late
        self._mounted[uid] = ready
        self._backoffs.pop(uid, None)
        return ready

    async def refresh(self, pod: Pod) -> None:
        """Bring what the pod's mounted volumes show of the API up to date; nothing else is touched.

        Every volume is tried; VolumeError with the first fault. A pod that is not mounted has nothing.
        """
        uid = pod.metadata.uid
        inputs = await self._gather(pod)
        # Asked for after the wait: a call made before the teardown's runs before it, a later one never.
        if uid in self._mounted:
            await self._offload.run(
                "mount", self._refresh_pod, pod, inputs, key=uid, timeout=MOUNT_TIMEOUT_SECONDS
            )

    async def unmount_all(self, uid: str) -> None:
        """Release every volume of the pod, whatever is left of it; idempotent. VolumeError or OSError."""
        self._mounted.pop(uid, None)
        self._backoffs.pop(uid, None)
        await self._offload.run("mount", self._tear_down_pod, uid, key=uid)

    def mounted(self, uid: str) -> Mapping[str, MountedVolume] | None:
        """The volumes set up by this process; None before `mount_all` and after `unmount_all`."""
        return self._mounted.get(uid)

    async def container_mounts(
        self, pod: Pod, container: AnyContainer, wishes: MountWishes
    ) -> tuple[Mount, ...]:
        """Prepare a container's files and give its CRI mounts. ContainerConfigError, VolumeError, OSError."""
        files = self._container_files(pod, container, wishes)
        return await self._offload.run("mount", prepare_files, self._mounter, files, key=pod.metadata.uid)

    async def on_disk(self) -> dict[str, PodOnDisk]:
        """Every pod that has a directory or a mount below the root directory, by uid."""
        return await self._offload.run("walk", self._read_disk)

    async def orphans(self, wanted: Collection[str]) -> tuple[PodOnDisk, ...]:
        """Pods on disk that are not wanted; the caller makes sure that none runs before `unmount_all`."""
        return orphans(await self.on_disk(), wanted)

    async def remove_pod_dir(self, uid: str) -> None:
        """Delete `pods/<uid>`; VolumeError while anything is mounted in it or volumes are left."""
        await self._offload.run("mount", self._remove_pod_dir, uid, key=uid)

    async def _image(self, pod: Pod, volume: Volume) -> str:
        if self._resolve_image is None:
            raise _failed(volume.name, "the container runtime does not support image volumes")
        return await self._resolve_image(pod, volume)

    async def _gather(self, pod: Pod) -> dict[str, VolumeInputs]:
        """What the API says of each computed volume, all of them at once."""
        computed = [volume for volume in pod.spec.volumes if is_computed(volume)]
        gathered = await asyncio.gather(*(self._inputs.gather(pod, volume) for volume in computed))
        return {volume.name: inputs for volume, inputs in zip(computed, gathered, strict=True)}

    def _next_pause(self, uid: str) -> float:
        now = asyncio.get_running_loop().time()
        self._backoffs[uid], pause = self._backoffs.get(uid, OBJECT_BACKOFF).next(now)
        return pause

    def _refresh_pod(self, pod: Pod, inputs: Mapping[str, VolumeInputs]) -> None:
        faults: list[VolumeError] = []
        for volume in pod.spec.volumes:
            if volume.name in inputs:
                try:
                    self._set_up(pod, volume, inputs[volume.name])
                except VolumeError as fault:
                    faults.append(fault)
        if faults:
            raise faults[0]

    def _set_up_pod(
        self, pod: Pod, images: Mapping[str, str], inputs: Mapping[str, VolumeInputs]
    ) -> dict[str, MountedVolume]:
        node = self._node()
        meta = pod.metadata
        own = Path(pod_dir(node.root_dir, meta.uid))
        for place in (own, own / VOLUMES, own / PLUGINS):
            place.mkdir(mode=_PRIVATE_MODE, parents=True, exist_ok=True)
        logs = pod_log_dir(node.pod_logs_dir, PodIdentity(meta.name, meta.namespace, meta.uid))
        Path(logs).mkdir(mode=0o755, parents=True, exist_ok=True)
        ready: dict[str, MountedVolume] = {}
        for volume in pod.spec.volumes:
            if volume.name in images:
                ready[volume.name] = MountedVolume(volume.name, "", read_only=True, image=images[volume.name])
            else:
                ready[volume.name] = self._set_up(pod, volume, inputs.get(volume.name, NO_INPUTS))
        return ready

    def _set_up(self, pod: Pod, volume: Volume, inputs: VolumeInputs) -> MountedVolume:
        plugin = next((plugin for plugin in self._plugins if plugin.supports(volume)), None)
        if plugin is None:
            raise _failed(volume.name, f"{_kind(volume)} volumes are not supported by this agent")
        try:
            return plugin.setup(pod, volume, inputs)
        except (VolumeError, OSError) as fault:
            failed = _failed(volume.name, str(fault))
            raise (_NotComputed(failed.message) if is_computed(volume) else failed) from fault

    def _tear_down_pod(self, uid: str) -> None:
        """Every volume is tried, so that one that hangs on does not keep the others; the first error wins."""
        own = pod_dir(self._node().root_dir, uid)
        faults: list[Exception] = []
        steps: list[tuple[Callable[..., None], tuple[str, ...]]] = []
        for found in _volumes_of(Path(own)):
            plugin = self._by_directory.get(found.plugin)
            if plugin is not None:
                steps.append((plugin.teardown, (own, found.name)))
            else:
                steps.append((self._tear_down_unknown, (own, found.plugin, found.name)))
        for step, arguments in ((self._clean_subpaths, (own,)), *steps):
            try:
                step(*arguments)
            except (VolumeError, OSError) as fault:
                faults.append(fault)
        if faults:
            raise VolumeError(f'cannot unmount the volumes of pod "{uid}": {faults[0]}') from faults[0]
        remove_tree(volumes_dir(own))

    def _clean_subpaths(self, own: str) -> None:
        clean_subpaths(self._mounter, own)

    def _tear_down_unknown(self, own: str, plugin: str, name: str) -> None:
        """A volume of a kind that this agent does not know, left by another one."""
        tear_down_directory(self._mounter, own, plugin, name)

    def _remove_pod_dir(self, uid: str) -> None:
        own = pod_dir(self._node().root_dir, uid)
        left = mounts_below(self._mounter.table(own), own)
        if left:
            raise VolumeError(f'cannot remove the directory of pod "{uid}": "{left[0].path}" is mounted')
        if _volumes_of(Path(own)):
            raise VolumeError(f'cannot remove the directory of pod "{uid}": volumes are left in it')
        remove_tree(own)

    def _read_disk(self) -> dict[str, PodOnDisk]:
        top = pods_dir(self._node().root_dir)
        try:
            uids = [entry for entry in Path(top).iterdir() if entry.is_dir()]
        except FileNotFoundError:
            uids = []
        return pods_on_disk(top, {own.name: _volumes_of(own) for own in uids}, self._mounter.table(top))

    def _container_files(self, pod: Pod, container: AnyContainer, wishes: MountWishes) -> ContainerFiles:
        node, meta = self._node(), pod.metadata
        ready = self._mounted.get(meta.uid)
        if ready is None:
            raise VolumeError(f'the volumes of pod "{meta.namespace}/{meta.name}" are not mounted yet')
        views = {
            name: VolumeView(found.host_path, found.read_only, found.selinux_relabel, found.image)
            for name, found in ready.items()
        }
        facts = MountFacts(node.recursive_read_only, node.selinux, wishes.user_namespace)
        identity = PodIdentity(meta.name, meta.namespace, meta.uid)
        has_path = bool(container.termination_message_path)
        token = termination_file(node.root_dir, meta.uid, container.name, wishes.restart_count)
        return ContainerFiles(
            pod_dir=pod_dir(node.root_dir, meta.uid),
            container=container.name,
            log_dir=f"{pod_log_dir(node.pod_logs_dir, identity)}/{container.name}",
            mounts=plan_mounts(container, views, wishes.envs, facts),
            hosts=_hosts_file(pod, node, wishes.pod_ips)
            if wants_etc_hosts(container, wishes.pod_ips)
            else None,
            termination_file=token if has_path else "",
            termination_path=container.termination_message_path or "",
            selinux=node.selinux,
        )


def _hosts_file(pod: Pod, node: NodeFacts, pod_ips: tuple[str, ...]) -> HostsFile:
    path = etc_hosts_path(node.root_dir, pod.metadata.uid)
    if pod.spec.host_network:
        return HostsFile(path, aliases=pod.spec.host_aliases, node_hosts_path=node.hosts_path)
    names = pod_hostname(pod, node.cluster_domain)
    return HostsFile(path, pod_ips, names.hostname, names.domain, pod.spec.host_aliases)


def _volumes_of(own: Path) -> tuple[VolumeOnDisk, ...]:
    """The volume directories of one pod; a file among them is nobody's volume."""
    try:
        plugins = sorted(entry for entry in (own / VOLUMES).iterdir() if entry.is_dir())
    except FileNotFoundError:
        return ()
    return tuple(
        VolumeOnDisk(plugin.name, entry.name) for plugin in plugins for entry in sorted(plugin.iterdir())
    )


class _NotComputed(VolumeError):
    """A volume that waits for the API: asked for less and less often, and at once when something changes."""


def _failed(volume: str, why: str) -> VolumeError:
    return VolumeError(f'MountVolume.SetUp failed for volume "{volume}" : {why}')


def _kind(volume: Volume) -> str:
    """The JSON name of the volume's source."""
    fields = (
        name for name in volume.__struct_fields__ if name != "name" and getattr(volume, name) is not None
    )
    found = next(fields, "")
    index = volume.__struct_fields__.index(found) if found else -1
    return volume.__struct_encode_fields__[index] if found else "unknown"
