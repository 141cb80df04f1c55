"""Which mounts a container gets, decided from its volumeMounts and the volumes that are ready.

Pure: a subPath is only described here (`SubPath`); `kubelet.volumes.subpath` resolves it on disk, because a
container may have put symlinks there (kubelet_pods.go makeMounts).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from cri.types import ImageSpec, Mount, MountPropagation
from kube.objects.core_v1 import VolumeMount
from kubelet.podspec.context import UserNamespaceMapping
from kubelet.podspec.errors import ContainerConfigError
from kubelet.podspec.expansion import expand_strict
from kubelet.podspec.names import AnyContainer

ETC_HOSTS = "/etc/hosts"
_PROPAGATION = {
    "": MountPropagation.PROPAGATION_PRIVATE,
    "None": MountPropagation.PROPAGATION_PRIVATE,
    "HostToContainer": MountPropagation.PROPAGATION_HOST_TO_CONTAINER,
    "Bidirectional": MountPropagation.PROPAGATION_BIDIRECTIONAL,
}


@dataclass(frozen=True, slots=True)
class VolumeView:
    """What the mounts need to know of a ready volume; `image` names the image of an image volume."""

    host_path: str
    read_only: bool = False
    selinux_relabel: bool = False
    image: str = ""


@dataclass(frozen=True, slots=True)
class SubPath:
    """A path inside a volume to be resolved safely; `index` is the position of the volumeMount."""

    volume: str
    volume_path: str
    path: str
    index: int


@dataclass(frozen=True, slots=True)
class PlannedMount:
    """A mount; with `sub_path` its host path is still to be found."""

    mount: Mount
    sub_path: SubPath | None = None


@dataclass(frozen=True, slots=True)
class MountFacts:
    """What node and runtime can do, and the ids that files are shifted by in a user namespace."""

    recursive_read_only: bool = False
    selinux: bool = False
    user_namespace: UserNamespaceMapping | None = None


def plan_mounts(
    container: AnyContainer,
    volumes: Mapping[str, VolumeView],
    envs: Mapping[str, str],
    facts: MountFacts,
) -> tuple[PlannedMount, ...]:
    """The mounts of a container in the order of its volumeMounts. Raises ContainerConfigError."""
    return tuple(
        _planned(container, index, wanted, volumes, envs, facts)
        for index, wanted in enumerate(container.volume_mounts)
    )


def wants_etc_hosts(container: AnyContainer, pod_ips: tuple[str, ...]) -> bool:
    """Is the managed hosts file mounted? Not over a mount of the container's own."""
    return bool(pod_ips) and all(wanted.mount_path != ETC_HOSTS for wanted in container.volume_mounts)


def _planned(
    container: AnyContainer,
    index: int,
    wanted: VolumeMount,
    volumes: Mapping[str, VolumeView],
    envs: Mapping[str, str],
    facts: MountFacts,
) -> PlannedMount:
    volume = volumes.get(wanted.name)
    if volume is None:
        raise ContainerConfigError(
            f'cannot find volume "{wanted.name}" to mount into container "{container.name}"'
        )
    path = _sub_path(wanted, envs)
    mount = Mount(
        container_path=wanted.mount_path if wanted.mount_path.startswith("/") else f"/{wanted.mount_path}",
        host_path=volume.host_path,
        readonly=bool(wanted.read_only) or volume.read_only,
        selinux_relabel=volume.selinux_relabel and facts.selinux,
        propagation=_propagation(wanted),
        recursive_read_only=_recursive_read_only(wanted, supported=facts.recursive_read_only),
    )
    if facts.user_namespace is not None:
        ids = facts.user_namespace
        mount = replace(mount, uid_mappings=ids.uids, gid_mappings=ids.gids)
    if volume.image:
        return PlannedMount(replace(mount, image=ImageSpec(image=volume.image), image_sub_path=path))
    if path:
        return PlannedMount(mount, SubPath(wanted.name, volume.host_path, path, index))
    return PlannedMount(mount)


def _sub_path(wanted: VolumeMount, envs: Mapping[str, str]) -> str:
    path = wanted.sub_path or ""
    if wanted.sub_path_expr:
        path, missing = expand_strict(wanted.sub_path_expr, envs)
        if missing:
            raise ContainerConfigError(f"missing value for {', '.join(missing)}")
    if path.startswith("/"):
        raise ContainerConfigError(f"error SubPath `{path}` must not be an absolute path")
    if ".." in path.split("/"):
        raise ContainerConfigError(f"unable to provision SubPath `{path}`: must not contain '..'")
    return path


def _propagation(wanted: VolumeMount) -> MountPropagation:
    mode = wanted.mount_propagation or ""
    if mode not in _PROPAGATION:
        raise ContainerConfigError(f'invalid MountPropagation mode: "{mode}"')
    return _PROPAGATION[mode]


def _recursive_read_only(wanted: VolumeMount, *, supported: bool) -> bool:
    """KEP-3857: Enabled insists, IfPossible settles for a plain read-only mount."""
    mode = wanted.recursive_read_only or "Disabled"
    if mode == "Disabled":
        return False
    asked = f'volume "{wanted.name}" requested recursive read-only mode'
    if mode not in ("IfPossible", "Enabled"):
        raise ContainerConfigError(f'unknown recursive read-only mode "{mode}"')
    if not wanted.read_only:
        raise ContainerConfigError(f'{asked} "{mode}", but it is not read-only')
    if wanted.mount_propagation not in (None, "", "None"):
        raise ContainerConfigError(
            f'{asked} "{mode}", but it is not compatible with propagation "{wanted.mount_propagation}"'
        )
    if not supported and mode == "Enabled":
        raise ContainerConfigError(f"{asked}, but it is not supported by the runtime")
    return supported
