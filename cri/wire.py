"""CRI v1 over gRPC: `RuntimeService` and `ImageService` against a real runtime.

Promise: every call has a deadline (kubelet's: two minutes, four for a sandbox, the grace on top where the
runtime waits for a process), answers are plain `cri.types` values, failures are `cri.errors`. Protobuf stays
in here and in the generated modules. `connect` checks that the other side speaks CRI v1 and says who it is.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from cri._pb import api_pb2 as pb
from cri._pb import convert
from cri.connection import Connection
from cri.errors import CriError, Unimplemented
from cri.service import Streams
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

T = TypeVar("T")

# KubeletConfiguration runtimeRequestTimeout.
REQUEST_TIMEOUT_SECONDS = 120.0
# A sandbox may need its image and a slow network plugin: twice the usual (RunPodSandbox in cri-client).
SANDBOX_TIMEOUT_FACTOR = 2
# Version in a request names the API of the kubelet, "0.1.0" since ever (kubeRuntimeAPIVersion).
AGENT_API_VERSION = "0.1.0"
API_VERSION = "v1"


_FILTERS: dict[type, Callable[[Any], Any]] = {
    PodSandboxFilter: convert.to_PodSandboxFilter,
    PodSandboxStatsFilter: convert.to_PodSandboxStatsFilter,
    ContainerFilter: convert.to_ContainerFilter,
    ContainerStatsFilter: convert.to_ContainerStatsFilter,
    ImageFilter: convert.to_ImageFilter,
}


def _filter(value: object | None) -> Any:
    return None if value is None else _FILTERS[type(value)](value)


def _resources(value: LinuxContainerResources | None) -> Any:
    return None if value is None else convert.to_LinuxContainerResources(value)


def _required(value: str, call: str) -> str:
    """The answer of a call that cannot succeed without one; upstream refuses an empty id likewise."""
    if not value:
        raise CriError("the runtime's answer is empty", call=call)
    return value


async def _each(answers: AsyncGenerator[Any, None], field: str, make: Callable[[Any], T]) -> AsyncIterator[T]:
    """The items of a stream whose answers carry them in batches; closes the call with itself."""
    try:
        async for answer in answers:
            for item in getattr(answer, field):
                yield make(item)
    finally:
        await answers.aclose()


class GrpcRuntimeService:
    """`cri.service.RuntimeService` over a connection. `timeout_seconds` is runtimeRequestTimeout."""

    def __init__(self, connection: Connection, timeout_seconds: float = REQUEST_TIMEOUT_SECONDS) -> None:
        self._stub = connection.service(pb.DESCRIPTOR, "RuntimeService")
        self._timeout = timeout_seconds

    async def _call(self, call: str, request: Any, timeout: float | None = None) -> Any:
        return await self._stub.call(call, request, self._timeout if timeout is None else timeout)

    async def version(self) -> VersionResponse:
        answer = await self._call("Version", pb.VersionRequest(version=AGENT_API_VERSION))
        return convert.from_VersionResponse(answer)

    async def status(self, *, verbose: bool = False) -> StatusResponse:
        return convert.from_StatusResponse(await self._call("Status", pb.StatusRequest(verbose=verbose)))

    async def runtime_config(self) -> LinuxRuntimeConfiguration | None:
        answer = await self._call("RuntimeConfig", pb.RuntimeConfigRequest())
        return convert.from_LinuxRuntimeConfiguration(answer.linux) if answer.HasField("linux") else None

    async def update_runtime_config(self, pod_cidr: str) -> None:
        config = pb.RuntimeConfig(network_config=pb.NetworkConfig(pod_cidr=pod_cidr))
        await self._call("UpdateRuntimeConfig", pb.UpdateRuntimeConfigRequest(runtime_config=config))

    async def run_pod_sandbox(self, config: PodSandboxConfig, runtime_handler: str = "") -> str:
        request = pb.RunPodSandboxRequest(
            config=convert.to_PodSandboxConfig(config), runtime_handler=runtime_handler
        )
        answer = await self._call("RunPodSandbox", request, self._timeout * SANDBOX_TIMEOUT_FACTOR)
        return _required(answer.pod_sandbox_id, "RunPodSandbox")

    async def stop_pod_sandbox(self, pod_sandbox_id: str) -> None:
        await self._call("StopPodSandbox", pb.StopPodSandboxRequest(pod_sandbox_id=pod_sandbox_id))

    async def remove_pod_sandbox(self, pod_sandbox_id: str) -> None:
        await self._call("RemovePodSandbox", pb.RemovePodSandboxRequest(pod_sandbox_id=pod_sandbox_id))

    async def pod_sandbox_status(
        self, pod_sandbox_id: str, *, verbose: bool = False
    ) -> PodSandboxStatusResponse:
        request = pb.PodSandboxStatusRequest(pod_sandbox_id=pod_sandbox_id, verbose=verbose)
        return convert.from_PodSandboxStatusResponse(await self._call("PodSandboxStatus", request))

    async def list_pod_sandboxes(self, filter: PodSandboxFilter | None = None) -> list[PodSandbox]:
        request = pb.ListPodSandboxRequest(filter=_filter(filter))
        answer = await self._call("ListPodSandbox", request)
        return [convert.from_PodSandbox(item) for item in answer.items]

    def stream_pod_sandboxes(self, filter: PodSandboxFilter | None = None) -> AsyncIterator[PodSandbox]:
        request = pb.StreamPodSandboxesRequest(filter=_filter(filter))
        answers = self._stub.stream("StreamPodSandboxes", request, self._timeout)
        return _each(answers, "pod_sandboxes", convert.from_PodSandbox)

    async def update_pod_sandbox_resources(
        self,
        pod_sandbox_id: str,
        *,
        overhead: LinuxContainerResources | None = None,
        resources: LinuxContainerResources | None = None,
    ) -> None:
        request = pb.UpdatePodSandboxResourcesRequest(
            pod_sandbox_id=pod_sandbox_id, overhead=_resources(overhead), resources=_resources(resources)
        )
        await self._call("UpdatePodSandboxResources", request)

    async def create_container(
        self, pod_sandbox_id: str, config: ContainerConfig, sandbox_config: PodSandboxConfig
    ) -> str:
        request = pb.CreateContainerRequest(
            pod_sandbox_id=pod_sandbox_id,
            config=convert.to_ContainerConfig(config),
            sandbox_config=convert.to_PodSandboxConfig(sandbox_config),
        )
        answer = await self._call("CreateContainer", request)
        return _required(answer.container_id, "CreateContainer")

    async def start_container(self, container_id: str) -> None:
        await self._call("StartContainer", pb.StartContainerRequest(container_id=container_id))

    async def stop_container(self, container_id: str, timeout_seconds: int) -> None:
        request = pb.StopContainerRequest(container_id=container_id, timeout=timeout_seconds)
        await self._call("StopContainer", request, max(timeout_seconds, 0) + self._timeout)

    async def remove_container(self, container_id: str) -> None:
        await self._call("RemoveContainer", pb.RemoveContainerRequest(container_id=container_id))

    async def list_containers(self, filter: ContainerFilter | None = None) -> list[Container]:
        answer = await self._call("ListContainers", pb.ListContainersRequest(filter=_filter(filter)))
        return [convert.from_Container(item) for item in answer.containers]

    def stream_containers(self, filter: ContainerFilter | None = None) -> AsyncIterator[Container]:
        request = pb.StreamContainersRequest(filter=_filter(filter))
        answers = self._stub.stream("StreamContainers", request, self._timeout)
        return _each(answers, "containers", convert.from_Container)

    async def container_status(self, container_id: str, *, verbose: bool = False) -> ContainerStatusResponse:
        request = pb.ContainerStatusRequest(container_id=container_id, verbose=verbose)
        return convert.from_ContainerStatusResponse(await self._call("ContainerStatus", request))

    async def update_container_resources(
        self,
        container_id: str,
        linux: LinuxContainerResources,
        annotations: Mapping[str, str] | None = None,
    ) -> None:
        request = pb.UpdateContainerResourcesRequest(
            container_id=container_id,
            linux=convert.to_LinuxContainerResources(linux),
            annotations=dict(annotations or {}),
        )
        await self._call("UpdateContainerResources", request)

    async def reopen_container_log(self, container_id: str) -> None:
        await self._call("ReopenContainerLog", pb.ReopenContainerLogRequest(container_id=container_id))

    async def checkpoint_container(self, container_id: str, location: str, timeout_seconds: int) -> None:
        request = pb.CheckpointContainerRequest(
            container_id=container_id, location=location, timeout=timeout_seconds
        )
        await self._call("CheckpointContainer", request, max(timeout_seconds, 0) + self._timeout)

    async def exec_sync(
        self, container_id: str, cmd: Sequence[str], timeout_seconds: int
    ) -> ExecSyncResponse:
        request = pb.ExecSyncRequest(container_id=container_id, cmd=cmd, timeout=timeout_seconds)
        # 0 means no limit, at the runtime and here.
        deadline = timeout_seconds + self._timeout if timeout_seconds > 0 else None
        return convert.from_ExecSyncResponse(await self._stub.call("ExecSync", request, deadline))

    async def exec(self, container_id: str, cmd: Sequence[str], streams: Streams) -> str:
        request = pb.ExecRequest(
            container_id=container_id,
            cmd=cmd,
            tty=streams.tty,
            stdin=streams.stdin,
            stdout=streams.stdout,
            stderr=streams.stderr,
        )
        return _required((await self._call("Exec", request)).url, "Exec")

    async def attach(self, container_id: str, streams: Streams) -> str:
        request = pb.AttachRequest(
            container_id=container_id,
            tty=streams.tty,
            stdin=streams.stdin,
            stdout=streams.stdout,
            stderr=streams.stderr,
        )
        return _required((await self._call("Attach", request)).url, "Attach")

    async def port_forward(self, pod_sandbox_id: str, ports: Sequence[int] = ()) -> str:
        request = pb.PortForwardRequest(pod_sandbox_id=pod_sandbox_id, port=ports)
        return _required((await self._call("PortForward", request)).url, "PortForward")

    async def container_stats(self, container_id: str) -> ContainerStats:
        answer = await self._call("ContainerStats", pb.ContainerStatsRequest(container_id=container_id))
        return convert.from_ContainerStats(answer.stats)

    async def list_container_stats(self, filter: ContainerStatsFilter | None = None) -> list[ContainerStats]:
        request = pb.ListContainerStatsRequest(filter=_filter(filter))
        answer = await self._call("ListContainerStats", request)
        return [convert.from_ContainerStats(item) for item in answer.stats]

    def stream_container_stats(
        self, filter: ContainerStatsFilter | None = None
    ) -> AsyncIterator[ContainerStats]:
        request = pb.StreamContainerStatsRequest(filter=_filter(filter))
        answers = self._stub.stream("StreamContainerStats", request, self._timeout)
        return _each(answers, "container_stats", convert.from_ContainerStats)

    async def pod_sandbox_stats(self, pod_sandbox_id: str) -> PodSandboxStats:
        request = pb.PodSandboxStatsRequest(pod_sandbox_id=pod_sandbox_id)
        return convert.from_PodSandboxStats((await self._call("PodSandboxStats", request)).stats)

    async def list_pod_sandbox_stats(
        self, filter: PodSandboxStatsFilter | None = None
    ) -> list[PodSandboxStats]:
        request = pb.ListPodSandboxStatsRequest(filter=_filter(filter))
        answer = await self._call("ListPodSandboxStats", request)
        return [convert.from_PodSandboxStats(item) for item in answer.stats]

    def stream_pod_sandbox_stats(
        self, filter: PodSandboxStatsFilter | None = None
    ) -> AsyncIterator[PodSandboxStats]:
        request = pb.StreamPodSandboxStatsRequest(filter=_filter(filter))
        answers = self._stub.stream("StreamPodSandboxStats", request, self._timeout)
        return _each(answers, "pod_sandbox_stats", convert.from_PodSandboxStats)

    async def list_metric_descriptors(self) -> list[MetricDescriptor]:
        answer = await self._call("ListMetricDescriptors", pb.ListMetricDescriptorsRequest())
        return [convert.from_MetricDescriptor(item) for item in answer.descriptors]

    async def list_pod_sandbox_metrics(self) -> list[PodSandboxMetrics]:
        answer = await self._call("ListPodSandboxMetrics", pb.ListPodSandboxMetricsRequest())
        return [convert.from_PodSandboxMetrics(item) for item in answer.pod_metrics]

    def stream_pod_sandbox_metrics(self) -> AsyncIterator[PodSandboxMetrics]:
        request = pb.StreamPodSandboxMetricsRequest()
        answers = self._stub.stream("StreamPodSandboxMetrics", request, self._timeout)
        return _each(answers, "pod_sandbox_metrics", convert.from_PodSandboxMetrics)

    async def get_container_events(self) -> AsyncIterator[ContainerEventResponse]:
        answers = self._stub.stream("GetContainerEvents", pb.GetEventsRequest())
        try:
            async for answer in answers:
                yield convert.from_ContainerEventResponse(answer)
        finally:
            await answers.aclose()


class GrpcImageService:
    """`cri.service.ImageService` over a connection.

    A pull has no deadline of its own, as upstream: how long is too long depends on the image, and the caller
    can cancel. Everything else has `timeout_seconds`.
    """

    def __init__(self, connection: Connection, timeout_seconds: float = REQUEST_TIMEOUT_SECONDS) -> None:
        self._stub = connection.service(pb.DESCRIPTOR, "ImageService")
        self._timeout = timeout_seconds

    async def list_images(self, filter: ImageFilter | None = None) -> list[Image]:
        request = pb.ListImagesRequest(filter=_filter(filter))
        answer = await self._stub.call("ListImages", request, self._timeout)
        return [convert.from_Image(item) for item in answer.images]

    def stream_images(self, filter: ImageFilter | None = None) -> AsyncIterator[Image]:
        request = pb.StreamImagesRequest(filter=_filter(filter))
        answers = self._stub.stream("StreamImages", request, self._timeout)
        return _each(answers, "images", convert.from_Image)

    async def image_status(self, image: ImageSpec, *, verbose: bool = False) -> ImageStatusResponse:
        request = pb.ImageStatusRequest(image=convert.to_ImageSpec(image), verbose=verbose)
        answer = await self._stub.call("ImageStatus", request, self._timeout)
        return convert.from_ImageStatusResponse(answer)

    async def pull_image(
        self,
        image: ImageSpec,
        auth: AuthConfig | None = None,
        sandbox_config: PodSandboxConfig | None = None,
    ) -> str:
        request = pb.PullImageRequest(
            image=convert.to_ImageSpec(image),
            auth=convert.to_AuthConfig(auth) if auth else None,
            sandbox_config=convert.to_PodSandboxConfig(sandbox_config) if sandbox_config else None,
        )
        answer = await self._stub.call("PullImage", request, None)
        return _required(answer.image_ref, "PullImage")

    async def remove_image(self, image: ImageSpec) -> None:
        request = pb.RemoveImageRequest(image=convert.to_ImageSpec(image))
        await self._stub.call("RemoveImage", request, self._timeout)

    async def image_fs_info(self) -> ImageFsInfoResponse:
        answer = await self._stub.call("ImageFsInfo", pb.ImageFsInfoRequest(), self._timeout)
        return convert.from_ImageFsInfoResponse(answer)


@dataclass(frozen=True, slots=True)
class Runtime:
    """A runtime that answered: who it is and its services. `close` when done."""

    connection: Connection
    version: VersionResponse
    runtime: GrpcRuntimeService
    images: GrpcImageService

    async def close(self) -> None:
        await self.connection.close()


async def connect(endpoint: str, timeout_seconds: float = REQUEST_TIMEOUT_SECONDS) -> Runtime:
    """Reach the runtime at `endpoint` (a unix socket) and check that it speaks CRI v1.

    Raises `Unavailable` when nobody answers, `Unimplemented` when the other side is no CRI v1 runtime,
    ValueError for an endpoint that cannot be one. Must run in the loop that will use it.
    """
    connection = Connection(endpoint)
    try:
        runtime = GrpcRuntimeService(connection, timeout_seconds)
        try:
            version = await runtime.version()
        except Unimplemented as error:
            raise Unimplemented(f'"{endpoint}" does not serve CRI v1', call="Version") from error
        check_version(version, endpoint)
    except BaseException:
        await connection.close()
        raise
    return Runtime(connection, version, runtime, GrpcImageService(connection, timeout_seconds))


def check_version(version: VersionResponse, endpoint: str) -> None:
    """Refuse an answer that names no runtime or another API version than v1 (pure)."""
    if version.runtime_api_version != API_VERSION:
        spoken = version.runtime_api_version
        raise Unimplemented(f'"{endpoint}" speaks CRI "{spoken}" and not "{API_VERSION}"', call="Version")
    if not version.runtime_name:
        raise CriError(f'"{endpoint}" does not say which runtime it is', call="Version")
