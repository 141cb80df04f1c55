"""One container's entry in the pod status, from what was seen, remembered and last reported (pure).

The newest container of a name gives `state`, the one before it `lastState`. What cannot be seen any
more is filled in from memory and from the previous status, so that nothing reported moves back.
Rules: pkg/kubelet/kubelet_pods.go convertToAPIContainerStatuses, pkg/kubelet/prober
UpdatePodStatus, pkg/kubelet/status TerminatePod (Kubernetes 1.36).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from kube.objects.core_v1 import Container, EphemeralContainer, PodSpec, VolumeMount
from kubelet import reasons
from kubelet.message_budget import cut_to_budget
from kubelet.model import (
    NANOSECONDS_PER_SECOND,
    ContainerMemory,
    LinuxUser,
    ObservedContainer,
    Phase,
    Stage,
    Waiting,
    container_age,
)
from kubelet.restart import is_sidecar, should_restart
from kubelet.status.inputs import JsonObject, StatusInputs, coming_back

AnyContainer = Container | EphemeralContainer
_NO_MEMORY = ContainerMemory()
_NOTHING: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True)
class View:
    """What all containers of one pod share while its status is made."""

    inputs: StatusInputs
    by_name: Mapping[str, list[ObservedContainer]]
    default_waiting: JsonObject
    coming_back: frozenset[str]  # ended only to run again
    is_final: bool  # the previous phase is terminal: states only move towards terminated


def view_of(inputs: StatusInputs) -> View:
    by_name: dict[str, list[ObservedContainer]] = {}
    if inputs.observed is not None:
        for container in inputs.observed.containers:
            by_name.setdefault(container.name, []).append(container)
    has_init = bool(inputs.pod.spec.init_containers)
    default = {"reason": reasons.POD_INITIALIZING if has_init else reasons.CONTAINER_CREATING}
    is_final = inputs.previous.get("phase") in reasons.TERMINAL_PHASES
    return View(inputs, by_name, {"waiting": default}, coming_back(inputs), is_final)


def statuses(view: View, field: str, containers: Sequence[AnyContainer]) -> list[JsonObject]:
    """The list for status field `field`, in the order of `containers`."""
    previous = {entry["name"]: entry for entry in view.inputs.previous.get(field, ())}
    is_init = field == "initContainerStatuses"
    return [_status(view, spec, previous.get(spec.name), is_init=is_init) for spec in containers]


def _status(view: View, spec: AnyContainer, previous: JsonObject | None, *, is_init: bool) -> JsonObject:
    inputs = view.inputs
    if inputs.observed is None and previous is not None:
        return dict(previous)
    memory = inputs.containers.get(spec.name, _NO_MEMORY)
    seen = _history(view.by_name.get(spec.name, ()), memory)
    if seen:
        status = _seen_status(view, spec, seen, previous)
    else:
        status = _unseen_status(view, spec, previous, is_init=is_init)
    if spec.name in view.coming_back and not view.is_final and _stands(view, spec, status):
        # An exit that the policy lets stand is never taken back once it was told: it is not told.
        status["lastState"], status["state"] = status["state"], dict(view.default_waiting)
    if memory.waiting is not None and _may_wait(view, spec, status):
        _set_waiting(status, memory.waiting)
    if previous is not None and _would_undo(view, spec, previous, status, is_init=is_init):
        return dict(previous)
    _set_started_and_ready(status, spec, seen[0] if seen else None, memory, is_init=is_init)
    _set_from_spec(status, spec)
    return status


def _history(seen: Sequence[ObservedContainer], memory: ContainerMemory) -> Sequence[ObservedContainer]:
    """Newest first, with the last exit remembered when the runtime no longer has it."""
    gone = memory.last_exit
    if gone is None or any(container.id == gone.id for container in seen):
        return seen
    return sorted((*seen, gone), key=container_age, reverse=True)


def _seen_status(
    view: View, spec: AnyContainer, seen: Sequence[ObservedContainer], previous: JsonObject | None
) -> JsonObject:
    latest = seen[0]
    container_id = _full_id(view, latest)
    restart_count = latest.restart_count
    if previous is not None:
        restart_count = max(restart_count, previous.get("restartCount", 0))
    state = _state(view, latest)
    if latest.phase is Phase.UNKNOWN and previous is not None:
        before = previous.get("state", _NOTHING)
        if "running" in before:
            state = {"terminated": _unknown_exit(reasons.LOST_WHEN_TERMINATED)}
            restart_count += 1
        elif "terminated" in before and previous.get("containerID") == container_id:
            state = dict(before)
    if len(seen) > 1 and seen[1].phase is Phase.EXITED:
        last_state = _state(view, seen[1])
    else:
        last_state = _earlier_exit(previous, container_id)
    status = {
        "name": spec.name,
        "image": latest.image or spec.image or "",
        "imageID": latest.image_ref,
        "containerID": container_id,
        "restartCount": restart_count,
        "state": state,
        "lastState": last_state,
    }
    if latest.user is not None:
        status["user"] = {"linux": _linux_user(latest.user)}
    return status


def _linux_user(user: LinuxUser) -> JsonObject:
    shown: JsonObject = {"uid": user.uid, "gid": user.gid}
    if user.groups:
        shown["supplementalGroups"] = list(user.groups)
    return shown


def _state(view: View, container: ObservedContainer) -> JsonObject:
    if container.phase is Phase.RUNNING:
        return {"running": {"startedAt": stamp_ns(container.started_at)}}
    if container.phase is not Phase.EXITED:
        return dict(view.default_waiting)
    exit_: JsonObject = {"exitCode": container.exit_code}
    if container.reason:
        exit_["reason"] = container.reason
    if container.message:
        spec = view.inputs.pod.spec
        exit_["message"] = cut_to_budget(container.message, len(spec.containers) + len(spec.init_containers))
    if container.started_at:
        exit_["startedAt"] = stamp_ns(container.started_at)
    if container.finished_at:
        exit_["finishedAt"] = stamp_ns(container.finished_at)
    exit_["containerID"] = _full_id(view, container)
    return {"terminated": exit_}


def _earlier_exit(previous: JsonObject | None, container_id: str) -> JsonObject:
    """`lastState` when only one container is known: what was reported before, if it is of an earlier one."""
    if previous is None:
        return {}
    exit_ = previous.get("state", _NOTHING).get("terminated")
    if exit_ is None or previous.get("containerID") == container_id:
        exit_ = previous.get("lastState", _NOTHING).get("terminated")
    if exit_ is None or exit_.get("containerID") == container_id:
        return {}
    return {"terminated": exit_}


def _unseen_status(
    view: View, spec: AnyContainer, previous: JsonObject | None, *, is_init: bool
) -> JsonObject:
    """The runtime has no such container: never made, removed, or lost."""
    if previous is not None and "terminated" in previous.get("state", _NOTHING):
        return dict(previous)
    status: JsonObject = {
        "name": spec.name,
        "image": spec.image or "",
        "imageID": "",
        "restartCount": previous.get("restartCount", 0) if previous is not None else 0,
        "state": dict(view.default_waiting),
        "lastState": dict(previous.get("lastState", _NOTHING)) if previous is not None else {},
    }
    if is_init and view.inputs.observed is not None and _is_past_init(view, spec):
        exit_ = {"exitCode": 0, "reason": reasons.COMPLETED, "message": reasons.LOST_INIT_CONTAINER}
        status["state"] = {"terminated": exit_}
        return status
    was_running = previous is not None and "running" in previous.get("state", _NOTHING)
    if was_running and isinstance(spec, EphemeralContainer):
        status["state"] = {"terminated": _unknown_exit(reasons.LOST_WHEN_DELETED)}
        return status
    if was_running and "terminated" not in status["lastState"]:
        status["lastState"] = {"terminated": _unknown_exit(reasons.LOST_WHEN_DELETED)}
        if view.inputs.pod.metadata.deletion_timestamp is None:
            status["restartCount"] += 1
    return status


def _is_past_init(view: View, spec: AnyContainer) -> bool:
    """A plain init container whose pod already has a regular container has done its work."""
    if isinstance(spec, Container) and is_sidecar(spec):
        return False
    return any(container.name in view.by_name for container in view.inputs.pod.spec.containers)


def _may_wait(view: View, spec: AnyContainer, status: JsonObject) -> bool:
    """It does not run, and if it ended it is going to run again."""
    if "waiting" in status["state"]:
        return True
    code = exit_code(status["state"])
    if code is None or view.is_final or view.inputs.stage is not Stage.SYNCING:
        return False
    return isinstance(spec, Container) and should_restart(view.inputs.pod.spec, spec, code)


def _stands(view: View, spec: AnyContainer, status: JsonObject) -> bool:
    """It has ended, and its policy would leave it so."""
    code = exit_code(status["state"])
    if code is None or not isinstance(spec, Container):
        return False
    return not should_restart(view.inputs.pod.spec, spec, code)


def _set_waiting(status: JsonObject, waiting: Waiting) -> None:
    if "terminated" in status["state"]:
        status["lastState"] = status["state"]
    state = {"reason": waiting.reason}
    if waiting.message:
        state["message"] = waiting.message
    status["state"] = {"waiting": state}


def _would_undo(
    view: View, spec: AnyContainer, previous: JsonObject, status: JsonObject, *, is_init: bool
) -> bool:
    """A container reported as ended for good never becomes anything else.

    Init containers may run again in a new sandbox, so they are held only once the pod is over.
    """
    exit_ = previous.get("state", _NOTHING).get("terminated")
    if exit_ is None or "terminated" in status["state"]:
        return False
    if view.is_final:
        return True
    if is_init or not isinstance(spec, Container):
        return False
    return not should_restart(view.inputs.pod.spec, spec, exit_.get("exitCode", 0))


def _set_started_and_ready(
    status: JsonObject,
    spec: AnyContainer,
    latest: ObservedContainer | None,
    memory: ContainerMemory,
    *,
    is_init: bool,
) -> None:
    if isinstance(spec, EphemeralContainer):
        status["ready"] = False  # nobody probes it, and nobody waits for it
        return
    is_running = latest is not None and "running" in status["state"]
    latest_id = latest.id if latest is not None else ""
    # Until its postStart hook has ended nobody should take a container for one that serves.
    has_hook = spec.lifecycle is not None and spec.lifecycle.post_start is not None
    is_past_hook = not has_hook or memory.post_start_id == latest_id
    is_past_startup = spec.startup_probe is None or memory.started_id == latest_id
    started = is_running and is_past_hook and is_past_startup
    status["started"] = started
    if is_init and not (isinstance(spec, Container) and is_sidecar(spec)):
        exit_ = status["state"].get("terminated")
        status["ready"] = exit_ is not None and exit_.get("exitCode") == 0
    else:
        status["ready"] = started and (spec.readiness_probe is None or memory.ready_id == latest_id)


def _set_from_spec(status: JsonObject, spec: AnyContainer) -> None:
    if spec.volume_mounts:
        status["volumeMounts"] = [_mount(mount) for mount in spec.volume_mounts]
    resources = spec.resources
    if resources is None or "running" not in status["state"]:
        return
    amounts: JsonObject = {}
    if resources.limits:
        amounts["limits"] = resources.limits
    if resources.requests:
        amounts["requests"] = resources.requests
        status["allocatedResources"] = resources.requests
    status["resources"] = amounts


def _mount(mount: VolumeMount) -> JsonObject:
    entry: JsonObject = {"name": mount.name, "mountPath": mount.mount_path}
    if mount.read_only:
        entry["readOnly"] = True
        is_recursive = mount.recursive_read_only == "Enabled"
        entry["recursiveReadOnly"] = "Enabled" if is_recursive else "Disabled"
    return entry


def end_lost(spec: PodSpec, init: list[JsonObject], regular: list[JsonObject]) -> None:
    """Everything is over: what never was seen to end did so for reasons unknown. Changes the entries.

    Only once the pod was initialised: containers that could not have started keep waiting.
    """
    last_begun = 0
    for position, status in enumerate(init):
        if has_begun(status):
            last_begun = position + 1
    sidecars = {container.name for container in spec.init_containers if is_sidecar(container)}
    plain = [status for status in init if status["name"] not in sidecars]
    is_initialized = (
        not init
        or any(has_begun(status) for status in regular)
        or bool(plain and exit_code(plain[-1]["state"]) == 0)
    )
    lost = init[:last_begun] + (regular if is_initialized else [])
    for status in lost:
        if "terminated" not in status["state"]:
            status["state"] = {"terminated": _unknown_exit(reasons.LOST_WHEN_TERMINATED)}
            status["started"] = status["ready"] = False


def has_begun(status: JsonObject) -> bool:
    """The container ran at some time."""
    state = status["state"]
    return "running" in state or "terminated" in state or "terminated" in status.get("lastState", _NOTHING)


def exit_code(state: Mapping[str, Any]) -> int | None:
    """The exit code in a `state` or `lastState`; None when it has not ended."""
    exit_ = state.get("terminated")
    return None if exit_ is None else int(exit_.get("exitCode", 0))


def _unknown_exit(message: str) -> JsonObject:
    return {
        "exitCode": reasons.CONTAINER_STATUS_UNKNOWN_EXIT_CODE,
        "reason": reasons.CONTAINER_STATUS_UNKNOWN,
        "message": message,
    }


def _full_id(view: View, container: ObservedContainer) -> str:
    return f"{view.inputs.node.runtime_name}://{container.id}"


def stamp_ns(nanoseconds: int) -> str:
    return stamp(nanoseconds // NANOSECONDS_PER_SECOND)


@lru_cache(maxsize=4096)
def stamp(seconds: int) -> str:
    """Unix seconds as RFC 3339 in whole seconds, the only precision the API shows."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
