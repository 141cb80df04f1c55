"""The static CPU manager: whole CPUs for containers of Guaranteed pods, from state to state (pure).

Everything else shares the default set, which shrinks and grows as exclusive CPUs come and go. Reserved CPUs
are never given away; with strict-cpu-reservation nobody but the system runs on them at all. What a container
of a pod may reuse follows from the state alone: CPUs of finished init containers, less those of the others.
Rules: kubernetes 1.36 pkg/kubelet/cm/cpumanager/policy_static.go.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from kubelet.resources.cpu_choice import NotEnoughCpus, Options, choose
from kubelet.resources.cpuset import NONE, Ids, text_of
from kubelet.resources.hints import Hint, masks
from kubelet.resources.topology import Topology

Assignments = Mapping[str, Mapping[str, Ids]]  # pod uid -> container name -> CPUs

SMT_REASON = "SMTAlignmentError"


class SmtAlignment(Exception):
    """full-pcpus-only cannot be kept; the text is upstream's, the pod's reason is SMT_REASON."""


class BadReservation(ValueError):
    """The configured reservation does not fit this machine."""


@dataclass(frozen=True, slots=True)
class CpuState:
    """What is written to the state file."""

    default: Ids = NONE
    assignments: Assignments = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StaticCpus:
    """The policy of one machine; `reserved` from `reserve`."""

    topology: Topology
    reserved: Ids
    options: Options = field(default_factory=Options)


@dataclass(frozen=True, slots=True)
class CpuAsk:
    """One container's wish. `count` 0: it runs in the default set.

    `reusable_from`: the pod's init containers that are no sidecars; they end before others begin.
    """

    uid: str
    container: str
    count: int
    reusable_from: frozenset[str] = frozenset()


def reserve(topology: Topology, count: int, explicit: Ids, options: Options) -> Ids:
    """The listed CPUs, else the lowest cores for ceil(system + kube reserved). BadReservation."""
    if not explicit and count <= 0:
        raise BadReservation(
            "[cpumanager] the static policy requires systemreserved.cpu + kubereserved.cpu "
            "to be greater than zero"
        )
    if explicit:
        if not explicit <= topology.all_cpus:
            raise BadReservation(
                f"cannot reserve CPUs {text_of(explicit)}: the machine has {text_of(topology.all_cpus)}"
            )
        return explicit
    try:
        return choose(topology, topology.all_cpus, count, options)
    except NotEnoughCpus as error:
        raise BadReservation(
            f"[cpumanager] unable to reserve the required amount of CPUs (size of {count}): {error}"
        ) from error


def initial(policy: StaticCpus) -> CpuState:
    """Nothing given away yet."""
    return CpuState(default=_shared(policy))


def problem_of(policy: StaticCpus, state: CpuState) -> str:
    """Why a state from disk cannot be gone on from, "" when it can (validateState)."""
    if policy.options.strict_reservation:
        if wrong := policy.reserved & state.default:
            return (
                f'some of strictly reserved cpus: "{text_of(wrong)}" are present in '
                f'defaultCpuSet: "{text_of(state.default)}"'
            )
    elif not policy.reserved <= state.default:
        return (
            f'not all reserved cpus: "{text_of(policy.reserved)}" are present in defaultCpuSet: '
            f'"{text_of(state.default)}"'
        )
    known = set(state.default)
    for uid, boxes in state.assignments.items():
        for name, cpus in boxes.items():
            if cpus & state.default:
                return (
                    f'pod: {uid}, container: {name} cpuset: "{text_of(cpus)}" overlaps with default cpuset '
                    f'"{text_of(state.default)}"'
                )
            known |= cpus
    if known != _shared(policy):
        return (
            f'current set of available CPUs "{text_of(_shared(policy))}" doesn\'t match with CPUs in state '
            f'"{text_of(known)}"'
        )
    return ""


def cpus_of(state: CpuState, uid: str, container: str) -> Ids:
    """Where a container runs: its own CPUs, else the default set."""
    return state.assignments.get(uid, {}).get(container, state.default)


def allocatable(policy: StaticCpus) -> Ids:
    return policy.topology.all_cpus - policy.reserved


def allocate(policy: StaticCpus, state: CpuState, ask: CpuAsk, affinity: Ids | None = None) -> CpuState:
    """Give a container its CPUs, near `affinity` (NUMA nodes) when there is one. NotEnoughCpus, SmtAlignment.

    Asking again for what is there changes nothing.
    """
    if ask.count == 0 or ask.container in state.assignments.get(ask.uid, {}):
        return state
    free = _free(policy, state) | reusable(state, ask)
    if policy.options.full_pcpus_only:
        free = _aligned(policy, free, ask.count)
    near = NONE
    if affinity is not None:
        wanted = free & _near(policy, affinity)
        near = choose(policy.topology, wanted, min(ask.count, len(wanted)), policy.options)
    rest = choose(policy.topology, free - near, ask.count - len(near), policy.options)
    chosen = near | rest
    boxes = {**state.assignments.get(ask.uid, {}), ask.container: chosen}
    return CpuState(state.default - chosen, {**state.assignments, ask.uid: boxes})


def release(state: CpuState, uid: str, container: str) -> CpuState:
    """Take a container's CPUs back, but for those that others of its pod use too."""
    boxes = dict(state.assignments.get(uid, {}))
    if container not in boxes:
        return state
    back = boxes.pop(container)
    for cpus in boxes.values():
        back -= cpus
    rest = {other: of for other, of in state.assignments.items() if other != uid}
    if boxes:
        rest[uid] = boxes
    return CpuState(state.default | back, rest)


