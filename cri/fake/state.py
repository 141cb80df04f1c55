"""What the fake runtime remembers: sandboxes, containers, reserved names; and how CRI shows them.

The rules of names are containerd's: a name is reserved before anything is made and belongs to one id until
that thing is removed, so a second attempt under the same name fails and says who holds it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from cri.errors import NameReserved
from cri.fake.logfile import LogFile
from cri.fake.process import Process
from cri.stats import (
    ContainerAttributes,
    ContainerStats,
    ContainerStatsFilter,
    CpuUsage,
    FilesystemUsage,
    LinuxPodSandboxStats,
    MemoryUsage,
    NetworkInterfaceUsage,
    NetworkUsage,
    PodSandboxAttributes,
    PodSandboxStats,
    ProcessUsage,
)
from cri.types import (
    Container,
    ContainerConfig,
    ContainerFilter,
    ContainerResources,
    ContainerState,
    ContainerStatus,
    ContainerUser,
    ImageSpec,
    LinuxContainerResources,
    LinuxContainerUser,
    LinuxPodSandboxStatus,
    Namespace,
    NamespaceMode,
    NamespaceOption,
    PodSandbox,
    PodSandboxConfig,
    PodSandboxFilter,
    PodSandboxNetworkStatus,
    PodSandboxState,
    PodSandboxStatus,
)

OOM_REASON, COMPLETED_REASON, ERROR_REASON = "OOMKilled", "Completed", "Error"
START_ERROR_REASON, START_ERROR_CODE = "StartError", 128  # containerd pkg/cri/server/container_start.go
UNKNOWN_REASON, UNKNOWN_CODE = "Unknown", 255  # containerd pkg/cri/server: unknownExitCode
IDLE_MEMORY_BYTES = 1 << 20


@dataclass(slots=True)
class SandboxRecord:
    id: str
    config: PodSandboxConfig
    runtime_handler: str
    created_at: int
    ip: str
    state: PodSandboxState = PodSandboxState.SANDBOX_READY
    containers: dict[str, ContainerRecord] = field(default_factory=dict)

    @property
    def namespaces(self) -> NamespaceOption:
        return namespaces_of(self.config)

    @property
    def name(self) -> str:
        return sandbox_name(self.config)

    def status(self) -> PodSandboxStatus:
        config = self.config
        return PodSandboxStatus(
            id=self.id,
            metadata=config.metadata,
            state=self.state,
            created_at=self.created_at,
            network=PodSandboxNetworkStatus(ip=self.ip),
            linux=LinuxPodSandboxStatus(Namespace(self.namespaces)),
            labels=config.labels,
            annotations=config.annotations,
            runtime_handler=self.runtime_handler,
        )

    def listed(self) -> PodSandbox:
        config = self.config
        return PodSandbox(
            id=self.id,
            metadata=config.metadata,
            state=self.state,
            created_at=self.created_at,
            labels=config.labels,
            annotations=config.annotations,
            runtime_handler=self.runtime_handler,
        )

    def stats(self, now_ns: int) -> PodSandboxStats:
        config = self.config
        parts = tuple(container.stats(now_ns) for container in self.containers.values())
        return PodSandboxStats(
            PodSandboxAttributes(self.id, config.metadata, config.labels, config.annotations),
            LinuxPodSandboxStats(
                cpu=CpuUsage(
                    now_ns, sum(part.cpu.usage_core_nano_seconds or 0 for part in parts if part.cpu)
                ),
                memory=MemoryUsage(now_ns, working_set_bytes=IDLE_MEMORY_BYTES * (1 + len(parts))),
                network=NetworkUsage(now_ns, NetworkInterfaceUsage("eth0", 0, 0, 0, 0)),
                process=ProcessUsage(now_ns, 1 + len(parts)),
                containers=parts,
            ),
        )


@dataclass(slots=True)
class ContainerRecord:
    id: str
    sandbox: SandboxRecord
    config: ContainerConfig
    image: ImageSpec
    image_id: str
    created_at: int
    resources: LinuxContainerResources | None
    state: ContainerState = ContainerState.CONTAINER_CREATED
    started_at: int = 0
    finished_at: int = 0
    exit_code: int = 0
    reason: str = ""
    message: str = ""
    process: Process | None = None
    log: LogFile | None = None

    @property
    def name(self) -> str:
        return container_name(self.config, self.sandbox.config)

    @property
    def log_path(self) -> str:
        directory, path = self.sandbox.config.log_directory, self.config.log_path
        return f"{directory.rstrip('/')}/{path}" if directory and path else ""

    @property
    def is_init(self) -> bool:
        """Whether its process is PID 1 of a namespace of its own (CRI's default is the pod's namespace)."""
        context = self.config.linux and self.config.linux.security_context
        options = (context and context.namespace_options) or NamespaceOption()
        return options.pid == NamespaceMode.CONTAINER

    def ended(self, code: int, *, at: int, reason: str = "", message: str = "") -> None:
        self.state = ContainerState.CONTAINER_EXITED
        self.finished_at, self.exit_code, self.message = at, code, message
        self.reason = reason or (ERROR_REASON if code else COMPLETED_REASON)

    def status(self) -> ContainerStatus:
        config = self.config
        context = config.linux.security_context if config.linux else None
        return ContainerStatus(
            id=self.id,
            metadata=config.metadata,
            state=self.state,
            created_at=self.created_at,
            started_at=self.started_at,
            finished_at=self.finished_at,
            exit_code=self.exit_code,
            image=self.image,
            image_ref=self.image_id,
            reason=self.reason,
            message=self.message,
            labels=config.labels,
            annotations=config.annotations,
            mounts=config.mounts,
            log_path=self.log_path,
            resources=ContainerResources(self.resources) if self.resources else None,
            image_id=self.image_id,
            user=ContainerUser(
                LinuxContainerUser(
                    (context and context.run_as_user) or 0,
                    (context and context.run_as_group) or 0,
                    context.supplemental_groups if context else (),
                )
            ),
            stop_signal=config.stop_signal,
        )

    def listed(self) -> Container:
        config = self.config
        return Container(
            id=self.id,
            pod_sandbox_id=self.sandbox.id,
            metadata=config.metadata,
            image=self.image,
            image_ref=self.image_id,
            state=self.state,
            created_at=self.created_at,
            labels=config.labels,
            annotations=config.annotations,
            image_id=self.image_id,
        )

    def stats(self, now_ns: int) -> ContainerStats:
        config = self.config
        ran = (self.finished_at or now_ns) - self.started_at if self.started_at else 0
        return ContainerStats(
            attributes=ContainerAttributes(self.id, config.metadata, config.labels, config.annotations),
            cpu=CpuUsage(now_ns, usage_core_nano_seconds=ran // 1000),
            memory=MemoryUsage(now_ns, working_set_bytes=IDLE_MEMORY_BYTES, usage_bytes=IDLE_MEMORY_BYTES),
            writable_layer=FilesystemUsage(now_ns, used_bytes=4096, inodes_used=1),
        )


class Names:
    """Who holds which name."""

    def __init__(self) -> None:
        self._owners: dict[str, str] = {}

    def reserve(self, name: str, owner_id: str, *, kind: str, call: str) -> None:
        """Take `name` or raise NameReserved with containerd's words."""
        holder = self._owners.setdefault(name, owner_id)
        if holder != owner_id:
            text = f'failed to reserve {kind} name "{name}": name "{name}" is reserved for "{holder}"'
            raise NameReserved(text, owner_id=holder, call=call)

    def release(self, owner_id: str, name: str) -> None:
        if self._owners.get(name) == owner_id:
            del self._owners[name]

    def holders(self) -> Mapping[str, str]:
        return dict(self._owners)


