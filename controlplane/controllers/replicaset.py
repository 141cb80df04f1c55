"""ReplicaSet and ReplicationController: as many pods as asked for, each its own.

Pods that match and belong to nobody are adopted, its own that no longer match are let go. Which pods go first
when there are too many is upstream's order (ActivePodsWithRanks). Pods are made in
batches of 1, 2, 4 … at once and a batch with a refusal is the last, so that a template that is refused costs
one call (slowStartBatch).
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from aio.clock import Clock
from controlplane.controllers import pods as p
from controlplane.controllers.base import DONE, Result, View, Writer, controller_of, key_of
from controlplane.recorder import WARNING, Note
from kube import meta, status
from kube.client import JsonObject
from kube.client import resources as r
from kube.client.resources import Resource
from kube.errors import StatusError

BURST = 500
DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
SUCCESSFUL_CREATE, FAILED_CREATE = "SuccessfulCreate", "FailedCreate"
SUCCESSFUL_DELETE = "SuccessfulDelete"


@dataclass(frozen=True, slots=True)
class Plan:
    adopt: tuple[JsonObject, ...] = ()
    release: tuple[JsonObject, ...] = ()
    create: int = 0
    delete: tuple[JsonObject, ...] = ()


def decide(owner: JsonObject, candidates: Iterable[JsonObject], now: datetime) -> Plan:
    """`candidates`: the pods it controls and those of its namespace that nobody does."""
    selector = p.selector_of(owner)
    is_going = "deletionTimestamp" in owner["metadata"]
    kept: list[JsonObject] = []
    adopt: list[JsonObject] = []
    release: list[JsonObject] = []
    for pod in candidates:
        matches = selector.matches(p.labels_of(pod))
        if controller_of(pod) is not None:
            (kept if matches else release).append(pod)
        elif matches and p.is_active(pod) and not is_going:
            adopt.append(pod)
    if is_going:
        return Plan(release=tuple(release))
    active = [pod for pod in (*kept, *adopt) if p.is_active(pod)]
    missing = owner["spec"].get("replicas", 1) - len(active)
    surplus = in_order_of_deletion(active, now)[: min(-missing, BURST)] if missing < 0 else ()
    return Plan(tuple(adopt), tuple(release), min(max(missing, 0), BURST), tuple(surplus))


def in_order_of_deletion(pods: Sequence[JsonObject], now: datetime) -> list[JsonObject]:
    """Those to lose first, first."""
    neighbours = Counter(pod["spec"].get("nodeName", "") for pod in pods)

    def rank(pod: JsonObject) -> tuple[Any, ...]:
        node = pod["spec"].get("nodeName", "")
        since = p.ready_since(pod)
        created = meta.parse_time(pod["metadata"]["creationTimestamp"])
        return (
            bool(node),
            {"Pending": 0, "": 0, "Unknown": 1}.get(p.phase_of(pod), 2),
            p.is_ready(pod),
            _deletion_cost(pod),
            -neighbours[node],
            _age_class(now, since),
            -_restarts(pod),
            _age_class(now, created),
            pod["metadata"]["uid"],
        )

    return sorted(pods, key=rank)


def _deletion_cost(pod: JsonObject) -> int:
    """What is no number counts as none."""
    text = (pod["metadata"].get("annotations") or {}).get(DELETION_COST, "0")
    return int(text) if text.lstrip("-").isdigit() else 0


def _age_class(now: datetime, since: datetime | None) -> int:
    """Ages compare by powers of two of seconds (LogarithmicScaleDown): 1 s, 2 s, 4 s..."""
    seconds = (now - since).total_seconds() if since is not None else 0.0
    return int(math.log2(seconds)) if seconds >= 1 else -1


def _restarts(pod: JsonObject) -> int:
    statuses = (pod.get("status") or {}).get("containerStatuses") or []
    return max((item.get("restartCount", 0) for item in statuses), default=0)


def new_status(owner: JsonObject, pods: Iterable[JsonObject], failure: str, now: datetime) -> JsonObject:
    """`pods` are its own; `failure` is why a pod could not be created, or ""."""
    own = list(pods)
    active = [pod for pod in own if p.is_active(pod)]
    template = ((owner["spec"].get("template") or {}).get("metadata") or {}).get("labels") or {}
    least = owner["spec"].get("minReadySeconds", 0)
    waits = [p.seconds_to_available(pod, least, now) for pod in active]
    return {
        "replicas": len(active),
        "fullyLabeledReplicas": sum(template.items() <= p.labels_of(pod).items() for pod in active),
        "readyReplicas": sum(p.is_ready(pod) for pod in active),
        "availableReplicas": sum(wait == 0.0 for wait in waits),
        "terminatingReplicas": sum(
            "deletionTimestamp" in pod["metadata"] and not p.is_over(pod) for pod in own
        ),
        "observedGeneration": owner["metadata"].get("generation", 0),
        "conditions": _conditions(owner, failure, now),
    }


def _conditions(owner: JsonObject, failure: str, now: datetime) -> list[JsonObject]:
    old: list[JsonObject] = (owner.get("status") or {}).get("conditions") or []
    others = [item for item in old if item["type"] != "ReplicaFailure"]
    if not failure:
        return others
    found = p.condition_of(owner, "ReplicaFailure")
    if found is not None:
        # As upstream, whatever the message: it names the pod, which is another one at each attempt.
        return old
    stamp = meta.format_time(now)
    failed = {"type": "ReplicaFailure", "status": "True", "reason": FAILED_CREATE, "message": failure}
    return [*others, {**failed, "lastTransitionTime": stamp}]


def next_look(owner: JsonObject, pods: Iterable[JsonObject], now: datetime) -> float | None:
    """When the next pod becomes available by staying ready."""
    least = owner["spec"].get("minReadySeconds", 0)
    if not least:
        return None  # what is ready is available
    waits = [p.seconds_to_available(pod, least, now) for pod in pods if p.is_active(pod)]
    return min((wait for wait in waits if wait), default=None)


class ReplicaSetController:
    """Of ReplicaSets, or of ReplicationControllers."""

    def __init__(self, clock: Clock, resource: Resource = r.REPLICA_SETS) -> None:
        self.name = "replicaset-controller" if resource == r.REPLICA_SETS else "replication-controller"
        self.reads = (resource, r.PODS)
        self.writes = (resource, r.PODS)
        self._resource = resource
        self._clock = clock

    def keys(self, resource: Resource, value: JsonObject, view: View) -> Iterable[str]:
        if resource == self._resource:
            return (key_of(value),)
        owner = controller_of(value)
        namespace = value["metadata"]["namespace"]
        if owner is not None:
            return (f"{namespace}/{owner['name']}",) if owner["kind"] == self._resource.kind else ()
        labels = p.labels_of(value)
        wanted = view.in_namespace(self._resource, namespace)
        return [key_of(item) for item in wanted if p.selector_of(item).matches(labels)]

    async def reconcile(self, key: str, view: View, api: Writer) -> Result:
        owner = view.get(self._resource, key)
        if owner is None:
            return DONE
        candidates = self._candidates(owner, view)
        plan = decide(owner, candidates, self._clock.now())
        adopted = await self._settle_owners(owner, plan, api)
        if not adopted:
            return DONE
        failure: StatusError | None = None
        try:
            await self._create(owner, plan.create, api)
        except StatusError as error:
            failure = error
        await _all(self._delete(owner, pod, api) for pod in plan.delete)
        gone = {pod["metadata"]["uid"] for pod in plan.release}
        kept = [
            pod for pod in candidates if pod["metadata"]["uid"] not in gone and self._is_own(owner, pod, plan)
        ]
        now = self._clock.now()
        fresh = new_status(owner, kept, str(failure) if failure else "", now)
        if fresh != _comparable(owner.get("status") or {}):
            await api.patch(self._resource, owner, {"status": fresh}, subresource="status")
        if failure is not None:
            raise failure
        return Result(next_look(owner, kept, now))

    def _candidates(self, owner: JsonObject, view: View) -> list[JsonObject]:
        found = owner["metadata"]
        own = view.controlled_by(r.PODS, found["uid"])
        near = view.in_namespace(r.PODS, found["namespace"])
        return [*own, *(pod for pod in near if controller_of(pod) is None)]

    def _is_own(self, owner: JsonObject, pod: JsonObject, plan: Plan) -> bool:
        controller = controller_of(pod)
        return pod in plan.adopt or (controller is not None and controller["uid"] == owner["metadata"]["uid"])

    async def _settle_owners(self, owner: JsonObject, plan: Plan, api: Writer) -> bool:
        """False when the owner turns out to be going or gone: nothing may be adopted or made then."""
        uid = owner["metadata"]["uid"]
        if plan.adopt:
            fresh = await api.get(self._resource, key_of(owner))
            if fresh["metadata"]["uid"] != uid or "deletionTimestamp" in fresh["metadata"]:
                return False
        for pod in plan.adopt:
            owners = [
                *(pod["metadata"].get("ownerReferences") or []),
                p.owner_reference(self._resource, owner),
            ]
            await api.patch(r.PODS, pod, {"metadata": {"ownerReferences": owners}}, strict=True)
        for pod in plan.release:
            owners = [item for item in pod["metadata"]["ownerReferences"] if item["uid"] != uid]
            await api.patch(r.PODS, pod, {"metadata": {"ownerReferences": owners}}, strict=True)
        return True

    async def _create(self, owner: JsonObject, count: int, api: Writer) -> None:
        """Raises the first refusal, when every call of its batch has been answered."""
        made, batch = 0, 1
        while made < count:
            batch = min(batch, count - made)
            await _all(self._create_one(owner, api) for _ in range(batch))
            made += batch
            batch *= 2

    async def _create_one(self, owner: JsonObject, api: Writer) -> None:
        try:
            made = await api.create(r.PODS, p.from_template(self._resource, owner))
        except StatusError as error:
            api.tell(self._resource, owner, Note(FAILED_CREATE, f"Error creating: {error}", WARNING))
            raise
        name = made["metadata"]["name"]
        api.tell(self._resource, owner, Note(SUCCESSFUL_CREATE, f"Created pod: {name}"))

    async def _delete(self, owner: JsonObject, pod: JsonObject, api: Writer) -> None:
        try:
            await api.delete(r.PODS, pod)
        except status.NotFound:
            return
        message = f"Deleted pod: {pod['metadata']['name']}"
        api.tell(self._resource, owner, Note(SUCCESSFUL_DELETE, message))


async def _all(calls: Iterable[Coroutine[Any, Any, None]]) -> None:
    """All at once, each to its end; raises the first failure."""
    for answer in await asyncio.gather(*calls, return_exceptions=True):
        if isinstance(answer, BaseException):
            raise answer


def _comparable(old: JsonObject) -> JsonObject:
    """What the server left out is zero or empty."""
    zero: JsonObject = {
        "replicas": 0, "fullyLabeledReplicas": 0, "readyReplicas": 0, "availableReplicas": 0,
        "terminatingReplicas": 0, "observedGeneration": 0, "conditions": [],
    }  # fmt: skip
    return {**zero, **old}
