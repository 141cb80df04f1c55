"""One checker of a whole node: runtime, kernel, disk and agent against what was wanted.

Mechanism: everything is read from where it is, and not from the agent: sandboxes and containers over CRI,
shims from /proc, mounts from /proc/self/mountinfo, addresses from host-local's lease files, starts from a
tally that every container process appends a line to as its first act. The agent's own word (`/pods`) is
compared with the same wishes. Promise: `problems` is empty exactly when

- each wanted pod has one sandbox that is ready, at the attempt that was wanted, and nobody else has one
  (an `attempt` of None is any; sandboxes that a reboot ended may be wanted as `dead_sandboxes`);
- each wanted container is in the wanted state with the wanted restart count, and with the wanted id where
  one is given; the only other containers are ended ones, at most one older per name;
- each container process was started restarts + 1 times (the tally), and each hook ran as often as wanted;
- one shim, one network namespace and one leased address belong to each ready sandbox, none to anything else;
- the mounts of each pod are exactly the wanted ones; pod directories, log directories and checkpoints exist
  for the wanted pods and for no other;
- the agent shows these pods and no other, phase Running and Ready, same ids, counts and address, and has
  nothing in flight.

What may differ, and why, is said by the test that allows it (`Times` for hooks, `strays` for a runtime killed
in the middle of making a sandbox). One thing is allowed everywhere: containerd may leave a shim behind,
with nothing below it but a `runc init` that never became its container, when whoever called RunPodSandbox,
StartContainer or StopPodSandbox dies under the call; no CRI call names it any more.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cri.enums import ContainerState, PodSandboxState
from cri.errors import CriError, NotFound
from cri.types import Container, ContainerStatusResponse, PodSandbox, PodSandboxStatusResponse
from cri.wire import Runtime, connect
from kubelet.checkpoint import DIRECTORY as CHECKPOINTS
from kubelet.node.strays import stuck_task
from kubelet.podspec.names import CONTAINER_NAME, POD_UID
from tests.node.agent import AgentProcess
from tests.runtimes import PrivateContainerd, host

WAIT_SECONDS = 30.0
PAUSE_SECONDS = 0.03


@dataclass(frozen=True, slots=True)
class Times:
    """How often something happened: at least, at most."""

    least: int = 1
    most: int = 1


@dataclass(frozen=True, slots=True)
class WantedContainer:
    """`ended` is its exit code when it is to have ended, None when it is to run. `id` "" = any."""

    restarts: int = 0
    id: str = ""
    ended: int | None = None
    starts: Times | None = None  # process starts; None = restarts + 1

    @property
    def times_started(self) -> Times:
        return self.starts or Times(self.restarts + 1, self.restarts + 1)


@dataclass(frozen=True, slots=True)
class WantedPod:
    """`mounts` are relative to the pod's directory; `tally` is where its containers leave their lines."""

    name: str
    uid: str
    containers: Mapping[str, WantedContainer]
    tally: Path | None = None
    mounts: frozenset[str] = frozenset()
    hooks: Mapping[str, Times] = field(default_factory=dict)
    attempt: int | None = 0
    dead_sandboxes: int = 0


@dataclass(frozen=True, slots=True)
class Sandbox:
    listed: PodSandbox
    ip: str
    netns: str

    @property
    def uid(self) -> str:
        return self.listed.labels.get(POD_UID, "")

    @property
    def is_ready(self) -> bool:
        return self.listed.state is PodSandboxState.SANDBOX_READY


@dataclass(frozen=True, slots=True)
class Picture:
    """What the runtime says it has."""

    sandboxes: tuple[Sandbox, ...]
    containers: tuple[Container, ...]


async def _read(endpoint: str) -> Picture:
    node = await connect(endpoint)
    try:
        boxes = await node.runtime.list_pod_sandboxes()
        containers = await node.runtime.list_containers()
        seen = [await _read_sandbox(node, box) for box in boxes]
    finally:
        await node.close()
    return Picture(tuple(seen), tuple(containers))


async def _read_sandbox(node: Runtime, box: PodSandbox) -> Sandbox:
    try:
        return _sandbox(box, await node.runtime.pod_sandbox_status(box.id, verbose=True))
    except NotFound:
        return Sandbox(box, "", "")  # removed since it was listed; the next picture is without it


def _sandbox(box: PodSandbox, answer: PodSandboxStatusResponse) -> Sandbox:
    network = answer.status.network
    spec = _details(answer).get("runtimeSpec") or {}
    spaces = (spec.get("linux") or {}).get("namespaces") or []
    path = next((one.get("path", "") for one in spaces if one["type"] == "network"), "")
    return Sandbox(box, network.ip if network is not None else "", path)


