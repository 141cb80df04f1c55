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
    """The best of all joint hints that take one hint of each list: the nodes that all of them name.

    A joint hint is preferred when all its parts are, and agree. The parts are never tried in all combinations
    (8 nodes and three resources would make 16 million): preferred ones must agree, so one look at each set
    finds them; for the others only which intersections are possible matters.
    """
    everything = frozenset(topology.numa_nodes)

    def tightness(nodes: Ids) -> tuple[int, float, int]:
        distance = topology.average_distance(nodes) if prefer_closest else 0.0
        return len(nodes), distance, sum(1 << node for node in nodes)

    agreed = _agreed(lists, everything)
    if agreed:
        return Hint(min(agreed, key=tightness), preferred=True)
    possible = _intersections(lists, everything)
    if not possible:
        return Hint(everything, preferred=False)
    aim = _aim(lists)

    def nearness(nodes: Ids) -> tuple[int, int, tuple[int, float, int]]:
        """As many nodes as the neediest provider wants; else fewer, the more the better; else more."""
        count = len(nodes)
        side = 0 if count == aim else 1 if count < aim else 2
        return side, abs(count - aim), tightness(nodes)

    return Hint(min(possible, key=nearness), preferred=False)


def _agreed(lists: list[list[Hint]], everything: Ids) -> set[Ids]:
    """Sets of nodes that every list prefers, or has no opinion on."""
    preferred = [{hint.nodes for hint in hints if hint.preferred} for hints in lists]
    named = {nodes for nodes_of in preferred for nodes in nodes_of if nodes}
    found = {nodes & everything for nodes in named if all({nodes, None} & of for of in preferred)}
    if all(None in of for of in preferred):
        found.add(everything)
    return found - {frozenset()}


def _intersections(lists: list[list[Hint]], everything: Ids) -> set[Ids]:
    """What one hint of each list may have in common, but for nothing."""
    found = {everything}
    for hints in lists:
        masks_here = {everything if hint.nodes is None else hint.nodes for hint in hints}
        found = {common for nodes in found for mask in masks_here if (common := nodes & mask)}
    return found


def _aim(lists: list[list[Hint]]) -> int:
    """The fewest nodes that the neediest list can do with."""
    fewest = [min((len(hint.nodes) for hint in hints if hint.nodes), default=0) for hints in lists]
    return max(fewest, default=0)
