"""What a case works with: the runtime, things with unique names, waiting, and cleaning up after it.

Everything a run makes carries its run's label, so that whatever happened (a failed case, Ctrl-C, a call given
up half-way) the sweep finds and removes it.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from aio.clock import Clock
from cri.conformance.case import CaseFailed, expect
from cri.errors import CriError, NotFound
from cri.events import EventSource
from cri.imagefile import BUSYBOX_NAMES
from cri.service import ImageService, RuntimeService
from cri.types import (
    ContainerConfig,
    ContainerMetadata,
    ContainerState,
    ContainerStatus,
    ImageSpec,
    LinuxContainerConfig,
    LinuxContainerResources,
    LinuxContainerSecurityContext,
    LinuxPodSandboxConfig,
    LinuxSandboxSecurityContext,
    NamespaceMode,
    NamespaceOption,
    PodSandboxConfig,
    PodSandboxFilter,
    PodSandboxMetadata,
)

T = TypeVar("T")
RUN_LABEL = "pykubelet.conformance/run"
NAMESPACE = "cri-conformance"
IMAGE = BUSYBOX_NAMES[0]
LOOK_EVERY_SECONDS = 0.02
WITHIN_SECONDS = 15.0
# After a creation was given up, the runtime may still finish it; one more look after this long.
AFTERMATH_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Target:
    """The runtime under test, and what CRI itself cannot give: events and a way to load an image."""

    runtime: RuntimeService
    images: ImageService
    clock: Clock
    event_source: Callable[[], EventSource]
    load_image: Callable[[str], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Pod:
    id: str
    config: PodSandboxConfig


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the suite: `mark` makes its names unique, `directory` holds its logs and mounted files."""

    mark: str
    directory: Path
    numbers: itertools.count[int] = field(default_factory=itertools.count)


