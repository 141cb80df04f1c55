"""A pod's row: the one word that says how it is, found where upstream finds it (printPod)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from controlplane.api.printers.model import (
    AGE,
    NAME,
    NONE,
    Cells,
    Column,
    Json,
    Printer,
    age_of,
    name_of,
    wide,
)
from controlplane.api.printers.model import since as ago

_TERMINAL = ("Succeeded", "Failed")
_NODE_LOST = "NodeLost"
_GATED = "SchedulingGated"
_COLUMNS = (
    NAME,
    Column("Ready", description="How many of the containers are ready."),
    Column("Status", description="What the containers of the pod are doing, in one word."),
    Column("Restarts", description="How often containers were restarted, and when last."),
    AGE,
    wide("IP", "The pod's address; empty while it has none."),
    wide("Node", "The node the pod was assigned to."),
    wide("Nominated Node", "The node that is being made free for the pod."),
    wide("Readiness Gates", "How many of the conditions that the pod waits for are true."),
)


@dataclass(slots=True)
class _Tally:
    """What the containers add up to. `last` is when one was last restarted, RFC 3339, "" for never."""

    status: str
    ready: int = 0
    restarts: int = 0
    last: str = ""

    def count(self, state: Json) -> None:
        self.restarts += state.get("restartCount") or 0
        ended = (state.get("lastState") or {}).get("terminated") or {}
        self.last = max(self.last, ended.get("finishedAt") or "")


def _cells(pod: Json, now: datetime) -> Cells:
    spec, state = pod.get("spec") or {}, pod.get("status") or {}
    tally = _tally(pod)
    restarts = f"{tally.restarts} ({ago(tally.last, now)} ago)" if tally.restarts and tally.last else ""
    total = len(spec.get("containers") or ()) + len(_sidecars(spec))
    return [
        name_of(pod),
        f"{tally.ready}/{total}",
        tally.status,
        restarts or str(tally.restarts),
        age_of(pod, now),
        _address(state) or NONE,
        spec.get("nodeName") or NONE,
        state.get("nominatedNodeName") or NONE,
        _gates(spec, state),
    ]


def _tally(pod: Json) -> _Tally:
    spec, state = pod.get("spec") or {}, pod.get("status") or {}
    conditions = {item.get("type"): item for item in state.get("conditions") or ()}
    tally = _Tally(state.get("reason") or state.get("phase") or "")
    if (conditions.get("PodScheduled") or {}).get("reason") == _GATED:
        tally.status = _GATED
    initializing = _count_init(tally, spec, state.get("initContainerStatuses") or ())
    if not initializing or _is_true(conditions, "Initialized"):
        _count_main(tally, spec, state, is_ready=_is_true(conditions, "Ready"))
    if "deletionTimestamp" in pod["metadata"]:
        if state.get("reason") == _NODE_LOST:
            tally.status = "Unknown"
        elif state.get("phase") not in _TERMINAL:
            tally.status = "Terminating"
    return tally


def _count_init(tally: _Tally, spec: Json, states: Iterable[Json]) -> bool:
    """Whether init containers are still to be done; they are done one after the other."""
    sidecars = _sidecars(spec)
    for index, state in enumerate(states):
        tally.count(state)
        now = state.get("state") or {}
        ended, waiting = now.get("terminated"), now.get("waiting") or {}
        if ended is not None and not ended.get("exitCode"):
            continue
        if state.get("name") in sidecars and state.get("started"):
            tally.ready += bool(state.get("ready"))
            continue
        if ended is not None:
            tally.status = f"Init:{_ending(ended)}"
        elif waiting.get("reason") not in (None, "", "PodInitializing"):
            tally.status = f"Init:{waiting['reason']}"
        else:
            tally.status = f"Init:{index}/{len(spec.get('initContainers') or ())}"
        return True
    return False


def _count_main(tally: _Tally, spec: Json, state: Json, *, is_ready: bool) -> None:
    """Once init is over, restarts are those of the sidecars and of the main containers."""
    sidecars = _sidecars(spec)
    tally.restarts, tally.last = 0, ""
    for one in state.get("initContainerStatuses") or ():
        if one.get("name") in sidecars:
            tally.count(one)
    is_running = False
    # The first container has the last word.
    for one in reversed(state.get("containerStatuses") or ()):
        tally.count(one)
        now = one.get("state") or {}
        if reason := (now.get("waiting") or {}).get("reason"):
            tally.status = reason
        elif (ended := now.get("terminated")) is not None:
            tally.status = _ending(ended)
        elif one.get("ready") and now.get("running") is not None:
            is_running = True
            tally.ready += 1
    if tally.status == "Completed" and is_running:
        tally.status = "Running" if is_ready else "NotReady"


def _ending(ended: Json) -> str:
    if reason := ended.get("reason"):
        return str(reason)
    if signal := ended.get("signal"):
        return f"Signal:{signal}"
    return f"ExitCode:{ended.get('exitCode', 0)}"


def _sidecars(spec: Json) -> set[str]:
    found = spec.get("initContainers") or ()
    return {item.get("name", "") for item in found if item.get("restartPolicy") == "Always"}


def _is_true(conditions: dict[Any, Any], type_: str) -> bool:
    return (conditions.get(type_) or {}).get("status") == "True"


def _address(state: Json) -> str:
    listed = state.get("podIPs") or ()
    return str(listed[0].get("ip", "")) if listed else str(state.get("podIP") or "")


def _gates(spec: Json, state: Json) -> str:
    gates = [item.get("conditionType") for item in spec.get("readinessGates") or ()]
    if not gates:
        return NONE
    true = {item.get("type") for item in state.get("conditions") or () if item.get("status") == "True"}
    return f"{sum(gate in true for gate in gates)}/{len(gates)}"


def _conditions(pod: Json) -> list[dict[str, str]]:
    phase = (pod.get("status") or {}).get("phase")
    if phase not in _TERMINAL:
        return []
    message = f"The pod has {'completed successfully' if phase == 'Succeeded' else 'failed'}."
    return [{"type": "Completed", "status": "True", "reason": str(phase), "message": message}]


POD = Printer(_COLUMNS, _cells, _conditions)
