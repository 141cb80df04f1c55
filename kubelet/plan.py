"""Desired x observed -> actions, for a pod that is wanted (pure).

`plan_sync` is called after every event. It compares the pod's definition with what was last
observed and orders whatever is missing, one idea per function: volumes, sandbox, ephemeral, init
containers, containers, tidying. What is under way (`in_flight`) is neither started twice nor
contradicted. The order of things and the strings are those of kubelet 1.36
(pkg/kubelet/kuberuntime: computePodActions, SyncPod).
"""

from __future__ import annotations

from enum import Enum

from kube.objects.core_v1 import Container
from kubelet.actions import (
    PrepareVolumes,
    RemoveContainer,
    RemoveSandbox,
    RunSandbox,
    StartContainer,
    StopSandbox,
    Why,
)
from kubelet.draft import Draft, Emit
from kubelet.model import (
    NANOSECONDS_PER_SECOND,
    ObservedSandbox,
    Phase,
    PodState,
    Volumes,
)
from kubelet.plan_container import (
    begin,
    bring_up,
    ensure_image,
    has_ended_for_good,
    hold_back,
    is_started,
    is_stuck,
    is_wanted_back,
    last_exit,
    make_anew,
    restart,
)
from kubelet.plan_restart_all import plan_restart_all
from kubelet.plan_stop import stop_containers
from kubelet.restart import is_sidecar, was_start_aborted


class Verdict(Enum):
    """What planning found out about the pod as a whole."""

    GOES_ON = "goes on"
    FINISHED = "every container has ended for good"
    DEADLINE = "activeDeadlineSeconds has passed"


def plan_sync(draft: Draft) -> Verdict:
    """Order what the pod needs next."""
    if _is_past_deadline(draft):
        return Verdict.DEADLINE
    state = draft.state
    if state.volumes is not Volumes.MOUNTED:
        draft.act(PrepareVolumes(Why.VOLUMES_FIRST))
        if why_new_sandbox(state):
            prefetch_images(draft)  # not for a pod met as it runs: it may never need them
        return Verdict.GOES_ON
    why = why_new_sandbox(state)
    if why:
        if is_finished_without_sandbox(draft):
            return Verdict.FINISHED
        replace_sandbox(draft, why)
        return Verdict.GOES_ON
    sandbox = draft.observed.sandbox()
    assert sandbox is not None, "no reason for a sandbox, yet there is none"
    tidy(draft, sandbox)
    held = plan_restart_all(draft, sandbox)
    if held is not None:
        if held.wait is not None:
            hold_back(draft, held.container, held.wait)
        return Verdict.GOES_ON
    plan_ephemeral(draft, sandbox)
    initialized, failed = plan_init(draft, sandbox)
    if failed:
        return Verdict.FINISHED
    if not initialized:
        return Verdict.GOES_ON
    return plan_regular(draft, sandbox)


def _is_past_deadline(draft: Draft) -> bool:
    seconds = draft.pod.spec.active_deadline_seconds
    if seconds is None:
        return False
    end = draft.state.start_time + seconds
    if draft.now.wall >= end:
        return True
    draft.wake_wall(end)
    return False


# Sandbox


def why_new_sandbox(state: PodState) -> str:
    """The reason for a new sandbox, "" when the newest one serves."""
    observed, pod = state.observed, state.pod
    assert observed is not None and pod is not None
    sandbox = observed.sandbox()
    host_network = bool(pod.spec.host_network)
    if sandbox is None:
        return Why.FIRST_SANDBOX
    if sum(1 for candidate in observed.sandboxes if candidate.ready) > 1:
        return Why.SANDBOX_DOUBLE
    if not sandbox.ready or sandbox.id in state.stopped_sandboxes:
        return Why.SANDBOX_DEAD
    if sandbox.host_network != host_network:
        return Why.SANDBOX_NETWORK
    if not host_network and not sandbox.ips:
        return Why.SANDBOX_NO_IP
    return ""


def is_finished_without_sandbox(draft: Draft) -> bool:
    """Whether nothing would run in a new sandbox: init has failed, or every container has ended, for good."""
    spec = draft.pod.spec
    for container in spec.init_containers:
        ended = last_exit(draft, container)
        if ended is not None and ended.exit_code and not is_wanted_back(draft, container, ended):
            return True
    return all(has_ended_for_good(draft, container) for container in spec.containers)


