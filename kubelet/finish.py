"""What the end of an action means for the pod's state (pure).

One function per kind of action, for success and for failure. A finished action that changed the
runtime moves the floor: observations begun before it are stale and dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from kubelet import actions as a
from kubelet import happened as h
from kubelet import reasons
from kubelet.absorb import absorb, with_container, with_sandbox, without_container, without_sandbox
from kubelet.draft import Draft, Emit, has_post_start
from kubelet.model import Key, MustStop, Phase, RetryEntry, Volumes
from kubelet.plan_stop import find_container

RETRY_FIRST_SECONDS = 0.25
RETRY_MAX_SECONDS = 10.0  # kubelet 1.36: backOffPeriod
RETRY_FACTOR = 2.0
SAY_AGAIN_SECONDS = 600.0  # events are kept for an hour; who looks later is to find one all the same


def finish_done(draft: Draft, event: h.ActionDone) -> None:
    key = event.action.key
    if _is_outdated(draft, event.action):
        _land(draft, event.action)
        return
    if _is_stale(draft, event):
        _land(draft, event.action)
        draft.set(look_wanted=True)
        return
    container = event.result.container
    if isinstance(event.action, a.StopContainer) and container is not None and container.phase in _ALIVE:
        text = f'container "{container.id}" is still {container.phase.value} after it was stopped'
        finish_failed(draft, h.ActionFailed(event.action, h.Failure(text)))
        return
    _land(draft, event.action)
    if key in draft.state.retry:
        draft.set(retry={other: entry for other, entry in draft.state.retry.items() if other != key})
    _DONE[type(event.action)](draft, event.action, event.result)


_ALIVE = (Phase.RUNNING, Phase.UNKNOWN)


def _is_outdated(draft: Draft, action: a.Action) -> bool:
    """Whether it was given up because the image it has had is not the one wanted any more."""
    flight = draft.state.in_flight.get(action.key)
    return isinstance(action, a.EnsureImage) and flight is not None and flight.cancelled


def finish_failed(draft: Draft, event: h.ActionFailed) -> None:
    if _is_outdated(draft, event.action):
        _land(draft, event.action)
        return
    flight = draft.state.in_flight.get(event.action.key)
    is_overtaken = flight is not None and flight.overtaken
    _land(draft, event.action)
    _hold(draft, event.action, event.failure, is_overtaken=is_overtaken)
    if isinstance(event.action, _MAY_LEAVE_SOMETHING):
        draft.set(uncertain=draft.state.uncertain | {event.action.key})
    if not isinstance(event.action, _BESIDE_THE_RUNTIME):
        draft.set(look_wanted=True)  # it may have had its effect, or failed because of one nobody saw
    on_failure = _FAILED.get(type(event.action))
    if on_failure is not None:
        on_failure(draft, event.action, event.failure)


# A call that fails late may have been carried out: not repeated, nor the pod taken for ended, before a look.
_MAY_LEAVE_SOMETHING = (a.RunSandbox, a.CreateContainer, a.StartContainer)
# Whatever becomes of these, what the runtime shows of the pod is the same.
_BESIDE_THE_RUNTIME = (a.PrepareVolumes, a.EnsureImage, a.ReleaseVolumes, a.ForgetPod)


def finish_cancelled(draft: Draft, event: h.ActionCancelled) -> None:
    _land(draft, event.action)
    draft.set(look_wanted=True)
    if isinstance(event.action, a.RunPreStop):
        draft.remember(event.action.container, pre_stop_id=event.action.container_id)


def _is_stale(draft: Draft, event: h.ActionDone) -> bool:
    """Whether the runtime was read before the last change that we know of.

    Of two things at one tick of the clock the look is the older one, if it was under way at the change.
    """
    observed, flight = event.result.observed, draft.state.in_flight.get(event.action.key)
    if observed is None:
        return False
    overtaken = flight is not None and flight.overtaken
    return observed.as_of < draft.state.floor or (overtaken and observed.as_of == draft.state.floor)


_LOOK = Key("Look")


def _land(draft: Draft, action: a.Action) -> None:
    """The action is under way no more."""
    in_flight = {key: value for key, value in draft.state.in_flight.items() if key != action.key}
    if action.mutates_runtime:
        draft.set(floor=draft.now.mono)
        if _LOOK in in_flight:
            in_flight[_LOOK] = replace(in_flight[_LOOK], overtaken=True)
    draft.set(in_flight=in_flight)


def _hold(draft: Draft, action: a.Action, failure: h.Failure, *, is_overtaken: bool) -> None:
    """Do not try the same again at once, unless what it failed for has changed meanwhile."""
    old = draft.state.retry.get(action.key)
    failures = old.failures + 1 if old is not None else 1
    delay = 0.0 if is_overtaken else failure.retry_after
    if delay is None:
        delay = min(RETRY_MAX_SECONDS, RETRY_FIRST_SECONDS * RETRY_FACTOR ** (failures - 1))
    now = draft.now.mono
    is_news = old is None or old.message != failure.message or now - old.said_at >= SAY_AGAIN_SECONDS
    said_at = now if old is None or is_news else old.said_at
    entry = RetryEntry(failures, now + delay, failure.message, is_news, said_at)
    draft.set(retry={**draft.state.retry, action.key: entry})


def _is_first_failure(draft: Draft, action: a.Action) -> bool:
    entry = draft.state.retry.get(action.key)
    return entry is None or entry.failures <= 1


# Done


def _looked(draft: Draft, action: a.Look, result: h.Result) -> None:
    observed = result.observed
    assert observed is not None, "a look that saw nothing"
    draft.set(expected_exits=draft.state.expected_exits - action.expect_exits, uncertain=frozenset())
    absorb(draft, observed)


def _volumes_ready(draft: Draft, _action: a.PrepareVolumes, _result: h.Result) -> None:
    draft.set(volumes=Volumes.MOUNTED)


def _sandbox_runs(draft: Draft, _action: a.RunSandbox, result: h.Result) -> None:
    assert result.sandbox is not None and draft.state.observed is not None
    draft.set(initialized_in="", replacing_since=0.0, restart_all=None)
    absorb(draft, with_sandbox(draft.state.observed, result.sandbox))


def _sandbox_stopped(draft: Draft, action: a.StopSandbox, _result: h.Result) -> None:
    observed = draft.state.observed
    assert observed is not None
    draft.set(stopped_sandboxes=draft.state.stopped_sandboxes | {action.sandbox_id})
    boxes = tuple(
        replace(box, ready=False) if box.id == action.sandbox_id else box for box in observed.sandboxes
    )
    draft.set(observed=replace(observed, sandboxes=boxes))
    if any(
        seen.sandbox_id == action.sandbox_id and seen.phase is not Phase.EXITED
        for seen in observed.containers
    ):
        draft.set(look_wanted=True)  # the runtime has ended what was left in it


def _sandbox_removed(draft: Draft, action: a.RemoveSandbox, _result: h.Result) -> None:
    assert draft.state.observed is not None
    stopped = draft.state.stopped_sandboxes - {action.sandbox_id}
    draft.set(observed=without_sandbox(draft.state.observed, action.sandbox_id), stopped_sandboxes=stopped)


def _image_present(draft: Draft, action: a.EnsureImage, result: h.Result) -> None:
    waiting = draft.state.memory(action.container).waiting
    keep = waiting if waiting is not None and waiting.reason not in _IMAGE_REASONS else None
    draft.remember(action.container, image_id=result.image_id, image_retry_at=0.0, waiting=keep)


_IMAGE_REASONS = frozenset(
    {
        reasons.ERR_IMAGE_PULL,
        reasons.IMAGE_PULL_BACK_OFF,
        reasons.IMAGE_INSPECT_ERROR,
        reasons.ERR_IMAGE_NEVER_PULL,
        reasons.INVALID_IMAGE_NAME,
        reasons.REGISTRY_UNAVAILABLE,
        reasons.SIGNATURE_VALIDATION_FAILED,
    }
)


def _created(draft: Draft, action: a.CreateContainer, result: h.Result) -> None:
    assert result.container is not None and draft.state.observed is not None
    draft.remember(
        action.container, image_id="", restart_count=action.restart_count, created_id=result.container.id
    )
    absorb(draft, with_container(draft.state.observed, result.container))
    _emit(draft, reasons.EVENT_CREATED, "Container created", action.container)


def _started(draft: Draft, action: a.StartContainer, result: h.Result) -> None:
    assert result.container is not None and draft.state.observed is not None
    container = find_container(draft, action.container)
    hooked = container is not None and has_post_start(container)
    draft.remember(
        action.container,
        waiting=None,
        failure="",
        must_stop=None,
        post_start_id="" if hooked else action.container_id,
    )
    absorb(draft, with_container(draft.state.observed, result.container))
    _emit(draft, reasons.EVENT_STARTED, "Container started", action.container)


def _post_started(draft: Draft, action: a.RunPostStart, _result: h.Result) -> None:
    draft.remember(action.container, post_start_id=action.container_id)


def _pre_stopped(draft: Draft, action: a.RunPreStop, _result: h.Result) -> None:
    draft.remember(action.container, pre_stop_id=action.container_id)


def _stopped(draft: Draft, action: a.StopContainer, result: h.Result) -> None:
    assert draft.state.observed is not None
    if result.container is None:
        draft.set(observed=without_container(draft.state.observed, action.container_id))
        return
    absorb(draft, with_container(draft.state.observed, result.container))


def _removed(draft: Draft, action: a.RemoveContainer, _result: h.Result) -> None:
    assert draft.state.observed is not None
    draft.set(observed=without_container(draft.state.observed, action.container_id))


def _volumes_released(draft: Draft, _action: a.ReleaseVolumes, _result: h.Result) -> None:
    draft.set(volumes=Volumes.RELEASED)


def _forgotten(draft: Draft, _action: a.ForgetPod, _result: h.Result) -> None:
    draft.set(data_released=True)


# Failed


def _volumes_failed(draft: Draft, action: a.PrepareVolumes, failure: h.Failure) -> None:
    if draft.state.retry[action.key].is_news:
        _emit(draft, reasons.EVENT_FAILED_MOUNT, failure.message, "", warning=True)


def _sandbox_failed(draft: Draft, action: a.RunSandbox, failure: h.Failure) -> None:
    if failure.name_taken:
        draft.set(sandbox_attempts=action.attempt + 1)
    text = f"Failed to create pod sandbox: {failure.message}"
    _emit(draft, reasons.EVENT_FAILED_CREATE_POD_SANDBOX, text, "", warning=True)


def _image_failed(draft: Draft, action: a.EnsureImage, failure: h.Failure) -> None:
    retry_at = draft.now.mono + (failure.retry_after or 0.0)
    draft.remember(action.container, image_id="", image_retry_at=retry_at)
    draft.wait(action.container, failure.reason, failure.message)


def _create_failed(draft: Draft, action: a.CreateContainer, failure: h.Failure) -> None:
    draft.remember(action.container, image_id="", failure=failure.message)
    if failure.image_gone:
        return
    draft.wait(action.container, failure.reason or reasons.CREATE_CONTAINER_ERROR, failure.message)
    _emit(draft, reasons.EVENT_FAILED, f"Error: {failure.message}", action.container, warning=True)


def _start_failed(draft: Draft, action: a.StartContainer, failure: h.Failure) -> None:
    draft.remember(action.container, failure=failure.message)
    draft.wait(action.container, reasons.RUN_CONTAINER_ERROR, failure.message)
    _emit(draft, reasons.EVENT_FAILED, f"Error: {failure.message}", action.container, warning=True)


def _post_start_failed(draft: Draft, action: a.RunPostStart, failure: h.Failure) -> None:
    message = f"PostStartHook failed: {failure.message}" if failure.message else "PostStartHook failed"
    _emit(draft, reasons.EVENT_FAILED_POST_START_HOOK, message, action.container, warning=True)
    draft.remember(
        action.container,
        post_start_id=action.container_id,
        must_stop=MustStop(action.container_id, "FailedPostStartHook"),
    )
    draft.wait(action.container, reasons.POST_START_HOOK_ERROR, message)


def _pre_stop_failed(draft: Draft, action: a.RunPreStop, failure: h.Failure) -> None:
    message = f"PreStopHook failed: {failure.message}" if failure.message else "PreStopHook failed"
    _emit(draft, reasons.EVENT_FAILED_PRE_STOP_HOOK, message, action.container, warning=True)
    draft.remember(action.container, pre_stop_id=action.container_id)


def _stop_failed(draft: Draft, action: a.StopContainer | a.StopSandbox, failure: h.Failure) -> None:
    if _is_first_failure(draft, action):
        text = f"error killing pod: {failure.message}"
        _emit(draft, reasons.EVENT_FAILED_KILL_POD, text, "", warning=True)


def _emit(draft: Draft, reason: str, message: str, container: str, *, warning: bool = False) -> None:
    draft.emits.append(Emit(reason, message, warning, container))


_DONE: Mapping[type[a.Action], Callable[[Draft, Any, h.Result], None]] = {
    a.Look: _looked,
    a.PrepareVolumes: _volumes_ready,
    a.RunSandbox: _sandbox_runs,
    a.StopSandbox: _sandbox_stopped,
    a.RemoveSandbox: _sandbox_removed,
    a.EnsureImage: _image_present,
    a.CreateContainer: _created,
    a.StartContainer: _started,
    a.RunPostStart: _post_started,
    a.RunPreStop: _pre_stopped,
    a.StopContainer: _stopped,
    a.RemoveContainer: _removed,
    a.ReleaseVolumes: _volumes_released,
    a.ForgetPod: _forgotten,
}
_FAILED: Mapping[type[a.Action], Callable[[Draft, Any, h.Failure], None]] = {
    a.PrepareVolumes: _volumes_failed,
    a.RunSandbox: _sandbox_failed,
    a.EnsureImage: _image_failed,
    a.CreateContainer: _create_failed,
    a.StartContainer: _start_failed,
    a.RunPostStart: _post_start_failed,
    a.RunPreStop: _pre_stop_failed,
    a.StopContainer: _stop_failed,
    a.StopSandbox: _stop_failed,
}
