"""The pod conditions the agent owns, in upstream's order, and those it only passes on (pure).

Transition times move only with `status`; the observed generation never goes back.
Source: pkg/kubelet/status/generate.go and kubelet_pods.go generateAPIPodStatus (Kubernetes 1.36).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from kube.objects.core_v1 import Pod
from kubelet import reasons
from kubelet.model import Observed
from kubelet.restart import is_sidecar
from kubelet.status.containers import has_begun
from kubelet.status.inputs import JsonObject

OWNED = frozenset(
    (
        reasons.POD_SCHEDULED,
        reasons.INITIALIZED,
        reasons.READY,
        reasons.CONTAINERS_READY,
        reasons.POD_READY_TO_START_CONTAINERS,
        reasons.POD_RESIZE_PENDING,
        reasons.POD_RESIZE_IN_PROGRESS,
        reasons.ALL_CONTAINERS_RESTARTING,
    )
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """One condition before it is stamped."""

    type: str
    is_true: bool
    reason: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """What conditions are judged by. `phase` is the one computed, withheld or not."""

    pod: Pod
    phase: str
    by_name: Mapping[str, JsonObject]
    observed: Observed | None
    previous: Mapping[str, JsonObject]  # conditions by type
    now: str  # RFC 3339, whole seconds
    is_restarting_all: bool = False


def conditions(facts: Facts) -> list[JsonObject]:
    """All conditions of the pod: other writers' first, then ours."""
    foreign = _foreign(facts)
    by_type = {condition["type"]: condition for condition in foreign}
    containers_ready = _containers_ready(facts)
    ours = (
        _ready_to_start(facts),
        _initialized(facts),
        _ready(facts, containers_ready, by_type),
        containers_ready,
        Verdict(reasons.POD_SCHEDULED, is_true=True),
    )
    return [*foreign, *(_stamped(facts, condition) for condition in (*ours, *_restarting_all(facts)))]


def _restarting_all(facts: Facts) -> tuple[Verdict, ...]:
    """Only of a pod that has done so once."""
    kind = reasons.ALL_CONTAINERS_RESTARTING
    if not facts.is_restarting_all and kind not in facts.previous:
        return ()
    return (Verdict(kind, is_true=facts.is_restarting_all),)


def _foreign(facts: Facts) -> list[JsonObject]:
    """Conditions of other writers as the API has them, and a DisruptionTarget that we reported before."""
    kept = [
        msgspec.to_builtins(condition)
        for condition in facts.pod.status.conditions
        if condition.type not in OWNED
    ]
    disruption = facts.previous.get(reasons.DISRUPTION_TARGET)
    if disruption is not None and all(entry["type"] != reasons.DISRUPTION_TARGET for entry in kept):
        kept.append(disruption)
    return kept


def _stamped(facts: Facts, condition: Verdict) -> JsonObject:
    old: Mapping[str, Any] = facts.previous.get(condition.type, {})
    status = "True" if condition.is_true else "False"
    is_same = old.get("status") == status
    entry: JsonObject = {
        "type": condition.type,
        "status": status,
        "lastProbeTime": None,
        "lastTransitionTime": (old.get("lastTransitionTime") if is_same else None) or facts.now,
    }
    if condition.reason:
        entry["reason"] = condition.reason
    if condition.message:
        entry["message"] = condition.message
    generation = max(facts.pod.metadata.generation or 0, old.get("observedGeneration", 0))
    if generation:
        entry["observedGeneration"] = generation
    return entry


def _ready_to_start(facts: Facts) -> Verdict:
    """A sandbox with a network is there. Unknown (not looked yet) keeps what was said."""
    if facts.observed is None:
        old = facts.previous.get(reasons.POD_READY_TO_START_CONTAINERS, {})
        return Verdict(reasons.POD_READY_TO_START_CONTAINERS, is_true=old.get("status") == "True")
    sandbox = facts.observed.sandbox()
    is_true = sandbox is not None and sandbox.ready and (sandbox.host_network or bool(sandbox.ips))
    return Verdict(reasons.POD_READY_TO_START_CONTAINERS, is_true=is_true)


def _initialized(facts: Facts) -> Verdict:
    kind = reasons.INITIALIZED
    spec = facts.pod.spec
    if not spec.init_containers:
        reason = reasons.POD_COMPLETED if facts.phase == reasons.SUCCEEDED else ""
        return Verdict(kind, is_true=True, reason=reason)
    if not facts.by_name:
        return Verdict(kind, is_true=False, reason=reasons.UNKNOWN_CONTAINER_STATUSES)
    unknown, incomplete = [], []
    for container in spec.init_containers:
        status = facts.by_name.get(container.name)
        if status is None:
            unknown.append(container.name)
        elif not status["started" if is_sidecar(container) else "ready"]:
            incomplete.append(container.name)
    if facts.phase == reasons.SUCCEEDED and not unknown:
        return Verdict(kind, is_true=True, reason=reasons.POD_COMPLETED)
    regular = (facts.by_name.get(container.name) for container in spec.containers)
    was_true = facts.previous.get(kind, {}).get("status") == "True"
    if was_true or any(status and has_begun(status) for status in regular) or not (unknown or incomplete):
        return Verdict(kind, is_true=True)
    message = _lists(("unknown", unknown), ("incomplete", incomplete))
    return Verdict(kind, is_true=False, reason=reasons.CONTAINERS_NOT_INITIALIZED, message=message)


def _containers_ready(facts: Facts) -> Verdict:
    kind = reasons.CONTAINERS_READY
    if facts.phase == reasons.FAILED:
        return Verdict(kind, is_true=False, reason=reasons.POD_FAILED)
    if not facts.by_name:
        return Verdict(kind, is_true=False, reason=reasons.UNKNOWN_CONTAINER_STATUSES)
    spec = facts.pod.spec
    counted = [*filter(is_sidecar, spec.init_containers), *spec.containers]
    unknown = [container.name for container in counted if container.name not in facts.by_name]
    if facts.phase == reasons.SUCCEEDED and not unknown:
        return Verdict(kind, is_true=False, reason=reasons.POD_COMPLETED)
    unready = [
        container.name
        for container in counted
        if container.name in facts.by_name and not facts.by_name[container.name]["ready"]
    ]
    if not (unknown or unready):
        return Verdict(kind, is_true=True)
    message = _lists(("unknown", unknown), ("unready", unready))
    return Verdict(kind, is_true=False, reason=reasons.CONTAINERS_NOT_READY, message=message)


def _ready(facts: Facts, containers_ready: Verdict, by_type: Mapping[str, JsonObject]) -> Verdict:
    kind = reasons.READY
    if not containers_ready.is_true:
        return Verdict(kind, False, containers_ready.reason, containers_ready.message)
    unmet = []
    for gate in facts.pod.spec.readiness_gates:
        condition = by_type.get(gate.condition_type)
        name = gate.condition_type
        if condition is None:
            unmet.append(f'corresponding condition of pod readiness gate "{name}" does not exist.')
        elif condition["status"] != "True":
            status = condition["status"]
            unmet.append(f'the status of pod readiness gate "{name}" is not "True", but {status}')
    if unmet:
        return Verdict(kind, False, reasons.READINESS_GATES_NOT_READY, ", ".join(unmet))
    return Verdict(kind, is_true=True)


def _lists(*named: tuple[str, Iterable[str]]) -> str:
    """`containers with unknown status: [a], containers with unready status: [b c]`, as Go prints lists."""
    return ", ".join(
        f"containers with {name} status: [{' '.join(containers)}]" for name, containers in named if containers
    )
