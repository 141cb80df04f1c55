"""What a pod's status is made from: one frozen value, filled in by the pod worker.

Times are wall seconds (unix). `previous` is the status last made or read for this pod, in JSON
form; it supplies everything that must not move back: phase, transition times, restart counts,
conditions of other writers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from kube.objects.core_v1 import Pod
from kubelet import reasons
from kubelet.model import ContainerMemory, Observed, PodState, Stage
from kubelet.restart import was_start_aborted

JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """What every pod's status takes from the node: its addresses (primary first) and the runtime's name."""

    ips: tuple[str, ...] = ()
    runtime_name: str = "containerd"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A phase decided by the agent and not by exit codes: rejected, past its deadline, evicted.

    `is_rejection`: the pod was never let in, so its containers have nothing to tell.
    """

    phase: str
    reason: str
    message: str = ""
    is_rejection: bool = False


@dataclass(frozen=True, slots=True)
class StatusInputs:
    """`observed` None = the runtime has not been asked yet: containers are as `previous` said.

    `verdict` counts once nothing runs any more. `ips` are the pod's last known addresses.
    """

    pod: Pod
    now: float
    observed: Observed | None = None
    previous: Mapping[str, Any] = field(default_factory=dict)
    stage: Stage = Stage.SYNCING
    containers: Mapping[str, ContainerMemory] = field(default_factory=dict)
    node: NodeFacts = field(default_factory=NodeFacts)
    ips: tuple[str, ...] = ()
    start_time: float = 0.0
    is_restarting_all: bool = False
    verdict: Verdict | None = None


def inputs_from_state(
    state: PodState, previous: Mapping[str, Any], node: NodeFacts, now: float
) -> StatusInputs | None:
    """The inputs that a worker's state gives; None when the pod is known only to the runtime."""
    if state.pod is None:
        return None
    return StatusInputs(
        pod=state.pod,
        now=now,
        observed=_without_aborted(state.observed),
        previous=previous,
        stage=state.stage,
        containers=state.containers,
        node=node,
        ips=state.ips,
        start_time=state.start_time,
        is_restarting_all=state.restart_all is not None and state.stage is Stage.SYNCING,
        verdict=_verdict(state),
    )


def coming_back(inputs: StatusInputs) -> frozenset[str]:
    """The names of containers whose newest run was only ended so that they run again."""
    if inputs.observed is None or inputs.stage is not Stage.SYNCING:
        return frozenset()
    names: set[str] = set()
    for name, memory in inputs.containers.items():
        order = memory.must_stop
        if order is None or not order.brings_back:
            continue
        newest = inputs.observed.latest(name) or memory.last_exit
        if newest is not None and newest.id == order.container_id:
            names.add(name)
    return frozenset(names)


def _without_aborted(observed: Observed | None) -> Observed | None:
    """A start that was cut short is no exit: a pod must not fail for good by it, not for a moment either."""
    if observed is None or not any(was_start_aborted(seen) for seen in observed.containers):
        return observed
    rest = tuple(seen for seen in observed.containers if not was_start_aborted(seen))
    return replace(observed, containers=rest)


def _verdict(state: PodState) -> Verdict | None:
    if state.rejected is not None:
        return Verdict(reasons.FAILED, state.rejected.reason, state.rejected.message, is_rejection=True)
    if state.stop is not None and state.stop.phase:
        return Verdict(state.stop.phase, state.stop.reason, state.stop.message)
    return None
