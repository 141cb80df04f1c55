"""A whole node under virtual time: the agent's own parts over a fake runtime, without threads and network.

`SimNode` is put together as `kubelet.agent` does, except that blocking calls run in place, mounts are kept in
a table, probes are answered by the test and hooks over HTTP succeed. What outlives an agent (the fake
runtime, the root directory) outlives `kill` and `stop`, so a test can start another one on the same host.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from aio import virtual
from aio.clock import VirtualClock
from aio.executors import Executors
from cri.events import ENDINGS, Resync, RuntimeEvent
from cri.fake import FakeRuntime
from cri.types import ContainerState, PodSandboxState
from kube.objects.core_v1 import Pod
from kubelet import events
from kubelet.admission import Room
from kubelet.checkpoint import DIRECTORY, CheckpointFiles
from kubelet.desired import DesiredPods
from kubelet.draft import Policy
from kubelet.execute import ActionExecutor
from kubelet.files import LogFiles
from kubelet.hooks import HookRunner, HttpHook
from kubelet.images.model import PullLimits
from kubelet.images.puller import ImagePuller
from kubelet.messages import TerminationMessages
from kubelet.model import Stage
from kubelet.objects.pod_inputs import NoPodInputs, PodInputs
from kubelet.observe import Observer
from kubelet.podspec.context import NodeFacts
from kubelet.record import PodRecord
from kubelet.runtime_loops import RuntimeLoops
from kubelet.sources.identity import Origin
from kubelet.sources.manifest import decode_static_pods
from kubelet.sources.merge import expecting
from kubelet.sources.model import FILE, Delivery
from kubelet.status.inputs import NodeFacts as StatusNode
from kubelet.volumes.fake import FakeMounter
from kubelet.volumes.inputs import InputSource
from kubelet.volumes.registry import builtin_plugins
from kubelet.volumes.service import PodVolumes
from kubelet.worker import PodWorker, WorkerParts
from kubelet.workers import Workers
from probes.outcome import Outcome, success
from probes.target import ProbeTarget
from probes.worker import Prober

T = TypeVar("T")
NODE_NAME = "node-1"
NODE_IP = "192.0.2.1"
IMAGE = "docker.io/library/busybox:1.35"
ALLOCATABLE = {"cpu": "64", "memory": "256Gi", "pods": "100000"}
HOUR_SECONDS = 3600.0


class InPlace(Executors):
    """Blocking calls made at once on the loop: the same answers, in a repeatable order."""

    async def run(
        self,
        kind: str,
        fn: Callable[..., T],
        *args: Any,
        key: Hashable = None,
        timeout: float | None = None,
    ) -> T:
        await asyncio.sleep(0)
        return fn(*args)


class Answers:
    """A checker whose outcomes the test sets: those in `next` once each, then `always`."""

    def __init__(self) -> None:
        self.next: list[Outcome] = []
        self.always = success()

    async def run(self, _target: ProbeTarget, started: Callable[[], None]) -> Outcome:
        started()
        await asyncio.sleep(0)
        return self.next.pop(0) if self.next else self.always

    async def close(self) -> None:
        """Nothing is held."""


class Muffled:
    """The runtime's events, of which none arrives while `is_deaf`."""

    def __init__(self, runtime: FakeRuntime) -> None:
        self._inner = runtime.event_source()
        self.is_deaf = False

    async def events(self) -> AsyncIterator[RuntimeEvent | Resync]:
        async for item in self._inner.events():
            if not self.is_deaf and (isinstance(item, Resync) or item.kind in ENDINGS):
                yield item


async def _answer_ok(hook: HttpHook) -> int:
    return 200 if hook.url else 400


