"""The Node an agent registers, and what it corrects on one that is there already (pure).

Rules: kubelet 1.36, pkg/kubelet/kubelet_node_status.go (initialNode, tryRegisterWithAPIServer,
reconcileCMADAnnotationWithExistingNode). An existing Node keeps its taints, its providerID and everything
others wrote on it; NodeRestriction would refuse more.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aio.backoff import Backoff
from kubelet.node.labels import corrected, own_labels
from kubelet.node.model import Machine, NodeSettings

JsonObject = dict[str, Any]
CONTROLLER_ATTACHES = "volumes.kubernetes.io/controller-managed-attach-detach"
UNSCHEDULABLE_TAINT = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
# registerWithAPIServer: "step" doubles from 100 ms to 7 s, and stays there.
REGISTER_BACKOFF = Backoff(initial=0.1, maximum=7.0, reset_after=float("inf"))


def new_node(settings: NodeSettings, machine: Machine) -> JsonObject:
    """The Node to create, without its status."""
    spec: JsonObject = {}
    if settings.provider_id:
        spec["providerID"] = settings.provider_id
    taints = [_taint(taint.key, taint.value, taint.effect) for taint in settings.taints]
    if not settings.schedulable:
        spec["unschedulable"] = True
        if all((one["key"], one["effect"]) != tuple(UNSCHEDULABLE_TAINT.values()) for one in taints):
            taints.append(dict(UNSCHEDULABLE_TAINT))
    if taints:
        spec["taints"] = taints
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": settings.name,
            "labels": own_labels(settings.name, machine.architecture, settings.labels),
            "annotations": {CONTROLLER_ATTACHES: "true"} if settings.controller_attaches else {},
        },
        "spec": spec,
    }


def _taint(key: str, value: str, effect: str) -> JsonObject:
    return {"key": key, "value": value, "effect": effect} if value else {"key": key, "effect": effect}


def correction(existing: Mapping[str, Any], wanted: Mapping[str, Any]) -> JsonObject:
    """The merge patch for a Node that exists; {} when there is nothing to correct."""
    had, has = existing["metadata"], wanted["metadata"]
    metadata: JsonObject = {}
    if labels := corrected(had.get("labels") or {}, has["labels"]):
        metadata["labels"] = labels
    mark = (had.get("annotations") or {}).get(CONTROLLER_ATTACHES)
    if mark != has["annotations"].get(CONTROLLER_ATTACHES):
        metadata["annotations"] = {CONTROLLER_ATTACHES: has["annotations"].get(CONTROLLER_ATTACHES)}
    return {"metadata": metadata} if metadata else {}
