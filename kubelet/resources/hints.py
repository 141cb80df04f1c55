"""Topology hints: sets of NUMA nodes that could serve a request, and which of them would be best (pure).

`merge` joins the hints of several providers and a policy says whether the pod may start. Rules: kubernetes
1.36 pkg/kubelet/cm/topologymanager (policy.go, numa_info.go, policy_*.go).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from kubelet.resources.cpuset import Ids
from kubelet.resources.topology import Topology

DEFAULT_MOST_NUMA_NODES = 8  # topologymanager.defaultMaxAllowableNUMANodes: sets double with each node


@dataclass(frozen=True, slots=True)
class Hint:
    """NUMA nodes a request could be served from; None = any. `preferred`: no smaller set would do."""

    nodes: Ids | None
    preferred: bool


# Per resource: None = no preference, an empty list = cannot be served at all.
Hints = Mapping[str, Sequence[Hint] | None]


class Policy(StrEnum):
    NONE = "none"
    BEST_EFFORT = "best-effort"
    RESTRICTED = "restricted"
    SINGLE_NUMA_NODE = "single-numa-node"


class Scope(StrEnum):
    CONTAINER = "container"
    POD = "pod"


class BadTopologyOption(ValueError):
    """A policy option that does not exist or has a bad value, or a machine with too many nodes."""


@dataclass(frozen=True, slots=True)
class TopologyOptions:
    """topologyManagerPolicyOptions."""

    prefer_closest: bool = False
    most_numa_nodes: int = DEFAULT_MOST_NUMA_NODES


@dataclass(frozen=True, slots=True)
class TopologyRules:
    """What the node is configured to."""

    policy: Policy = Policy.NONE
    scope: Scope = Scope.CONTAINER
    options: TopologyOptions = TopologyOptions()


@dataclass(frozen=True, slots=True)
class Verdict:
    """The hint to allocate by, and whether the policy lets the pod in."""

    hint: Hint
    admitted: bool


# Rejections: the pod's status reason and message (pkg/kubelet/cm/topologymanager/topology_manager.go).
AFFINITY_REASON = "TopologyAffinityError"
AFFINITY_MESSAGE = "Resources cannot be allocated with Topology locality"


def parse_topology_options(texts: Mapping[str, str]) -> TopologyOptions:
    """The configuration's map. BadTopologyOption."""
    closest, most = False, DEFAULT_MOST_NUMA_NODES
    for name, text in texts.items():
        if name == "prefer-closest-numa-nodes":
            if text.lower() not in ("true", "false", "1", "0", "t", "f"):
                raise BadTopologyOption(f'bad value for option "{name}": "{text}" is not a boolean')
            closest = text.lower() in ("true", "1", "t")
        elif name == "max-allowable-numa-nodes":
            if not (text.isascii() and text.isdigit()) or int(text) < DEFAULT_MOST_NUMA_NODES:
                least = DEFAULT_MOST_NUMA_NODES
                raise BadTopologyOption(
                    f'the minimum value of "{name}" should not be less than {least}, not "{text}"'
                )
            most = int(text)
        else:
            raise BadTopologyOption(f'unknown Topology Manager Policy option: "{name}"')
    return TopologyOptions(prefer_closest=closest, most_numa_nodes=most)


def check_machine(rules: TopologyRules, topology: Topology) -> None:
    """Refuse a machine whose node sets are too many to try. BadTopologyOption with upstream's words."""
    if rules.policy is not Policy.NONE and len(topology.numa_nodes) > rules.options.most_numa_nodes:
        raise BadTopologyOption(
            "unsupported on machines with more than "
            f"{rules.options.most_numa_nodes} NUMA Nodes: {len(topology.numa_nodes)} found"
        )


def masks(nodes: Iterable[int]) -> Iterator[Ids]:
    """Every non-empty set of NUMA nodes, small ones first, each size in order."""
    ordered = sorted(nodes)
    for size in range(1, len(ordered) + 1):
        for combo in itertools.combinations(ordered, size):
            yield frozenset(combo)


