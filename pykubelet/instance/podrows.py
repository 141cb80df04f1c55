"""Pods as `kubectl get pods -o wide` shows them, from v1 Pod objects as plain JSON (pure).

The STATUS column and its order of precedence are those of kubectl's printer (k8s.io/kubernetes
pkg/printers/internalversion printPod).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pykubelet.tables import age

HEADER = ("NAME", "READY", "STATUS", "RESTARTS", "AGE", "IP")
Json = Mapping[str, Any]
# What a pod may wait for that will not change by waiting a little longer.
_LASTING = frozenset(
    {
        "CrashLoopBackOff",
        "ImagePullBackOff",
        "ErrImagePull",
        "ErrImageNeverPull",
        "InvalidImageName",
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
    }
)


@dataclass(frozen=True, slots=True)
class PodRow:
    """`is_ready`: the pod's own condition. `is_settled`: ready, ended, or failing in a way that lasts."""

    name: str
    ready: str
    status: str
    restarts: str
    age: str
    ip: str
    is_ready: bool
    is_settled: bool

    @property
    def full_name(self) -> str:
        """NAMESPACE/NAME."""
        return self.name if "/" in self.name else f"default/{self.name}"

    @property
    def cells(self) -> tuple[str, ...]:
        return (self.name, self.ready, self.status, self.restarts, self.age, self.ip)


def pod_row(pod: Json, now: datetime) -> PodRow:
    """`pod` a v1 Pod with status; `now` with its time zone."""
    meta, status = pod.get("metadata", {}), pod.get("status") or {}
    counted = _counted(pod)
    ready = sum(bool(one.get("ready")) for one in counted)
    total = len(pod.get("spec", {}).get("containers", ())) + len(_sidecars(pod))
    reason = pod_status(pod)
    statuses = [*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())]
    is_ready = _condition(status, "Ready")
    is_over = status.get("phase") in ("Succeeded", "Failed")
    created = status.get("startTime") or meta.get("creationTimestamp")
    return PodRow(
        name=_name(meta),
        ready=f"{ready}/{total}",
        status=reason,
        restarts=_restarts(statuses, now),
        age=_since(created, now) or "<unknown>",
        ip=status.get("podIP") or "<none>",
        is_ready=is_ready,
        is_settled=is_ready or is_over or reason.removeprefix("Init:") in _LASTING,
    )


def _name(meta: Json) -> str:
    namespace = meta.get("namespace", "")
    return meta["name"] if namespace in ("", "default") else f"{namespace}/{meta['name']}"


def _sidecars(pod: Json) -> set[str]:
    inits = pod.get("spec", {}).get("initContainers", ())
    return {one["name"] for one in inits if one.get("restartPolicy") == "Always"}


def _counted(pod: Json) -> list[Json]:
    """Statuses of the containers that READY counts: regular ones and sidecars."""
    status, sidecars = pod.get("status") or {}, _sidecars(pod)
    inits = [one for one in status.get("initContainerStatuses", ()) if one["name"] in sidecars]
    return [*inits, *status.get("containerStatuses", ())]


def _condition(status: Json, kind: str) -> bool:
    return any(one["type"] == kind and one["status"] == "True" for one in status.get("conditions", ()))


def pod_status(pod: Json) -> str:
    """The STATUS column."""
    status = pod.get("status") or {}
    reason = status.get("reason") or status.get("phase") or "Pending"
    initialising = _init_status(pod)
    if initialising and not _condition(status, "Initialized"):
        reason = initialising
    else:
        reason = _container_status(status, reason)
    if pod.get("metadata", {}).get("deletionTimestamp"):
        return "Terminating"
    return str(reason)


def _init_status(pod: Json) -> str:
    status, sidecars = pod.get("status") or {}, _sidecars(pod)
    total = len(pod.get("spec", {}).get("initContainers", ()))
    for index, one in enumerate(status.get("initContainerStatuses", ())):
        state = one.get("state", {})
        ended, waiting = state.get("terminated"), state.get("waiting", {})
        if ended is not None and ended.get("exitCode", 0) == 0:
            continue
        if one["name"] in sidecars and one.get("started"):
            continue
        if ended is not None:
            return f"Init:{_ended(ended)}"
        if waiting.get("reason") and waiting["reason"] != "PodInitializing":
            return f"Init:{waiting['reason']}"
        return f"Init:{index}/{total}"
    return ""


def _container_status(status: Json, reason: str) -> str:
    has_running = False
    for one in reversed(status.get("containerStatuses", ())):
        state = one.get("state", {})
        if (waiting := state.get("waiting")) and waiting.get("reason"):
            reason = waiting["reason"]
        elif (ended := state.get("terminated")) is not None:
            reason = _ended(ended)
        elif one.get("ready") and "running" in state:
            has_running = True
    if reason == "Completed" and has_running:
        return "Running" if _condition(status, "Ready") else "NotReady"
    return reason


def _ended(state: Json) -> str:
    if state.get("reason"):
        return str(state["reason"])
    signal = state.get("signal", 0)
    return f"Signal:{signal}" if signal else f"ExitCode:{state.get('exitCode', 0)}"


def _restarts(statuses: Sequence[Json], now: datetime) -> str:
    count = sum(one.get("restartCount", 0) for one in statuses)
    ends = [
        ended.get("finishedAt")
        for one in statuses
        if (ended := one.get("lastState", {}).get("terminated")) is not None
    ]
    last = max((end for end in ends if end), default=None)
    return f"{count} ({_since(last, now)} ago)" if count and last else str(count)


def _since(time: str | None, now: datetime) -> str:
    if not time:
        return ""
    return age((now - datetime.fromisoformat(time)).total_seconds())
