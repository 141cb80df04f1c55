"""A Deployment's status: counts, and what its conditions say of progress (pure; progress.go, sync.go)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from controlplane.controllers import pods as p
from controlplane.controllers.rollout import Limits
from kube import meta
from kube.client import JsonObject

DEADLINE_SECONDS = 600
NO_DEADLINE = 2**31 - 1
CREATED, FOUND, UPDATED = "NewReplicaSetCreated", "FoundNewReplicaSet", "ReplicaSetUpdated"
AVAILABLE, EXCEEDED = "NewReplicaSetAvailable", "ProgressDeadlineExceeded"
PAUSED, RESUMED = "DeploymentPaused", "DeploymentResumed"


@dataclass(frozen=True, slots=True)
class Said:
    """What a pass has to say of progress, before the counts are looked at."""

    reason: str
    message: str
    status: str = "True"


def counts(deployment: JsonObject, new: JsonObject | None, sets: Sequence[JsonObject]) -> JsonObject:
    def total(field: str, of: Sequence[JsonObject]) -> int:
        return sum((item.get("status") or {}).get(field, 0) for item in of)

    available = total("availableReplicas", sets)
    found: JsonObject = {
        "observedGeneration": deployment["metadata"].get("generation", 0),
        "replicas": total("replicas", sets),
        "updatedReplicas": total("replicas", [new] if new is not None else []),
        "readyReplicas": total("readyReplicas", sets),
        "availableReplicas": available,
        "unavailableReplicas": max(0, sum(item["spec"].get("replicas", 1) for item in sets) - available),
        "terminatingReplicas": total("terminatingReplicas", sets),
    }
    collisions = (deployment.get("status") or {}).get("collisionCount")
    return found if collisions is None else {**found, "collisionCount": collisions}


def is_complete(deployment: JsonObject, state: JsonObject) -> bool:
    """All pods are of the newest template and available, and none is left of an older one."""
    wanted = deployment["spec"].get("replicas", 1)
    return bool(
        state["updatedReplicas"] == state["replicas"] == state["availableReplicas"] == wanted
        and state["observedGeneration"] >= deployment["metadata"].get("generation", 0)
    )


def new_status(
    deployment: JsonObject, new: JsonObject | None, sets: Sequence[JsonObject], said: Said | None,
    limits: Limits, now: datetime,
) -> JsonObject:  # fmt: skip
    """`sets` are all of its ReplicaSets, `new` the one of the present template."""
    state = counts(deployment, new, sets)
    old = deployment.get("status") or {}
    conditions = list(old.get("conditions") or [])
    conditions = _set(conditions, _availability(state, limits), now)
    progress = said or _progress(deployment, state, new, now)
    if progress is not None and deadline_of(deployment) is not None:
        condition = {
            "type": "Progressing", "status": progress.status, "reason": progress.reason,
            "message": progress.message,
        }  # fmt: skip
        conditions = _set(conditions, condition, now, touch=_has_moved(old, state) and not said)
    state["conditions"] = conditions
    return state


def deadline_of(deployment: JsonObject) -> int | None:
    seconds: int = deployment["spec"].get("progressDeadlineSeconds", DEADLINE_SECONDS)
    return None if seconds == NO_DEADLINE else seconds


def _availability(state: JsonObject, limits: Limits) -> JsonObject:
    if state["availableReplicas"] >= limits.least_available:
        reason, verb, status = "MinimumReplicasAvailable", "has", "True"
    else:
        reason, verb, status = "MinimumReplicasUnavailable", "does not have", "False"
    message = f"Deployment {verb} minimum availability."
    return {"type": "Available", "status": status, "reason": reason, "message": message}


def _progress(
    deployment: JsonObject, state: JsonObject, new: JsonObject | None, now: datetime
) -> Said | None:
    """None = what was said still holds."""
    if deployment["spec"].get("paused"):
        return None
    what = _subject(deployment, new)
    old = deployment.get("status") or {}
    settled = p.condition_of(deployment, "Progressing")
    # A deployment that was complete and only lost or gained a pod makes no new rollout.
    if is_complete(deployment, state):
        return Said(AVAILABLE, f"{what} has successfully progressed.")
    if (
        settled is not None
        and settled.get("reason") == AVAILABLE
        and state["updatedReplicas"] == state["replicas"]
    ):
        return None
    if _has_moved(old, state) or settled is None:
        return Said(UPDATED, f"{what} is progressing.")
    if _seconds_left(deployment, settled, now) == 0.0:
        return Said(EXCEEDED, f"{what} has timed out progressing.", "False")
    return None


def _subject(deployment: JsonObject, new: JsonObject | None) -> str:
    if new is not None:
        return f'ReplicaSet "{new["metadata"]["name"]}"'
    return f'Deployment "{deployment["metadata"]["name"]}"'


def _has_moved(old: JsonObject, state: JsonObject) -> bool:
    def left(of: JsonObject) -> int:
        return int(of.get("replicas", 0)) - int(of.get("updatedReplicas", 0))

    grown = any(
        state[field] > old.get(field, 0)
        for field in ("updatedReplicas", "readyReplicas", "availableReplicas")
    )
    return grown or left(state) < left(old)


def _seconds_left(deployment: JsonObject, condition: JsonObject, now: datetime) -> float | None:
    deadline = deadline_of(deployment)
    if deadline is None or condition.get("reason") in (AVAILABLE, PAUSED):
        return None
    since = meta.parse_time(condition["lastUpdateTime"])
    return max(0.0, deadline - (now - since).total_seconds())


def next_look(deployment: JsonObject, state: JsonObject, now: datetime) -> float | None:
    """When the deadline would pass; None when nothing is under way or it has passed already."""
    condition = p.condition_of({"status": state}, "Progressing")
    if condition is None or is_complete(deployment, state) or deployment["spec"].get("paused"):
        return None
    left = _seconds_left(deployment, condition, now)
    # A second more: times are written in whole seconds.
    return left + 1.0 if left else None


def _set(
    conditions: list[JsonObject], new: JsonObject, now: datetime, *, touch: bool = False
) -> list[JsonObject]:
    """`touch` moves lastUpdateTime although status and reason stay: progress was made."""
    old = next((item for item in conditions if item["type"] == new["type"]), None)
    stamp = meta.format_time(now)
    if old is not None and (old["status"], old.get("reason")) == (new["status"], new["reason"]) and not touch:
        return conditions
    since = old["lastTransitionTime"] if old is not None and old["status"] == new["status"] else stamp
    stamped = {**new, "lastUpdateTime": stamp, "lastTransitionTime": since}
    if old is None:
        return [*conditions, stamped]
    return [stamped if item is old else item for item in conditions]
