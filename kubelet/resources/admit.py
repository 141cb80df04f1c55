"""May a pod start, and on which CPUs and NUMA nodes: the managers' joint decision over their states (pure).

With scope "container" every container is placed for itself, in the order they start; with "pod" one set of
NUMA nodes is chosen for all. A pod gets everything or nothing: on a refusal the states are as before. Reasons
and texts: kubernetes 1.36 pkg/kubelet/cm/topologymanager (scope_container.go, scope_pod.go) and
pkg/kubelet/cm/admission.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from kube.objects.core_v1 import Pod
from kubelet.resources import cpu_static, memory_static
from kubelet.resources.cpu_choice import NotEnoughCpus
from kubelet.resources.cpu_static import CpuAsk, CpuState, SmtAlignment, StaticCpus
from kubelet.resources.cpuset import Ids, text_of
from kubelet.resources.demand import PodAsks, pod_asks, pod_cpus, pod_memory
from kubelet.resources.hints import (
    AFFINITY_MESSAGE,
    AFFINITY_REASON,
    Hint,
    Hints,
    Scope,
    TopologyRules,
    Verdict,
    decide,
)
from kubelet.resources.memory_static import MemoryAsk, MemoryRefused, MemoryState
from kubelet.resources.topology import Topology

UNEXPECTED_REASON = "UnexpectedAdmissionError"

# What others (devices) prefer for a container; "" stands for the whole pod.
OtherHints = Callable[[str], Iterable[Hints]]


@dataclass(frozen=True, slots=True)
class Managers:
    """The node's policies. `cpus` None: CPU policy none; `pins_memory` False: memory policy None."""

    topology: Topology
    rules: TopologyRules
    cpus: StaticCpus | None = None
    pins_memory: bool = False


@dataclass(frozen=True, slots=True)
class Held:
    """The managers' states together."""

    cpus: CpuState
    memory: MemoryState


@dataclass(frozen=True, slots=True)
class Admitted:
    """New states to write down, and where each container was placed, for those that allocate devices."""

    held: Held
    hints: Mapping[str, Hint]


@dataclass(frozen=True, slots=True)
class Refused:
    """The pod's status reason and message."""

    reason: str
    message: str


def admit(managers: Managers, held: Held, pod: Pod, others: OtherHints = lambda _: ()) -> Admitted | Refused:
    """Place all containers of a pod. A pod that is held already is admitted with what it has."""
    asks = _considered(managers, pod_asks(pod))
    whole: Verdict | None = None
    if managers.rules.scope is Scope.POD:
        whole = decide(
            managers.rules, managers.topology, [*_pod_hints(managers, held, pod, asks), *others("")]
        )
        if not whole.admitted:
            return Refused(AFFINITY_REASON, AFFINITY_MESSAGE)
    placed: dict[str, Hint] = {}
    for cpu, memory in zip(asks.cpus, asks.memory, strict=True):
        verdict = whole or decide(
            managers.rules,
            managers.topology,
            [*_container_hints(managers, held, cpu, memory), *others(cpu.container)],
        )
        if not verdict.admitted:
            return Refused(AFFINITY_REASON, AFFINITY_MESSAGE)
        placed[cpu.container] = verdict.hint
        try:
            held = _allocate(managers, held, cpu, memory, verdict.hint)
        except SmtAlignment as error:
            return Refused(cpu_static.SMT_REASON, str(error))
        except (NotEnoughCpus, MemoryRefused) as error:
            return Refused(UNEXPECTED_REASON, f"Allocate failed due to {error}, which is unexpected")
    return Admitted(held, placed)


def release_container(held: Held, uid: str, container: str) -> Held:
    """Everything a container holds goes back."""
    return Held(
        cpu_static.release(held.cpus, uid, container), memory_static.release(held.memory, uid, container)
    )


def release_pod(held: Held, uid: str) -> Held:
    names = {*held.cpus.assignments.get(uid, {}), *held.memory.blocks.get(uid, {})}
    for name in sorted(names):
        held = release_container(held, uid, name)
    return held


def release_strangers(held: Held, wanted_uids: Iterable[str]) -> Held:
    """What pods hold that nobody wants any more: after a restart, or when a removal was missed."""
    wanted = set(wanted_uids)
    for uid in sorted({*held.cpus.assignments, *held.memory.blocks} - wanted):
        held = release_pod(held, uid)
    return held


@dataclass(frozen=True, slots=True)
class CpusetUpdate:
    """One container whose cpuset.cpus is to become `cpus` ("0-3,8")."""

    uid: str
    container: str
    cpus: str


def cpuset_updates(
    state: CpuState, running: Iterable[tuple[str, str]], applied: Mapping[tuple[str, str], Ids]
) -> list[CpusetUpdate]:
    """What running containers (uid, name) have to be told, given what they were told last.

    Upstream looks every cpuManagerReconcilePeriod; asking after each change of state is sooner, and as right.
    """
    updates = []
    for key in sorted(running):
        cpus = cpu_static.cpus_of(state, *key)
        if cpus and applied.get(key) != cpus:
            updates.append(CpusetUpdate(*key, text_of(cpus)))
    return updates


def memory_nodes(state: MemoryState, uid: str, container: str) -> str:
    """cpuset.mems of a container ("0-1"), "" = wherever."""
    blocks = state.blocks.get(uid, {}).get(container, ())
    return text_of(node for block in blocks for node in block.nodes)


def _considered(managers: Managers, asks: PodAsks) -> PodAsks:
    """Without what a manager that is off would be asked."""
    return PodAsks(
        cpus=tuple(
            ask if managers.cpus is not None else CpuAsk(ask.uid, ask.container, 0) for ask in asks.cpus
        ),
        memory=tuple(
            ask if managers.pins_memory else MemoryAsk(ask.uid, ask.container, {}) for ask in asks.memory
        ),
    )


def _container_hints(managers: Managers, held: Held, cpu: CpuAsk, memory: MemoryAsk) -> list[Hints]:
    found: list[Hints] = []
    if managers.cpus is not None:
        wanted = cpu_static.hints(managers.cpus, held.cpus, cpu)
        found.append({} if wanted is None else {"cpu": wanted})
    if managers.pins_memory:
        found.append(memory_static.hints(held.memory, memory))
    return found


def _pod_hints(managers: Managers, held: Held, pod: Pod, asks: PodAsks) -> list[Hints]:
    found: list[Hints] = []
    if managers.cpus is not None:
        wanted = cpu_static.pod_hints(managers.cpus, held.cpus, asks.cpus, pod_cpus(pod))
        found.append({} if wanted is None else {"cpu": wanted})
    if managers.pins_memory:
        found.append(memory_static.pod_hints(held.memory, pod.metadata.uid, pod_memory(pod)))
    return found


def _allocate(managers: Managers, held: Held, cpu: CpuAsk, memory: MemoryAsk, hint: Hint) -> Held:
    cpus = held.cpus
    if managers.cpus is not None:
        cpus = cpu_static.allocate(managers.cpus, cpus, cpu, hint.nodes)
    blocks = memory_static.allocate(held.memory, memory, hint) if managers.pins_memory else held.memory
    return Held(cpus, blocks)
