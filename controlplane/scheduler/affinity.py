"""Rules between pods: affinity, anti-affinity and topology spread, counted once per decision (pure).

`Relations(info, cluster)` goes over the pods that are placed once; `check_affinity` and `check_spread` then
answer per node by looking up counts of (topology key, value). The rules are those of the upstream plugins
InterPodAffinity and PodTopologySpread.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from controlplane.scheduler.cluster import NO_NODE, Cluster, NodeInfo, PodInfo
from controlplane.scheduler.filters import NO_EXECUTE, NO_SCHEDULE, untolerated, wants_node
from kube.objects.core_v1 import PodAffinityTerm, TopologySpreadConstraint
from kube.selectors import Operator, Requirement, Selector, of_label_selector

AFFINITY = "node(s) didn't match pod affinity rules"
ANTI_AFFINITY = "node(s) didn't match pod anti-affinity rules"
EXISTING_ANTI_AFFINITY = "node(s) didn't satisfy existing pods anti-affinity rules"
SPREAD = "node(s) didn't match pod topology spread constraints"
SPREAD_LABEL = f"{SPREAD} (missing required label)"
DO_NOT_SCHEDULE = "DoNotSchedule"
SCHEDULE_ANYWAY = "ScheduleAnyway"

Counts = dict[tuple[str, str], int]


def term_matches(
    term: PodAffinityTerm, owner: PodInfo, other: PodInfo, namespaces: Mapping[str, Mapping[str, str]]
) -> bool:
    """Whether `other` is one of the pods that a term of `owner` speaks of."""
    selector = of_label_selector(term.label_selector)
    if selector is None or not _covers_namespace(term, owner, other.namespace, namespaces):
        return False
    return selector.matches(other.labels)


def _covers_namespace(
    term: PodAffinityTerm, owner: PodInfo, name: str, namespaces: Mapping[str, Mapping[str, str]]
) -> bool:
    if name in term.namespaces:
        return True
    selector = of_label_selector(term.namespace_selector)
    if selector is not None:
        return selector.matches(namespaces.get(name, {}))
    return not term.namespaces and name == owner.namespace


@dataclass(slots=True)
class Spread:
    """One constraint with the pods it counts, by value of its topology key."""

    constraint: TopologySpreadConstraint
    selector: Selector
    matches_itself: bool
    counts: dict[str, int] = field(default_factory=dict)

    @property
    def least(self) -> int:
        """Of the emptiest domain; with fewer domains than wanted, an empty one is imagined."""
        if len(self.counts) < (self.constraint.min_domains or 1):
            return 0
        return min(self.counts.values(), default=0)


class Relations:
    """What the placed pods mean for one pod. `defaults` are spread constraints for a pod without any."""

    def __init__(
        self,
        info: PodInfo,
        cluster: Cluster,
        defaults: Iterable[tuple[TopologySpreadConstraint, Selector]] = (),
    ) -> None:
        self.info = info
        self.namespaces = cluster.namespaces
        self.nodes = cluster.nodes()
        self.near: list[Counts] = [{} for _ in info.affinity]
        self.far: list[Counts] = [{} for _ in info.anti_affinity]
        self.refused: Counts = {}
        for place in self.nodes:
            self._count_required(place)
        own = info.pod.spec.topology_spread_constraints
        spreads = [self._spread(item) for item in own]
        if not own:
            spreads = [Spread(item, chosen, chosen.matches(info.labels)) for item, chosen in defaults]
        self.strict = [item for item in spreads if item.constraint.when_unsatisfiable == DO_NOT_SCHEDULE]
        self.soft = [item for item in spreads if item.constraint.when_unsatisfiable == SCHEDULE_ANYWAY]
        self._count_spread(self.strict)

    # --- required affinity ---

    def _count_required(self, place: NodeInfo) -> None:
        info = self.info
        if info.affinity or info.anti_affinity:
            for other in place.pods.values():
                self._count_pod(other, place.labels)
        for key in place.with_terms:
            other = place.pods[key]
            for term in other.anti_affinity:
                if term_matches(term, other, info, self.namespaces):
                    _add(self.refused, term.topology_key, place.labels)

    def _count_pod(self, other: PodInfo, labels: Mapping[str, str]) -> None:
        info = self.info
        # Affinity counts a pod only where it satisfies all terms together.
        if info.affinity and all(term_matches(term, info, other, self.namespaces) for term in info.affinity):
            for term, counts in zip(info.affinity, self.near, strict=True):
                _add(counts, term.topology_key, labels)
        for term, counts in zip(info.anti_affinity, self.far, strict=True):
            if term_matches(term, info, other, self.namespaces):
                _add(counts, term.topology_key, labels)

    def check_affinity(self, info: PodInfo, place: NodeInfo) -> tuple[str, ...]:
        if not self._is_near(place.labels):
            return (AFFINITY,)
        for term, counts in zip(info.anti_affinity, self.far, strict=True):
            if _count(counts, term.topology_key, place.labels):
                return (ANTI_AFFINITY,)
        if any(place.labels.get(key) == value for key, value in self.refused):
            return (EXISTING_ANTI_AFFINITY,)
        return ()

    def _is_near(self, labels: Mapping[str, str]) -> bool:
        terms = self.info.affinity
        if any(term.topology_key not in labels for term in terms):
            return False
        if all(
            _count(counts, term.topology_key, labels) for term, counts in zip(terms, self.near, strict=True)
        ):
            return True
        # The first of a group that wants to be near itself would wait for ever.
        return not any(self.near) and all(
            term_matches(term, self.info, self.info, self.namespaces) for term in terms
        )

    # --- topology spread ---

    def _spread(self, constraint: TopologySpreadConstraint) -> Spread:
        selector = of_label_selector(constraint.label_selector)
        if selector is None:
            return Spread(constraint, _NOTHING, matches_itself=False)
        labels = self.info.labels
        more = [
            Requirement(key, Operator.IN, frozenset((labels[key],)))
            for key in constraint.match_label_keys
            if key in labels
        ]
        selector = Selector((*selector.requirements, *more))
        return Spread(constraint, selector, selector.matches(labels))

    def _count_spread(self, spreads: list[Spread]) -> None:
        keys = {item.constraint.topology_key for item in spreads}
        for place in self.nodes:
            if any(key not in place.labels for key in keys):
                continue
            for item in spreads:
                if self._takes_part(item.constraint, place):
                    domain = place.labels[item.constraint.topology_key]
                    item.counts[domain] = item.counts.get(domain, 0) + self.count_on(item, place)

    def _takes_part(self, constraint: TopologySpreadConstraint, place: NodeInfo) -> bool:
        pod, node = self.info.pod, place.node or NO_NODE
        if constraint.node_affinity_policy != "Ignore" and not wants_node(pod, node):
            return False
        if constraint.node_taints_policy != "Honor":
            return True
        return not any(True for _ in untolerated(pod, node, NO_SCHEDULE, NO_EXECUTE))

    def count_on(self, spread: Spread, place: NodeInfo) -> int:
        """Pods of the same namespace that the constraint counts; those being deleted do not."""
        namespace = self.info.namespace
        return sum(
            other.namespace == namespace
            and other.pod.metadata.deletion_timestamp is None
            and spread.selector.matches(other.labels)
            for other in place.pods.values()
        )

    def check_spread(self, info: PodInfo, place: NodeInfo) -> tuple[str, ...]:
        for item in self.strict:
            domain = place.labels.get(item.constraint.topology_key)
            if domain is None:
                return (SPREAD_LABEL,)
            skew = item.counts.get(domain, 0) + item.matches_itself - item.least
            if skew > item.constraint.max_skew:
                return (SPREAD,)
        return ()

    # --- preferences ---

    def preference_counts(self) -> Mapping[tuple[str, str], int]:
        """Sum of weights by (topology key, value): what this pod likes and dislikes, and what the placed
        pods like, dislike and require of it (hardPodAffinityWeight 1)."""
        info = self.info
        found: defaultdict[tuple[str, str], int] = defaultdict(int)
        for place in self.nodes:
            others = place.pods if info.likes or info.dislikes else place.with_terms
            for key in others:
                for topology, weight in self._weights(place.pods[key]):
                    if topology in place.labels:
                        found[topology, place.labels[topology]] += weight
        return found

    def _weights(self, other: PodInfo) -> Iterable[tuple[str, int]]:
        sides = ((self.info, other), (other, self.info))
        for owner, subject in sides:
            for sign, liked in ((1, owner.likes), (-1, owner.dislikes)):
                for item in liked:
                    if term_matches(item.pod_affinity_term, owner, subject, self.namespaces):
                        yield item.pod_affinity_term.topology_key, sign * item.weight
        for term in other.affinity:
            if term_matches(term, other, self.info, self.namespaces):
                yield term.topology_key, 1


# A key no label can have: matches no pod.
_NOTHING = Selector((Requirement("", Operator.EXISTS),))


def _add(counts: Counts, key: str, labels: Mapping[str, str]) -> None:
    if key in labels:
        counts[key, labels[key]] = counts.get((key, labels[key]), 0) + 1


def _count(counts: Counts, key: str, labels: Mapping[str, str]) -> int:
    return counts.get((key, labels[key]), 0) if key in labels else 0
