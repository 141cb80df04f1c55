"""What of a pod's status is to be written to the API: ours laid over what the API has, as a patch (pure).

The API's copy is shared: conditions of other types are somebody else's, and so are fields that the agent does
not set. `merged_status` lays ours over theirs by upstream's rules (pkg/kubelet/status/status_manager.go
mergePodStatus, updateStatusInternal; Kubernetes 1.36), `status_patch` is what turns theirs into that, and is
None when nothing differs: a status is never written without a difference.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kube import objects
from kube.objects.core_v1 import Pod, PodStatus
from kube.patch import strategic
from kubelet import reasons
from kubelet.status.conditions import OWNED

JsonObject = dict[str, Any]

# The fields of a PodStatus that the agent writes; all others stay as the API has them.
FIELDS = (
    "conditions",
    "containerStatuses",
    "ephemeralContainerStatuses",
    "hostIP",
    "hostIPs",
    "initContainerStatuses",
    "message",
    "observedGeneration",
    "phase",
    "podIP",
    "podIPs",
    "qosClass",
    "reason",
    "startTime",
)
# Once said, these are never taken back because a later status does not say them.
_STAY = frozenset({"hostIP", "hostIPs", "observedGeneration", "podIP", "podIPs", "qosClass", "startTime"})
_TYPE_NAME = "core_v1.PodStatus"

COMPANY_SECONDS = 0.3  # what people see when they list pods
QUIET_SECONDS = 5.0  # the rest: what comes between the sandbox and its first container


def normal_status(status: Mapping[str, Any]) -> JsonObject:
    """A status as the typed view sees it: without nulls, empty parts and unknown fields, so that two that
    mean the same are equal."""
    return objects.to_json(objects.convert(dict(status), PodStatus))


def merged_status(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> JsonObject:
    """What the API's status (`theirs`) is to become. Both in normal form.

    A terminal phase is never taken back or exchanged, a generation never goes back, and the conditions of
    others stay. DisruptionTarget is shared: ours goes out once the pod is over and nothing of it runs.
    """
    merged = dict(theirs)
    for name in FIELDS:
        if name in ours:
            merged[name] = ours[name]
        elif name not in _STAY:
            merged.pop(name, None)
    if theirs.get("phase") in reasons.TERMINAL_PHASES and ours.get("phase") != theirs["phase"]:
        for name in ("phase", "reason", "message"):
            merged.pop(name, None)
            if name in theirs:
                merged[name] = theirs[name]
    if theirs.get("startTime"):
        merged["startTime"] = theirs["startTime"]
    generation = max(ours.get("observedGeneration", 0), theirs.get("observedGeneration", 0))
    if generation:
        merged["observedGeneration"] = generation
    conditions = _conditions(theirs, ours, is_over=_is_over(merged))
    merged.pop("conditions", None)
    return {**merged, "conditions": conditions} if conditions else merged


def _conditions(theirs: Mapping[str, Any], ours: Mapping[str, Any], *, is_over: bool) -> list[JsonObject]:
    """Others' as they are, ours newest; of an owned condition never an older generation."""
    known = {entry["type"]: entry for entry in theirs.get("conditions", ())}
    merged = {kind: entry for kind, entry in known.items() if kind not in OWNED}
    for entry in ours.get("conditions", ()):
        kind = entry["type"]
        if kind in OWNED:
            before = known.get(kind, {}).get("observedGeneration", 0)
            if before > entry.get("observedGeneration", 0):
                entry = {**entry, "observedGeneration": before}
            merged[kind] = entry
        elif kind == reasons.DISRUPTION_TARGET and is_over:
            merged[kind] = entry
    return list(merged.values())


def _is_over(status: Mapping[str, Any]) -> bool:
    if status.get("phase") not in reasons.TERMINAL_PHASES:
        return False
    lists = (status.get(name, ()) for name in ("initContainerStatuses", "containerStatuses"))
    return not any("running" in entry.get("state", {}) for entries in lists for entry in entries)


def status_patch(uid: str, theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> JsonObject | None:
    """The strategic merge patch for pods/status, None when there is nothing to write.

    It names the uid, so that it fails on another pod of the same name.
    """
    before = normal_status(theirs)
    changes = strategic.diff(before, merged_status(before, normal_status(ours)), _TYPE_NAME)
    if not changes:
        return None
    return {"metadata": {"uid": uid}, "status": changes}


def patience_seconds(before: Mapping[str, Any], after: Mapping[str, Any], *, is_leaving: bool) -> float:
    """How long a change may wait for company, so that a pod that starts costs two writes and not five.

    Somebody waits for a pod that became ready, stopped being so, or came to its end: that goes out at once.
    While a pod is being deleted (`is_leaving`) everybody knows that it does not serve, and its last status
    goes out as soon as the pod is released.
    """
    if is_leaving:
        return COMPANY_SECONDS
    is_over = after.get("phase") in reasons.TERMINAL_PHASES
    if is_over and before.get("phase") != after.get("phase"):
        return 0.0
    if ready_word(before) != ready_word(after):
        return 0.0
    return COMPANY_SECONDS if _at_a_glance(before) != _at_a_glance(after) else QUIET_SECONDS


def _at_a_glance(status: Mapping[str, Any]) -> list[Any]:
    """What a list of pods shows of a status."""
    found: list[Any] = [status.get("phase"), status.get("reason")]
    for name in ("initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses"):
        for entry in status.get(name, ()):
            state = entry.get("state", {})
            shown = state.get("waiting") or state.get("terminated") or {}
            words = (*state, shown.get("reason"), shown.get("exitCode"))
            found.append((entry["name"], entry["ready"], entry["restartCount"], words))
    return found


def ready_word(status: Mapping[str, Any]) -> bool:
    """Whether the status says Ready."""
    return any(
        entry["type"] == reasons.READY and entry["status"] == "True" for entry in status.get("conditions", ())
    )


def may_delete(pod: Pod, theirs: Mapping[str, Any]) -> bool:
    """Whether the API's object may go as far as its status is concerned: its deletion was asked for, and the
    API has accepted that it is over."""
    return pod.metadata.deletion_timestamp is not None and theirs.get("phase") in reasons.TERMINAL_PHASES


def foreign_conditions(pod: Pod) -> tuple[Any, ...]:
    """The conditions that others wrote, readiness gates among them."""
    return tuple(entry for entry in pod.status.conditions if entry.type not in OWNED)
