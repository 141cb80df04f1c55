"""Why a pod may not go to a node, by what the two say of themselves (pure).

Each filter gives the reasons in the words of the upstream plugin of its name, none when the pod fits. They
are asked in the upstream order and the first that objects ends the question (as RunFilterPlugins does).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from controlplane.scheduler.cluster import ANY_ADDRESS, NO_NODE, NodeInfo, PodInfo
from controlplane.scheduler.requests import PODS
from kube import placement
from kube.objects.cluster_v1 import Node, Taint
from kube.objects.core_v1 import Pod
from kube.placement import NODE_AFFINITY, TAINTED, tolerates

UNSCHEDULABLE = "node(s) were unschedulable"
OTHER_NAME = "node(s) didn't match the requested node name"
PORTS_TAKEN = "node(s) didn't have free ports for the requested pod ports"
TOO_MANY_PODS = "Too many pods"
NO_SCHEDULE = "NoSchedule"
NO_EXECUTE = "NoExecute"
PREFER_NO_SCHEDULE = "PreferNoSchedule"
TAINT_UNSCHEDULABLE = "node.kubernetes.io/unschedulable"

Filter = Callable[[PodInfo, NodeInfo], tuple[str, ...]]


def untolerated(pod: Pod, node: Node, *effects: str) -> Iterator[Taint]:
    return placement.untolerated(pod, node.spec.taints, *effects)


def wants_node(pod: Pod, node: Node) -> bool:
    """nodeSelector and required node affinity both hold."""
    return placement.wants_node(pod, node.metadata.name, node.metadata.labels)


def check_unschedulable(info: PodInfo, place: NodeInfo) -> tuple[str, ...]:
    cordon = Taint(key=TAINT_UNSCHEDULABLE, effect=NO_SCHEDULE)
    if (place.node or NO_NODE).spec.unschedulable and not tolerates(info.pod.spec.tolerations, cordon):
        return (UNSCHEDULABLE,)
    return ()


def check_name(info: PodInfo, place: NodeInfo) -> tuple[str, ...]:
    wanted = info.pod.spec.node_name
    return (OTHER_NAME,) if wanted and wanted != place.name else ()


def check_taints(info: PodInfo, place: NodeInfo) -> tuple[str, ...]:
    found = untolerated(info.pod, place.node or NO_NODE, NO_SCHEDULE, NO_EXECUTE)
    return (TAINTED,) if any(True for _ in found) else ()


def check_node_affinity(info: PodInfo, place: NodeInfo) -> tuple[str, ...]:
    return () if wants_node(info.pod, place.node or NO_NODE) else (NODE_AFFINITY,)


def check_ports(info: PodInfo, place: NodeInfo) -> tuple[str, ...]:
    if not info.ports:
        return ()
    taken = {port for other in place.pods.values() for port in other.ports}
    return (PORTS_TAKEN,) if any(_clashes(port, other) for port in info.ports for other in taken) else ()


def _clashes(one: tuple[str, str, int], other: tuple[str, str, int]) -> bool:
    """The same protocol and port, on the same address or where one takes all addresses."""
    return one[1:] == other[1:] and (one[0] == other[0] or ANY_ADDRESS in (one[0], other[0]))


def check_resources(info: PodInfo, place: NodeInfo) -> tuple[str, ...]:
    reasons = []
    if len(place.pods) + 1 > place.allocatable.get(PODS, 0):
        reasons.append(TOO_MANY_PODS)
    for name, wanted in info.request.exact.items():
        if wanted > place.allocatable.get(name, 0) - place.requested.get(name, 0):
            reasons.append(f"Insufficient {name}")
    return tuple(reasons)


# Plugin name and filter, in the order of default_plugins.go.
OF_THE_NODE: tuple[tuple[str, Filter], ...] = (
    ("NodeUnschedulable", check_unschedulable),
    ("NodeName", check_name),
    ("TaintToleration", check_taints),
    ("NodeAffinity", check_node_affinity),
    ("NodePorts", check_ports),
    ("NodeResourcesFit", check_resources),
)
