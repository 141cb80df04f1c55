"""Which of the nodes that fit is best: each score 0 to 100 per node, weighted and summed (pure).

Formulas and weights are those of the upstream plugins (default_plugins.go and each plugin's Score and
NormalizeScore).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from controlplane.scheduler.affinity import Relations, Spread
from controlplane.scheduler.cluster import NO_NODE, NodeInfo, PodInfo
from controlplane.scheduler.filters import PREFER_NO_SCHEDULE, untolerated
from controlplane.scheduler.requests import CPU, MEMORY
from kube.selectors import node_term_matches

MOST = 100
# ImageLocality thresholds, per container for the upper one.
_LEAST_IMAGE_BYTES = 23 * 1024 * 1024
_MOST_IMAGE_BYTES = 1000 * 1024 * 1024

Scores = list[float]
Score = Callable[[Relations, Sequence[NodeInfo]], Scores]


def score_taints(relations: Relations, nodes: Sequence[NodeInfo]) -> Scores:
    """Fewer PreferNoSchedule taints that the pod does not tolerate."""
    pod = relations.info.pod
    raw = [
        float(sum(1 for _ in untolerated(pod, node.node or NO_NODE, PREFER_NO_SCHEDULE))) for node in nodes
    ]
    return [MOST - score for score in _to_largest(raw)]


def score_node_affinity(relations: Relations, nodes: Sequence[NodeInfo]) -> Scores:
    """More weight of preferred node affinity."""
    affinity = relations.info.pod.spec.affinity
    wanted = affinity.node_affinity if affinity is not None else None
    terms = wanted.preferred_during_scheduling_ignored_during_execution if wanted is not None else ()
    raw = [
        float(sum(
            term.weight for term in terms
            if node_term_matches(term.preference, node.labels, {"metadata.name": node.name})
        ))
        for node in nodes
    ]  # fmt: skip
    return _to_largest(raw)


def _shares(info: PodInfo, node: NodeInfo) -> list[float]:
    """Used share of CPU and memory with the pod on the node, at most 1."""
    used = ((CPU, node.cpu + info.request.cpu), (MEMORY, node.memory + info.request.memory))
    return [
        min(1.0, wanted / node.allocatable[name])
        for name, wanted in used
        if node.allocatable.get(name, 0) > 0
    ]


def score_least_allocated(relations: Relations, nodes: Sequence[NodeInfo]) -> Scores:
    """More left over, CPU and memory alike."""

    def of(node: NodeInfo) -> float:
        shares = _shares(relations.info, node)
        return math.floor(sum((1 - share) * MOST for share in shares) / len(shares)) if shares else 0.0

    return [of(node) for node in nodes]


def score_balanced(relations: Relations, nodes: Sequence[NodeInfo]) -> Scores:
    """CPU and memory used evenly: 1 minus the deviation of the two shares."""

    def of(node: NodeInfo) -> float:
        shares = _shares(relations.info, node)
        deviation = abs(shares[0] - shares[1]) / 2 if len(shares) == 2 else 0.0
        return math.floor((1 - deviation) * MOST)

    return [of(node) for node in nodes]


def normal_name(image: str) -> str:
    """With a tag, as nodes list it (normalizedImageName)."""
    return image if image.rfind(":") > image.rfind("/") else f"{image}:latest"


def score_images(relations: Relations, nodes: Sequence[NodeInfo]) -> Scores:
    """More bytes of the pod's images already there, counted by how widely each has spread."""
    pod = relations.info.pod
    containers = (*pod.spec.init_containers, *pod.spec.containers)
    names = [normal_name(item.image) for item in containers if item.image]
    sizes = [_image_sizes(node) for node in nodes]
    total = len(nodes)
    spread = {name: sum(name in here for here in sizes) / total for name in set(names)}
    most = _MOST_IMAGE_BYTES * max(1, len(containers))

    def of(here: Mapping[str, int]) -> float:
        found = sum(here.get(name, 0) * spread[name] for name in names)
        found = min(max(found, _LEAST_IMAGE_BYTES), most)
        return math.floor(MOST * (found - _LEAST_IMAGE_BYTES) / (most - _LEAST_IMAGE_BYTES))

    return [of(here) for here in sizes]


def _image_sizes(node: NodeInfo) -> dict[str, int]:
    images = (node.node or NO_NODE).status.images
    return {name: image.size_bytes or 0 for image in images for name in image.names}


def score_spread(relations: Relations, nodes: Sequence[NodeInfo]) -> Scores:
    """Fewer matching pods in the node's domains; a node without a needed label scores nothing."""
    spreads = relations.soft
    if not spreads:
        return [0.0] * len(nodes)
    keys = {item.constraint.topology_key for item in spreads}
    usable = [all(key in node.labels for key in keys) for node in nodes]
    raw = [0.0] * len(nodes)
    for item in spreads:
        for at, weight in enumerate(_crowding(relations, item, nodes, usable)):
            raw[at] += weight
    counted = [round(value) for value, ok in zip(raw, usable, strict=True) if ok]
    least, most = min(counted, default=0), max(counted, default=0)
    return [
        (MOST if most == 0 else math.floor(MOST * (most + least - round(value)) / most)) if ok else 0.0
        for value, ok in zip(raw, usable, strict=True)
    ]


def _crowding(
    relations: Relations, spread: Spread, nodes: Sequence[NodeInfo], usable: Sequence[bool]
) -> Scores:
    key = spread.constraint.topology_key
    counts: dict[str, int] = {}
    domains = {node.labels[key] for node, ok in zip(nodes, usable, strict=True) if ok}
    for place in relations.nodes:
        domain = place.labels.get(key)
        if domain in domains and domain is not None:
            counts[domain] = counts.get(domain, 0) + relations.count_on(spread, place)
    # Many small domains weigh more than few large ones (topologyNormalizingWeight).
    weight = math.log(len(domains) + 2)
    more = spread.constraint.max_skew - 1
    return [
        counts[node.labels[key]] * weight + more if ok else 0.0
        for node, ok in zip(nodes, usable, strict=True)
    ]


def score_pod_affinity(relations: Relations, nodes: Sequence[NodeInfo]) -> Scores:
    """More of what is liked in the node's domains, less of what is disliked."""
    counts = relations.preference_counts()
    if not counts:
        return [0.0] * len(nodes)
    raw = [
        float(sum(weight for (key, value), weight in counts.items() if node.labels.get(key) == value))
        for node in nodes
    ]
    least, most = min(raw), max(raw)
    return [math.floor(MOST * (value - least) / (most - least)) if most > least else 0.0 for value in raw]


# Plugin, its weight, its score.
SCORES: tuple[tuple[str, int, Score], ...] = (
    ("TaintToleration", 3, score_taints),
    ("NodeAffinity", 2, score_node_affinity),
    ("NodeResourcesFit", 1, score_least_allocated),
    ("PodTopologySpread", 2, score_spread),
    ("InterPodAffinity", 2, score_pod_affinity),
    ("NodeResourcesBalancedAllocation", 1, score_balanced),
    ("ImageLocality", 1, score_images),
)


def total(relations: Relations, nodes: Sequence[NodeInfo]) -> Scores:
    """The weighted sum, one per node in the order given."""
    sums = [0.0] * len(nodes)
    for _, weight, score in SCORES:
        for at, value in enumerate(score(relations, nodes)):
            sums[at] += weight * value
    return sums


def _to_largest(raw: Scores) -> Scores:
    most = max(raw, default=0.0)
    return [math.floor(MOST * value / most) if most > 0 else 0.0 for value in raw]