class SimNode:
    """One host. `start` begins an agent on it; `points` are the marks that it passes."""

    def __init__(self, clock: VirtualClock, root: Path, *, relist_seconds: float = HOUR_SECONDS) -> None:
        self.clock = clock
        self.root = root
        self.relist_seconds = relist_seconds
        self.runtime = FakeRuntime(clock)
        self.answers = Answers()
        self.mounter = FakeMounter()
        self.point: Callable[[str], None] = lambda _name: None
        self.pods: dict[str, Pod] = {}  # what the source wants, by manifest name
        self.undecodable: set[str] = set()
        self.facts = NodeFacts(
            node_name=NODE_NAME,
            node_ips=(NODE_IP,),
            root_dir=str(root / "kubelet"),
            pod_logs_dir=str(root / "pod-logs"),
            container_logs_dir=str(root / "container-logs"),
            allocatable=ALLOCATABLE,
            memory_capacity_bytes=256 << 30,
            hosts_path=str(root / "hosts"),
        )
        (root / "hosts").write_text("127.0.0.1 localhost\n")
        self._tasks: list[asyncio.Task[Any]] = []

    # The agent

    async def start(self) -> None:
        """A new agent takes stock and begins its loops; no source has spoken yet."""
        clock, executors, facts = self.clock, InPlace(), self.facts
        self.sink = events.RingEvents(clock, 100_000)
        self.source = Muffled(self.runtime)
        inputs, files = self.make_inputs()
        volumes = self.volumes = PodVolumes(
            builtin_plugins(self.mounter, lambda: facts), self.mounter, executors, lambda: facts, inputs=files
        )
        observer = Observer(self.runtime, clock, TerminationMessages(executors).read)
        self.images = ImagePuller(self.runtime.images, clock, self.sink, PullLimits(None, 0.0, 1))
        checkpoints = CheckpointFiles(Path(facts.root_dir) / DIRECTORY)
        status_node = StatusNode(facts.node_ips, "fake")
        self.record = PodRecord(clock, executors, checkpoints, self.sink, lambda: status_node)
        hooks = HookRunner(self.runtime.exec_sync, _answer_ok, clock, self.record.hook_fell_back)
        executor = ActionExecutor(
            self.runtime, observer, self.images, volumes, LogFiles(lambda: facts), hooks,
            inputs, lambda: facts, clock, executors, self.record.forget, self.sink, lambda: None,
        )  # fmt: skip
        parts = WorkerParts(clock, executor, self.record, Policy(), lambda name: self.point(name))
        self.workers = Workers(parts, observer, self.record, Room(ALLOCATABLE))
        prober = Prober(clock, self.runtime.exec_sync, self.record.take_probe, checker=self.answers)
        self.record.bind(self.workers.get, prober)
        loops = RuntimeLoops(self.runtime, self.source, self.workers, clock, self.relist_seconds)
        self.desired = DesiredPods(self.workers, self.sink, clock, expecting([FILE]))
        await self.workers.find(checkpoints.read_all(), await volumes.on_disk())
        eternal: Mapping[str, Callable[[], Awaitable[None]]] = {
            "events": loops.run_events,
            "relist": loops.run_relist,
            "status": loops.run_status,
            "statuses": self.record.run_statuses,
            "checkpoints": self.record.run_checkpoints,
            "probes": prober.run,
        }
        self._tasks = [asyncio.ensure_future(loop()) for loop in eternal.values()]

    def make_inputs(self) -> tuple[PodInputs, InputSource | None]:
        """What pods of the next agent read of an API server."""
        return NoPodInputs(), None

    async def stop(self) -> None:
        """The agent ends in order; what runs goes on."""
        await self.workers.close()
        await self.record.close()
        await self._end()

    async def kill(self) -> None:
        """The agent is gone from one moment to the next: nothing more is written."""
        for task in asyncio.all_tasks():
            if task is not asyncio.current_task():
                task.cancel()
        await self._end()

    async def _end(self) -> None:
        self.raise_failure()
        self.workers.failed.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.workers.close()
        await self.images.close()
        self._tasks = []

    def raise_failure(self) -> None:
        """The error that would have ended the agent, if there is one."""
        if self.workers.failed.done() and not self.workers.failed.cancelled():
            self.workers.failed.result()
        for task in self._tasks:
            if task.done() and not task.cancelled():
                task.result()

    # What is wanted

    def want(self, *manifests: dict[str, Any]) -> None:
        """Put manifests in place, or replace those of the same name, and deliver all there are."""
        for manifest in manifests:
            self.pods[manifest["metadata"]["name"]] = static(manifest)
        self.deliver()

    def unwant(self, *names: str) -> None:
        for name in names:
            del self.pods[name]
        self.deliver()

    def deliver(self) -> None:
        origins = frozenset(location(name) for name in self.undecodable)
        self.desired.deliver(Delivery(FILE, tuple(self.pods.values()), origins))

    # Time

    async def run(self, seconds: float) -> None:
        """Let virtual time pass. Raises what would have ended the agent."""
        await self.clock.sleep(seconds)
        self.raise_failure()

    async def run_without_agent(self, seconds: float) -> None:
        await self.clock.sleep(seconds)

    async def until(self, condition: Callable[[], bool], *, within: float = 60.0, what: str = "") -> float:
        """Wait for the condition; the seconds it took."""
        begun = self.clock.monotonic()
        while not condition():
            assert self.clock.monotonic() - begun < within, f"still not: {what or condition} {self.picture()}"
            await self.run(0.01)
        return self.clock.monotonic() - begun

    # Questions

    def worker(self, name: str) -> PodWorker:
        """The worker of the pod of that manifest name."""
        found = self.find(name)
        assert found is not None, f"{name} has no worker"
        return found

    def find(self, name: str) -> PodWorker | None:
        for worker in self.workers.all():
            pod = worker.state.pod
            if pod is not None and pod.metadata.name == f"{name}-{NODE_NAME}":
                return worker
        return None

    def stage(self, name: str) -> Stage | None:
        found = self.find(name)
        return found.state.stage if found is not None else None

    def status(self, name: str) -> dict[str, Any]:
        self.record.flush_statuses()
        return self.worker(name).status

    def running(self, name: str = "") -> dict[str, str]:
        """Container name -> id of what runs, of one pod or of all."""
        return {
            record.config.metadata.name: key
            for key, record in self.runtime.world.containers.items()
            if record.state is ContainerState.CONTAINER_RUNNING
            and (not name or record.sandbox.config.metadata.name == f"{name}-{NODE_NAME}")
        }

    def count(self, name: str, container: str) -> int:
        """Restart count of the newest container of that name that runs."""
        return self.runtime.world.containers[self.running(name)[container]].config.metadata.attempt

    def calls(self, *names: str) -> list[str]:
        return [call.name for call in self.runtime.calls if call.name in names]

    def ready_sandboxes(self) -> int:
        boxes = self.runtime.world.sandboxes.values()
        return sum(1 for box in boxes if box.state is PodSandboxState.SANDBOX_READY)

    def said(self, reason: str) -> list[str]:
        return [one.event.message for one in self.sink.recorded() if one.event.reason == reason]

    def left(self) -> list[str]:
        """Whatever is left of any pod: in the runtime, as mount, directory, checkpoint, log."""
        world = self.runtime.world
        directories = [Path(self.facts.root_dir) / "pods", Path(self.facts.root_dir) / DIRECTORY]
        directories.append(Path(self.facts.pod_logs_dir))
        return [
            *(f"sandbox {key}" for key in world.sandboxes),
            *(f"container {key}" for key in world.containers),
            *(f"address {key}" for key in world.leases),
            *(f"mount {point.path}" for point in self.mounter.points),
            *(f"worker {worker.name}" for worker in self.workers.all()),
            *(str(path) for top in directories if top.exists() for path in top.iterdir()),
        ]

    def is_clean(self) -> bool:
        """Nothing of any pod is left."""
        return not self.left()

    def picture(self) -> str:
        """What the workers are at, for a failing test."""
        lines = [line for worker in self.workers.all() for line in worker.story.lines()[-8:]]
        return "\n".join([f"running: {self.running()}", *lines])