def namespaces_of(config: PodSandboxConfig) -> NamespaceOption:
    context = config.linux and config.linux.security_context
    return (context and context.namespace_options) or NamespaceOption()


def sandbox_name(config: PodSandboxConfig) -> str:
    """containerd pkg/cri/server/helpers.go makeSandboxName."""
    meta = config.metadata
    return f"{meta.name}_{meta.namespace}_{meta.uid}_{meta.attempt}"


def container_name(config: ContainerConfig, sandbox: PodSandboxConfig) -> str:
    """containerd pkg/cri/server/helpers.go makeContainerName."""
    pod = sandbox.metadata
    return f"{config.metadata.name}_{pod.name}_{pod.namespace}_{pod.uid}_{config.metadata.attempt}"


def make_id(seed: str, number: int) -> str:
    """64 hexadecimal digits, the same for the same seed and number."""
    return hashlib.sha256(f"{seed}/{number}".encode()).hexdigest()


def is_sandbox_wanted(record: SandboxRecord, wanted: PodSandboxFilter | None) -> bool:
    return wanted is None or (
        wanted.id in ("", record.id)
        and wanted.state in (None, record.state)
        and _has_labels(record.config.labels, wanted.label_selector)
    )


def is_container_wanted(record: ContainerRecord, wanted: ContainerFilter | None) -> bool:
    return wanted is None or (
        wanted.id in ("", record.id)
        and wanted.pod_sandbox_id in ("", record.sandbox.id)
        and wanted.state in (None, record.state)
        and _has_labels(record.config.labels, wanted.label_selector)
    )


def is_stats_wanted(record: ContainerRecord, wanted: ContainerStatsFilter | None) -> bool:
    return wanted is None or (
        wanted.id in ("", record.id)
        and wanted.pod_sandbox_id in ("", record.sandbox.id)
        and _has_labels(record.config.labels, wanted.label_selector)
    )


def _has_labels(labels: Mapping[str, str], selector: Mapping[str, str]) -> bool:
    return not selector or selector.items() <= labels.items()
