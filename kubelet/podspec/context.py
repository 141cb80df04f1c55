"""What the builders need to know beyond the Pod itself, as frozen values.

`NodeFacts` is made once by the agent (and again when the node's addresses or capacity change);
`ContainerContext` and `SandboxContext` are made per call by the pod core.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cri.types import IDMapping, LinuxContainerResources, Mount
from kubelet.podspec.resolv import ResolvConf


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """The node as pods see it. Quantities are Kubernetes strings, sizes bytes, periods microseconds."""

    node_name: str
    node_ips: tuple[str, ...] = ()  # primary first; the pod's status.hostIPs
    root_dir: str = "/var/lib/kubelet"
    pod_logs_dir: str = "/var/log/pods"
    container_logs_dir: str = "/var/log/containers"
    allocatable: Mapping[str, str] = field(default_factory=dict)
    memory_capacity_bytes: int = 0
    cluster_domain: str = ""
    cluster_dns: tuple[str, ...] = ()
    resolv_conf: ResolvConf | None = None  # None = resolvConf was configured as ""
    seccomp_default: bool = False
    cpu_cfs_quota: bool = True
    cpu_cfs_quota_period_us: int = 100_000
    cgroup_v2: bool = True  # False = hybrid host: the unified keys are left out
    single_process_oom_kill: bool = False
    thermal_throttle_paths: tuple[str, ...] = ()  # existing /sys/devices/system/cpu/cpu*/thermal_throttle
    hosts_path: str = "/etc/hosts"  # the node's own, copied for hostNetwork pods
    selinux: bool = False  # relabel what containers are given
    recursive_read_only: bool = False  # the runtime can mount so (Status.runtime_handlers)

    @property
    def seccomp_root(self) -> str:
        return f"{self.root_dir}/seccomp"


@dataclass(frozen=True, slots=True)
class UserNamespaceMapping:
    """Id ranges of a pod with hostUsers: false."""

    uids: tuple[IDMapping, ...]
    gids: tuple[IDMapping, ...]


@dataclass(frozen=True, slots=True)
class SandboxContext:
    """Per sandbox. `cgroup_parent` "" leaves cgroups to the runtime."""

    node: NodeFacts
    cgroup_parent: str = ""
    user_namespace: UserNamespaceMapping | None = None
    extra_groups: tuple[int, ...] = ()  # gids that volumes ask for
    overhead: LinuxContainerResources | None = None
    resources: LinuxContainerResources | None = None


@dataclass(frozen=True, slots=True)
class ImageUser:
    """The user an image runs as: a number, else a name; neither = root (CRI Image.uid, .username)."""

    uid: int | None = None
    username: str = ""


@dataclass(frozen=True, slots=True)
class ContainerContext:
    """Per container creation, all names resolved.

    `image_ref` is the runtime's id of the present image. `envs` are in order, later ones were already
    merged. `resources` None = computed from the container's own limits.
    """

    node: NodeFacts
    image_ref: str
    image_user: ImageUser = ImageUser()
    envs: tuple[tuple[str, str], ...] = ()
    mounts: tuple[Mount, ...] = ()
    annotations: Mapping[str, str] = field(default_factory=dict)
    target_id: str = ""  # container whose PID namespace an ephemeral container joins
    user_namespace: UserNamespaceMapping | None = None
    extra_groups: tuple[int, ...] = ()
    resources: LinuxContainerResources | None = None
    static_pod: bool = False
