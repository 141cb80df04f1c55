"""RestartAllContainers: one container's exit has the whole pod begin anew in its sandbox (pure).

A rule of the container that ended asks for it (restartPolicyRules, by exit code; kubelet 1.36, KEP-5532).
Everything that runs is ended without hooks and without more grace than the runtime must be given, the
back-off of the container that asked is waited for, the dead ones are removed, and init runs again. What was
begun is part of the state and of the checkpoint: another agent goes on with it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from kube.objects.core_v1 import Container
from kubelet import reasons
from kubelet.actions import RemoveContainer, StopContainer, Why
from kubelet.draft import Draft
from kubelet.model import (
    NANOSECONDS_PER_SECOND,
    MustStop,
    ObservedContainer,
    ObservedSandbox,
    Phase,
    RestartAll,
)
from kubelet.plan_stop import MINIMUM_STOP_GRACE_SECONDS
from kubelet.restart import Wait, next_restart, rule_for, was_start_aborted

RESTART_ALL = "RestartAllContainers"


@dataclass(frozen=True, slots=True)
class Held:
    """The pod is not brought forward now; `wait` is the back-off of `container`, when that is why."""

    container: Container
    wait: Wait | None = None


def plan_restart_all(draft: Draft, sandbox: ObservedSandbox) -> Held | None:
    """None when nothing of the kind is going on, or when it is over and the pod may begin anew."""
    order = draft.state.restart_all
    if order is None:
        order = _begin(draft, sandbox)
        if order is None:
            return None
    container = next((one for one in _own(draft) if one.name == order.container), None)
    if container is None:  # the definition has lost it meanwhile: there is nothing to wait for
        draft.set(restart_all=None)
        return None
    if _is_stopping(draft, sandbox):
        return Held(container)
    if not order.is_paced:
        wait = _pace(draft, container, order)
        if wait is not None:
            return Held(container, wait)
    if _is_removing(draft, sandbox):
        return Held(container)
    draft.set(restart_all=None, initialized_in="")
    return None


def _own(draft: Draft) -> tuple[Container, ...]:
    spec = draft.pod.spec
    return (*spec.init_containers, *spec.containers)


def _begin(draft: Draft, sandbox: ObservedSandbox) -> RestartAll | None:
    """An exit that asks for it; the dead are removed on the way, so that it is answered once."""
    for container in _own(draft):
        seen = draft.observed.latest(container.name, sandbox.id)
        if seen is None or seen.phase is not Phase.EXITED or was_start_aborted(seen):
            continue
        rule = rule_for(container, seen.exit_code)
        if rule is None or rule.action != RESTART_ALL:
            continue
        order = RestartAll(container.name, seen.id)
        draft.set(restart_all=order)
        _order_all(draft, sandbox)
        return order
    return None


def _order_all(draft: Draft, sandbox: ObservedSandbox) -> None:
    """Every container of the pod runs again, however it ended and whatever its policy says."""
    for container in _own(draft):
        seen = draft.observed.latest(container.name, sandbox.id)
        if seen is not None:
            stop = MustStop(seen.id, Why.RESTART_ALL, grace_seconds=0, brings_back=True)
            draft.remember(container.name, must_stop=stop)


def _is_stopping(draft: Draft, sandbox: ObservedSandbox) -> bool:
    """End what runs, ephemeral containers too; True while something does, or may come up."""
    for key in list(draft.state.in_flight):
        if key.kind in ("RunPostStart", "RunPreStop"):
            draft.cancel(key, Why.RESTART_ALL)
    running = [seen for seen in _inside(draft, sandbox) if seen.phase in (Phase.RUNNING, Phase.UNKNOWN)]
    for seen in running:
        draft.act(StopContainer(Why.RESTART_ALL, seen.name, seen.id, MINIMUM_STOP_GRACE_SECONDS))
    return bool(running) or draft.is_starting()


def _inside(draft: Draft, sandbox: ObservedSandbox) -> list[ObservedContainer]:
    return [seen for seen in draft.observed.containers if seen.sandbox_id == sandbox.id]


def _pace(draft: Draft, container: Container, order: RestartAll) -> Wait | None:
    """The back-off of the container whose exit it was: a pod that always fails is not made in a loop."""
    memory = draft.state.memory(container.name)
    ended = draft.observed.by_id(order.container_id) or memory.last_exit
    finished = ended.finished_at / NANOSECONDS_PER_SECOND if ended is not None else draft.now.wall
    limit = draft.policy.crash_backoff_max_seconds
    answer = next_restart(memory.backoff, finished, draft.now.wall, limit)
    if isinstance(answer, Wait):
        return answer
    draft.remember(container.name, backoff=answer)
    draft.set(restart_all=replace(order, is_paced=True))
    return None


def _is_removing(draft: Draft, sandbox: ObservedSandbox) -> bool:
    """Remove what has ended, so that init begins with a clean slate; True while something is left."""
    names = {container.name for container in _own(draft)}
    left = [seen for seen in _inside(draft, sandbox) if seen.name in names]
    for seen in left:
        draft.act(RemoveContainer(Why.RESTART_ALL, seen.name, seen.id))
        draft.wait(seen.name, reasons.RESTARTING_ALL_CONTAINERS)
    return bool(left) or any(key.kind == "RemoveContainer" for key in draft.state.in_flight)
