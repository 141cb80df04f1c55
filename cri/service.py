"""The two services of CRI v1 as Python protocols; the gRPC adapter and the fake runtime both implement them.

Every call of the interface is here. Requests are spelled out as arguments, answers that hold one thing return
that thing. Ids are the runtime's full ids, timeouts whole seconds. Failures are `cri.errors`; a call may also
be cancelled, after which what the runtime did is unknown until it is asked.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from cri.stats import (
    ContainerStats,
    ContainerStatsFilter,
    ImageFsInfoResponse,
    MetricDescriptor,
    PodSandboxMetrics,
    PodSandboxStats,
    PodSandboxStatsFilter,
)
from cri.types import (
    AuthConfig,
    Container,
    ContainerConfig,
    ContainerEventResponse,
    ContainerFilter,
    ContainerStatusResponse,
    ExecSyncResponse,
    Image,
    ImageFilter,
    ImageSpec,
    ImageStatusResponse,
    LinuxContainerResources,
    LinuxRuntimeConfiguration,
    PodSandbox,
    PodSandboxConfig,
    PodSandboxFilter,
    PodSandboxStatusResponse,
    StatusResponse,
    VersionResponse,
)


@dataclass(frozen=True, slots=True)
class Streams:
    """Which standard streams an exec or attach session carries; a tty merges stderr into stdout."""

    stdin: bool = False
    stdout: bool = True
    stderr: bool = True
    tty: bool = False


class RuntimeService(Protocol):
    """`runtime.v1.RuntimeService`."""

    async def version(self) -> VersionResponse: ...

    async def status(self, *, verbose: bool = False) -> StatusResponse: ...

    async def runtime_config(self) -> LinuxRuntimeConfiguration | None:
        """The cgroup driver the runtime uses; `Unimplemented` on containerd before 2.0."""
        ...

    async def update_runtime_config(self, pod_cidr: str) -> None: ...

    async def run_pod_sandbox(self, config: PodSandboxConfig, runtime_handler: str = "") -> str:
        """Make the sandbox and its network; its id. `NameReserved` while an earlier try holds the name."""
        ...

    async def stop_pod_sandbox(self, pod_sandbox_id: str) -> None:
        """Kill what runs in it and release its network. Idempotent; no error when the sandbox is gone."""
        ...

    async def remove_pod_sandbox(self, pod_sandbox_id: str) -> None:
        """Remove it with its containers. Idempotent; no error when the sandbox is gone."""
        ...

    async def pod_sandbox_status(
        self, pod_sandbox_id: str, *, verbose: bool = False
    ) -> PodSandboxStatusResponse: ...

    async def list_pod_sandboxes(self, filter: PodSandboxFilter | None = None) -> list[PodSandbox]: ...

    def stream_pod_sandboxes(self, filter: PodSandboxFilter | None = None) -> AsyncIterator[PodSandbox]: ...

    async def update_pod_sandbox_resources(
        self,
        pod_sandbox_id: str,
        *,
        overhead: LinuxContainerResources | None = None,
        resources: LinuxContainerResources | None = None,
    ) -> None: ...

    async def create_container(
        self, pod_sandbox_id: str, config: ContainerConfig, sandbox_config: PodSandboxConfig
    ) -> str:
        """Make the container, not running, return its id; `NameReserved` as for the sandbox."""
        ...

    async def start_container(self, container_id: str) -> None: ...

    async def stop_container(self, container_id: str, timeout_seconds: int) -> None:
        """Ask, wait up to `timeout_seconds`, then kill (0: kill at once). Idempotent."""
        ...

    async def remove_container(self, container_id: str) -> None:
        """Remove it, killing it first if it runs. Idempotent; no error when it is gone."""
        ...

    async def list_containers(self, filter: ContainerFilter | None = None) -> list[Container]: ...

    def stream_containers(self, filter: ContainerFilter | None = None) -> AsyncIterator[Container]: ...

    async def container_status(
        self, container_id: str, *, verbose: bool = False
    ) -> ContainerStatusResponse: ...

    async def update_container_resources(
        self,
        container_id: str,
        linux: LinuxContainerResources,
        annotations: Mapping[str, str] | None = None,
    ) -> None: ...

    async def reopen_container_log(self, container_id: str) -> None: ...

    async def checkpoint_container(self, container_id: str, location: str, timeout_seconds: int) -> None: ...

    async def exec_sync(
        self, container_id: str, cmd: Sequence[str], timeout_seconds: int
    ) -> ExecSyncResponse:
        """Run `cmd` and wait; `DeadlineExceeded` after `timeout_seconds` (0: no limit)."""
        ...

    async def exec(self, container_id: str, cmd: Sequence[str], streams: Streams) -> str:
        """Prepare a session, return the URL on the runtime's streaming server."""
        ...

    async def attach(self, container_id: str, streams: Streams) -> str: ...

    async def port_forward(self, pod_sandbox_id: str, ports: Sequence[int] = ()) -> str: ...

    async def container_stats(self, container_id: str) -> ContainerStats: ...

    async def list_container_stats(
        self, filter: ContainerStatsFilter | None = None
    ) -> list[ContainerStats]: ...

    def stream_container_stats(
        self, filter: ContainerStatsFilter | None = None
    ) -> AsyncIterator[ContainerStats]: ...

    async def pod_sandbox_stats(self, pod_sandbox_id: str) -> PodSandboxStats: ...

    async def list_pod_sandbox_stats(
        self, filter: PodSandboxStatsFilter | None = None
    ) -> list[PodSandboxStats]: ...

    def stream_pod_sandbox_stats(
        self, filter: PodSandboxStatsFilter | None = None
    ) -> AsyncIterator[PodSandboxStats]: ...

    async def list_metric_descriptors(self) -> list[MetricDescriptor]: ...

    async def list_pod_sandbox_metrics(self) -> list[PodSandboxMetrics]: ...

    def stream_pod_sandbox_metrics(self) -> AsyncIterator[PodSandboxMetrics]: ...

    def get_container_events(self) -> AsyncIterator[ContainerEventResponse]:
        """What happens to containers from now on; ends with `CriError` when the connection is lost."""
        ...


class ImageService(Protocol):
    """`runtime.v1.ImageService`."""

    async def list_images(self, filter: ImageFilter | None = None) -> list[Image]: ...

    def stream_images(self, filter: ImageFilter | None = None) -> AsyncIterator[Image]: ...

    async def image_status(self, image: ImageSpec, *, verbose: bool = False) -> ImageStatusResponse:
        """`.image` is None when the runtime has no such image; that is not an error."""
        ...

    async def pull_image(
        self,
        image: ImageSpec,
        auth: AuthConfig | None = None,
        sandbox_config: PodSandboxConfig | None = None,
    ) -> str:
        """Fetch it and return the reference to use from now on; `ImagePullError` says why not."""
        ...

    async def remove_image(self, image: ImageSpec) -> None: ...

    async def image_fs_info(self) -> ImageFsInfoResponse: ...
