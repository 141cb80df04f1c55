"""The scheduler's loop: what is watched goes into the cluster's copy and the queue, decisions come out as
bindings.

    scheduler = Scheduler(client, clock=clock)
    await elector.run(scheduler.run)

One decision at a time, on a copy that already counts the pods decided before; bindings run beside it. A pod
that finds no node gets the PodScheduled condition and a FailedScheduling event and waits for a change that
helps. One whose decision or binding fails is tried again after its back-off.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import NoReturn

from aio import log as logs
from aio.clock import Clock
from controlplane.recorder import WARNING, Note, Recorder, Subject
from controlplane.scheduler.choose import Pick, Placed, Unplaced, choose
from controlplane.scheduler.cluster import Cluster, PodInfo, is_finished, read_pod
from controlplane.scheduler.selector import Owners, read_selector
from controlplane.scheduler.waiting import Happened, WaitingPods
from kube import conditions, meta, objects, status
from kube.cache import Cache, Change
from kube.client import Client, JsonObject, PatchKind, Unreachable
from kube.client import resources as r
from kube.errors import StatusError
from kube.objects.cluster_v1 import Namespace, Node
from kube.objects.core_v1 import Pod
from kube.quantity import QuantityError
from kube.selectors import SelectorError

log = logs.get(__name__)

DEFAULT_NAME = "default-scheduler"
UNSCHEDULABLE = "Unschedulable"
SCHEDULER_ERROR = "SchedulerError"
GATED = "SchedulingGated"
GATED_MESSAGE = "Scheduling is blocked due to non-empty scheduling gates"
SCHEDULED_EVENT = "Scheduled"
FAILED_EVENT = "FailedScheduling"


class Scheduler:
    """`name` is the spec.schedulerName it serves; `pick` breaks ties."""

    def __init__(
        self, client: Client, *, clock: Clock, name: str = DEFAULT_NAME, pick: Pick | None = None
    ) -> None:
        self._client = client
        self._clock = clock
        self._name = name
        self._pick: Pick = pick or _pick_any
        self._recorder = Recorder(client, clock, name)
        self._cluster = Cluster()
        self._waiting = WaitingPods()
        self._changed = asyncio.Event()
        self._pods = Cache(client, r.PODS, lambda raw: objects.decode(raw, Pod), clock=clock)
        self._nodes = Cache(client, r.NODES, lambda raw: objects.decode(raw, Node), clock=clock)
        self._spaces = Cache(client, r.NAMESPACES, lambda raw: objects.decode(raw, Namespace), clock=clock)
        self._owners = {
            kind: Cache(client, kind, read_selector, clock=clock, indexes={"namespace": _namespace_of})
            for kind in (r.SERVICES, r.REPLICA_SETS, r.REPLICATION_CONTROLLERS)
        }
        self._pods.add_handler(self._note_pod)
        self._nodes.add_handler(self._note_node)
        self._spaces.add_handler(self._note_namespace)

    async def run(self) -> NoReturn:
        """For ever; cancel to stop. Bindings under way are then cancelled too."""
        caches: list[Cache[object]] = [self._pods, self._nodes, self._spaces, *self._owners.values()]  # type: ignore[list-item]
        async with asyncio.TaskGroup() as group:
            group.create_task(self._recorder.run())
            for cache in caches:
                group.create_task(cache.run())
            for cache in caches:
                await cache.wait_synced()
            await self._decide_for_ever(group)
        raise AssertionError("a loop for ever has ended")

    async def _decide_for_ever(self, group: asyncio.TaskGroup) -> None:
        while True:
            self._changed.clear()
            now = self._clock.monotonic()
            while (key := self._waiting.pop(now)) is not None:
                group.create_task(self._attempt(key))
                # Watches and bindings get their turn between decisions.
                await asyncio.sleep(0)
                now = self._clock.monotonic()
            await self._wait(now)

    async def _wait(self, now: float) -> None:
        due = self._waiting.next_at()
        try:
            async with asyncio.timeout(None if due is None else max(0.0, due - now)):
                await self._changed.wait()
        except TimeoutError:
            return

    # --- what comes in ---

    def _note_pod(self, change: Change[Pod]) -> None:
        pod, key, now = change.value, change.key, self._clock.monotonic()
        self._changed.set()
        try:
            info = read_pod(pod)
        except QuantityError as error:
            log.error("Cannot read what a pod asks for", pod=key, uid=pod.metadata.uid, err=error)
            return
        if change.new is None or is_finished(pod):
            self._waiting.forget(key)
            if self._cluster.drop_pod(key):
                self._waiting.happened(Happened.POD_GONE, now)
            return
        self._cluster.set_pod(info)
        if pod.spec.node_name:
            self._waiting.forget(key)
            self._note_placed(change, now)
        elif not self._serves(pod) or pod.metadata.deletion_timestamp is not None:
            self._waiting.forget(key)
        elif not self._cluster.is_assumed(key) and _matters(change):
            self._waiting.add(key, pod.spec.priority or 0, now)

    def _note_placed(self, change: Change[Pod], now: float) -> None:
        old, new = change.old, change.value
        if old is None or not old.spec.node_name:
            self._waiting.happened(Happened.POD_PLACED, now)
        elif old.metadata.labels != new.metadata.labels:
            self._waiting.happened(Happened.POD_CHANGED, now)

    def _note_node(self, change: Change[Node]) -> None:
        now = self._clock.monotonic()
        if change.new is None:
            self._cluster.drop_node(change.key)
            return
        try:
            self._cluster.set_node(change.new)
        except QuantityError as error:
            log.error("Cannot read what a node has", node=change.key, err=error)
            return
        if change.old is None:
            self._waiting.happened(Happened.NODE_ADDED, now)
        elif _means_something(change.old, change.new):
            self._waiting.happened(Happened.NODE_CHANGED, now)
        self._changed.set()

    def _note_namespace(self, change: Change[Namespace]) -> None:
        if change.new is None:
            self._cluster.namespaces.pop(change.key, None)
            return
        labels = change.new.metadata.labels
        if self._cluster.namespaces.get(change.key) != labels:
            self._cluster.namespaces[change.key] = labels
            self._waiting.happened(Happened.NAMESPACE_CHANGED, self._clock.monotonic())
            self._changed.set()

    def _serves(self, pod: Pod) -> bool:
        return (pod.spec.scheduler_name or DEFAULT_NAME) == self._name

    # --- decisions ---

    async def _attempt(self, key: str) -> None:
        try:
            await self._decide(key)
        except Exception as error:  # noqa: BLE001 - one pod's fault must not end the scheduling of others
            log.error("The scheduler is wrong", pod=key, err=f"{type(error).__name__}: {error}")
            self._waiting.failed(key, frozenset(), self._clock.monotonic())

    async def _decide(self, key: str) -> None:
        pod = self._pods.get(key)
        if pod is None or pod.spec.node_name:
            self._waiting.forget(key)
            return
        if pod.spec.scheduling_gates:
            self._waiting.failed(key, frozenset(("SchedulingGates",)), self._clock.monotonic())
            await self._tell(pod, GATED, GATED_MESSAGE)
            return
        try:
            info = read_pod(pod)
            selector = Owners(dict(self._owners.items())).selector_of(pod)
            decided = choose(info, self._cluster, self._pick, selector)
        except (SelectorError, QuantityError) as error:
            self._waiting.failed(key, frozenset(), self._clock.monotonic())
            await self._complain(pod, SCHEDULER_ERROR, str(error))
            return
        if isinstance(decided, Placed):
            self._cluster.assume(info, decided.node)
            self._waiting.happened(Happened.POD_PLACED, self._clock.monotonic())
            await self._bind(info, decided.node)
        else:
            await self._give_up(pod, key, decided)

    async def _give_up(self, pod: Pod, key: str, decided: Unplaced) -> None:
        log.info("No node for a pod", pod=key, uid=pod.metadata.uid, because=decided.message)
        self._waiting.failed(key, decided.plugins, self._clock.monotonic())
        await self._complain(pod, UNSCHEDULABLE, decided.message)

    async def _bind(self, info: PodInfo, node: str) -> None:
        pod, key = info.pod, info.key
        name, namespace = pod.metadata.name, pod.metadata.namespace
        body = {
            "apiVersion": "v1", "kind": "Binding",
            "metadata": {"name": name, "namespace": namespace, "uid": pod.metadata.uid},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        }  # fmt: skip
        try:
            await self._client.create(r.PODS, body, namespace=namespace, name=name, subresource="binding")
        except status.NotFound:
            # The watch tells of the deletion, and then the queue forgets it.
            self._cluster.forget(key, pod.metadata.uid)
            return
        except (StatusError, Unreachable) as error:
            await self._binding_failed(pod, key, error)
            return
        log.info("Pod placed", pod=key, uid=pod.metadata.uid, node=node)
        message = f"Successfully assigned {key} to {node}"
        self._recorder.record(_subject(pod), Note(SCHEDULED_EVENT, message))

    async def _binding_failed(self, pod: Pod, key: str, error: Exception) -> None:
        log.warning("Cannot bind a pod", pod=key, uid=pod.metadata.uid, err=error)
        now = self._clock.monotonic()
        self._cluster.forget(key, pod.metadata.uid)
        self._waiting.happened(Happened.POD_GONE, now)
        self._waiting.failed(key, frozenset(), now, hopeless=False)
        self._changed.set()
        await self._complain(pod, SCHEDULER_ERROR, f"binding rejected: {error}")

    # --- what goes out ---

    async def _complain(self, pod: Pod, reason: str, message: str) -> None:
        self._recorder.record(_subject(pod), Note(FAILED_EVENT, message, WARNING))
        await self._tell(pod, reason, message)

    async def _tell(self, pod: Pod, reason: str, message: str) -> None:
        """The PodScheduled condition, unless it says so already."""
        change = condition_change(pod, reason, message, meta.format_time(self._clock.now()))
        if change is None:
            return
        try:
            await self._client.patch(
                r.PODS, pod.metadata.name, change, kind=PatchKind.STRATEGIC,
                namespace=pod.metadata.namespace, subresource="status",
            )  # fmt: skip
        except status.NotFound:
            return
        except (StatusError, Unreachable) as error:
            log.warning("Cannot say why a pod has no node", pod=meta.display_name(pod), err=error)


def condition_change(pod: Pod, reason: str, message: str, now: str) -> JsonObject | None:
    """A strategic merge patch of the status; None when the condition is as it should be."""
    old = conditions.find(pod.status.conditions, "PodScheduled")
    if old is not None and (old.status, old.reason, old.message) == (conditions.FALSE, reason, message):
        return None
    since = old.last_transition_time if old is not None and old.status == conditions.FALSE else None
    condition = {
        "type": "PodScheduled", "status": conditions.FALSE, "reason": reason, "message": message,
        "lastTransitionTime": since or now,
    }  # fmt: skip
    return {"metadata": {"uid": pod.metadata.uid}, "status": {"conditions": [condition]}}


def _subject(pod: Pod) -> Subject:
    found = pod.metadata
    return Subject("v1", "Pod", found.namespace, found.name, found.uid)


def _namespace_of(found: tuple[str, object]) -> Sequence[str]:
    return (found[0],)


def _matters(change: Change[Pod]) -> bool:
    """Its own status, which the scheduler writes, is no reason to try again."""
    if change.old is None or change.new is None:
        return True
    old, new = change.old, change.new
    return (old.spec, old.metadata.labels) != (new.spec, new.metadata.labels)


def _means_something(old: Node, new: Node) -> bool:
    """Not a heartbeat: something that filters read has changed."""
    return (old.spec, old.metadata.labels, old.status.allocatable) != (
        new.spec, new.metadata.labels, new.status.allocatable
    )  # fmt: skip


def _pick_any(names: Sequence[str]) -> str:
    return random.choice(names)
