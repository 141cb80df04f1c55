"""Nodes that fall silent, their taints, and the pods that must leave them.

A node whose Lease and status have not changed for the grace period, counted by our own monotonic clock from
when the change was seen, gets its conditions set to Unknown and its pods marked not ready. Conditions become
taints; NoExecute ones are given to one node in ten seconds, and to none while no node at all is well: then it
is more likely that we are cut off, and those given before are taken back. A pod leaves a node with a
NoExecute taint that it does not tolerate at once, and one that it tolerates for a time when that has passed
since the taint was added.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from aio.clock import Clock
from controlplane.controllers import pods as p
from controlplane.controllers.base import DONE, Result, View, Writer, key_of
from controlplane.recorder import Note
from kube import meta, status
from kube.client import JsonObject
from kube.client import resources as r
from kube.client.resources import Resource

MONITOR_SECONDS = 5.0
GRACE_SECONDS = 50.0
STARTUP_GRACE_SECONDS = 60.0
EVICTION_PAUSE_SECONDS = 10.0
LEASE_NAMESPACE = "kube-node-lease"
PREFIX = "node.kubernetes.io/"
NOT_READY, UNREACHABLE = f"{PREFIX}not-ready", f"{PREFIX}unreachable"
NO_SCHEDULE, NO_EXECUTE = "NoSchedule", "NoExecute"
# (condition, status) -> key of the NoSchedule taint (nodeConditionToTaintKeyStatusMap).
_TAINT_OF = {
    ("Ready", "False"): NOT_READY,
    ("Ready", "Unknown"): UNREACHABLE,
    ("MemoryPressure", "True"): f"{PREFIX}memory-pressure",
    ("DiskPressure", "True"): f"{PREFIX}disk-pressure",
    ("PIDPressure", "True"): f"{PREFIX}pid-pressure",
    ("NetworkUnavailable", "True"): f"{PREFIX}network-unavailable",
}
_UNSCHEDULABLE = f"{PREFIX}unschedulable"
_OURS = frozenset((*_TAINT_OF.values(), _UNSCHEDULABLE))
_MONITORED = ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure")
EVICTED_EVENT = "TaintManagerEviction"


@dataclass(frozen=True, slots=True)
class Seen:
    """What a node said last, and when (monotonic) that was seen to be new."""

    said: tuple[str, str]
    at: float


def heartbeat_of(node: JsonObject, lease: JsonObject | None) -> tuple[str, str]:
    """Changes whenever the node's agent gives a sign of life."""
    ready = p.condition_of(node, "Ready")
    renewed = ((lease or {}).get("spec") or {}).get("renewTime", "")
    # What we wrote ourselves (Unknown) is no sign of the agent's.
    beat = ready.get("lastHeartbeatTime", "") if ready is not None else ""
    return renewed, beat


def is_silent(node: JsonObject, seen: Seen, now: float) -> bool:
    grace = GRACE_SECONDS if p.condition_of(node, "Ready") is not None else STARTUP_GRACE_SECONDS
    return now - seen.at > grace


def unknown_conditions(node: JsonObject, now: datetime) -> list[JsonObject] | None:
    """The conditions of a silent node; None when they say so already."""
    old: list[JsonObject] = (node.get("status") or {}).get("conditions") or []
    known = {item["type"]: item for item in old}
    stamp = meta.format_time(now)
    fresh = dict(known)
    for kind in _MONITORED:
        found = known.get(kind)
        if found is None:
            reason, message = "NodeStatusNeverUpdated", "Kubelet never posted node status."
            created = node["metadata"].get("creationTimestamp", stamp)
            base: JsonObject = {"type": kind, "lastHeartbeatTime": created}
        elif found["status"] == "Unknown":
            continue
        else:
            reason, message = "NodeStatusUnknown", "Kubelet stopped posting node status."
            base = found
        fresh[kind] = {
            **base, "status": "Unknown", "reason": reason, "message": message, "lastTransitionTime": stamp,
        }  # fmt: skip
    return list(fresh.values()) if fresh != known else None


def wanted_taints(
    node: JsonObject, now: datetime, *, may_evict: bool, is_any_well: bool = True
) -> list[JsonObject]:
    """All taints the node should have: those of others as they are, ours from its conditions. A NoExecute
    taint it has already stays as long as its reason does and some node is well; a new one needs `may_evict`.
    """
    spec = node.get("spec") or {}
    present: list[JsonObject] = spec.get("taints") or []
    stamp = meta.format_time(now)
    wanted: dict[tuple[str, str], JsonObject] = {}

    def want(key: str, effect: str) -> None:
        old = next((item for item in present if (item["key"], item["effect"]) == (key, effect)), None)
        wanted[key, effect] = old or {"key": key, "effect": effect, "timeAdded": stamp}

    if spec.get("unschedulable"):
        want(_UNSCHEDULABLE, NO_SCHEDULE)
    for condition in (node.get("status") or {}).get("conditions") or []:
        key = _TAINT_OF.get((condition["type"], condition["status"]))
        if key is not None:
            want(key, NO_SCHEDULE)
        if key in (NOT_READY, UNREACHABLE):
            had = any(
                item["effect"] == NO_EXECUTE and item["key"] in (NOT_READY, UNREACHABLE) for item in present
            )
            if is_any_well and (had or may_evict):
                want(key, NO_EXECUTE)
    others = [item for item in present if not _is_ours(item)]
    return [*others, *(wanted[place] for place in sorted(wanted))]


def _is_ours(taint: JsonObject) -> bool:
    effects = (NO_SCHEDULE, NO_EXECUTE) if taint["key"] in (NOT_READY, UNREACHABLE) else (NO_SCHEDULE,)
    return taint["key"] in _OURS and taint["effect"] in effects


