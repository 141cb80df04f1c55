"""All pod workers: who has one, who waits for one, and where a worker's changes go.

A pod gets a worker when a source wants it, or when the runtime or a checkpoint still has it after
a restart. Nothing is taken for unwanted before every source has delivered once. A pod waits while
another of the same full name is still ending, and one that was removed and wanted again starts
anew when the old one is forgotten (kubelet 1.36, pkg/kubelet/pod_workers.go).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from typing import Protocol

from aio import log as aio_log
from aio.clock import Clock
from cri.events import EventKind, RuntimeEvent, known_pod
from kube.meta import is_deleting, is_static
from kube.objects.core_v1 import Pod
from kubelet import happened as h
from kubelet.admission import Room, admit, wants_place
from kubelet.checkpoint import Kept, restore
from kubelet.draft import Emit
from kubelet.found import Found, Listed, differs, ids_of, without_checkpoint
from kubelet.lifecycle import adopt, first_state, is_called_over
from kubelet.model import Instant, Observed, PodState, Stage
from kubelet.observe import Observer
from kubelet.sources.merge import Changes, SourceState
from kubelet.sources.model import full_name, origin_of
from kubelet.status.patch import foreign_conditions
from kubelet.worker import PodWorker, WorkerParts

log = aio_log.get(__name__)


class Record(Protocol):
    """What is written down about pods: checkpoints, statuses, events, probes wanted."""

    def changed(self, worker: PodWorker, before: PodState) -> asyncio.Future[None] | None: ...

    def emit(self, worker: PodWorker, emit: Emit) -> None: ...

    def forgotten(self, worker: PodWorker) -> None: ...


class Workers:
    """Owns every PodWorker. `failed` is set to the error of a worker that ended by a bug."""

    def __init__(self, parts: WorkerParts, observer: Observer, record: Record, room: Room) -> None:
        self._parts = replace(parts, outlet=self)
        self._clock: Clock = parts.clock
        self._observer = observer
        self._record = record
        self._room = room
        self._workers: dict[str, PodWorker] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._names: dict[str, str] = {}  # full name -> uid of the pod that holds it
        self._held: dict[str, Pod] = {}  # full name -> pod that waits for its name
        self._index: dict[str, str] = {}  # container or sandbox id -> pod uid
        self._found: dict[str, Found] = {}
        self._unreadable: dict[str, str] = {}  # uid kept though its manifest is broken -> its origin
        self._presumed: set[str] = set()  # uids of pods of the API that go on though it has not spoken yet
        self._network_error = ""
        self._sources_delivered = False
        # Reads the node's labels anew, where a cluster gives them; a refusal for them waits for it once.
        self.look_at_node: Callable[[], Awaitable[None]] | None = None
        self._doubtful: dict[str, Pod] = {}  # uid -> pod that seems to want another node
        self._looking: asyncio.Task[None] | None = None
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def sources_delivered(self) -> bool:
        """Every source has spoken once, so that a pod without a worker is nobody's."""
        return self._sources_delivered

    @property
    def unclaimed(self) -> frozenset[str]:
        """Uids met at start that no source has claimed yet."""
        return frozenset(self._found)

    def __len__(self) -> int:
        return len(self._workers)

    def all(self) -> list[PodWorker]:
        return list(self._workers.values())

    def get(self, uid: str) -> PodWorker | None:
        return self._workers.get(uid)

    def held(self) -> list[Pod]:
        """Pods that wait for an older one of their name to end."""
        return list(self._held.values())

    # Start

    async def find(self, checkpoints: Iterable[Kept], on_disk: Iterable[str] = ()) -> None:
        """Take stock after a start: what the runtime runs, what checkpoints and the disk remember.

        `on_disk` are the uids that have a directory or a mount: what nobody claims is released.
        """
        as_of = self._clock.monotonic()
        listed = await self._observer.read_all()
        kept = {one.uid: one for one in checkpoints}
        uids = sorted({*listed, *kept, *on_disk})
        observed = await asyncio.gather(
            *(self._observer.assemble(as_of, *listed.get(uid, ([], [])), None) for uid in uids)
        )
        for uid, seen in zip(uids, observed, strict=True):
            found = Found(kept.get(uid), seen)
            self._found[uid] = found
            self._index.update(dict.fromkeys(ids_of(seen), uid))
            if found.kept is not None and found.kept.pod is not None and is_static(found.kept.pod):
                self._names.setdefault(full_name(found.kept.pod), uid)
        log.info("Took stock of the node", pods=len(uids), checkpoints=len(kept))

    # Sources

    def apply(self, changes: Changes, sources: SourceState) -> None:
        """Act on what a delivery changed."""
        for pod in changes.removed:
            self._remove(pod)
        # What is here already takes up room before anything new is let in.
        added = sorted(changes.added, key=lambda pod: pod.metadata.uid not in self._found)
        for pod in (*changes.deleted, *changes.updated, *added):
            self._want(pod)
        for pod in changes.reconciled:
            self._reconcile(pod)
        if sources.all_delivered():
            self._sources_delivered = True
            self._settle_found(sources)
            self._settle_presumed(sources)
            self._settle_unreadable(sources)

    def presume(self) -> None:
        """The API server is silent: its pods that are remembered go on as they were wanted last.

        They are restarted, probed, and stopped where that had begun. Who of them is wanted no more is known
        when every source has spoken.
        """
        for uid, found in list(self._found.items()):
            pod = found.kept.pod if found.kept is not None else None
            if pod is None or is_static(pod):
                continue
            del self._found[uid]
            state = self._rebuilt(uid, found)
            log.info("Going on with a pod that is remembered", pod=full_name(pod), uid=uid)
            self._start(state, pod, "", found)
            if state.wanted:
                self._presumed.add(uid)

    def _settle_presumed(self, sources: SourceState) -> None:
        presumed, self._presumed = self._presumed, set()
        for uid in presumed:
            worker = self._workers.get(uid)
            if worker is not None and sources.pod(uid) is None and not sources.holds(uid):
                log.info("Stopping a pod that no source wants", pod=worker.name, uid=uid)
                worker.want(h.DesiredRemoved())

    def _want(self, pod: Pod, *, is_sure: bool = False) -> None:
        uid, name = pod.metadata.uid, full_name(pod)
        worker = self._workers.get(uid)
        is_deleted = pod.metadata.deletion_timestamp is not None
        if worker is not None:
            if not worker.is_leaving:
                worker.want(h.DesiredChanged(pod))
            elif not is_deleted:
                self._held[name] = pod
            return
        holder = self._names.get(name, uid)
        if holder != uid and is_static(pod):
            log.info("Pod waits for another of its name to end", pod=name, uid=uid, other=holder)
            self._held[name] = pod
            return
        if not is_sure and uid not in self._found and self._is_doubtful(pod):
            return
        self._doubtful.pop(uid, None)
        found = self._found.pop(uid, None)
        state = self._first_state(uid, pod, found)
        if state.stop is not None and not state.wanted and not is_deleted:
            self._held[name] = pod  # it was on its way out when the agent ended
        self._start(state, pod, origin_of(pod), found)

    def set_room(self, room: Room) -> None:
        """What the node offers from now on. Pods that were let in before are not judged again."""
        self._room = room

    def _is_doubtful(self, pod: Pod) -> bool:
        """Whether the pod has to wait until the node's labels were read anew: those it was bound for may not
        have come here yet (pkg/kubelet/lifecycle/predicate.go does the same)."""
        if self.look_at_node is None or is_deleting(pod) or wants_place(pod, self._room.place):
            return False
        self._doubtful[pod.metadata.uid] = pod
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look(self.look_at_node))
            self._looking.add_done_callback(self._looked)
        return True

    def _looked(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None and not self.failed.done():
            self.failed.set_exception(error)

    async def _look(self, look_at_node: Callable[[], Awaitable[None]]) -> None:
        while self._doubtful:
            before = dict(self._doubtful)
            await look_at_node()
            for uid, pod in before.items():
                if self._doubtful.get(uid) is pod:  # else it is gone, or another one of its name waits anew
                    del self._doubtful[uid]
                    self._want(pod, is_sure=True)

    def _reconcile(self, pod: Pod) -> None:
        """Only the status in the API moved: mostly our own word come back, which is no news."""
        worker = self._workers.get(pod.metadata.uid)
        before = worker.definition if worker is not None else None
        if worker is None or before is None or worker.is_leaving:
            return
        is_over = is_called_over(pod) and worker.state.stage is Stage.SYNCING
        if is_over or foreign_conditions(pod) != foreign_conditions(before):
            worker.want(h.DesiredChanged(pod))

    def _first_state(self, uid: str, pod: Pod, found: Found | None) -> PodState:
        now = self._now()
        if found is None or (found.kept is None and not found.observed.sandboxes):
            fresh = PodState(uid, pod, observed=Observed(now.mono), start_time=now.wall)
            fresh = first_state(fresh, now)
            if fresh.stop is not None:
                return fresh  # it never begins
            return replace(fresh, rejected=admit(pod, self._active_pods(), self._room))
        state = self._rebuilt(uid, found)
        if state.stop is not None and not state.wanted:
            return state
        claimed = replace(state, pod=pod, wanted=True, start_time=state.start_time or now.wall)
        return first_state(claimed, now)

    def _active_pods(self) -> list[Pod]:
        """The pods that take up room on the node."""
        states = (worker.state for worker in self._workers.values())
        return [state.pod for state in states if state.pod is not None and state.stage < Stage.TERMINATED]

    def _rebuilt(self, uid: str, found: Found) -> PodState:
        """The state of a pod met at start, from its checkpoint and the runtime."""
        state = restore(found.kept) if found.kept is not None else without_checkpoint(uid, found.observed)
        state = replace(
            state, observed=found.observed, network_error=self._network_error, look_wanted=found.is_stale
        )
        return adopt(state, self._now())

    def _remove(self, pod: Pod) -> None:
        uid, name = pod.metadata.uid, full_name(pod)
        held = self._held.get(name)
        if held is not None and held.metadata.uid == uid:
            del self._held[name]
        self._doubtful.pop(uid, None)
        worker = self._workers.get(uid)
        if worker is not None:
            worker.want(h.DesiredRemoved(pod.metadata.deletion_grace_period_seconds))

    def _settle_found(self, sources: SourceState) -> None:
        """Every source has spoken: what nobody claimed is stopped, unless its manifest is broken."""
        unclaimed, self._found = self._found, {}
        for uid, found in unclaimed.items():
            state = self._rebuilt(uid, found)
            origin = found.kept.origin if found.kept is not None else ""
            origin = origin if sources.holds(origin) else uid  # the API's pods go by their uid
            if state.pod is not None and state.wanted and sources.holds(origin):
                log.warning("Keeping a pod whose manifest cannot be read now", uid=uid, origin=origin)
                self._start(state, state.pod, origin, found)
                self._unreadable[uid] = origin
                continue
            log.info("Stopping a pod that no source wants", uid=uid)
            self._start(state, state.pod, origin, found)
            self._workers[uid].want(h.DesiredRemoved())

    def _settle_unreadable(self, sources: SourceState) -> None:
        """A pod kept for its broken manifest: no source has named it, so none will report it removed."""
        for uid, origin in list(self._unreadable.items()):
            if sources.pod(uid) is None and sources.holds(origin):
                continue
            del self._unreadable[uid]
            worker = self._workers.get(uid)
            if worker is not None and sources.pod(uid) is None:
                log.info("Stopping a pod whose manifest is gone", pod=worker.name, uid=uid)
                worker.want(h.DesiredRemoved())

    # Workers

    def _start(self, state: PodState, pod: Pod | None, origin: str, found: Found | None = None) -> None:
        state = replace(state, network_error=self._network_error)
        worker = PodWorker(state, self._parts, origin)
        if found is not None and found.kept is not None:
            worker.status = dict(found.kept.status)  # what was reported goes on, its times included
        self._workers[state.uid] = worker
        if pod is not None and is_static(pod):
            self._names[full_name(pod)] = state.uid
        self._reindex(worker, None)
        self._record.changed(worker, state)
        task = asyncio.create_task(worker.run(), name=f"pod worker {worker.name}")
        self._tasks[state.uid] = task
        task.add_done_callback(lambda done: self._ended(worker, done))

    def _ended(self, worker: PodWorker, task: asyncio.Task[None]) -> None:
        uid = worker.uid
        if self._workers.get(uid) is not worker:
            return
        del self._workers[uid], self._tasks[uid]
        for known in ids_of(worker.state.observed):
            self._index.pop(known, None)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            log.error("Pod worker failed", err=error, pod=worker.name, uid=uid)
            if not self.failed.done():
                self.failed.set_exception(error)
            return
        self._record.forgotten(worker)
        log.info("Pod is gone", pod=worker.name, uid=uid)
        if worker.state.pod is not None:
            self._release_name(full_name(worker.state.pod), uid)

    def _release_name(self, name: str, uid: str) -> None:
        if self._names.get(name) != uid:
            return
        del self._names[name]
        waiting = self._held.pop(name, None)
        if waiting is not None:
            self._want(waiting)

    async def run(self) -> None:
        """The named loop of all workers: ends only with the error of one of them."""
        await self.failed

    async def close(self) -> None:
        """Stop working; nothing that runs is touched."""
        workers, tasks = list(self._workers.values()), list(self._tasks.values())
        if self._looking is not None:
            tasks.append(self._looking)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(worker.close() for worker in workers))

    # Outlet of the workers

    def changed(self, worker: PodWorker, before: PodState) -> asyncio.Future[None] | None:
        if worker.state.observed is not before.observed:
            self._reindex(worker, before.observed)
        return self._record.changed(worker, before)

    def emit(self, worker: PodWorker, emit: Emit) -> None:
        self._record.emit(worker, emit)

    def _reindex(self, worker: PodWorker, before: Observed | None) -> None:
        after = worker.state.observed
        old = ids_of(before)
        new = ids_of(after)
        for gone in old - new:
            self._index.pop(gone, None)
        for known in new - old:
            self._index[known] = worker.uid

    # Runtime

    def runtime_event(self, event: RuntimeEvent) -> None:
        """The runtime says that something ended: a reason to look at that one pod."""
        uid = known_pod(event, self._index)
        if uid is None:
            return
        worker = self._workers.get(uid)
        if worker is not None:
            worker.post(h.RuntimeChanged(event.container_id, exited=event.kind is EventKind.STOPPED))
        elif uid in self._found:
            self._found[uid].is_stale = True  # its worker begins with a look

    async def relist(self, *, returned: bool = False) -> None:
        """Compare the runtime's lists with what is known; look at every pod that differs."""
        as_of = self._clock.monotonic()
        listed = await self._observer.read_all()
        for uid, worker in list(self._workers.items()):
            if returned:
                worker.post(h.RuntimeReturned())
            if differs(worker.state.observed, *listed.get(uid, ([], []))):
                worker.post(h.RuntimeChanged())
        for uid, found in self._found.items():
            found.is_stale |= differs(found.observed, *listed.get(uid, ([], [])))
        await self._adopt_strangers(as_of, listed)

    async def _adopt_strangers(self, as_of: float, listed: Listed) -> None:
        """Pods in the runtime that nobody here knows: another agent's or a bug's remains."""
        if not self._sources_delivered:
            return
        for uid in listed.keys() - self._workers.keys() - self._found.keys():
            observed = await self._observer.assemble(as_of, *listed[uid], None)
            if uid in self._workers or not (observed.sandboxes or observed.containers):
                continue
            log.warning("Stopping a pod that nobody wants", uid=uid)
            self._start(self._rebuilt(uid, Found(None, observed)), None, "")
            self._workers[uid].want(h.DesiredRemoved())

    def set_network(self, error: str) -> None:
        """The runtime's network became ready ("") or not."""
        if error == self._network_error:
            return
        self._network_error = error
        for worker in self._workers.values():
            worker.post(h.NetworkChanged(error))

    def _now(self) -> Instant:
        return Instant(self._clock.monotonic(), self._clock.wall())