def _details(answer: PodSandboxStatusResponse | ContainerStatusResponse) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(answer.info.get("info", "{}"))
    return found


async def _pid(endpoint: str, container_id: str) -> int:
    node = await connect(endpoint)
    try:
        answer = await node.runtime.container_status(container_id, verbose=True)
    finally:
        await node.close()
    pid: int = _details(answer)["pid"]
    return pid


async def _pids(endpoint: str) -> dict[tuple[str, str], int]:
    node = await connect(endpoint)
    try:
        found = {}
        for one in await node.runtime.list_containers():
            if one.state is ContainerState.CONTAINER_RUNNING:
                answer = await node.runtime.container_status(one.id, verbose=True)
                found[one.labels[POD_UID], one.labels[CONTAINER_NAME]] = _details(answer)["pid"]
    finally:
        await node.close()
    return found


async def _remove_pods(endpoint: str) -> None:
    node = await connect(endpoint)
    try:
        for box in await node.runtime.list_pod_sandboxes():
            await node.runtime.stop_pod_sandbox(box.id)
            await node.runtime.remove_pod_sandbox(box.id)
    finally:
        await node.close()


LOST_TASK_REFUSALS = 10  # an end that is only late is told within a tenth of a second
_LOST_TASK = re.compile(r'"Ended what the runtime cannot delete" .*task="([0-9a-f]{64})" pids=\[\]')