def replace_sandbox(draft: Draft, why: str) -> None:
    """Stop what is left of the old sandbox, then run a new one."""
    observed = draft.observed
    if any(key.kind == "RunSandbox" for key in draft.state.in_flight):
        prefetch_images(draft)
        return
    if observed.sandboxes and _clear_old_sandboxes(draft, why):
        return
    if draft.state.network_error and not draft.pod.spec.host_network:
        return  # an event tells when the network is ready
    prefetch_images(draft)
    attempt = draft.state.sandbox_attempts
    if observed.sandboxes:
        newest = observed.sandboxes[0]
        attempt = max(attempt, newest.attempt + 1)
        made = newest.created_at / NANOSECONDS_PER_SECOND
        if made <= draft.now.wall < made + SANDBOX_PACE_SECONDS:
            draft.wake_wall(made + SANDBOX_PACE_SECONDS)
            return
    draft.act(RunSandbox(why, attempt))


# A sandbox that dies, or has no address, as soon as it is made must not be made again without pause;
# kubelet 1.36 cannot either, since it compares with the runtime once a second (pkg/kubelet/pleg).
SANDBOX_PACE_SECONDS = 1.0


def _clear_old_sandboxes(draft: Draft, why: str) -> bool:
    """Stop containers within one grace period, then sandboxes; True while that is not done."""
    if not draft.state.replacing_since:
        draft.set(replacing_since=draft.now.wall)
    deadline = draft.state.replacing_since + (draft.pod.spec.termination_grace_period_seconds or 0)
    if stop_containers(draft, deadline, Why.SANDBOX_CHANGED):
        return True
    pending = False
    for sandbox in draft.observed.sandboxes:
        if sandbox.id in draft.state.stopped_sandboxes:
            continue
        pending = True
        if draft.act(StopSandbox(why, sandbox.id)) and sandbox is draft.observed.sandboxes[0]:
            message = "Pod sandbox changed, it will be killed and re-created."
            draft.emits.append(Emit("SandboxChanged", message))
    return pending


# Images


def prefetch_images(draft: Draft) -> None:
    """Have the images of the containers that come first present while the sandbox is made."""
    spec = draft.pod.spec
    first = spec.init_containers[:1] or spec.containers
    for container in first:
        memory = draft.state.memory(container.name)
        if draft.state.observed is not None and draft.observed.latest(container.name) is not None:
            continue  # it has run before: its restart policy decides
        if not memory.image_id:
            ensure_image(draft, container)


# Init containers


def plan_init(draft: Draft, sandbox: ObservedSandbox) -> tuple[bool, bool]:
    """Bring the init containers forward: (pod is initialized, pod has failed for good)."""
    spec = draft.pod.spec
    done = is_initialized(draft, sandbox)
    if done and is_all_regular_finished(draft, sandbox):
        return True, False  # sidecars are not brought back for a pod that is over
    for index, container in enumerate(spec.init_containers):
        if is_sidecar(container):
            if not keep_sidecar(draft, container, sandbox) and not done:
                return False, False
            continue
        if done:
            continue
        step, failed = step_init(draft, index, sandbox)
        if failed or not step:
            return False, failed
    if not done:
        draft.set(initialized_in=sandbox.id)
    return True, False


def is_initialized(draft: Draft, sandbox: ObservedSandbox) -> bool:
    """Whether init is over in this sandbox: remembered, or a regular container exists in it."""
    if draft.state.initialized_in == sandbox.id:
        return True
    names = {container.name for container in draft.pod.spec.containers}
    return any(seen.name in names and seen.sandbox_id == sandbox.id for seen in draft.observed.containers)


def is_all_regular_finished(draft: Draft, sandbox: ObservedSandbox) -> bool:
    spec = draft.pod.spec
    for container in spec.containers:
        seen = draft.observed.latest(container.name, sandbox.id)
        if seen is None or seen.phase is not Phase.EXITED:
            return False
        if is_wanted_back(draft, container, seen):
            return False
    return True


