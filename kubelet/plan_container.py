"""What one container of a pod needs next: its image, its creation, its start, its hook, its end (pure).

`kubelet.plan` says which container has its turn; here is what that means. The strings are those of
kubelet 1.36 (pkg/kubelet/kuberuntime).
"""

from __future__ import annotations

from dataclasses import replace

from kube.go_duration import format_duration
from kube.objects.core_v1 import Container
from kubelet.actions import (
    CreateContainer,
    EnsureImage,
    RemoveContainer,
    RunPostStart,
    StartContainer,
    StopContainer,
    Why,
)
from kubelet.draft import Draft, Emit, has_post_start
from kubelet.model import (
    NANOSECONDS_PER_SECOND,
    Key,
    MustStop,
    ObservedContainer,
    ObservedSandbox,
    Phase,
    PodState,
)
from kubelet.plan_stop import stop_containers
from kubelet.podspec.names import AnyContainer, container_hash
from kubelet.restart import Wait, is_sidecar, next_restart, should_restart, was_start_aborted


def has_ended_for_good(draft: Draft, container: Container) -> bool:
    ended = last_exit(draft, container)
    return ended is not None and not is_wanted_back(draft, container, ended)


def last_exit(draft: Draft, container: Container) -> ObservedContainer | None:
    """How the last run of the container ended; None when it runs, has never run, or nobody can tell."""
    seen = draft.observed.latest(container.name)
    if seen is not None:
        return seen if seen.phase is Phase.EXITED else None
    memory = draft.state.memory(container.name)
    if memory.last_exit is None or memory.last_exit.restart_count != memory.restart_count:
        return None
    return memory.last_exit


def is_wanted_back(draft: Draft, container: Container, ended: ObservedContainer) -> bool:
    """By its policy, or because it was only stopped to be started again, or has not even started."""
    if was_start_aborted(ended):
        return True
    order = draft.state.memory(container.name).must_stop
    if order is not None and order.container_id == ended.id and order.brings_back:
        return True
    return should_restart(draft.pod.spec, container, ended.exit_code)


def ensure_image(draft: Draft, container: AnyContainer) -> bool:
    """True when the image is resolved, so that the container can be created."""
    memory = draft.state.memory(container.name)
    if memory.image_id:
        return True
    if draft.now.mono < memory.image_retry_at:
        draft.wake(memory.image_retry_at)
        return False
    draft.act(EnsureImage(Why.IMAGE_FIRST, container.name))
    return False


def is_started(state: PodState, container: Container, seen: ObservedContainer) -> bool:
    """Running, postStart done, startup probe passed (Kubernetes' `started`)."""
    memory = state.memory(container.name)
    if seen.phase is not Phase.RUNNING:
        return False
    if has_post_start(container) and memory.post_start_id != seen.id:
        return False
    return container.startup_probe is None or memory.started_id == seen.id


def begin(draft: Draft, container: AnyContainer, sandbox: ObservedSandbox, why: str) -> None:
    """Image, then create; start and postStart follow as each finishes."""
    if not ensure_image(draft, container) or draft.is_starting():
        return
    memory = draft.state.memory(container.name)
    seen = draft.observed.latest(container.name)
    count = max(memory.restart_count, seen.restart_count if seen is not None else -1) + 1
    draft.act(CreateContainer(why, container.name, sandbox.id, count, memory.image_id))