def release_strangers(state: CpuState, wanted: Iterable[tuple[str, str]]) -> CpuState:
    """Take back everything of containers that are not in `wanted` (uid, name): what a lost removal leaves."""
    keep = set(wanted)
    for uid, boxes in list(state.assignments.items()):
        for name in list(boxes):
            if (uid, name) not in keep:
                state = release(state, uid, name)
    return state


def reusable(state: CpuState, ask: CpuAsk) -> Ids:
    """CPUs of the pod's init containers that no longer-lived container of it has taken over."""
    found = taken = NONE
    for name, cpus in state.assignments.get(ask.uid, {}).items():
        if name in ask.reusable_from:
            found |= cpus
        else:
            taken |= cpus
    return found - taken


def hints(policy: StaticCpus, state: CpuState, ask: CpuAsk) -> list[Hint] | None:
    """NUMA sets that could serve the request; None = no preference, [] = what it has does not fit."""
    if ask.count == 0:
        return None
    present = state.assignments.get(ask.uid, {}).get(ask.container)
    if present is not None:
        return _hints(policy, present, NONE, ask.count) if len(present) == ask.count else []
    return _hints(policy, _free(policy, state), reusable(state, ask), ask.count)


def pod_hints(policy: StaticCpus, state: CpuState, asks: Sequence[CpuAsk], count: int) -> list[Hint] | None:
    """As `hints`, for a pod as a whole that owns `count` CPUs at its peak."""
    if count == 0:
        return None
    held = NONE
    for ask in asks:
        present = state.assignments.get(ask.uid, {}).get(ask.container)
        if present is not None:
            if len(present) != ask.count:
                return []
            held |= present
    if len(held) == count:
        return _hints(policy, held, NONE, count)
    return _hints(policy, _free(policy, state), held, count)


def _hints(policy: StaticCpus, free: Ids, reuse: Ids, count: int) -> list[Hint]:
    topology = policy.topology
    least = len(topology.numa_nodes)
    found: list[Hint] = []
    for mask in masks(topology.numa_nodes):
        inside = topology.in_numa(mask)
        if len(inside) >= count:
            least = min(least, len(mask))
        # What is reused must be inside, or the container would leave the set.
        if reuse <= inside and len(inside & (free | reuse)) >= count:
            found.append(Hint(mask, preferred=False))
    return [replace(hint, preferred=_is_preferred(policy, hint.nodes or NONE, least)) for hint in found]


def _is_preferred(policy: StaticCpus, mask: Ids, least: int) -> bool:
    if not policy.options.align_by_socket:
        return len(mask) == least
    per_socket = len(policy.topology.numa_nodes) // max(len(policy.topology.sockets), 1)
    if per_socket == 0:
        return False
    return len(policy.topology.sockets_of_numa(mask)) == -(-least // per_socket)


def _near(policy: StaticCpus, affinity: Ids) -> Ids:
    """The CPUs of the nodes; with align-by-socket, of the nodes' whole sockets."""
    if not policy.options.align_by_socket:
        return policy.topology.in_numa(affinity)
    sockets = policy.topology.sockets_of_numa(affinity)
    return frozenset(cpu.id for cpu in policy.topology.cpus if cpu.socket in sockets)


def _aligned(policy: StaticCpus, free: Ids, count: int) -> Ids:
    """The free CPUs of whole cores. SmtAlignment."""
    per_core = policy.topology.cpus_per_core
    if count % per_core:
        raise SmtAlignment(
            f"SMT Alignment Error: requested {count} cpus not multiple cpus per core = {per_core}"
        )
    broken = {cpu.core for cpu in policy.topology.cpus if cpu.id not in free}
    whole = frozenset(number for number in free if policy.topology.by_id[number].core not in broken)
    if count > len(whole):
        raise SmtAlignment(
            "SMT Alignment Error: not enough free physical CPUs: available physical CPUs = "
            f"{len(whole)}, requested CPUs = {count}, CPUs per core = {per_core}"
        )
    return whole


def _free(policy: StaticCpus, state: CpuState) -> Ids:
    return state.default - policy.reserved


def _shared(policy: StaticCpus) -> Ids:
    everything = policy.topology.all_cpus
    return everything - policy.reserved if policy.options.strict_reservation else everything
