"""The inside of the fake runtime: what happens in it, apart from how it is called.

Sandboxes and containers live here with their processes, names, addresses, logs and events. Methods are
synchronous and follow containerd's rules; `cri.fake.runtime` wraps them as CRI calls, and tests reach in to
crash a process, a sandbox, the runtime or the host.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aio.clock import Clock
from cri.errors import CriError, InvalidArgument, NotFound
from cri.fake.behaviour import Behaviour, Program, Surroundings, compile_command
from cri.fake.events import Hub
from cri.fake.images import FakeImages
from cri.fake.logfile import LogFile
from cri.fake.process import KILLED_CODE, Process
from cri.fake.state import (
    OOM_REASON,
    START_ERROR_CODE,
    START_ERROR_REASON,
    UNKNOWN_CODE,
    UNKNOWN_REASON,
    ContainerRecord,
    Names,
    SandboxRecord,
    make_id,
)
from cri.types import (
    ContainerConfig,
    ContainerEventResponse,
    ContainerEventType,
    ContainerState,
    ImageSpec,
    NamespaceMode,
    PodSandboxConfig,
    PodSandboxState,
)

RUNTIME_HANDLERS = ("", "runc")


@dataclass(frozen=True, slots=True)
class Rule:
    """A behaviour for containers (or exec commands) that match all that is given."""

    behaviour: Behaviour
    image: str = ""
    command: tuple[str, ...] = ()
    container_name: str = ""
    pod_name: str = ""

    def is_for(self, container: ContainerRecord, command: Sequence[str]) -> bool:
        return (
            self.image in ("", container.config.image.image, container.config.image.user_specified_image)
            and tuple(command[: len(self.command)]) == self.command
            and self.container_name in ("", container.config.metadata.name)
            and self.pod_name in ("", container.sandbox.config.metadata.name)
        )


class World:
    def __init__(self, clock: Clock, images: FakeImages, seed: str) -> None:
        self._clock = clock
        self._images = images
        self._seed = seed
        self._made = 0
        self._last_ns = 0
        self._next_address = 2
        self.sandboxes: dict[str, SandboxRecord] = {}
        self.containers: dict[str, ContainerRecord] = {}
        self.names = Names()
        self.leases: dict[str, str] = {}
        self.hub = Hub()
        self.rules: list[Rule] = []
        self.exec_rules: list[Rule] = []
        self.default_behaviour = Behaviour()

    def now_ns(self) -> int:
        """Nanoseconds since the epoch, never twice the same: no two things are made at one moment."""
        self._last_ns = max(self._last_ns + 1, int(self._clock.wall() * 1e9))
        return self._last_ns

    def new_id(self) -> str:
        self._made += 1
        return make_id(self._seed, self._made)

    def sandbox(self, id: str, call: str) -> SandboxRecord:
        record = self.sandboxes.get(id)
        if record is None:
            text = f'an error occurred when try to find sandbox "{id}": not found'
            raise NotFound(text, call=call)
        return record

    def container(self, id: str, call: str) -> ContainerRecord:
        record = self.containers.get(id)
        if record is None:
            text = f'an error occurred when try to find container "{id}": not found'
            raise NotFound(text, call=call)
        return record

    def make_sandbox(self, id: str, config: PodSandboxConfig, handler: str) -> SandboxRecord:
        record = SandboxRecord(id, config, handler, self.now_ns(), ip="")
        if record.namespaces.network != NamespaceMode.NODE:
            record.ip = self._lease(id)
        self.sandboxes[id] = record
        self._emit(id, record, ContainerEventType.CONTAINER_CREATED_EVENT)
        self._emit(id, record, ContainerEventType.CONTAINER_STARTED_EVENT)
        return record

    def stop_sandbox(self, record: SandboxRecord) -> None:
        """Kill its containers, give back its address. Again: nothing happens."""
        for container in record.containers.values():
            self.kill(container)
        self._release(record)
        self.lose_sandbox(record)

    def lose_sandbox(self, record: SandboxRecord) -> None:
        """Its pause process ended; containers with namespaces of their own live on."""
        if record.state == PodSandboxState.SANDBOX_READY:
            record.state = PodSandboxState.SANDBOX_NOTREADY
            self._emit(record.id, record, ContainerEventType.CONTAINER_STOPPED_EVENT)

    def remove_sandbox(self, record: SandboxRecord) -> None:
        self.stop_sandbox(record)
        for container in list(record.containers.values()):
            self.remove_container(container)
        del self.sandboxes[record.id]
        self.names.release(record.id, record.name)
        self._emit(record.id, record, ContainerEventType.CONTAINER_DELETED_EVENT)

    def make_container(self, id: str, sandbox: SandboxRecord, config: ContainerConfig) -> ContainerRecord:
        if sandbox.state != PodSandboxState.SANDBOX_READY:
            text = f'failed to get sandbox container task: no running task found: task "{sandbox.id}"'
            raise CriError(f"{text}: not found", call="CreateContainer", code="UNKNOWN")
        image = self._images.require(config.image, "CreateContainer")
        spec = ImageSpec(image=image.repo_tags[0] if image.repo_tags else image.id)
        resources = config.linux.resources if config.linux else None
        record = ContainerRecord(id, sandbox, config, spec, image.id, self.now_ns(), resources)
        self.containers[id] = sandbox.containers[id] = record
        self._emit(id, sandbox, ContainerEventType.CONTAINER_CREATED_EVENT)
        return record

    def start_container(self, record: ContainerRecord) -> None:
        if record.state != ContainerState.CONTAINER_CREATED:
            text = f'failed to start container "{record.id}": container is in {record.state.name} state'
            raise CriError(text, call="StartContainer", code="UNKNOWN")
        if record.sandbox.state != PodSandboxState.SANDBOX_READY:
            text = f'sandbox container "{record.sandbox.id}" is not running'
            raise CriError(text, call="StartContainer", code="UNKNOWN")
        program = self._program(record)
        record.log = LogFile(record.log_path) if record.log_path else None
        if program.start_error:
            text = f"failed to create containerd task: {program.start_error}: unknown"
            record.ended(START_ERROR_CODE, at=self.now_ns(), reason=START_ERROR_REASON, message=text)
            self._close_log(record)
            raise CriError(text, call="StartContainer", code="UNKNOWN")
        record.state = ContainerState.CONTAINER_RUNNING
        record.started_at = self.now_ns()
        self._emit(record.id, record.sandbox, ContainerEventType.CONTAINER_STARTED_EVENT)
        record.process = Process(
            program,
            is_init=record.is_init,
            on_exit=lambda code: self._exited(record, code, is_oom=program.is_oom),
            on_output=lambda stream, text: self._said(record, stream, text),
        )
        record.process.start()

    def kill(self, record: ContainerRecord, code: int = KILLED_CODE, *, is_oom: bool = False) -> None:
        """End a running container at once, as a signal from outside does."""
        if record.process is not None and record.process.is_running:
            if is_oom:
                record.reason = OOM_REASON
            record.process.kill(code)

    def remove_container(self, record: ContainerRecord) -> None:
        self.kill(record)
        del self.containers[record.id]
        record.sandbox.containers.pop(record.id, None)
        self.names.release(record.id, record.name)
        self._emit(record.id, record.sandbox, ContainerEventType.CONTAINER_DELETED_EVENT)

    def exec_process(
        self, record: ContainerRecord, cmd: Sequence[str]
    ) -> tuple[Process, dict[str, bytearray]]:
        """A further process in a running container, and where its output gathers."""
        if record.state != ContainerState.CONTAINER_RUNNING:
            raise CriError(f"container is in {record.state.name} state", call="ExecSync", code="UNKNOWN")
        if not cmd:
            raise InvalidArgument("exec command must not be empty", call="ExecSync")
        rule = next((rule for rule in reversed(self.exec_rules) if rule.is_for(record, cmd)), None)
        program = (
            rule.behaviour.program() if rule else compile_command(cmd, surroundings(record)) or Program()
        )
        if program.start_error:
            raise CriError(f"failed to exec in container: {program.start_error}", call="ExecSync")
        output = {"stdout": bytearray(), "stderr": bytearray()}
        process = Process(
            program,
            is_init=False,
            on_exit=lambda _: None,
            on_output=lambda stream, text: output[stream].extend(text),
        )
        return process, output

    def reboot(self) -> None:
        """The host came back: every process and address is gone, the runtime's records are not."""
        for container in self.containers.values():
            if container.process is not None and container.process.is_running:
                container.reason = UNKNOWN_REASON
                container.process.kill(UNKNOWN_CODE)
        for sandbox in self.sandboxes.values():
            self._release(sandbox)
            self.lose_sandbox(sandbox)

    def forget_half_made(self) -> None:
        """Free the names of things that were asked for and never finished."""
        for name, owner in self.names.holders().items():
            if owner not in self.sandboxes and owner not in self.containers:
                self.names.release(owner, name)

    def close(self) -> None:
        """End every process and log file, without events."""
        self.hub.subscribers.clear()
        for container in self.containers.values():
            self.kill(container)
            self._close_log(container)

    def _program(self, record: ContainerRecord) -> Program:
        config = record.config
        command = (*config.command, *config.args)
        rule = next((rule for rule in reversed(self.rules) if rule.is_for(record, command)), None)
        if rule is not None:
            return rule.behaviour.program()
        return compile_command(command, surroundings(record)) or self.default_behaviour.program()

    def _exited(self, record: ContainerRecord, code: int, *, is_oom: bool) -> None:
        reason = OOM_REASON if is_oom and code == KILLED_CODE else record.reason
        record.ended(code, at=self.now_ns(), reason=reason)
        self._close_log(record)
        self._emit(record.id, record.sandbox, ContainerEventType.CONTAINER_STOPPED_EVENT)

    def _said(self, record: ContainerRecord, stream: str, text: bytes) -> None:
        if record.log is not None:
            record.log.write(stream, text, self._clock.now())

    def _close_log(self, record: ContainerRecord) -> None:
        if record.log is not None:
            record.log.close()
            record.log = None

    def _lease(self, owner: str) -> str:
        """The lowest free address of 10.0.0.0/8 above the last one given (host-local goes round likewise)."""
        number = self._next_address
        self._next_address = number + 1
        ip = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
        self.leases[ip] = owner
        return ip

    def _release(self, record: SandboxRecord) -> None:
        if self.leases.get(record.ip) == record.id:
            del self.leases[record.ip]

    def _emit(self, id: str, sandbox: SandboxRecord, kind: ContainerEventType) -> None:
        if self.hub.subscribers:
            statuses = tuple(container.status() for container in sandbox.containers.values())
            self.hub.publish(ContainerEventResponse(id, kind, self.now_ns(), sandbox.status(), statuses))


def surroundings(record: ContainerRecord) -> Surroundings:
    """What the container's command can see: its environment, the pod's hostname, its working directory."""
    config = record.config
    env = {pair.key: pair.value.decode(errors="replace") for pair in config.envs}
    return Surroundings(env, record.sandbox.config.hostname, config.working_dir or "/")
