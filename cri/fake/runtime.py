"""A small true container runtime in memory: CRI's rules, simulated processes, no daemon and no kernel.

Everything runs on the event loop and the given clock, so under virtual time a day of crashes takes
milliseconds. What a test may do to it is in `cri.fake.levers`, what it remembers in `cri.fake.world`.

A RunPodSandbox or CreateContainer that its caller gives up goes on for a while, as in containerd: the name
stays reserved, and then what was asked for is dropped or appears, as `abandoned` says.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence

from cri.errors import CriError, DeadlineExceeded, InvalidArgument
from cri.fake.levers import Levers
from cri.fake.state import (
    ContainerRecord,
    SandboxRecord,
    container_name,
    is_container_wanted,
    is_sandbox_wanted,
    is_stats_wanted,
    namespaces_of,
    sandbox_name,
)
from cri.fake.world import RUNTIME_HANDLERS
from cri.imagefile import PAUSE_NAME
from cri.service import Streams
from cri.stats import (
    ContainerStats,
    ContainerStatsFilter,
    MetricDescriptor,
    PodSandboxMetrics,
    PodSandboxStats,
    PodSandboxStatsFilter,
)
from cri.types import (
    CgroupDriver,
    Container,
    ContainerConfig,
    ContainerEventResponse,
    ContainerFilter,
    ContainerState,
    ContainerStatusResponse,
    ExecSyncResponse,
    LinuxContainerResources,
    LinuxRuntimeConfiguration,
    NamespaceMode,
    PodSandbox,
    PodSandboxConfig,
    PodSandboxFilter,
    PodSandboxState,
    PodSandboxStatusResponse,
    RuntimeCondition,
    RuntimeStatus,
    StatusResponse,
    VersionResponse,
)


class FakeRuntime(Levers):
    """`RuntimeService`; `images` is its `ImageService`, `event_source()` its events for the agent."""

    async def version(self) -> VersionResponse:
        async with self._faults.call("version"):
            return VersionResponse("0.1.0", "fake", "2.0.0", "v1")

    async def status(self, *, verbose: bool = False) -> StatusResponse:
        async with self._faults.call("status"):
            reason = "" if self.is_network_ready else "NetworkPluginNotReady"
            conditions = (
                RuntimeCondition("RuntimeReady", True),
                RuntimeCondition("NetworkReady", self.is_network_ready, reason),
            )
            info = {"config": json.dumps({"sandboxImage": PAUSE_NAME})} if verbose else {}
            return StatusResponse(RuntimeStatus(conditions), info)

    async def runtime_config(self) -> LinuxRuntimeConfiguration | None:
        async with self._faults.call("runtime_config"):
            return LinuxRuntimeConfiguration(CgroupDriver.CGROUPFS)

    async def update_runtime_config(self, pod_cidr: str) -> None:
        async with self._faults.call("update_runtime_config", pod_cidr):
            self.pod_cidr = pod_cidr

    async def run_pod_sandbox(self, config: PodSandboxConfig, runtime_handler: str = "") -> str:
        async with self._faults.call("run_pod_sandbox", config, runtime_handler, is_late=True) as strike:
            if not config.metadata.name or not config.metadata.uid:
                raise InvalidArgument("sandbox config must include metadata", call="RunPodSandbox")
            id, name = self.world.new_id(), sandbox_name(config)
            self.world.names.reserve(name, id, kind="sandbox", call="RunPodSandbox")
            try:
                await strike()
                if runtime_handler not in RUNTIME_HANDLERS:
                    text = f'failed to get sandbox runtime: no runtime for "{runtime_handler}" is configured'
                    raise CriError(text, call="RunPodSandbox")
                if config.hostname and namespaces_of(config).network == NamespaceMode.NODE:
                    text = "runc create failed: unable to set hostname without a private UTS namespace"
                    raise CriError(text, call="RunPodSandbox")
            except asyncio.CancelledError:
                self._abandon(id, name, lambda: self.world.make_sandbox(id, config, runtime_handler))
                raise
            except CriError:
                self.world.names.release(id, name)
                raise
            self.world.make_sandbox(id, config, runtime_handler)
        return id

    async def stop_pod_sandbox(self, pod_sandbox_id: str) -> None:
        async with self._faults.call("stop_pod_sandbox", pod_sandbox_id):
            # containerd 1.6 does not forgive an unknown id here, and the agent must live with that.
            self.world.stop_sandbox(self.world.sandbox(pod_sandbox_id, "StopPodSandbox"))

    async def remove_pod_sandbox(self, pod_sandbox_id: str) -> None:
        async with self._faults.call("remove_pod_sandbox", pod_sandbox_id):
            if pod_sandbox_id in self.world.sandboxes:
                self.world.remove_sandbox(self.world.sandboxes[pod_sandbox_id])

    async def pod_sandbox_status(
        self, pod_sandbox_id: str, *, verbose: bool = False
    ) -> PodSandboxStatusResponse:
        async with self._faults.call("pod_sandbox_status", pod_sandbox_id):
            record = self.world.sandbox(pod_sandbox_id, "PodSandboxStatus")
            info = {"info": json.dumps({"image": PAUSE_NAME})} if verbose else {}
            return PodSandboxStatusResponse(record.status(), info)

    async def list_pod_sandboxes(self, filter: PodSandboxFilter | None = None) -> list[PodSandbox]:
        async with self._faults.call("list_pod_sandboxes", filter):
            found = self.world.sandboxes.values()
            return [record.listed() for record in found if is_sandbox_wanted(record, filter)]

    async def stream_pod_sandboxes(self, filter: PodSandboxFilter | None = None) -> AsyncIterator[PodSandbox]:
        for item in await self.list_pod_sandboxes(filter):
            yield item

    async def update_pod_sandbox_resources(
        self,
        pod_sandbox_id: str,
        *,
        overhead: LinuxContainerResources | None = None,
        resources: LinuxContainerResources | None = None,
    ) -> None:
        async with self._faults.call("update_pod_sandbox_resources", pod_sandbox_id, overhead, resources):
            self.world.sandbox(pod_sandbox_id, "UpdatePodSandboxResources")

    async def create_container(
        self, pod_sandbox_id: str, config: ContainerConfig, sandbox_config: PodSandboxConfig
    ) -> str:
        arguments = (pod_sandbox_id, config, sandbox_config)
        async with self._faults.call("create_container", *arguments, is_late=True) as strike:
            sandbox = self.world.sandbox(pod_sandbox_id, "CreateContainer")
            if not config.metadata.name:
                raise InvalidArgument("container config must include metadata", call="CreateContainer")
            id, name = self.world.new_id(), container_name(config, sandbox.config)
            self.world.names.reserve(name, id, kind="container", call="CreateContainer")
            try:
                await strike()
                self.world.make_container(id, sandbox, config)
            except asyncio.CancelledError:
                self._abandon(id, name, lambda: self.world.make_container(id, sandbox, config))
                raise
            except CriError:
                self.world.names.release(id, name)
                raise
        return id

    async def start_container(self, container_id: str) -> None:
        async with self._faults.call("start_container", container_id):
            self.world.start_container(self.world.container(container_id, "StartContainer"))

    async def stop_container(self, container_id: str, timeout_seconds: int) -> None:
        async with self._faults.call("stop_container", container_id, timeout_seconds):
            record = self.world.container(container_id, "StopContainer")
            process = record.process
            if process is None or not process.is_running:
                return
            if timeout_seconds > 0:
                process.terminate()
                try:
                    async with asyncio.timeout(timeout_seconds):
                        await process.wait()
                except TimeoutError:
                    self._faults.refuse_if_away("stop_container")
            self.world.kill(record)

    async def remove_container(self, container_id: str) -> None:
        async with self._faults.call("remove_container", container_id):
            if container_id in self.world.containers:
                self.world.remove_container(self.world.containers[container_id])

    async def list_containers(self, filter: ContainerFilter | None = None) -> list[Container]:
        async with self._faults.call("list_containers", filter):
            return [
                record.listed() for record in self._candidates(filter) if is_container_wanted(record, filter)
            ]

    async def stream_containers(self, filter: ContainerFilter | None = None) -> AsyncIterator[Container]:
        for item in await self.list_containers(filter):
            yield item

    async def container_status(self, container_id: str, *, verbose: bool = False) -> ContainerStatusResponse:
        async with self._faults.call("container_status", container_id):
            record = self.world.container(container_id, "ContainerStatus")
            info = {"info": json.dumps({"sandboxID": record.sandbox.id})} if verbose else {}
            return ContainerStatusResponse(record.status(), info)

    async def update_container_resources(
        self,
        container_id: str,
        linux: LinuxContainerResources,
        annotations: Mapping[str, str] | None = None,
    ) -> None:
        async with self._faults.call("update_container_resources", container_id, linux, annotations):
            record = self._in_state(
                container_id,
                "UpdateContainerResources",
                (ContainerState.CONTAINER_CREATED, ContainerState.CONTAINER_RUNNING),
            )
            record.resources = linux

    async def reopen_container_log(self, container_id: str) -> None:
        async with self._faults.call("reopen_container_log", container_id):
            record = self._in_state(container_id, "ReopenContainerLog", (ContainerState.CONTAINER_RUNNING,))
            if record.log is not None:
                record.log.reopen()

    async def checkpoint_container(self, container_id: str, location: str, timeout_seconds: int) -> None:
        async with self._faults.call("checkpoint_container", container_id, location, timeout_seconds):
            self._in_state(container_id, "CheckpointContainer", (ContainerState.CONTAINER_RUNNING,))
            raise CriError("checkpoint/restore support not available", call="CheckpointContainer")

    async def exec_sync(
        self, container_id: str, cmd: Sequence[str], timeout_seconds: int
    ) -> ExecSyncResponse:
        async with self._faults.call("exec_sync", container_id, tuple(cmd), timeout_seconds):
            record = self.world.container(container_id, "ExecSync")
            process, output = self.world.exec_process(record, cmd)
            process.start()
            try:
                async with asyncio.timeout(timeout_seconds or None):
                    code = await process.wait()
            except TimeoutError:
                text = f"failed to exec in container: timeout {timeout_seconds}s exceeded"
                raise DeadlineExceeded(text, call="ExecSync") from None
            finally:
                process.kill()
            return ExecSyncResponse(bytes(output["stdout"]), bytes(output["stderr"]), code)

    async def exec(self, container_id: str, cmd: Sequence[str], streams: Streams) -> str:
        async with self._faults.call("exec", container_id, tuple(cmd), streams):
            self._in_state(container_id, "Exec", (ContainerState.CONTAINER_RUNNING,))
            _check_streams(streams, "Exec")
            return self._session("exec")

    async def attach(self, container_id: str, streams: Streams) -> str:
        async with self._faults.call("attach", container_id, streams):
            self._in_state(container_id, "Attach", (ContainerState.CONTAINER_RUNNING,))
            _check_streams(streams, "Attach")
            return self._session("attach")

    async def port_forward(self, pod_sandbox_id: str, ports: Sequence[int] = ()) -> str:
        async with self._faults.call("port_forward", pod_sandbox_id, tuple(ports)):
            if self.world.sandbox(pod_sandbox_id, "PortForward").state != PodSandboxState.SANDBOX_READY:
                raise CriError("sandbox container is not running", call="PortForward")
            return self._session("portforward")

    async def container_stats(self, container_id: str) -> ContainerStats:
        async with self._faults.call("container_stats", container_id):
            return self.world.container(container_id, "ContainerStats").stats(self.world.now_ns())

    async def list_container_stats(self, filter: ContainerStatsFilter | None = None) -> list[ContainerStats]:
        async with self._faults.call("list_container_stats", filter):
            now_ns, running = self.world.now_ns(), ContainerState.CONTAINER_RUNNING
            found = self.world.containers.values()
            return [
                record.stats(now_ns)
                for record in found
                if record.state == running and is_stats_wanted(record, filter)
            ]

    async def stream_container_stats(
        self, filter: ContainerStatsFilter | None = None
    ) -> AsyncIterator[ContainerStats]:
        for item in await self.list_container_stats(filter):
            yield item

    async def pod_sandbox_stats(self, pod_sandbox_id: str) -> PodSandboxStats:
        async with self._faults.call("pod_sandbox_stats", pod_sandbox_id):
            return self.world.sandbox(pod_sandbox_id, "PodSandboxStats").stats(self.world.now_ns())

    async def list_pod_sandbox_stats(
        self, filter: PodSandboxStatsFilter | None = None
    ) -> list[PodSandboxStats]:
        async with self._faults.call("list_pod_sandbox_stats", filter):
            wanted = PodSandboxFilter(filter.id, None, filter.label_selector) if filter else None
            return [
                record.stats(self.world.now_ns())
                for record in self._ready_sandboxes()
                if is_sandbox_wanted(record, wanted)
            ]

    async def stream_pod_sandbox_stats(
        self, filter: PodSandboxStatsFilter | None = None
    ) -> AsyncIterator[PodSandboxStats]:
        for item in await self.list_pod_sandbox_stats(filter):
            yield item

    async def list_metric_descriptors(self) -> list[MetricDescriptor]:
        async with self._faults.call("list_metric_descriptors"):
            return []

    async def list_pod_sandbox_metrics(self) -> list[PodSandboxMetrics]:
        async with self._faults.call("list_pod_sandbox_metrics"):
            return [PodSandboxMetrics(record.id) for record in self._ready_sandboxes()]

    async def stream_pod_sandbox_metrics(self) -> AsyncIterator[PodSandboxMetrics]:
        for item in await self.list_pod_sandbox_metrics():
            yield item

    def get_container_events(self) -> AsyncIterator[ContainerEventResponse]:
        self._faults.refuse_if_away("get_container_events")
        return self.world.hub.subscribe()

    def _candidates(self, filter: ContainerFilter | None) -> list[ContainerRecord]:
        """Only the containers of one pod where the filter names it: listing must not cost by all pods."""
        if filter is not None and filter.pod_sandbox_id:
            sandbox = self.world.sandboxes.get(filter.pod_sandbox_id)
            return list(sandbox.containers.values()) if sandbox else []
        return list(self.world.containers.values())

    def _ready_sandboxes(self) -> list[SandboxRecord]:
        ready = PodSandboxState.SANDBOX_READY
        return [record for record in self.world.sandboxes.values() if record.state == ready]

    def _in_state(self, id: str, call: str, states: tuple[ContainerState, ...]) -> ContainerRecord:
        record = self.world.container(id, call)
        if record.state not in states:
            raise CriError(f"container is in {record.state.name} state", call=call)
        return record

    def _session(self, kind: str) -> str:
        self._sessions += 1
        return f"http://127.0.0.1:1/{kind}/{self._sessions:08x}"


def _check_streams(streams: Streams, call: str) -> None:
    """What k8s.io/kubelet/pkg/cri/streaming validates."""
    if streams.tty and streams.stderr:
        raise InvalidArgument("tty and stderr cannot both be true", call=call)
    if not (streams.stdin or streams.stdout or streams.stderr):
        raise InvalidArgument("one of stdin, stdout, or stderr must be set", call=call)
