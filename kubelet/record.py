"""What is written down about pods: checkpoints, statuses, Kubernetes Events, wanted probes.

Workers report every change; here it is sorted by urgency. A stop reaches the disk before anything
follows from it. Statuses and ordinary checkpoints are gathered for a moment and written together,
newest wins, so that a pod that moves ten times in 50 ms costs a few statuses and one file.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from aio import log as aio_log
from aio.clock import Clock
from aio.errors import Bug
from aio.executors import Executors
from kube.objects.core_v1 import Pod
from kubelet import events
from kubelet import happened as h
from kubelet.action_targets import group_of
from kubelet.checkpoint import CheckpointFiles, keep
from kubelet.draft import Emit
from kubelet.hooks import LIFECYCLE_HTTP_FALLBACK
from kubelet.model import PodState, Stage, Volumes
from kubelet.probing import READINESS, wanted_probes
from kubelet.status.assemble import pod_status
from kubelet.status.inputs import NodeFacts, inputs_from_state
from kubelet.worker import PodWorker
from probes.outcome import Verdict
from probes.target import ProbeResult
from probes.worker import Prober

log = aio_log.get(__name__)

STATUS_PAUSE_SECONDS = 0.002  # a status costs 30 us to make; readiness should not wait for company
CHECKPOINT_PAUSE_SECONDS = 0.1
CHECKPOINT_RETRY_SECONDS = 5.0  # after the disk refused one


class StatusOutlet(Protocol):
    """Who shows statuses to others (`kubelet.status_writer.StatusWriter`). All calls return at once."""

    def publish(self, worker: PodWorker) -> None:
        """The worker has a status that was not published yet."""
        ...

    def released(self, worker: PodWorker) -> None:
        """Nothing of the pod runs and its volumes are released: its deletion may be confirmed."""
        ...

    def forget(self, worker: PodWorker) -> None:
        """The worker is gone, after its last status was published."""
        ...


@dataclass(slots=True)
class PodRecord:
    """Implements `kubelet.workers.Record`."""

    clock: Clock
    executors: Executors
    files: CheckpointFiles
    sink: events.EventSink
    node: Callable[[], NodeFacts]
    statuses: StatusOutlet | None = None  # where statuses go beyond this node
    shown: Callable[[str], None] | None = None  # a status of the pod of this uid was made
    redefined: Callable[[Pod], None] | None = None  # a pod that has a worker got another definition
    _prober: Prober | None = None
    _worker_of: Callable[[str], PodWorker | None] = field(default=lambda _uid: None)
    _version: int = 0
    _status_due: dict[str, PodWorker] = field(default_factory=dict)
    _checkpoint_due: dict[str, PodWorker] = field(default_factory=dict)
    _status_wanted: asyncio.Event = field(default_factory=asyncio.Event)
    _checkpoint_wanted: asyncio.Event = field(default_factory=asyncio.Event)
    _urgent: set[asyncio.Task[None]] = field(default_factory=set)
    _forgetting: set[str] = field(default_factory=set)  # uids whose file is removed: not to be written again
    _is_refused: bool = False

    def bind(self, worker_of: Callable[[str], PodWorker | None], prober: Prober) -> None:
        """Close the circle: probes tell this record, it tells their workers."""
        self._worker_of = worker_of
        self._prober = prober

    @property
    def prober(self) -> Prober:
        if self._prober is None:
            raise Bug("the record was used before it was bound to a prober")
        return self._prober

    # From the workers

    def changed(self, worker: PodWorker, before: PodState) -> asyncio.Future[None] | None:
        state = worker.state
        is_new = state is before
        if self.redefined is not None and state.pod is not None and state.pod is not before.pod:
            self.redefined(state.pod)
        if is_new or _shows(state) != _shows(before):
            self._reconcile_probes(worker)
            self._status_due[worker.uid] = worker
            self._status_wanted.set()
        if self.statuses is not None and _is_released(state) and (is_new or not _is_released(before)):
            self._make_status_if_due(worker)  # the last status goes first
            self.statuses.released(worker)
        if is_new or _is_worth_keeping(state, before):
            self._keep_soon(worker)
        if not is_new and (state.stop is not before.stop or state.wanted != before.wanted):
            return self._keep_now(worker, sync=True)
        if not is_new and _is_ordered_to_stop(state, before):
            return self._keep_now(worker, sync=False)  # else nobody knew that it is to come back
        if is_new or (
            state.containers is not before.containers and _hooks_done(state) != _hooks_done(before)
        ):
            # Where a pod came from, and that a hook is over, only the checkpoint can tell a later agent.
            self._keep_now(worker, sync=False)
        return None

    def emit(self, worker: PodWorker, emit: Emit) -> None:
        self.sink.record(event_of(worker, emit))

    def forgotten(self, worker: PodWorker) -> None:
        self._make_status_if_due(worker)
        if self.statuses is not None:
            self.statuses.forget(worker)
        self._checkpoint_due.pop(worker.uid, None)
        self._forgetting.discard(worker.uid)
        if self._prober is not None:
            self._prober.reconcile(worker.uid, {})

    async def forget(self, uid: str) -> None:
        """Remove the pod's checkpoint."""
        self._forgetting.add(uid)
        self._version += 1
        await self.executors.run("fsync", self.files.remove, uid, self._version)

    # Probes

    def _reconcile_probes(self, worker: PodWorker) -> None:
        if self._prober is not None:
            node_ip = next(iter(self.node().ips), "")
            self._prober.reconcile(worker.uid, wanted_probes(worker.state, node_ip))

    def take_probe(self, result: ProbeResult) -> None:
        """A probe's outcome: an event for every failure, word to the worker for every change."""
        worker = self._worker_of(result.key.uid)
        if worker is None:
            return
        if result.message:
            is_warning = result.outcome.verdict is Verdict.WARNING
            reason = "ProbeWarning" if is_warning else "Unhealthy"
            self.emit(worker, Emit(reason, result.message, warning=True, container=result.key.container))
        if not (result.changed or result.is_first) or result.healthy is None:
            return
        grace = None
        if result.key.kind != READINESS:
            grace = self._probe_grace(worker, result)
        worker.post(
            h.ProbeSettled(result.key.container, result.container_id, result.key.kind, result.healthy, grace)
        )

    def _probe_grace(self, worker: PodWorker, result: ProbeResult) -> int | None:
        wanted = wanted_probes(worker.state, "").get(result.key)
        return wanted.spec.termination_grace_period_seconds if wanted is not None else None

    def hook_fell_back(self, pod: Pod, message: str) -> None:
        """An https hook was answered in plain http."""
        about = events.pod_ref(pod.metadata.namespace, pod.metadata.name, pod.metadata.uid)
        self.sink.record(events.Event(events.WARNING, LIFECYCLE_HTTP_FALLBACK, message, about))

    # Statuses

    async def run_statuses(self) -> None:
        """The loop that makes statuses of what changed: the first at once, what follows it together."""
        while True:
            await self._status_wanted.wait()
            self.flush_statuses()
            await self.clock.sleep(STATUS_PAUSE_SECONDS)

    def flush_statuses(self) -> None:
        """Make every status that is due now."""
        self._status_wanted.clear()
        due, self._status_due = self._status_due, {}
        for worker in due.values():
            self._make_status(worker)

    def _make_status_if_due(self, worker: PodWorker) -> None:
        if self._status_due.pop(worker.uid, None) is not None:
            self._make_status(worker)

    def _make_status(self, worker: PodWorker) -> None:
        inputs = inputs_from_state(worker.state, worker.status, self.node(), self.clock.wall())
        if inputs is None:
            return
        status = pod_status(inputs)
        if status != worker.status:
            worker.status, worker.status_at = status, self.clock.wall()
            self._keep_soon(worker)
        elif worker.is_published:
            return
        worker.is_published = True
        if self.shown is not None:
            self.shown(worker.uid)
        if self.statuses is not None:
            self.statuses.publish(worker)

    # Checkpoints

    def _keep_soon(self, worker: PodWorker) -> None:
        if worker.state.stage is not Stage.FORGOTTEN and not worker.state.data_released:
            self._checkpoint_due[worker.uid] = worker
            self._checkpoint_wanted.set()

    def _keep_now(self, worker: PodWorker, *, sync: bool) -> asyncio.Future[None]:
        self._checkpoint_due.pop(worker.uid, None)
        task = asyncio.create_task(self._write([worker], sync=sync))
        self._urgent.add(task)
        task.add_done_callback(self._urgent.discard)
        return task

    async def run_checkpoints(self) -> None:
        """The loop that writes checkpoints of what changed."""
        while True:
            await self._checkpoint_wanted.wait()
            await self.clock.sleep(CHECKPOINT_RETRY_SECONDS if self._is_refused else CHECKPOINT_PAUSE_SECONDS)
            await self.flush_checkpoints()

    async def flush_checkpoints(self) -> None:
        """Write every checkpoint that is due now."""
        self._checkpoint_wanted.clear()
        due, self._checkpoint_due = self._checkpoint_due, {}
        if due:
            await self._write(list(due.values()), sync=False)

    async def close(self) -> None:
        """Write what is still due, and wait for it."""
        self.flush_statuses()
        await self.flush_checkpoints()
        await asyncio.gather(*self._urgent, return_exceptions=True)

    async def _write(self, workers: list[PodWorker], *, sync: bool) -> None:
        self._version += 1
        version = self._version
        workers = [worker for worker in workers if worker.uid not in self._forgetting]
        kept = [keep(worker.state, worker.status, worker.origin) for worker in workers]

        def write_all() -> list[OSError]:
            failed: list[OSError] = []
            for one in kept:
                try:
                    self.files.write(one, version, sync=sync)
                except OSError as error:
                    failed.append(error)
            return failed

        # A disk that is full must not stop pods from being stopped: said, and tried again.
        errors = await self.executors.run("fsync", write_all)
        self._is_refused = bool(errors)
        for error in errors:
            log.error("Could not write a checkpoint", err=error)
        if errors:
            self._checkpoint_due = {worker.uid: worker for worker in workers} | self._checkpoint_due
            self._checkpoint_wanted.set()


