"""Usage figures of CRI v1 (stats, metrics, filesystems) as plain values.

Same conventions as `cri.types`: a counter the runtime did not report is None, never zero. Timestamps are
nanoseconds since the epoch, CPU in nanoseconds or nanocores, the rest in bytes or plain counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cri.enums import MetricType
from cri.types import ContainerMetadata, PodSandboxMetadata


@dataclass(frozen=True, slots=True)
class PodSandboxStatsFilter:
    id: str = ""
    label_selector: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PodSandboxAttributes:
    id: str = ""
    metadata: PodSandboxMetadata = field(default_factory=PodSandboxMetadata)
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PsiData:
    total: int = 0
    avg10: float = 0.0
    avg60: float = 0.0
    avg300: float = 0.0


@dataclass(frozen=True, slots=True)
class PsiStats:
    full: PsiData | None = None
    some: PsiData | None = None


@dataclass(frozen=True, slots=True)
class CpuUsage:
    timestamp: int = 0
    usage_core_nano_seconds: int | None = None
    usage_nano_cores: int | None = None
    psi: PsiStats | None = None


@dataclass(frozen=True, slots=True)
class MemoryUsage:
    timestamp: int = 0
    working_set_bytes: int | None = None
    available_bytes: int | None = None
    usage_bytes: int | None = None
    rss_bytes: int | None = None
    page_faults: int | None = None
    major_page_faults: int | None = None
    psi: PsiStats | None = None


@dataclass(frozen=True, slots=True)
class NetworkInterfaceUsage:
    name: str = ""
    rx_bytes: int | None = None
    rx_errors: int | None = None
    tx_bytes: int | None = None
    tx_errors: int | None = None


@dataclass(frozen=True, slots=True)
class NetworkUsage:
    timestamp: int = 0
    default_interface: NetworkInterfaceUsage | None = None
    interfaces: tuple[NetworkInterfaceUsage, ...] = ()


@dataclass(frozen=True, slots=True)
class ProcessUsage:
    timestamp: int = 0
    process_count: int | None = None


@dataclass(frozen=True, slots=True)
class ContainerAttributes:
    id: str = ""
    metadata: ContainerMetadata = field(default_factory=ContainerMetadata)
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FilesystemIdentifier:
    mountpoint: str = ""


@dataclass(frozen=True, slots=True)
class FilesystemUsage:
    timestamp: int = 0
    fs_id: FilesystemIdentifier = field(default_factory=FilesystemIdentifier)
    used_bytes: int | None = None
    inodes_used: int | None = None


@dataclass(frozen=True, slots=True)
class SwapUsage:
    timestamp: int = 0
    swap_available_bytes: int | None = None
    swap_usage_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class IoUsage:
    timestamp: int = 0
    psi: PsiStats | None = None


@dataclass(frozen=True, slots=True)
class ContainerStats:
    attributes: ContainerAttributes = field(default_factory=ContainerAttributes)
    cpu: CpuUsage | None = None
    memory: MemoryUsage | None = None
    writable_layer: FilesystemUsage | None = None
    swap: SwapUsage | None = None
    io: IoUsage | None = None


@dataclass(frozen=True, slots=True)
class LinuxPodSandboxStats:
    cpu: CpuUsage | None = None
    memory: MemoryUsage | None = None
    network: NetworkUsage | None = None
    process: ProcessUsage | None = None
    containers: tuple[ContainerStats, ...] = ()
    io: IoUsage | None = None


@dataclass(frozen=True, slots=True)
class PodSandboxStats:
    attributes: PodSandboxAttributes = field(default_factory=PodSandboxAttributes)
    linux: LinuxPodSandboxStats | None = None


@dataclass(frozen=True, slots=True)
class ImageFsInfoResponse:
    image_filesystems: tuple[FilesystemUsage, ...] = ()
    container_filesystems: tuple[FilesystemUsage, ...] = ()


@dataclass(frozen=True, slots=True)
class ContainerStatsFilter:
    id: str = ""
    pod_sandbox_id: str = ""
    label_selector: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MetricDescriptor:
    name: str = ""
    help: str = ""
    label_keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Metric:
    name: str = ""
    timestamp: int = 0
    metric_type: MetricType = MetricType.COUNTER
    label_values: tuple[str, ...] = ()
    value: int | None = None


@dataclass(frozen=True, slots=True)
class ContainerMetrics:
    container_id: str = ""
    metrics: tuple[Metric, ...] = ()


@dataclass(frozen=True, slots=True)
class PodSandboxMetrics:
    pod_sandbox_id: str = ""
    metrics: tuple[Metric, ...] = ()
    container_metrics: tuple[ContainerMetrics, ...] = ()