def decide(rules: TopologyRules, topology: Topology, providers: Iterable[Hints]) -> Verdict:
    """The best joint hint of all providers under the node's policy."""
    if rules.policy is Policy.NONE:
        return Verdict(Hint(None, preferred=True), admitted=True)
    lists = _flatten(providers)
    single = rules.policy is Policy.SINGLE_NUMA_NODE
    if single:
        lists = [_single_only(hints) for hints in lists]
    best = _merge(topology, lists, prefer_closest=rules.options.prefer_closest and not single)
    if single and best.nodes == frozenset(topology.numa_nodes):
        # All nodes at once says nothing: providers choose freely.
        best = Hint(None, best.preferred)
    return Verdict(best, admitted=rules.policy is Policy.BEST_EFFORT or best.preferred)


def _flatten(providers: Iterable[Hints]) -> list[list[Hint]]:
    lists: list[list[Hint]] = []
    for hints in providers:
        if not hints:
            lists.append([Hint(None, preferred=True)])
        for resource in sorted(hints):
            offered = hints[resource]
            if offered is None:
                lists.append([Hint(None, preferred=True)])
            else:
                lists.append(list(offered) or [Hint(None, preferred=False)])
    return lists


def _single_only(hints: list[Hint]) -> list[Hint]:
    return [
        hint
        for hint in hints
        if (hint.nodes is None and hint.preferred)
        or (hint.nodes is not None and len(hint.nodes) == 1 and hint.preferred)
    ]


def _merge(topology: Topology, lists: list[list[Hint]], *, prefer_closest: bool) -> Hint:
    everything = frozenset(topology.numa_nodes)
    aim = max(
        (min((len(hint.nodes) for hint in hints if hint.nodes is not None), default=0) for hints in lists),
        default=0,
    )
    best: Hint | None = None
    for permutation in itertools.product(*lists):
        candidate = _intersect(everything, permutation)
        if candidate.nodes:
            best = (
                candidate if best is None else _better(topology, best, candidate, aim, closest=prefer_closest)
            )
    return best or Hint(everything, preferred=False)


def _intersect(everything: Ids, hints: Sequence[Hint]) -> Hint:
    """All nodes that every hint names; preferred when all are, and all agree."""
    named = [hint.nodes for hint in hints if hint.nodes is not None]
    agreed = all(nodes == named[0] for nodes in named)
    common = everything.intersection(*named) if named else everything
    return Hint(common, preferred=agreed and all(hint.preferred for hint in hints))


def _better(topology: Topology, current: Hint, candidate: Hint, aim: int, *, closest: bool) -> Hint:
    """Preferred first; of two that are not, the one nearest to the `aim` in nodes and not above it."""
    if current.preferred != candidate.preferred:
        return current if current.preferred else candidate
    if current.preferred:
        return _tighter(topology, current, candidate, closest=closest)
    have, offers = len(current.nodes or ()), len(candidate.nodes or ())
    if have > aim:
        return _tighter(topology, current, candidate, closest=closest)
    if have == aim:
        return _tighter(topology, current, candidate, closest=closest) if offers == aim else current
    if offers > aim:
        return current
    if offers != have:
        return candidate if offers > have else current
    return _tighter(topology, current, candidate, closest=closest)


def _tighter(topology: Topology, current: Hint, candidate: Hint, *, closest: bool) -> Hint:
    """Fewer nodes; then, when asked for, the shorter distances; then the lower numbers."""
    if current.nodes == candidate.nodes:
        return current
    return min(
        current, candidate, key=lambda hint: _rank(topology, hint.nodes or frozenset(), closest=closest)
    )


def _rank(topology: Topology, nodes: Ids, *, closest: bool) -> tuple[int, float, int]:
    distance = topology.average_distance(nodes) if closest else 0.0
    return len(nodes), distance, sum(1 << node for node in nodes)
