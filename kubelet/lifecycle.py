"""The life of a pod on the node: stages in a table, one pure `step` per event.

`RULES[(stage, event type)]` is the whole of it: a pair that is not there is a fault of ours and
raises `Bug`. A rule only changes the state; what to do follows from the new state in `plan`,
`plan_stop` and `plan_release`. What planning finds out ("nothing runs any more") is itself an
event and goes through the table again, so that a stage changes in one place only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from aio.errors import Bug
from kube.objects.core_v1 import Pod
from kubelet import happened as h
from kubelet import reasons
from kubelet.absorb import absorb
from kubelet.actions import Action, Look, Why
from kubelet.draft import Draft, Emit, Policy
from kubelet.finish import finish_cancelled, finish_done, finish_failed
from kubelet.model import Instant, Key, MustStop, PodState, Stage, StopRequest
from kubelet.plan import Verdict, plan_sync
from kubelet.plan_stop import StopVerdict, find_container, plan_release, plan_stop
from kubelet.restart import is_sidecar

MINIMUM_POD_GRACE_SECONDS = 1  # kubelet 1.36, pkg/kubelet/pod_workers.go
_ROUNDS = 8  # stage changes one event can cause; there are three


@dataclass(frozen=True, slots=True)
class Step:
    """The outcome of one event. `wake_at` (mono seconds) None = nothing to wait for."""

    state: PodState
    actions: tuple[Action, ...]
    emits: tuple[Emit, ...]
    wake_at: float | None


def step(state: PodState, event: h.Happened, now: Instant, policy: Policy) -> Step:
    """Apply one event and plan. Raises Bug for an event the stage does not know."""
    draft = Draft(state, now, policy)
    pending: h.Happened | None = event
    for _ in range(_ROUNDS):
        if pending is None:
            break
        _apply(draft, pending)
        draft.wake_at = None
        pending = _plan(draft)
    else:
        raise Bug(f"cannot settle pod {state.uid}: because planning after {event!r} does not end")
    return Step(draft.state, tuple(draft.actions), tuple(draft.emits), draft.wake_at)


def _apply(draft: Draft, event: h.Happened) -> None:
    rule = RULES.get((draft.state.stage, type(event)))
    if rule is None:
        stage = draft.state.stage.name
        raise Bug(f"cannot take {type(event).__name__} of pod {draft.state.uid}: because it is {stage}")
    rule(draft, event)


def _plan(draft: Draft) -> h.Happened | None:
    state = draft.state
    if state.stage is Stage.FORGOTTEN:
        return None
    if state.observed is None:
        draft.act(Look(Why.FIRST_LOOK))
        return None
    found = _PLANNERS[state.stage](draft)
    state = draft.state
    if state.look_wanted and draft.act(Look(Why.RUNTIME_CHANGED, state.expected_exits)):
        draft.set(look_wanted=False)
    return found


def _plan_syncing(draft: Draft) -> h.Happened | None:
    rejected = draft.state.rejected
    if rejected is not None:
        message = rejected.message.removeprefix(reasons.REJECTED_PREFIX)
        draft.emits.append(Emit(rejected.reason, message, warning=True))
        return h.ContainersFinished()
    if draft.state.pod is None:
        return None  # nobody can say what it should run; it is there to be stopped
    return _FOUND[plan_sync(draft)]


def _plan_terminating(draft: Draft) -> h.Happened | None:
    return h.NothingRan() if plan_stop(draft) is StopVerdict.NOTHING_RUNS else None


def _plan_terminated(draft: Draft) -> h.Happened | None:
    return h.EverythingReleased() if plan_release(draft) is StopVerdict.RELEASED else None


_FOUND: Mapping[Verdict, h.Happened | None] = {
    Verdict.GOES_ON: None,
    Verdict.FINISHED: h.ContainersFinished(),
    Verdict.DEADLINE: h.DeadlinePassed(),
}
_PLANNERS: Mapping[Stage, Callable[[Draft], h.Happened | None]] = {
    Stage.SYNCING: _plan_syncing,
    Stage.TERMINATING: _plan_terminating,
    Stage.TERMINATED: _plan_terminated,
}


# Rules. Each takes the draft and its event; the event's type is known from the table.


def _take_definition(draft: Draft, event: h.DesiredChanged) -> None:
    before = draft.state.pod
    draft.set(pod=event.pod, wanted=True)
    if not draft.state.start_time:
        draft.set(start_time=draft.now.wall)
    if before is not None and _wish(before) != _wish(event.pod):
        draft.set(retry={})  # the new definition may mend what failed
        _forget_outdated(draft, before, event.pod)
    _heed(draft, event.pod)


def _wish(pod: Pod) -> tuple[object, ...]:
    """What of a definition is somebody's wish; the status beside it is mostly our own echo."""
    return pod.spec, pod.metadata.labels, pod.metadata.annotations