@dataclass(frozen=True, slots=True)
class World:
    """A runtime and the agent on it, which has this runtime for itself."""

    runtime: PrivateContainerd
    agent: AgentProcess

    def read(self) -> Picture:
        return asyncio.run(_read(self.runtime.endpoint))

    def running(self, uid: str, name: str) -> str:
        """The id of the pod's running container of that name, by the runtime's word; "" when none runs."""
        for one in self.read().containers:
            is_it = (one.labels.get(POD_UID), one.labels.get(CONTAINER_NAME)) == (uid, name)
            if is_it and one.state is ContainerState.CONTAINER_RUNNING:
                return one.id
        return ""

    def crash(self, uid: str, name: str) -> str:
        """Kill the first process of the pod's container, which must run; its id."""
        container_id = self.running(uid, name)
        os.kill(self.pid(uid, name), signal.SIGKILL)
        return container_id

    def pid(self, uid: str, name: str) -> int:
        """The first process of the pod's container, which must run."""
        container_id = self.running(uid, name)
        assert container_id, f'container "{name}" of pod {uid} does not run'
        return asyncio.run(_pid(self.runtime.endpoint, container_id))

    def pids(self) -> dict[tuple[str, str], int]:
        """The first process of every running container, by pod uid and name."""
        return asyncio.run(_pids(self.runtime.endpoint))

    def clear(self, *, may_stop_runtime: bool = False) -> None:
        """End the agent and remove, whatever state they are in, its pods, mounts and files."""
        self.agent.close()
        if self.runtime.pid is not None:
            try:
                asyncio.run(_remove_pods(self.runtime.endpoint))
            except CriError as error:
                if not may_stop_runtime or not stuck_task(error.message):
                    raise
                self.runtime.stop()
        host.unmount_below(self.agent.root)
        shutil.rmtree(self.agent.root)

    def lost_tasks(self) -> frozenset[str]:
        """Tasks that the runtime keeps as running although no process of theirs is left.

        containerd 1.6 may, when its caller dies in the very millisecond of a start; it never learns of the
        end, and no call of its API reaches such a task.
        """
        said = Counter(_LOST_TASK.findall(self.agent.log_path.read_text(errors="replace")))
        return frozenset(task for task, times in said.items() if times >= LOST_TASK_REFUSALS)

    def wait_until(self, wanted: Sequence[WantedPod], timeout: float = WAIT_SECONDS, strays: int = 0) -> None:
        """Wait until the world is as wanted and the agent at rest; raise AgentFailed with what differs."""
        deadline = time.monotonic() + timeout
        while True:
            differences = self.problems(wanted, strays)
            if not differences:
                return
            if time.monotonic() > deadline or self.agent.pid is None:
                text = "\n  ".join(["left the world other than wanted:", *differences])
                raise self.agent.failure(text)
            time.sleep(PAUSE_SECONDS)

    def assert_world_is(self, wanted: Sequence[WantedPod], strays: int = 0) -> None:
        """The same, now."""
        differences = self.problems(wanted, strays)
        if differences:
            raise self.agent.failure("\n  ".join(["left the world other than wanted:", *differences]))

    def problems(self, wanted: Sequence[WantedPod], strays: int = 0) -> list[str]:
        """One line for every difference. `strays`: shims, network namespaces and leases that a runtime
        killed while it made sandboxes may have left, known to nobody and gone with the next reboot."""
        picture = self.read()
        return [
            *_sandboxes_differ(picture, wanted),
            *_containers_differ(picture, wanted),
            *_tallies_differ(wanted),
            *self._kernel_differs(picture, strays),
            *self._disk_differs(wanted),
            *self._agent_differs(picture, wanted),
        ]

    def _kernel_differs(self, picture: Picture, strays: int) -> Iterable[str]:
        ready = [box for box in picture.sandboxes if box.is_ready]
        yield from _compare_names("shim", self._shims(), {box.listed.id for box in ready}, strays)
        yield from _compare_names("network namespace", self.runtime.netns(), {b.netns for b in ready}, strays)
        leases = {f"{ip} of {holder}" for ip, holder in self.runtime.leases().items()}
        yield from _compare_names("lease", leases, {f"{b.ip} of {b.listed.id}" for b in ready}, strays)

    def _shims(self) -> list[str]:
        """The sandbox id that each shim was started for, less those that containerd forgets."""
        running = host.processes()
        shims = [running[pid] for pid in self.runtime.shims() & running.keys()]
        shims = [one for one in shims if not _is_forgotten(one, running)]
        return [one.argv[one.argv.index("-id") + 1] for one in shims if "-id" in one.argv]

    def _disk_differs(self, wanted: Sequence[WantedPod]) -> Iterable[str]:
        pods = self.agent.state / "pods"
        mounts = {str(Path(point).relative_to(pods)) for point in host.mount_points(pods)}
        yield from _compare_names("mount", mounts, {f"{p.uid}/{m}" for p in wanted for m in p.mounts})
        uids = {pod.uid for pod in wanted}
        yield from _compare_names("pod directory", _names(pods), uids)
        checkpoints = {name for name in _names(self.agent.state / CHECKPOINTS) if not name.endswith(".tmp")}
        yield from _compare_names("checkpoint", checkpoints, {f"{uid}.json" for uid in uids})
        logs = {name.rpartition("_")[2] for name in _names(self.agent.pod_logs)}
        yield from _compare_names("log directory", logs, uids)

    def _agent_differs(self, picture: Picture, wanted: Sequence[WantedPod]) -> Iterable[str]:
        if self.agent.pid is None:
            yield "the agent does not run"
            return
        try:
            shown = self.agent.pods()
            stories = {one["uid"]: self.agent.story(one["uid"]) for one in self.agent.summaries()}
        except OSError as error:
            yield f"the agent does not answer: {error}"
            return
        yield from _compare_names("worker", set(stories), {pod.uid for pod in wanted})
        for uid, story in stories.items():
            if story is not None and story["state"]["inFlight"]:
                yield f"pod {uid}: still in flight: {story['state']['inFlight']}"
        ips = {box.uid: box.ip for box in picture.sandboxes if box.is_ready}
        for pod in wanted:
            status = shown.get(pod.name, {}).get("status")
            if status is None:
                yield f'the agent does not show pod "{pod.name}"'
            else:
                yield from _status_differs(pod, status, ips.get(pod.uid, ""))


def _is_forgotten(shim: host.Process, running: dict[int, host.Process]) -> bool:
    """Whether nothing is below the shim but containers that were never started."""
    below = host.descendants([shim.pid], running) - {shim.pid}
    return all(running[pid].argv[:2] == ("runc", "init") or running[pid].state == "Z" for pid in below)


def _sandboxes_differ(picture: Picture, wanted: Sequence[WantedPod]) -> Iterable[str]:
    uids = {pod.uid: pod for pod in wanted}
    for box in picture.sandboxes:
        if box.uid not in uids:
            yield f"sandbox {box.listed.id[:13]} of nobody (pod {box.uid})"
    for pod in wanted:
        own = [box for box in picture.sandboxes if box.uid == pod.uid]
        ready = [box.listed.metadata.attempt for box in own if box.is_ready]
        if len(ready) != 1 or pod.attempt not in (None, ready[0]):
            yield f'pod "{pod.name}": ready sandboxes have attempts {ready}, wanted is {pod.attempt}'
        if len(own) - len(ready) != pod.dead_sandboxes:
            yield f'pod "{pod.name}": {len(own) - len(ready)} dead sandboxes, wanted {pod.dead_sandboxes}'


