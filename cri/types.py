"""The messages of CRI v1 as plain values: what crosses between the agent and a runtime adapter.

Every class and field is named as in CRI (snake_case throughout), has a default, and is immutable: repeated
fields are tuples, maps are mappings, `Int64Value` and `UInt64Value` are `int | None`. A message whose absence
means something is `| None`; one that is always there (metadata, image, status) defaults to the empty message.
Times are nanoseconds since the epoch, sizes bytes. Windows fields are left out. Usage figures are in
`cri.stats`. Nothing here knows protobuf; `cri.wire` converts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cri.enums import (
    CgroupDriver,
    ContainerEventType,
    ContainerState,
    MountPropagation,
    NamespaceMode,
    PodSandboxState,
    ProfileType,
    Protocol,
    Signal,
    SupplementalGroupsPolicy,
)

__all__ = [
    "AuthConfig",
    "CDIDevice",
    "Capability",
    "CgroupDriver",
    "Container",
    "ContainerConfig",
    "ContainerEventResponse",
    "ContainerEventType",
    "ContainerFilter",
    "ContainerMetadata",
    "ContainerResources",
    "ContainerState",
    "ContainerStatus",
    "ContainerStatusResponse",
    "ContainerUser",
    "DNSConfig",
    "Device",
    "ExecSyncResponse",
    "HugepageLimit",
    "IDMapping",
    "Image",
    "ImageFilter",
    "ImageSpec",
    "ImageStatusResponse",
    "KeyValue",
    "LinuxContainerConfig",
    "LinuxContainerResources",
    "LinuxContainerSecurityContext",
    "LinuxContainerUser",
    "LinuxPodSandboxConfig",
    "LinuxPodSandboxStatus",
    "LinuxRuntimeConfiguration",
    "LinuxSandboxSecurityContext",
    "Mount",
    "MountPropagation",
    "Namespace",
    "NamespaceMode",
    "NamespaceOption",
    "PodIP",
    "PodSandbox",
    "PodSandboxConfig",
    "PodSandboxFilter",
    "PodSandboxMetadata",
    "PodSandboxNetworkStatus",
    "PodSandboxState",
    "PodSandboxStatus",
    "PodSandboxStatusResponse",
    "PortMapping",
    "ProfileType",
    "Protocol",
    "RuntimeCondition",
    "RuntimeFeatures",
    "RuntimeHandler",
    "RuntimeHandlerFeatures",
    "RuntimeStatus",
    "SELinuxOption",
    "SecurityProfile",
    "Signal",
    "StatusResponse",
    "SupplementalGroupsPolicy",
    "UserNamespace",
    "VersionResponse",
]


@dataclass(frozen=True, slots=True)
class VersionResponse:
    version: str = ""
    runtime_name: str = ""
    runtime_version: str = ""
    runtime_api_version: str = ""


@dataclass(frozen=True, slots=True)
class DNSConfig:
    servers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PortMapping:
    protocol: Protocol = Protocol.TCP
    container_port: int = 0
    host_port: int = 0
    host_ip: str = ""


@dataclass(frozen=True, slots=True)
class IDMapping:
    host_id: int = 0
    container_id: int = 0
    length: int = 0


@dataclass(frozen=True, slots=True)
class ImageSpec:
    image: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict)
    user_specified_image: str = ""
    runtime_handler: str = ""
    image_ref: str = ""


@dataclass(frozen=True, slots=True)
class Mount:
    container_path: str = ""
    host_path: str = ""
    readonly: bool = False
    selinux_relabel: bool = False
    propagation: MountPropagation = MountPropagation.PROPAGATION_PRIVATE
    uid_mappings: tuple[IDMapping, ...] = ()
    gid_mappings: tuple[IDMapping, ...] = ()
    recursive_read_only: bool = False
    image: ImageSpec | None = None
    image_sub_path: str = ""


@dataclass(frozen=True, slots=True)
class UserNamespace:
    mode: NamespaceMode = NamespaceMode.POD
    uids: tuple[IDMapping, ...] = ()
    gids: tuple[IDMapping, ...] = ()


@dataclass(frozen=True, slots=True)
class NamespaceOption:
    network: NamespaceMode = NamespaceMode.POD
    pid: NamespaceMode = NamespaceMode.POD
    ipc: NamespaceMode = NamespaceMode.POD
    target_id: str = ""
    userns_options: UserNamespace | None = None


@dataclass(frozen=True, slots=True)
class SELinuxOption:
    user: str = ""
    role: str = ""
    type: str = ""
    level: str = ""


@dataclass(frozen=True, slots=True)
class SecurityProfile:
    profile_type: ProfileType = ProfileType.RuntimeDefault
    localhost_ref: str = ""


@dataclass(frozen=True, slots=True)
class LinuxSandboxSecurityContext:
    namespace_options: NamespaceOption | None = None
    selinux_options: SELinuxOption | None = None
    run_as_user: int | None = None
    readonly_rootfs: bool = False
    supplemental_groups: tuple[int, ...] = ()
    privileged: bool = False
    seccomp_profile_path: str = ""
    run_as_group: int | None = None
    seccomp: SecurityProfile | None = None
    apparmor: SecurityProfile | None = None
    supplemental_groups_policy: SupplementalGroupsPolicy = SupplementalGroupsPolicy.Merge


@dataclass(frozen=True, slots=True)
class HugepageLimit:
    page_size: str = ""
    limit: int = 0


@dataclass(frozen=True, slots=True)
class LinuxContainerResources:
    cpu_period: int = 0
    cpu_quota: int = 0
    cpu_shares: int = 0
    memory_limit_in_bytes: int = 0
    oom_score_adj: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    hugepage_limits: tuple[HugepageLimit, ...] = ()
    unified: Mapping[str, str] = field(default_factory=dict)
    memory_swap_limit_in_bytes: int = 0


@dataclass(frozen=True, slots=True)
class LinuxPodSandboxConfig:
    cgroup_parent: str = ""
    security_context: LinuxSandboxSecurityContext | None = None
    sysctls: Mapping[str, str] = field(default_factory=dict)
    overhead: LinuxContainerResources | None = None
    resources: LinuxContainerResources | None = None


@dataclass(frozen=True, slots=True)
class PodSandboxMetadata:
    name: str = ""
    uid: str = ""
    namespace: str = ""
    attempt: int = 0


@dataclass(frozen=True, slots=True)
class PodSandboxConfig:
    metadata: PodSandboxMetadata = field(default_factory=PodSandboxMetadata)
    hostname: str = ""
    log_directory: str = ""
    dns_config: DNSConfig | None = None
    port_mappings: tuple[PortMapping, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    linux: LinuxPodSandboxConfig | None = None


@dataclass(frozen=True, slots=True)
class PodIP:
    ip: str = ""


@dataclass(frozen=True, slots=True)
class PodSandboxNetworkStatus:
    ip: str = ""
    additional_ips: tuple[PodIP, ...] = ()


@dataclass(frozen=True, slots=True)
class Namespace:
    options: NamespaceOption | None = None


@dataclass(frozen=True, slots=True)
class LinuxPodSandboxStatus:
    namespaces: Namespace | None = None


@dataclass(frozen=True, slots=True)
class PodSandboxStatus:
    id: str = ""
    metadata: PodSandboxMetadata = field(default_factory=PodSandboxMetadata)
    state: PodSandboxState = PodSandboxState.SANDBOX_READY
    created_at: int = 0
    network: PodSandboxNetworkStatus = field(default_factory=PodSandboxNetworkStatus)
    linux: LinuxPodSandboxStatus | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    runtime_handler: str = ""


@dataclass(frozen=True, slots=True)
class ContainerMetadata:
    name: str = ""
    attempt: int = 0


@dataclass(frozen=True, slots=True)
class ContainerResources:
    linux: LinuxContainerResources | None = None


@dataclass(frozen=True, slots=True)
class LinuxContainerUser:
    uid: int = 0
    gid: int = 0
    supplemental_groups: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class ContainerUser:
    linux: LinuxContainerUser | None = None


@dataclass(frozen=True, slots=True)
class ContainerStatus:
    id: str = ""
    metadata: ContainerMetadata = field(default_factory=ContainerMetadata)
    state: ContainerState = ContainerState.CONTAINER_CREATED
    created_at: int = 0
    started_at: int = 0
    finished_at: int = 0
    exit_code: int = 0
    image: ImageSpec = field(default_factory=ImageSpec)
    image_ref: str = ""
    reason: str = ""
    message: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    mounts: tuple[Mount, ...] = ()
    log_path: str = ""
    resources: ContainerResources | None = None
    image_id: str = ""
    user: ContainerUser | None = None
    stop_signal: Signal = Signal.RUNTIME_DEFAULT


@dataclass(frozen=True, slots=True)
class PodSandboxStatusResponse:
    status: PodSandboxStatus = field(default_factory=PodSandboxStatus)
    info: Mapping[str, str] = field(default_factory=dict)
    containers_statuses: tuple[ContainerStatus, ...] = ()
    timestamp: int = 0


@dataclass(frozen=True, slots=True)
class PodSandboxFilter:
    id: str = ""
    state: PodSandboxState | None = None
    label_selector: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PodSandbox:
    id: str = ""
    metadata: PodSandboxMetadata = field(default_factory=PodSandboxMetadata)
    state: PodSandboxState = PodSandboxState.SANDBOX_READY
    created_at: int = 0
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    runtime_handler: str = ""


@dataclass(frozen=True, slots=True)
class KeyValue:
    """One environment variable; the value is bytes, for not every value is UTF-8."""

    key: str = ""
    value: bytes = b""


@dataclass(frozen=True, slots=True)
class Capability:
    add_capabilities: tuple[str, ...] = ()
    drop_capabilities: tuple[str, ...] = ()
    add_ambient_capabilities: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LinuxContainerSecurityContext:
    capabilities: Capability | None = None
    privileged: bool = False
    namespace_options: NamespaceOption | None = None
    selinux_options: SELinuxOption | None = None
    run_as_user: int | None = None
    run_as_username: str = ""
    readonly_rootfs: bool = False
    supplemental_groups: tuple[int, ...] = ()
    apparmor_profile: str = ""
    seccomp_profile_path: str = ""
    no_new_privs: bool = False
    run_as_group: int | None = None
    masked_paths: tuple[str, ...] = ()
    readonly_paths: tuple[str, ...] = ()
    seccomp: SecurityProfile | None = None
    apparmor: SecurityProfile | None = None
    supplemental_groups_policy: SupplementalGroupsPolicy = SupplementalGroupsPolicy.Merge


@dataclass(frozen=True, slots=True)
class LinuxContainerConfig:
    resources: LinuxContainerResources | None = None
    security_context: LinuxContainerSecurityContext | None = None


@dataclass(frozen=True, slots=True)
class Device:
    container_path: str = ""
    host_path: str = ""
    permissions: str = ""


@dataclass(frozen=True, slots=True)
class CDIDevice:
    name: str = ""


@dataclass(frozen=True, slots=True)
class ContainerConfig:
    metadata: ContainerMetadata = field(default_factory=ContainerMetadata)
    image: ImageSpec = field(default_factory=ImageSpec)
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    working_dir: str = ""
    envs: tuple[KeyValue, ...] = ()
    mounts: tuple[Mount, ...] = ()
    devices: tuple[Device, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    log_path: str = ""
    stdin: bool = False
    stdin_once: bool = False
    tty: bool = False
    linux: LinuxContainerConfig | None = None
    cdi_devices: tuple[CDIDevice, ...] = ()
    stop_signal: Signal = Signal.RUNTIME_DEFAULT


@dataclass(frozen=True, slots=True)
class ContainerFilter:
    id: str = ""
    state: ContainerState | None = None
    pod_sandbox_id: str = ""
    label_selector: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Container:
    id: str = ""
    pod_sandbox_id: str = ""
    metadata: ContainerMetadata = field(default_factory=ContainerMetadata)
    image: ImageSpec = field(default_factory=ImageSpec)
    image_ref: str = ""
    state: ContainerState = ContainerState.CONTAINER_CREATED
    created_at: int = 0
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    image_id: str = ""


@dataclass(frozen=True, slots=True)
class ContainerStatusResponse:
    status: ContainerStatus = field(default_factory=ContainerStatus)
    info: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ExecSyncResponse:
    stdout: bytes = b""
    stderr: bytes = b""
    exit_code: int = 0


@dataclass(frozen=True, slots=True)
class ImageFilter:
    image: ImageSpec = field(default_factory=ImageSpec)


@dataclass(frozen=True, slots=True)
class Image:
    id: str = ""
    repo_tags: tuple[str, ...] = ()
    repo_digests: tuple[str, ...] = ()
    size: int = 0
    uid: int | None = None
    username: str = ""
    spec: ImageSpec | None = None
    pinned: bool = False


@dataclass(frozen=True, slots=True)
class ImageStatusResponse:
    image: Image | None = None
    info: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AuthConfig:
    username: str = ""
    password: str = ""
    auth: str = ""
    server_address: str = ""
    identity_token: str = ""
    registry_token: str = ""


@dataclass(frozen=True, slots=True)
class RuntimeCondition:
    type: str = ""
    status: bool = False
    reason: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class RuntimeStatus:
    conditions: tuple[RuntimeCondition, ...] = ()


@dataclass(frozen=True, slots=True)
class RuntimeHandlerFeatures:
    recursive_read_only_mounts: bool = False
    user_namespaces: bool = False


@dataclass(frozen=True, slots=True)
class RuntimeHandler:
    name: str = ""
    features: RuntimeHandlerFeatures = field(default_factory=RuntimeHandlerFeatures)


@dataclass(frozen=True, slots=True)
class RuntimeFeatures:
    supplemental_groups_policy: bool = False
    user_namespaces_host_network: bool = False


@dataclass(frozen=True, slots=True)
class StatusResponse:
    status: RuntimeStatus = field(default_factory=RuntimeStatus)
    info: Mapping[str, str] = field(default_factory=dict)
    runtime_handlers: tuple[RuntimeHandler, ...] = ()
    features: RuntimeFeatures = field(default_factory=RuntimeFeatures)


@dataclass(frozen=True, slots=True)
class ContainerEventResponse:
    container_id: str = ""
    container_event_type: ContainerEventType = ContainerEventType.CONTAINER_CREATED_EVENT
    created_at: int = 0
    pod_sandbox_status: PodSandboxStatus = field(default_factory=PodSandboxStatus)
    containers_statuses: tuple[ContainerStatus, ...] = ()


@dataclass(frozen=True, slots=True)
class LinuxRuntimeConfiguration:
    cgroup_driver: CgroupDriver = CgroupDriver.SYSTEMD