def _heed(draft: Draft, pod: Pod) -> None:
    """Stop a pod whose deletion the API was asked for, or that the API calls over.

    It stays known until the API has it no more, so that its end can be reported.
    """
    meta, now = pod.metadata, draft.now.wall
    grace = own_grace_seconds(draft.state)
    if meta.deletion_timestamp is not None:
        if meta.deletion_grace_period_seconds is not None:
            grace = meta.deletion_grace_period_seconds
        _stop_by(draft, StopRequest(now, now + max(MINIMUM_POD_GRACE_SECONDS, grace)))
    elif is_called_over(pod) and draft.state.stage is Stage.SYNCING:
        status = pod.status
        deadline = now + max(MINIMUM_POD_GRACE_SECONDS, grace)
        reason, message = status.reason or "", status.message or ""
        _stop_by(draft, StopRequest(now, deadline, reason, message, status.phase or ""))


def is_called_over(pod: Pod) -> bool:
    """The API says that this pod has succeeded or failed: nothing of it may be started any more."""
    return (pod.status.phase or "") in reasons.TERMINAL_PHASES


def first_state(state: PodState, now: Instant) -> PodState:
    """The state to begin with: a pod that is to go when it is first seen is cleaned up, never started."""
    draft = Draft(state, now)
    if state.pod is not None:
        _heed(draft, state.pod)
    return draft.state


def _forget_outdated(draft: Draft, before: Pod, after: Pod) -> None:
    """What was found out about the image of another definition; a back-off is per image and resources."""
    old = {container.name: container for container in (*before.spec.init_containers, *before.spec.containers)}
    for container in (*after.spec.init_containers, *after.spec.containers):
        was = old.get(container.name)
        if was is None or was == container:
            continue
        draft.cancel(Key("EnsureImage", container.name), Why.DEFINITION_CHANGED)
        draft.remember(container.name, image_id="", image_retry_at=0.0)
        if (was.image, was.resources) != (container.image, container.resources):
            draft.remember(container.name, backoff=None)


def _keep_definition(draft: Draft, event: h.DesiredChanged) -> None:
    """A pod that is being stopped still learns its newest definition; that may shorten its grace."""
    draft.set(pod=event.pod)
    if draft.state.stage is Stage.TERMINATING:
        _heed(draft, event.pod)


def _let_go(draft: Draft, event: h.DesiredRemoved) -> None:
    draft.set(wanted=False)
    grace = event.grace_seconds
    if grace is None:
        grace = own_grace_seconds(draft.state)
    seconds = max(MINIMUM_POD_GRACE_SECONDS, grace)
    _stop_by(draft, StopRequest(draft.now.wall, draft.now.wall + seconds))


def _forget_wish(draft: Draft, _event: h.DesiredRemoved) -> None:
    draft.set(wanted=False)


def _stop(draft: Draft, event: h.StopRequested) -> None:
    _stop_by(draft, event.stop)


def _stop_by(draft: Draft, stop: StopRequest) -> None:
    """Begin to stop, or shorten the stop under way: the deadline only moves closer."""
    old = draft.state.stop
    if old is None:
        draft.set(stop=stop, stage=max(draft.state.stage, Stage.TERMINATING), retry={})
        return
    if stop.deadline < old.deadline:
        phase, reason = old.phase or stop.phase, old.reason or stop.reason
        message = old.message or stop.message
        draft.set(stop=StopRequest(old.since, stop.deadline, reason, message, phase))


def _end_by_itself(draft: Draft, _event: h.ContainersFinished) -> None:
    grace = max(MINIMUM_POD_GRACE_SECONDS, own_grace_seconds(draft.state))
    _stop_by(draft, StopRequest(draft.now.wall, draft.now.wall + grace))