def _containers_differ(picture: Picture, wanted: Sequence[WantedPod]) -> Iterable[str]:
    pods = {pod.uid: pod for pod in wanted}
    seen: dict[tuple[str, str], list[Container]] = {}
    for one in sorted(picture.containers, key=lambda each: each.created_at, reverse=True):
        uid, name = one.labels.get(POD_UID, ""), one.labels.get(CONTAINER_NAME, "")
        if uid not in pods or name not in pods[uid].containers:
            yield f"container {one.id[:13]} ({name}) of nobody (pod {uid})"
        seen.setdefault((uid, name), []).append(one)
    for pod in wanted:
        for name, want in pod.containers.items():
            yield from _container_differs(f'{pod.name}/"{name}"', want, seen.get((pod.uid, name), []))


def _container_differs(where: str, want: WantedContainer, found: Sequence[Container]) -> Iterable[str]:
    if not found:
        yield f"{where}: is not there"
        return
    newest, *older = found
    state = ContainerState.CONTAINER_RUNNING if want.ended is None else ContainerState.CONTAINER_EXITED
    if newest.state is not state:
        yield f"{where}: is {newest.state.name}, wanted {state.name}"
    if newest.metadata.attempt != want.restarts:
        yield f"{where}: restarted {newest.metadata.attempt} times, wanted {want.restarts}"
    if want.id and newest.id != want.id:
        yield f"{where}: is {newest.id[:13]}, wanted {want.id[:13]} (restarted or doubled)"
    alive = [one.id[:13] for one in older if one.state is not ContainerState.CONTAINER_EXITED]
    if alive:
        yield f"{where}: older ones have not ended: {alive}"
    if len(older) > 1:
        yield f"{where}: {len(older)} older ones are kept"


def _tallies_differ(wanted: Sequence[WantedPod]) -> Iterable[str]:
    for pod in wanted:
        if pod.tally is None:
            continue
        for name, want in pod.containers.items():
            starts, wanted_starts = tally(pod.tally / name), want.times_started
            if not wanted_starts.least <= starts <= wanted_starts.most:
                yield f'{pod.name}/"{name}": its process started {starts} times, wanted {wanted_starts}'
        for hook, times in pod.hooks.items():
            ran = tally(pod.tally / hook)
            if not times.least <= ran <= times.most:
                yield f"{pod.name}: hook {hook} ran {ran} times, wanted {times.least} to {times.most}"


def _status_differs(pod: WantedPod, status: Mapping[str, Any], ip: str) -> Iterable[str]:
    where = f'status of "{pod.name}"'
    ready = [one["status"] for one in status.get("conditions", ()) if one["type"] == "Ready"]
    if (status.get("phase"), ready) != ("Running", ["True"]):
        yield f"{where}: phase {status.get('phase')}, ready {ready}"
    if status.get("podIP") != ip:
        yield f"{where}: address {status.get('podIP')}, the sandbox has {ip}"
    found = {one["name"]: one for one in container_statuses(status)}
    yield from _compare_names(f"{where}: container", set(found), set(pod.containers))
    for name, want in pod.containers.items():
        one = found.get(name, {})
        state = one.get("state") or {}
        if one.get("restartCount") != want.restarts:
            yield f'{where}: "{name}" restarted {one.get("restartCount")} times, wanted {want.restarts}'
        if want.id and one.get("containerID") != f"containerd://{want.id}":
            yield f'{where}: "{name}" is {one.get("containerID")}, wanted {want.id[:13]}'
        code = (state.get("terminated") or {}).get("exitCode")
        if (want.ended is None and "running" not in state) or code != want.ended:
            yield f'{where}: "{name}" is {state}'


def container_statuses(status: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Of all containers, init containers first."""
    return [*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())]


def container_ids(pod: Mapping[str, Any]) -> dict[str, str]:
    """The id of each container by name, as the agent shows the pod."""
    return {
        one["name"]: one.get("containerID", "").removeprefix("containerd://")
        for one in container_statuses(pod["status"])
    }


def tally(path: Path) -> int:
    """How many lines a file has; 0 when there is none."""
    return path.read_text().count("\n") if path.exists() else 0


def _names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()} if directory.is_dir() else set()


def _compare_names(
    kind: str, found: Collection[str], wanted: Collection[str], spare: int = 0
) -> Iterable[str]:
    """Differences as bags; up to `spare` of what is found may be of nobody."""
    extra, missing = Counter(found) - Counter(wanted), Counter(wanted) - Counter(found)
    if extra.total() > spare:
        yield from (f"{kind} of nobody: {name}" for name in sorted(extra))
    yield from (f"{kind} is missing: {name}" for name in sorted(missing))