def location(name: str) -> str:
    return f"/manifests/{name}.yaml"


def static(manifest: dict[str, Any]) -> Pod:
    """The static pod of a manifest, through the decoder as the agent has it."""
    name = manifest["metadata"]["name"]
    (pod,) = decode_static_pods(json.dumps(manifest).encode(), Origin(FILE, location(name), NODE_NAME))
    return pod


def manifest(name: str, *containers: dict[str, Any] | str, **spec: Any) -> dict[str, Any]:
    """A Pod as JSON; a text stands for a container of that name."""
    if "initContainers" in spec:
        spec["initContainers"] = [entry(one) for one in spec["initContainers"]]
    spec["containers"] = [entry(one) for one in containers or ("app",)]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def entry(given: dict[str, Any] | str) -> dict[str, Any]:
    one = {"name": given} if isinstance(given, str) else dict(given)
    one.setdefault("image", IMAGE)
    return one


def simulate(root: Path, scenario: Callable[[SimNode], Awaitable[T]], **options: Any) -> T:
    """Run a scenario on a fresh node with an agent; the agent is stopped at its end."""

    async def run(clock: VirtualClock) -> T:
        node = SimNode(clock, root, **options)
        async with _agent(node):
            return await scenario(node)

    return virtual.run(run)


@asynccontextmanager
async def _agent(node: SimNode) -> AsyncIterator[None]:
    await node.start()
    try:
        yield
        await node.stop()
    finally:
        with contextlib.suppress(Exception):  # only what the scenario's own failure left
            if node._tasks:
                await node._end()
        node.runtime.close()