class Context:
    def __init__(self, target: Target, run: Run) -> None:
        self.target = target
        self.runtime = target.runtime
        self.images = target.images
        self.clock = target.clock
        self._run = run
        self._number = next(run.numbers)
        self._images: list[str] = []
        self._is_creating = 0
        self.directory = run.directory / str(self._number)
        self.directory.mkdir()

    def name(self, stem: str = "pod") -> str:
        return f"{stem}-{self._run.mark}-{next(self._run.numbers)}"

    def pod_config(self, *, namespaces: NamespaceOption | None = None, **fields: Any) -> PodSandboxConfig:
        """A sandbox's configuration with a name, uid and log directory of its own."""
        name = self.name()
        config = PodSandboxConfig(
            metadata=PodSandboxMetadata(name=name, uid=f"uid-{name}", namespace=NAMESPACE),
            hostname=name,
            log_directory=str(self.directory),
            linux=LinuxPodSandboxConfig(
                security_context=LinuxSandboxSecurityContext(
                    namespace_options=namespaces or NamespaceOption(pid=NamespaceMode.CONTAINER)
                )
            ),
        )
        labels = {RUN_LABEL: self._run.mark, **fields.pop("labels", {})}
        return replace(config, labels=labels, **fields)

    async def pod(
        self, config: PodSandboxConfig | None = None, runtime_handler: str = "", **fields: Any
    ) -> Pod:
        config = config or self.pod_config(**fields)
        self._is_creating += 1
        id = await self.runtime.run_pod_sandbox(config, runtime_handler)
        self._is_creating -= 1
        return Pod(id, config)

    def container_config(
        self,
        *command: str,
        name: str = "main",
        attempt: int = 0,
        security: Mapping[str, Any] | None = None,
        resources: LinuxContainerResources | None = None,
        **fields: Any,
    ) -> ContainerConfig:
        """A container of busybox in a pid namespace of its own, unless `security` says otherwise."""
        options: dict[str, Any] = {"namespace_options": NamespaceOption(pid=NamespaceMode.CONTAINER)}
        options |= security or {}
        config = ContainerConfig(
            metadata=ContainerMetadata(name, attempt),
            image=ImageSpec(image=IMAGE),
            command=command,
            labels={RUN_LABEL: self._run.mark},
            log_path=f"{name}_{attempt}_{next(self._run.numbers)}.log",
            linux=LinuxContainerConfig(resources, LinuxContainerSecurityContext(**options)),
        )
        return replace(config, **fields)

    async def create(self, pod: Pod, *command: str, **fields: Any) -> str:
        return await self.create_from(pod, self.container_config(*command, **fields))

    async def create_from(self, pod: Pod, config: ContainerConfig) -> str:
        self._is_creating += 1
        id = await self.runtime.create_container(pod.id, config, pod.config)
        self._is_creating -= 1
        return id

    async def start(self, pod: Pod, *command: str, **fields: Any) -> str:
        """A started container that runs `command`."""
        id = await self.create(pod, *command, **fields)
        await self.runtime.start_container(id)
        return id

    async def script(self, pod: Pod, text: str, **fields: Any) -> str:
        return await self.start(pod, "sh", "-c", text, **fields)

    async def idle(self, pod: Pod, **fields: Any) -> str:
        """A container that runs until it is stopped, and goes at once when asked."""
        return await self.script(pod, "trap 'exit 0' TERM; sleep 100000 & wait", **fields)

    async def shell(self, container_id: str, text: str) -> str:
        """Standard output of a script in a running container, stripped; it must exit with 0."""
        answer = await self.runtime.exec_sync(container_id, ["sh", "-c", text], 10)
        if answer.exit_code != 0:
            raise CaseFailed(f"exec of {text!r}: want exit code 0, got {answer.exit_code} {answer.stderr!r}")
        return answer.stdout.decode(errors="replace").strip()

    async def status(self, container_id: str) -> ContainerStatus:
        return (await self.runtime.container_status(container_id)).status

    async def exited(self, container_id: str, within: float = WITHIN_SECONDS) -> ContainerStatus:
        """The container's status once it has exited."""

        async def has_exited() -> ContainerStatus | None:
            status = await self.status(container_id)
            return status if status.state == ContainerState.CONTAINER_EXITED else None

        return await self.until(has_exited, "the container to exit", within)

    async def until(
        self, look: Callable[[], Awaitable[T | None]], what: str, within: float = WITHIN_SECONDS
    ) -> T:
        """The first thing that `look` returns that is not None, False or empty; else the case fails."""
        deadline = self.clock.monotonic() + within
        while not (seen := await look()):
            expect(self.clock.monotonic() < deadline, f"want {what} within {within:g} s, got nothing")
            await self.clock.sleep(LOOK_EVERY_SECONDS)
        return seen

    async def log_text(self, container_id: str) -> str:
        """The log file of a container, which must exist on this host."""
        path = Path((await self.status(container_id)).log_path)
        expect(path.is_file(), f"want a log file at {str(path)!r}, got none")
        return path.read_text()

    async def own_image(self) -> str:
        """A further image name, loaded for this case and removed after it."""
        name = f"localhost/pykubelet/{self.name('conformance')}:1"
        self._images.append(name)
        await self.target.load_image(name)
        return name

    async def clean_up(self) -> None:
        """Remove what this case, or an earlier one of the run, left."""
        for name in self._images:
            await self.images.remove_image(ImageSpec(image=name))
        await sweep(self.runtime, self._run.mark)
        if self._is_creating:
            await self.clock.sleep(AFTERMATH_SECONDS)
            await sweep(self.runtime, self._run.mark)


async def sweep(runtime: RuntimeService, mark: str) -> None:
    """Stop and remove every sandbox of a run, with its containers."""
    found = await runtime.list_pod_sandboxes(PodSandboxFilter(label_selector={RUN_LABEL: mark}))
    results = await asyncio.gather(*(_remove(runtime, item.id) for item in found), return_exceptions=True)
    errors = [result for result in results if isinstance(result, BaseException)]
    if errors:
        raise errors[0]


async def _remove(runtime: RuntimeService, id: str) -> None:
    try:
        await runtime.stop_pod_sandbox(id)
        await runtime.remove_pod_sandbox(id)
    except NotFound:
        return
    except CriError:
        # A container that is just starting or being created refuses once; the second attempt has the word.
        await asyncio.sleep(0.2)
        await runtime.stop_pod_sandbox(id)
        await runtime.remove_pod_sandbox(id)