def bring_up(draft: Draft, container: Container, seen: ObservedContainer) -> None:
    """A container that exists and has not ended: start it, run its hook, or stop it."""
    if draft.in_flight("StopContainer", seen.id) or draft.in_flight("RunPreStop", container.name):
        stop_one(draft, container, seen)
        return
    stale = bool(seen.spec_hash) and seen.spec_hash != container_hash(container)
    if seen.phase is Phase.CREATED:
        if stale or draft.state.memory(container.name).created_id != seen.id:
            make_anew(draft, seen, Why.STALE_CREATED if stale else Why.CREATED_UNSEEN)
        elif not draft.is_starting():
            draft.act(StartContainer(Why.CREATED, container.name, seen.id))
        return
    if seen.phase is Phase.UNKNOWN:
        draft.act(StopContainer(Why.UNKNOWN_STATE, container.name, seen.id, 2))
        return
    memory = draft.state.memory(container.name)
    if stale and (memory.must_stop is None or memory.must_stop.container_id != seen.id):
        message = f"Container {container.name} definition changed, will be restarted"
        if is_sidecar(container):
            message = f"Init container {container.name} definition changed"
        draft.remember(container.name, must_stop=MustStop(seen.id, message, brings_back=True))
    must_stop = draft.state.memory(container.name).must_stop
    if must_stop is not None and must_stop.container_id == seen.id:
        stop_one(draft, container, seen)
    elif memory.post_start_id != seen.id and has_post_start(container) and not draft.is_starting():
        draft.act(RunPostStart(Why.POST_START, container.name, seen.id))


def stop_one(draft: Draft, container: Container, seen: ObservedContainer) -> None:
    """Stop one container of a pod that goes on: its own grace, preStop included."""
    order = draft.state.memory(container.name).must_stop
    if order is None or order.container_id != seen.id:
        return
    pod_grace = draft.pod.spec.termination_grace_period_seconds or 0
    grace = order.grace_seconds if order.grace_seconds is not None else pod_grace
    begun = order.since or draft.now.wall
    if not order.since:
        draft.emits.append(Emit("Killing", order.message, container=container.name))
        draft.remember(container.name, must_stop=replace(order, since=draft.now.wall))
    stop_containers(draft, begun + grace, order.message, only=seen.id)


def restart(draft: Draft, container: Container, seen: ObservedContainer, sandbox: ObservedSandbox) -> None:
    """Bring back a container that ended, unless its back-off holds it."""
    memory = draft.state.memory(container.name)
    finished = seen.finished_at / NANOSECONDS_PER_SECOND
    if was_start_aborted(seen) and not is_stuck(draft, seen):
        make_anew(draft, seen, Why.START_ABORTED)
        return
    limit = draft.policy.crash_backoff_max_seconds
    answer = next_restart(memory.backoff, finished, draft.now.wall, limit)
    if isinstance(answer, Wait):
        hold_back(draft, container, answer)
        return
    if not ensure_image(draft, container) or draft.is_starting():
        return
    count = max(memory.restart_count, seen.restart_count) + 1
    action = CreateContainer(Why.RESTART, container.name, sandbox.id, count, memory.image_id)
    if draft.act(action):
        draft.remember(container.name, backoff=answer)


ABORTED_PATIENCE_SECONDS = 10.0


def is_stuck(draft: Draft, seen: ObservedContainer) -> bool:
    """The runtime will not remove it (containerd 1.6 may lose a task whose start was cut short): its number
    is lost, and the next counts as a restart."""
    ended = seen.finished_at / NANOSECONDS_PER_SECOND
    refused = Key("RemoveContainer", seen.id) in draft.state.retry
    return refused and draft.now.wall - ended > ABORTED_PATIENCE_SECONDS


def make_anew(draft: Draft, seen: ObservedContainer, why: str) -> None:
    """Remove one that has never run; the next has its number, which the runtime gives free with it."""
    if draft.state.memory(seen.name).restart_count == seen.restart_count:
        draft.remember(seen.name, restart_count=seen.restart_count - 1)
    draft.act(RemoveContainer(why, seen.name, seen.id))


def hold_back(draft: Draft, container: Container, wait: Wait) -> None:
    draft.wake_wall(wait.until)
    meta = draft.pod.metadata
    pod_name = f"{meta.name}_{meta.namespace}({draft.state.uid})"
    message = (
        f"back-off {format_duration(round(wait.delay_seconds))} restarting failed "
        f"container={container.name} pod={pod_name}"
    )
    waiting = draft.state.memory(container.name).waiting
    if waiting is None or waiting.reason != "CrashLoopBackOff" or waiting.message != message:
        draft.wait(container.name, "CrashLoopBackOff", message)
        text = f"Back-off restarting failed container {container.name} in pod {pod_name}"
        draft.emits.append(Emit("BackOff", text, warning=True, container=container.name))
