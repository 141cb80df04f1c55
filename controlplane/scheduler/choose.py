"""One decision: the node for a pod, or why there is none, in the words kubectl users know (pure).

`pick` chooses among the best when several are equal; the caller brings chance, so the decision itself has
none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from controlplane.scheduler import scores
from controlplane.scheduler.affinity import SCHEDULE_ANYWAY, Relations
from controlplane.scheduler.cluster import Cluster, NodeInfo, PodInfo
from controlplane.scheduler.filters import OF_THE_NODE, Filter
from kube.objects.core_v1 import TopologySpreadConstraint
from kube.selectors import Selector

NO_NODES = "no nodes available to schedule pods"
# PodTopologySpread's system defaults: what a pod of a service or a replica set gets when it says nothing.
DEFAULT_SPREAD = (
    TopologySpreadConstraint(
        topology_key="kubernetes.io/hostname", max_skew=3, when_unsatisfiable=SCHEDULE_ANYWAY
    ),
    TopologySpreadConstraint(
        topology_key="topology.kubernetes.io/zone", max_skew=5, when_unsatisfiable=SCHEDULE_ANYWAY
    ),
)

Pick = Callable[[Sequence[str]], str]


@dataclass(frozen=True, slots=True)
class Placed:
    node: str


@dataclass(frozen=True, slots=True)
class Unplaced:
    """`plugins` are those that objected anywhere: what may change their mind brings the pod back."""

    message: str
    plugins: frozenset[str]


def choose(
    info: PodInfo, cluster: Cluster, pick: Pick, selector: Selector | None = None
) -> Placed | Unplaced:
    """`selector` is that of the pod's services and replica sets, None when it belongs to none."""
    nodes = cluster.nodes()
    if not nodes:
        return Unplaced(NO_NODES, frozenset())
    defaults = [(item, selector) for item in DEFAULT_SPREAD] if selector is not None else []
    relations = Relations(info, cluster, defaults)
    filters: tuple[tuple[str, Filter], ...] = (
        *OF_THE_NODE,
        ("PodTopologySpread", relations.check_spread),
        ("InterPodAffinity", relations.check_affinity),
    )
    reasons: Counter[str] = Counter()
    plugins: set[str] = set()
    fitting: list[NodeInfo] = []
    for place in nodes:
        plugin, against = _first_objection(info, place, filters)
        if not against:
            fitting.append(place)
        else:
            plugins.add(plugin)
            reasons.update(against)
    if not fitting:
        return Unplaced(describe(len(nodes), reasons), frozenset(plugins))
    return Placed(_best(relations, fitting, pick))


def _first_objection(
    info: PodInfo, place: NodeInfo, filters: Iterable[tuple[str, Filter]]
) -> tuple[str, tuple[str, ...]]:
    for plugin, check in filters:
        if against := check(info, place):
            return plugin, against
    return "", ()


def _best(relations: Relations, fitting: Sequence[NodeInfo], pick: Pick) -> str:
    if len(fitting) == 1:
        return fitting[0].name
    sums = scores.total(relations, fitting)
    most = max(sums)
    return pick([place.name for place, value in zip(fitting, sums, strict=True) if value == most])


def describe(count: int, reasons: Counter[str]) -> str:
    """ "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) were unschedulable." (FitError.Error)"""
    shown = sorted(f"{number} {reason}" for reason, number in reasons.items())
    return f"0/{count} nodes are available: {', '.join(shown)}."
