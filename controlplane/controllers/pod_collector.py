"""Pods that nobody will take away: of nodes that are gone, never placed and deleted, and too many ended ones.

A node counts as gone when it was missing for 40 s and the server itself says so, since our copy of the nodes
may be behind. Kubernetes 1.36, pkg/controller/podgc.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from aio.clock import Clock
from controlplane.controllers import pods as p
from controlplane.controllers.base import Result, View, Writer
from kube import meta, status
from kube.client import JsonObject
from kube.client import resources as r
from kube.client.resources import Resource

COLLECT_SECONDS = 20.0
QUARANTINE_SECONDS = 40.0
MOST_ENDED = 12_500
ORPHANED = "DeletionByPodGC"
_ALL = "every pod"


@dataclass(frozen=True, slots=True)
class Plan:
    """`on_missing` is by node; whether those nodes are really gone is to be asked."""

    ended: tuple[JsonObject, ...] = ()
    unplaced: tuple[JsonObject, ...] = ()
    on_missing: tuple[tuple[str, tuple[JsonObject, ...]], ...] = ()


def decide(pods: Sequence[JsonObject], nodes: Iterable[str], most_ended: int = MOST_ENDED) -> Plan:
    """What might go (pure)."""
    known = set(nodes)
    ended = sorted((pod for pod in pods if p.is_over(pod)), key=_age)
    surplus = ended[: max(len(ended) - most_ended, 0)]
    missing: dict[str, list[JsonObject]] = {}
    unplaced = []
    for pod in pods:
        node = pod["spec"].get("nodeName")
        if node and node not in known:
            missing.setdefault(node, []).append(pod)
        elif not node and "deletionTimestamp" in pod["metadata"]:
            unplaced.append(pod)
    on_missing = tuple((node, tuple(found)) for node, found in missing.items())
    return Plan(tuple(surplus), tuple(unplaced), on_missing)


def _age(pod: JsonObject) -> tuple[str, str]:
    return pod["metadata"].get("creationTimestamp", ""), pod["metadata"]["uid"]


def failed_status(pod: JsonObject, now: datetime) -> JsonObject:
    """A pod whose node is gone did not end well, and says by whom it was ended."""
    message = "PodGC: node no longer exists"
    stamp = meta.format_time(now)
    target = {
        "type": "DisruptionTarget", "status": "True", "reason": ORPHANED, "message": message,
        "lastTransitionTime": stamp,
    }  # fmt: skip
    old = (pod.get("status") or {}).get("conditions") or []
    return {
        "phase": "Failed",
        "conditions": [*(item for item in old if item["type"] != "DisruptionTarget"), target],
    }


class PodCollector:
    """One key for all pods: looked at every 20 s, as upstream's loop does."""

    name = "pod-garbage-collector-controller"
    reads = (r.PODS, r.NODES)
    writes = (r.PODS,)

    def __init__(self, clock: Clock, most_ended: int = MOST_ENDED) -> None:
        self._clock = clock
        self._most_ended = most_ended
        self._missing_since: dict[str, float] = {}
        self._has_begun = False

    def keys(self, resource: Resource, value: JsonObject, view: View) -> Iterable[str]:
        # The first object starts the clock; after that only time counts.
        if self._has_begun:
            return ()
        self._has_begun = True
        return (_ALL,)

    async def reconcile(self, key: str, view: View, api: Writer) -> Result:
        nodes = [node["metadata"]["name"] for node in view.all(r.NODES)]
        plan = decide(list(view.all(r.PODS)), nodes, self._most_ended)
        for pod in (*plan.ended, *plan.unplaced):
            await _delete(pod, api)
        now = self._clock.monotonic()
        missing = dict(plan.on_missing)
        self._missing_since = {node: self._missing_since.get(node, now) for node in missing}
        for node, pods in missing.items():
            if now - self._missing_since[node] >= QUARANTINE_SECONDS and await _is_gone(node, api):
                for pod in pods:
                    await self._end(pod, api)
        return Result(COLLECT_SECONDS)

    async def _end(self, pod: JsonObject, api: Writer) -> None:
        if not p.is_over(pod):
            try:
                change = {"status": failed_status(pod, self._clock.now())}
                await api.patch(r.PODS, pod, change, subresource="status", strict=True)
            except (status.NotFound, status.Conflict):
                return
        await _delete(pod, api)


async def _is_gone(node: str, api: Writer) -> bool:
    try:
        await api.get(r.NODES, node)
    except status.NotFound:
        return True
    return False


async def _delete(pod: JsonObject, api: Writer) -> None:
    """With no grace: there is no agent that could give it."""
    try:
        await api.delete(r.PODS, pod, grace=0)
    except (status.NotFound, status.Conflict):
        return
