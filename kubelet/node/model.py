"""What a Node is made of, as values (pure): the machine, what was asked for, and what is so right now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from cri.types import Image, StatusResponse
from kubelet.configuration import KubeletConfiguration
from kubelet.configuration.types import Taint
from kubelet.configuration.version import kubelet_version
from kubelet.flags import Flags

# What this agent can do that the API server must know before it relies on it (KEP-5328).
DECLARED_FEATURES = ("ExtendWebSocketsToKubelet",)


class Pressure(StrEnum):
    """What a node may be short of; the value is the type of its condition."""

    MEMORY = "MemoryPressure"
    DISK = "DiskPressure"
    PID = "PIDPressure"


@dataclass(frozen=True, slots=True)
class Machine:
    """The host, read once at start. Sizes in bytes; `hugepages` by resource name ("hugepages-2Mi");
    `architecture` in Go's spelling."""

    cpus: int
    memory_bytes: int
    disk_bytes: int = 0
    swap_bytes: int = 0
    hugepages: Mapping[str, int] = field(default_factory=dict)
    machine_id: str = ""
    system_uuid: str = ""
    boot_id: str = ""
    kernel_version: str = ""
    os_image: str = ""
    architecture: str = "amd64"


@dataclass(frozen=True, slots=True)
class Reservations:
    """What pods do not get: quantities by resource, and evictionHard by signal."""

    system: Mapping[str, str] = field(default_factory=dict)
    kube: Mapping[str, str] = field(default_factory=dict)
    eviction_hard: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """What configuration and flags say of the node. Durations in seconds; `lease_seconds` is how long a lease
    lasts (it is renewed four times as often); `runtime_version` is "containerd://1.7.2"."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[Taint, ...] = ()
    register: bool = True
    schedulable: bool = True
    provider_id: str = ""
    controller_attaches: bool = True
    max_pods: int = 110
    pods_per_core: int = 0
    reservations: Reservations = Reservations()
    local_storage: bool = True
    port: int = 10250
    max_images: int = 50
    update_seconds: float = 10.0
    report_seconds: float = 300.0
    lease_seconds: int = 40
    runtime_version: str = ""
    version: str = "v1.36.2"
    declared_features: tuple[str, ...] = DECLARED_FEATURES


@dataclass(frozen=True, slots=True)
class Readings:
    """What is so right now.

    `runtime` is the runtime's last answer and `silent_seconds` how long ago it came, both None before the
    first. `problems` are further reasons not to be ready, in the words of whoever has them.
    """

    addresses: tuple[str, ...]
    runtime: StatusResponse | None = None
    silent_seconds: float | None = None
    problems: tuple[str, ...] = ()
    pressures: frozenset[Pressure] = frozenset()
    images: tuple[Image, ...] = ()
    volumes_in_use: tuple[str, ...] = ()


def reservations(flags: Flags, config: KubeletConfiguration) -> Reservations:
    hard = {} if flags.experimental_allocatable_ignore_eviction else config.eviction_hard
    return Reservations(config.system_reserved, config.kube_reserved, hard)


def node_settings(
    flags: Flags, config: KubeletConfiguration, name: str, runtime_version: str
) -> NodeSettings:
    """`name` is the node's (`facts.node_name`), `runtime_version` is NAME://VERSION of the CRI runtime."""
    return NodeSettings(
        name=name,
        labels=flags.node_labels,
        taints=config.register_with_taints,
        register=config.register_node,
        schedulable=flags.register_schedulable,
        provider_id=config.provider_id,
        controller_attaches=config.enable_controller_attach_detach,
        max_pods=config.max_pods,
        pods_per_core=config.pods_per_core,
        reservations=reservations(flags, config),
        local_storage=config.local_storage_capacity_isolation,
        port=config.port,
        max_images=config.node_status_max_images,
        update_seconds=config.node_status_update_frequency,
        report_seconds=config.node_status_report_frequency,
        lease_seconds=config.node_lease_duration_seconds,
        runtime_version=runtime_version,
        version=kubelet_version(),
    )