def leaves_in(pod: JsonObject, taints: Sequence[JsonObject], now: datetime) -> float | None:
    """Seconds until the pod must leave; 0.0 = now, None = it may stay (processPodOnNode)."""
    effective = [taint for taint in taints if taint["effect"] == NO_EXECUTE]
    tolerations = pod["spec"].get("tolerations") or []
    waits: list[float] = []
    for taint in effective:
        covering = [item for item in tolerations if _tolerates(item, taint)]
        if not covering:
            return 0.0
        limits = [item["tolerationSeconds"] for item in covering if item.get("tolerationSeconds") is not None]
        if limits:
            since = meta.parse_time(taint["timeAdded"]) if taint.get("timeAdded") else now
            waits.append(max(0.0, min(limits) - (now - since).total_seconds()))
    return min(waits, default=None)


def disruption(pod: JsonObject, now: datetime) -> JsonObject:
    """The status of a pod that must leave its node says by whom it was ended (KEP-3329)."""
    message = "Taint manager: deleting due to NoExecute taint"
    target = {
        "type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager",
        "message": message, "lastTransitionTime": meta.format_time(now),
    }  # fmt: skip
    old = (pod.get("status") or {}).get("conditions") or []
    others = [item for item in old if item["type"] != target["type"]]
    return {"status": {"conditions": [*others, target]}}


def _tolerates(toleration: JsonObject, taint: JsonObject) -> bool:
    if toleration.get("effect") not in (None, "", taint["effect"]):
        return False
    if toleration.get("key") not in (None, "", taint["key"]):
        return False
    if toleration.get("operator") == "Exists":
        return True
    is_same = toleration.get("value", "") == taint.get("value", "")
    return bool(toleration.get("key")) and is_same


class NodeLifecycleController:
    name = "node-lifecycle-controller"
    reads = (r.NODES, r.LEASES, r.PODS)
    writes = (r.NODES, r.PODS)

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seen: dict[str, Seen] = {}
        self._may_evict_at = float("-inf")

    def keys(self, resource: Resource, value: JsonObject, view: View) -> Iterable[str]:
        if resource == r.NODES:
            return (key_of(value),)
        if resource == r.LEASES:
            is_node = value["metadata"]["namespace"] == LEASE_NAMESPACE
            return (value["metadata"]["name"],) if is_node else ()
        node = (value.get("spec") or {}).get("nodeName")
        return (node,) if node else ()

    async def reconcile(self, key: str, view: View, api: Writer) -> Result:
        node = view.get(r.NODES, key)
        if node is None:
            self._seen.pop(key, None)
            return DONE
        now = self._clock.now()
        pods = view.on_node(r.PODS, key)
        if self._is_silent(node, view):
            conditions = unknown_conditions(node, now)
            if conditions is not None:
                node = await api.patch(
                    r.NODES, node, {"status": {"conditions": conditions}}, subresource="status"
                )
            await self._mark_not_ready(pods, api)
        is_any_well = any(
            p.is_ready(other) and not self._is_silent(other, view) for other in view.all(r.NODES)
        )
        may_evict = is_any_well and self._clock.monotonic() >= self._may_evict_at
        present = (node.get("spec") or {}).get("taints") or []
        taints = wanted_taints(node, now, may_evict=may_evict, is_any_well=is_any_well)
        if taints != present:
            node = await api.patch(r.NODES, node, {"spec": {"taints": taints}}, strict=True)
            if _evicts(taints) and not _evicts(present):
                self._may_evict_at = self._clock.monotonic() + EVICTION_PAUSE_SECONDS
        next_leave = await self._evict(pods, taints, api)
        return Result(MONITOR_SECONDS if next_leave is None else min(next_leave, MONITOR_SECONDS))

    def _is_silent(self, node: JsonObject, view: View) -> bool:
        name, now = node["metadata"]["name"], self._clock.monotonic()
        said = heartbeat_of(node, view.get(r.LEASES, f"{LEASE_NAMESPACE}/{name}"))
        seen = self._seen.get(name)
        if seen is None or seen.said != said:
            seen = self._seen[name] = Seen(said, now)
        return is_silent(node, seen, now)

    async def _mark_not_ready(self, pods: Sequence[JsonObject], api: Writer) -> None:
        """So that services stop sending to them; the agent says otherwise when it comes back."""
        stamp = meta.format_time(self._clock.now())
        for pod in pods:
            if not p.is_ready(pod):
                continue
            conditions = [
                {**item, "status": "False", "lastTransitionTime": stamp} if item["type"] == "Ready" else item
                for item in pod["status"]["conditions"]
            ]
            try:
                await api.patch(
                    r.PODS, pod, {"status": {"conditions": conditions}}, subresource="status", strict=True
                )
            except status.NotFound:
                continue

    async def _evict(
        self, pods: Sequence[JsonObject], taints: Sequence[JsonObject], api: Writer
    ) -> float | None:
        """Delete the pods whose time is over; seconds until the next one's is."""
        now, waits = self._clock.now(), []
        for pod in pods:
            if "deletionTimestamp" in pod["metadata"] or p.is_over(pod):
                continue
            wait = leaves_in(pod, taints, now)
            if wait is None:
                continue
            if wait > 0:
                waits.append(wait)
                continue
            api.tell(r.PODS, pod, Note(EVICTED_EVENT, f"Marking for deletion Pod {key_of(pod)}"))
            try:
                await api.patch(r.PODS, pod, disruption(pod, now), subresource="status", strict=True)
                await api.delete(r.PODS, pod)
            except status.NotFound:
                continue
        return min(waits, default=None)


def _evicts(taints: Iterable[JsonObject]) -> bool:
    return any(item["effect"] == NO_EXECUTE and _is_ours(item) for item in taints)