def _end_by_deadline(draft: Draft, _event: h.DeadlinePassed) -> None:
    grace = max(MINIMUM_POD_GRACE_SECONDS, own_grace_seconds(draft.state))
    message = reasons.DEADLINE_EXCEEDED_MESSAGE
    draft.emits.append(Emit(reasons.DEADLINE_EXCEEDED, message))
    _stop_by(
        draft,
        StopRequest(
            draft.now.wall,
            draft.now.wall + grace,
            reasons.DEADLINE_EXCEEDED,
            message,
            reasons.FAILED,
        ),
    )


def own_grace_seconds(state: PodState) -> int:
    """The pod's grace period: from its definition, else from its containers' annotations."""
    if state.pod is not None:
        return state.pod.spec.termination_grace_period_seconds or 0
    seen = state.observed.containers if state.observed is not None else ()
    known = [one.grace_period_seconds for one in seen if one.grace_period_seconds is not None]
    return max(known, default=30)


def _runtime_changed(draft: Draft, event: h.RuntimeChanged) -> None:
    """Look again, unless what was reported is known already."""
    observed = draft.state.observed
    if event.container_id and event.exited:
        if any(Key(kind, event.container_id) in draft.state.in_flight for kind in _ENDING):
            return  # the action that ends it will tell
        if observed is not None:
            seen = observed.by_id(event.container_id)
            if seen is not None and seen.finished_at:
                return
        draft.set(expected_exits=draft.state.expected_exits | {event.container_id})
    draft.set(look_wanted=True)


_ENDING = ("StopContainer", "StopSandbox", "RemoveSandbox", "RemoveContainer")


def _runtime_returned(draft: Draft, _event: h.RuntimeReturned) -> None:
    """What failed for want of a runtime may be tried again at once."""
    draft.set(retry={})


def _inputs_changed(draft: Draft, _event: h.InputsChanged) -> None:
    """What failed for want of an object may be tried again at once; nothing that runs is touched."""
    state = draft.state
    waiting = {key: entry for key, entry in state.retry.items() if key.kind not in _READS_OBJECTS}
    in_flight = {
        key: replace(flight, overtaken=True) if key.kind in _READS_OBJECTS else flight
        for key, flight in state.in_flight.items()
    }
    draft.set(retry=waiting, in_flight=in_flight)


_READS_OBJECTS = ("PrepareVolumes", "CreateContainer")


def _network_changed(draft: Draft, event: h.NetworkChanged) -> None:
    was = draft.state.network_error
    draft.set(network_error=event.error)
    pod = draft.state.pod
    if event.error and not was and pod is not None and not pod.spec.host_network and not draft.state.ips:
        text = f"network is not ready: {event.error}"
        draft.emits.append(Emit(reasons.EVENT_NETWORK_NOT_READY, text, warning=True))


def _probe_settled(draft: Draft, event: h.ProbeSettled) -> None:
    name, container_id = event.container, event.container_id
    observed = draft.state.observed
    newest = observed.latest(name) if observed is not None else None
    if newest is None or newest.id != container_id:
        return  # a late word about a container that another one has replaced
    if event.kind == "readiness":
        draft.remember(name, ready_id=container_id if event.healthy else "")
    elif event.kind == "startup" and event.healthy:
        draft.remember(name, started_id=container_id)
    elif not event.healthy:
        memory = draft.state.memory(name)
        if memory.must_stop is None or memory.must_stop.container_id != container_id:
            _stop_unhealthy(draft, event)


def _stop_unhealthy(draft: Draft, event: h.ProbeSettled) -> None:
    """A failed liveness or startup probe ends the container; it comes back unless its policy is Never."""
    container = find_container(draft, event.container)
    if container is None:
        return
    if is_sidecar(container):
        message, back = f"Init container {container.name} failed {event.kind} probe", True
    else:
        message = f"Container {container.name} failed {event.kind} probe"
        back = (container.restart_policy or draft.pod.spec.restart_policy) != "Never"
        if back:
            message += ", will be restarted"
    order = MustStop(event.container_id, message, event.grace_seconds, brings_back=back)
    draft.remember(container.name, must_stop=order)