def step_init(draft: Draft, index: int, sandbox: ObservedSandbox) -> tuple[bool, bool]:
    """One ordinary init container: (done, failed for good)."""
    spec = draft.pod.spec
    container = spec.init_containers[index]
    seen = draft.observed.latest(container.name, sandbox.id)
    if seen is None:
        later = (other.name for other in spec.init_containers[index + 1 :])
        if any(draft.observed.latest(name, sandbox.id) for name in later):
            return True, False  # its record is gone, but the next could not have begun without it
        begin(draft, container, sandbox, Why.NEXT_INIT)
        return False, False
    if seen.phase is not Phase.EXITED:
        bring_up(draft, container, seen)
        return False, False
    if seen.exit_code == 0:
        return True, False
    if not is_wanted_back(draft, container, seen):
        return False, True
    restart(draft, container, seen, sandbox)
    return False, False


def keep_sidecar(draft: Draft, container: Container, sandbox: ObservedSandbox) -> bool:
    """Keep the sidecar running; True when the containers after it may start."""
    seen = draft.observed.latest(container.name, sandbox.id)
    if seen is None:
        begin(draft, container, sandbox, Why.SIDECAR)
        return False
    if seen.phase is Phase.EXITED:
        restart(draft, container, seen, sandbox)
        return False
    bring_up(draft, container, seen)
    return is_started(draft.state, container, seen)


# Ephemeral containers


def plan_ephemeral(draft: Draft, sandbox: ObservedSandbox) -> None:
    """Start each once, before anything else waits or fails (kuberuntime_manager.go SyncPod, step 6).

    None is ever started again, whatever became of it or of the sandbox it was in.
    """
    for container in draft.pod.spec.ephemeral_containers:
        seen = draft.observed.latest(container.name)
        if seen is None:
            if draft.state.memory(container.name).restart_count < 0:
                begin(draft, container, sandbox, Why.EPHEMERAL)
        elif seen.sandbox_id != sandbox.id:
            continue
        elif seen.phase is Phase.CREATED and draft.state.memory(container.name).created_id == seen.id:
            if not draft.is_starting():
                draft.act(StartContainer(Why.CREATED, container.name, seen.id))
        elif seen.phase is Phase.CREATED:
            make_anew(draft, seen, Why.CREATED_UNSEEN)
        elif was_start_aborted(seen) and not is_stuck(draft, seen):
            make_anew(draft, seen, Why.START_ABORTED)


# Regular containers


def plan_regular(draft: Draft, sandbox: ObservedSandbox) -> Verdict:
    """Bring the regular containers forward, strictly in their order (one that fails holds nobody back)."""
    finished = True
    turn = True  # False while a container before waits for its image, which is being had
    for container in draft.pod.spec.containers:
        seen = draft.observed.latest(container.name, sandbox.id)
        if seen is None:
            if has_ended_for_good(draft, container):
                continue  # in an older sandbox
            if turn:
                begin(draft, container, sandbox, Why.NOT_RUNNING)
                turn = draft.in_flight("EnsureImage", container.name) is None
            else:
                ensure_image(draft, container)
        elif seen.phase is not Phase.EXITED:
            bring_up(draft, container, seen)
        elif is_wanted_back(draft, container, seen):
            restart(draft, container, seen, sandbox)
        else:
            continue
        finished = False
        if seen is not None and draft.in_flight("RemoveContainer", seen.id):
            turn = False  # it is being made anew
    if finished and not draft.is_starting():
        return Verdict.FINISHED
    return Verdict.GOES_ON


# Tidying


def tidy(draft: Draft, sandbox: ObservedSandbox) -> None:
    """Remove dead containers but the newest of each name, and replaced sandboxes left empty."""
    observed = draft.observed
    kept: set[str] = set()
    holding: set[str] = set()
    for seen in observed.containers:  # newest first
        holding.add(seen.sandbox_id)
        if was_start_aborted(seen):
            continue
        if seen.phase is Phase.EXITED and seen.name in kept:
            draft.act(RemoveContainer(Why.OLDER_DEAD, seen.name, seen.id))
        if seen.phase is Phase.EXITED:
            kept.add(seen.name)
    for old in observed.sandboxes[1:]:
        if old.id not in holding and old.id in draft.state.stopped_sandboxes:
            draft.act(RemoveSandbox(Why.OLDER_SANDBOX, old.id))