def _shows(state: PodState) -> tuple[Any, ...]:
    """What of a state is seen from outside; compared by identity where that is enough."""
    return (
        id(state.observed),
        id(state.containers),
        id(state.pod),
        id(state.stop),
        state.stage,
        state.ips,
        state.initialized_in,
        state.restart_all,
        id(state.rejected),
    )


def _is_released(state: PodState) -> bool:
    return state.stage >= Stage.TERMINATED and state.volumes is Volumes.RELEASED


def _is_ordered_to_stop(state: PodState, before: PodState) -> bool:
    """One of its containers is to be stopped now, and to run again."""
    if state.containers is before.containers:
        return False
    return any(
        memory.must_stop is not None
        and memory.must_stop.brings_back
        and memory.must_stop is not before.memory(name).must_stop
        for name, memory in state.containers.items()
    )


def _hooks_done(state: PodState) -> list[tuple[str, str]]:
    """The container ids whose hooks are done, of the containers that have any."""
    if state.pod is None:
        return []
    spec = state.pod.spec
    hooked = (one.name for one in (*spec.init_containers, *spec.containers) if one.lifecycle is not None)
    return [(state.memory(name).post_start_id, state.memory(name).pre_stop_id) for name in hooked]


def _is_worth_keeping(state: PodState, before: PodState) -> bool:
    return (
        state.containers is not before.containers
        or state.pod is not before.pod
        or state.stage is not before.stage
        or state.volumes is not before.volumes
        or state.initialized_in != before.initialized_in
        or state.restart_all is not before.restart_all
        or state.sandbox_attempts != before.sandbox_attempts
        or state.ips != before.ips
    )


def event_of(worker: PodWorker, emit: Emit) -> events.Event:
    """The Kubernetes Event for something the core said."""
    pod = worker.state.pod
    version = (pod.metadata.resource_version or "") if pod is not None else ""
    about = events.pod_ref(*_name_of(pod), worker.uid, version)
    if emit.container:
        about = events.container_ref(about, emit.container, group=group_of(pod, emit.container))
    kind = events.WARNING if emit.warning else events.NORMAL
    return events.Event(kind, emit.reason, emit.message, about)


def _name_of(pod: Pod | None) -> tuple[str, str]:
    return (pod.metadata.namespace, pod.metadata.name) if pod is not None else ("", "")