def _readiness_only(draft: Draft, event: h.ProbeSettled) -> None:
    """While a pod stops its readiness may still change; nothing restarts any more."""
    if event.kind == "readiness":
        _probe_settled(draft, event)


def _done(draft: Draft, event: h.ActionDone) -> None:
    finish_done(draft, event)


def _failed(draft: Draft, event: h.ActionFailed) -> None:
    finish_failed(draft, event)


def _cancelled(draft: Draft, event: h.ActionCancelled) -> None:
    finish_cancelled(draft, event)


def _nothing_ran(draft: Draft, _event: h.NothingRan) -> None:
    draft.set(stage=Stage.TERMINATED)


def _released(draft: Draft, _event: h.EverythingReleased) -> None:
    draft.set(stage=Stage.FORGOTTEN)


def _ignore(_draft: Draft, _event: h.Happened) -> None:
    """Late but harmless."""


Rules = Mapping[tuple[Stage, type[h.Happened]], Callable[[Draft, Any], None]]
_LIVING: Rules = {
    (Stage.SYNCING, h.DesiredChanged): _take_definition,
    (Stage.SYNCING, h.DesiredRemoved): _let_go,
    (Stage.SYNCING, h.StopRequested): _stop,
    (Stage.SYNCING, h.RuntimeChanged): _runtime_changed,
    (Stage.SYNCING, h.RuntimeReturned): _runtime_returned,
    (Stage.SYNCING, h.InputsChanged): _inputs_changed,
    (Stage.SYNCING, h.NetworkChanged): _network_changed,
    (Stage.SYNCING, h.ProbeSettled): _probe_settled,
    (Stage.SYNCING, h.Woke): _ignore,
    (Stage.SYNCING, h.ActionDone): _done,
    (Stage.SYNCING, h.ActionFailed): _failed,
    (Stage.SYNCING, h.ActionCancelled): _cancelled,
    (Stage.SYNCING, h.ContainersFinished): _end_by_itself,
    (Stage.SYNCING, h.DeadlinePassed): _end_by_deadline,
    (Stage.TERMINATING, h.DesiredChanged): _keep_definition,
    (Stage.TERMINATING, h.DesiredRemoved): _let_go,
    (Stage.TERMINATING, h.StopRequested): _stop,
    (Stage.TERMINATING, h.RuntimeChanged): _runtime_changed,
    (Stage.TERMINATING, h.RuntimeReturned): _runtime_returned,
    (Stage.TERMINATING, h.InputsChanged): _ignore,
    (Stage.TERMINATING, h.NetworkChanged): _network_changed,
    (Stage.TERMINATING, h.ProbeSettled): _readiness_only,
    (Stage.TERMINATING, h.Woke): _ignore,
    (Stage.TERMINATING, h.ActionDone): _done,
    (Stage.TERMINATING, h.ActionFailed): _failed,
    (Stage.TERMINATING, h.ActionCancelled): _cancelled,
    (Stage.TERMINATING, h.NothingRan): _nothing_ran,
    (Stage.TERMINATED, h.DesiredChanged): _keep_definition,
    (Stage.TERMINATED, h.DesiredRemoved): _forget_wish,
    (Stage.TERMINATED, h.StopRequested): _ignore,
    (Stage.TERMINATED, h.RuntimeChanged): _ignore,
    (Stage.TERMINATED, h.RuntimeReturned): _runtime_returned,
    (Stage.TERMINATED, h.InputsChanged): _ignore,
    (Stage.TERMINATED, h.NetworkChanged): _ignore,
    (Stage.TERMINATED, h.ProbeSettled): _ignore,
    (Stage.TERMINATED, h.Woke): _ignore,
    (Stage.TERMINATED, h.ActionDone): _done,
    (Stage.TERMINATED, h.ActionFailed): _failed,
    (Stage.TERMINATED, h.ActionCancelled): _cancelled,
    (Stage.TERMINATED, h.EverythingReleased): _released,
}
RULES: Rules = {**_LIVING, **{(Stage.FORGOTTEN, kind): _ignore for _, kind in _LIVING}}


def adopt(state: PodState, now: Instant) -> PodState:
    """Make a state rebuilt after a restart sound: what runs already is taken as brought up."""
    draft = Draft(state, now)
    if state.observed is not None:
        absorb(draft, state.observed)
    return draft.state
