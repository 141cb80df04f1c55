"""The four conditions of a Node, and the events that tell of their changes (pure).

Reasons and messages: kubelet 1.36, pkg/kubelet/nodestatus/setters.go, pkg/kubelet/runtime.go. Ready comes
last, as clients rely on it. A transition time moves only with the status; the heartbeat is the moment of the
report.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cri.types import RuntimeCondition, StatusResponse
from kube.conditions import FALSE, TRUE
from kubelet import events
from kubelet.node.model import Pressure, Readings
from kubelet.node.resources import CPU, MEMORY, PODS

READY = "Ready"
NETWORK_READY = "NetworkReady"
RUNTIME_READY = "RuntimeReady"
# pkg/kubelet/kubelet.go: maxWaitForContainerRuntime, the age of an answer that still counts.
RUNTIME_DOWN_SECONDS = 30.0

READY_MESSAGE = "kubelet is posting ready status"
NOT_CHECKED = "container runtime status check may not have completed yet"
RUNTIME_DOWN = "container runtime is down"
NETWORK_UNKNOWN = "network state unknown"


@dataclass(frozen=True, slots=True)
class _Wording:
    """The two states of one pressure: reason, message and the name of its event."""

    fine: tuple[str, str, str]
    short: tuple[str, str, str]


_PRESSURES = {
    Pressure.MEMORY: _Wording(
        ("KubeletHasSufficientMemory", "kubelet has sufficient memory available", "NodeHasSufficientMemory"),
        (
            "KubeletHasInsufficientMemory",
            "kubelet has insufficient memory available",
            "NodeHasInsufficientMemory",
        ),
    ),
    Pressure.DISK: _Wording(
        ("KubeletHasNoDiskPressure", "kubelet has no disk pressure", "NodeHasNoDiskPressure"),
        ("KubeletHasDiskPressure", "kubelet has disk pressure", "NodeHasDiskPressure"),
    ),
    Pressure.PID: _Wording(
        ("KubeletHasSufficientPID", "kubelet has sufficient PID available", "NodeHasSufficientPID"),
        ("KubeletHasInsufficientPID", "kubelet has insufficient PID available", "NodeHasInsufficientPID"),
    ),
}


def conditions(
    readings: Readings, capacity: Mapping[str, str], previous: Iterable[Mapping[str, Any]], now: str
) -> list[dict[str, Any]]:
    """All of a Node's conditions: what others put there first and untouched, then ours in upstream's order.
    `now` is a timestamp as the API writes it."""
    before = {one["type"]: one for one in previous}
    ours = [_pressure(kind, is_short=kind in readings.pressures) for kind in Pressure]
    ours.append(_ready(not_ready_because(readings, capacity)))
    names = {one["type"] for one in ours}
    foreign = [dict(one) for name, one in before.items() if name not in names]
    return foreign + [_stamped(one, before.get(one["type"]), now) for one in ours]


def _pressure(kind: Pressure, *, is_short: bool) -> dict[str, Any]:
    wording = _PRESSURES[kind]
    reason, message, _ = wording.short if is_short else wording.fine
    return {"type": kind.value, "status": TRUE if is_short else FALSE, "reason": reason, "message": message}


def _ready(problems: Sequence[str]) -> dict[str, Any]:
    if not problems:
        return {"type": READY, "status": TRUE, "reason": "KubeletReady", "message": READY_MESSAGE}
    message = problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]"
    return {"type": READY, "status": FALSE, "reason": "KubeletNotReady", "message": message}


def _stamped(condition: dict[str, Any], before: Mapping[str, Any] | None, now: str) -> dict[str, Any]:
    is_same = before is not None and before.get("status") == condition["status"]
    since = (before or {}).get("lastTransitionTime") if is_same else None
    return {
        "type": condition["type"], "status": condition["status"],
        "lastHeartbeatTime": now, "lastTransitionTime": since or now,
        "reason": condition["reason"], "message": condition["message"],
    }  # fmt: skip


def not_ready_because(readings: Readings, capacity: Mapping[str, str]) -> list[str]:
    """Every reason not to be ready, in upstream's order, each once; [] when the node is ready."""
    found = [*_runtime_problems(readings), *readings.problems, *_network_problems(readings.runtime)]
    missing = [name for name in (CPU, MEMORY, PODS) if capacity.get(name, "0") == "0"]
    if missing:
        found.append(f"missing node capacity for resources: {', '.join(missing)}")
    return list(dict.fromkeys(found))


def _runtime_problems(readings: Readings) -> Iterable[str]:
    if readings.runtime is None or readings.silent_seconds is None:
        yield NOT_CHECKED
        return
    if readings.silent_seconds >= RUNTIME_DOWN_SECONDS:
        yield RUNTIME_DOWN
    ready = _find(readings.runtime, RUNTIME_READY)
    if ready is None or not ready.status:
        yield f"container runtime not ready: {_spelled(ready)}"


def _network_problems(runtime: StatusResponse | None) -> Iterable[str]:
    if runtime is None:
        yield NETWORK_UNKNOWN
        return
    network = _find(runtime, NETWORK_READY)
    if network is None or not network.status:
        yield f"container runtime network not ready: {_spelled(network)}"


def _find(runtime: StatusResponse, type_: str) -> RuntimeCondition | None:
    return next((one for one in runtime.status.conditions if one.type == type_), None)


def _spelled(condition: RuntimeCondition | None) -> str:
    """As Go prints upstream's RuntimeCondition."""
    if condition is None:
        return "<nil>"
    state = "true" if condition.status else "false"
    return f"{condition.type}={state} reason:{condition.reason} message:{condition.message}"


def relist_problem(silent_seconds: float, threshold_seconds: float) -> str:
    """For `Readings.problems`: for too long nobody has compared the pods with the runtime (kubelet/pleg)."""
    return (
        f"PLEG is not healthy: pleg was last seen active {silent_seconds:.0f}s ago; "
        f"threshold is {threshold_seconds:.0f}s"
    )


def transitions(told: Mapping[str, str], current: Iterable[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """The changes worth an event, as (condition, event name). `told` is the status of each condition that was
    told last. The pressures are told at start too; readiness only when it is reached or lost."""
    found = []
    for condition in current:
        kind, status = condition["type"], condition["status"]
        if told.get(kind) == status:
            continue
        if kind == READY:
            if status == TRUE:
                found.append((kind, "NodeReady"))
            elif told.get(kind) == TRUE:
                found.append((kind, "NodeNotReady"))
        elif kind in _PRESSURES:
            wording = _PRESSURES[Pressure(kind)]
            found.append((kind, (wording.short if status == TRUE else wording.fine)[2]))
    return found


# Events about the Node (pkg/kubelet/kubelet_node_status.go, pkg/kubelet/events)


def status_is_now(node: events.ObjectRef, name: str) -> events.Event:
    """`name`: NodeReady, NodeNotReady, NodeHasSufficientMemory, NodeSchedulable, ..."""
    return events.Event(events.NORMAL, name, f"Node {node.name} status is now: {name}", node)


def starting(node: events.ObjectRef) -> events.Event:
    return events.Event(events.NORMAL, "Starting", "Starting kubelet.", node)


def rebooted(node: events.ObjectRef, boot_id: str) -> events.Event:
    text = f"Node {node.name} has been rebooted, boot id: {boot_id}"
    return events.Event(events.WARNING, "Rebooted", text, node)
