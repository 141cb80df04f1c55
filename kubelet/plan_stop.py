"""How a pod ends: containers in order within one grace period, network, volumes, data (pure).

Regular containers stop together; sidecars wait for them and then stop in reverse order; every
preStop hook starts at once and is paid from the same grace period (kubelet 1.36,
pkg/kubelet/kuberuntime/kuberuntime_termination_order.go and killContainer).
"""

from __future__ import annotations

from enum import Enum

from kubelet.actions import (
    Action,
    ForgetPod,
    ReleaseVolumes,
    RemoveContainer,
    RemoveSandbox,
    RunPreStop,
    StopContainer,
    StopSandbox,
    Why,
)
from kubelet.draft import Draft, Emit
from kubelet.model import Key, ObservedContainer, Phase, Volumes
from kubelet.podspec.names import AnyContainer, all_containers
from kubelet.restart import is_sidecar

MINIMUM_STOP_GRACE_SECONDS = 2.0  # kubelet 1.36: minimumGracePeriodInSeconds
_RESHORTEN_SECONDS = 0.5  # a stop under way is only replaced when it shortens by more than this

# What brings a container up is given up at once when the pod is to stop. Calls that change the
# runtime are waited for instead: a sandbox or container half made would be left behind.
_GIVEN_UP = ("EnsureImage", "RunPostStart")


class StopVerdict(Enum):
    GOES_ON = "goes on"
    NOTHING_RUNS = "no container runs and the network is released"
    RELEASED = "nothing of the pod is left"


def plan_stop(draft: Draft) -> StopVerdict:
    """Order what stops the pod next."""
    state = draft.state
    stop = state.stop
    assert stop is not None, "a pod is stopping without a stop request"
    for key in list(state.in_flight):
        if key.kind in _GIVEN_UP:
            draft.cancel(key, Why.POD_STOPS)
    if stop_containers(draft, stop.deadline, Why.POD_STOPS):
        return StopVerdict.GOES_ON
    if draft.state.uncertain or any(key.kind != "Look" for key in draft.state.in_flight):
        return StopVerdict.GOES_ON
    pending = False
    for sandbox in draft.observed.sandboxes:
        if sandbox.id not in draft.state.stopped_sandboxes:
            pending = True
            draft.act(StopSandbox(Why.NETWORK_RELEASE, sandbox.id))
    return StopVerdict.GOES_ON if pending else StopVerdict.NOTHING_RUNS


def stop_containers(draft: Draft, deadline: float, why: str, only: str = "") -> bool:
    """Stop what runs (or only the container of that id) by `deadline` (wall).

    Returns True while something is still running or being stopped.
    """
    running = [
        seen
        for seen in draft.observed.containers
        if seen.phase in (Phase.RUNNING, Phase.UNKNOWN) and only in ("", seen.id)
    ]
    # One that is being made may come up any moment; what stops before it need not wait for that.
    coming = [
        key.target for key in draft.state.in_flight if key.kind in ("CreateContainer", "StartContainer")
    ]
    order = _stop_order(draft)
    top = max(order.values(), default=0)
    names = [seen.name for seen in running] + ([] if only else coming)
    first = max((order.get(name, top) for name in names), default=top)
    for seen in running:
        rank = order.get(seen.name, top)
        reason = why if rank == top or only else Why.SIDECARS_LAST
        _stop_one(draft, seen, deadline, reason, may_stop=bool(only) or rank == first)
    return bool(running or (coming and not only))


def _stop_order(draft: Draft) -> dict[str, int]:
    """Rank by name: the highest stops first. Regular containers share the top rank."""
    pod = draft.state.pod
    if pod is None:
        return {}
    sidecars = [container.name for container in pod.spec.init_containers if is_sidecar(container)]
    order = {name: rank for rank, name in enumerate(sidecars)}
    top = len(sidecars)
    for container in pod.spec.init_containers:
        order.setdefault(container.name, top)
    for container in pod.spec.containers:
        order[container.name] = top
    return order


def _stop_one(draft: Draft, seen: ObservedContainer, deadline: float, why: str, *, may_stop: bool) -> None:
    remaining = max(0.0, deadline - draft.now.wall)
    name = seen.name
    memory = draft.state.memory(name)
    if _wants_pre_stop(draft, seen) and memory.pre_stop_id != seen.id:
        if draft.in_flight("RunPreStop", name):
            if remaining > 0:
                draft.wake_wall(deadline)
                return
            draft.cancel(Key("RunPreStop", name), Why.GRACE_OVER)
        elif remaining > 0:
            _say_killing(draft, seen)
            draft.act(RunPreStop(why, name, seen.id, remaining))
            draft.wake_wall(deadline)
            return
    if not may_stop and remaining > 0:
        draft.wake_wall(deadline)
        return
    grace = max(MINIMUM_STOP_GRACE_SECONDS, remaining)
    under_way = draft.in_flight("StopContainer", seen.id)
    if under_way is not None:
        if draft.now.wall + grace < under_way.deadline - _RESHORTEN_SECONDS:
            draft.cancel(Key("StopContainer", seen.id), Why.GRACE_SHRANK)
        return
    _say_killing(draft, seen)
    draft.act(StopContainer(why, name, seen.id, grace))


def _say_killing(draft: Draft, seen: ObservedContainer) -> None:
    """The Killing event of a pod's stop, once per container: at its hook or at its stop."""
    if draft.state.stop is None or draft.state.memory(seen.name).killing_id == seen.id:
        return
    draft.remember(seen.name, killing_id=seen.id)
    draft.emits.append(Emit("Killing", f"Stopping container {seen.name}", container=seen.name))


def _wants_pre_stop(draft: Draft, seen: ObservedContainer) -> bool:
    """By the pod's definition, or by the container's annotations when the definition is gone."""
    if seen.phase is not Phase.RUNNING:
        return False
    container = find_container(draft, seen.name)
    if container is None:
        return bool(seen.pre_stop)
    return container.lifecycle is not None and container.lifecycle.pre_stop is not None


def find_container(draft: Draft, name: str) -> AnyContainer | None:
    pod = draft.state.pod
    if pod is None:
        return None
    return next((container for container in all_containers(pod) if container.name == name), None)


def plan_release(draft: Draft) -> StopVerdict:
    """After the last container: volumes first, then, once unwanted, everything else."""
    state = draft.state
    if state.volumes is not Volumes.RELEASED:
        draft.act(ReleaseVolumes(Why.POD_ENDED))
        return StopVerdict.GOES_ON
    if state.wanted:
        return StopVerdict.GOES_ON
    left: list[Action] = [RemoveSandbox(Why.POD_GONE, box.id) for box in draft.observed.sandboxes]
    boxes = {box.id for box in draft.observed.sandboxes}
    for seen in draft.observed.containers:
        if seen.sandbox_id not in boxes:
            left.append(RemoveContainer(Why.POD_GONE, seen.name, seen.id))
    for action in left:
        draft.act(action)
    if left or any(key.kind not in ("Look", "ForgetPod") for key in draft.state.in_flight):
        return StopVerdict.GOES_ON
    if not state.data_released:
        draft.act(ForgetPod(Why.POD_GONE))
        return StopVerdict.GOES_ON
    return StopVerdict.RELEASED
