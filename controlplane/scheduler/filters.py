"""Why a pod may not go to a node, by what the two say of themselves (pure).

Each filter gives the reasons in the words of the upstream plugin of its name, none when the pod fits. They
are asked in the upstream order and the first that objects ends the question (as RunFilterPlugins does).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from controlplane.scheduler.cluster import ANY_ADDRESS, NO_NODE, NodeInfo, PodInfo
from controlplane.scheduler.requests import PODS
from kube import selectors
from kube.objects.cluster_v1 import Node, Taint
from kube.objects.core_v1 import Pod, Toleration

UNSCHEDULABLE = "node(s) were unschedulable"
OTHER_NAME = "node(s) didn't match the requested node name"
TAINTED = "node(s) had untolerated taint(s)"
NODE_AFFINITY = "node(s) didn't match Pod's node affinity/selector"
PORTS_TAKEN = "node(s) didn't have free ports for the requested pod ports"
TOO_MANY_PODS = "Too many pods"
NO_SCHEDULE = "NoSchedule"
NO_EXECUTE = "NoExecute"
PREFER_NO_SCHEDULE = "PreferNoSchedule"
TAINT_UNSCHEDULABLE = "node.kubernetes.io/unschedulable"

Filter = Callable[[PodInfo, NodeInfo], tuple[str, ...]]


def tolerates(tolerations: Iterable[Toleration], taint: Taint) -> bool:
    """Whether any toleration covers the taint (Toleration.ToleratesTaint)."""
    return any(_covers(item, taint) for item in tolerations)


def _covers(toleration: Toleration, taint: Taint) -> bool:
    if toleration.effect and toleration.effect != taint.effect:
        return False
    if toleration.key and toleration.key != taint.key:
        return False
    operator = toleration.operator or "Equal"
    if operator == "Exists":
        return True
    ours, theirs = toleration.value or "", taint.value or ""
    if operator == "Equal":
        # An empty key is only legal with Exists.
        return bool(toleration.key) and ours == theirs
    if operator in ("Gt", "Lt") and ours.lstrip("-").isdigit() and theirs.lstrip("-").isdigit():
        return int(theirs) > int(ours) if operator == "Gt" else int(theirs) < int(ours)
    return False


def untolerated(pod: Pod, node: Node, *effects: str) -> Iterator[Taint]:
    for taint in node.spec.taints:
        if taint.effect in effects and not tolerates(pod.spec.tolerations, taint):
            yield taint


def wants_node(pod: Pod, node: Node) -> bool:
    """nodeSelector and required node affinity both hold."""
    labels = node.metadata.labels
    if any(labels.get(key) != value for key, value in pod.spec.node_selector.items()):
        return False
    affinity = pod.spec.affinity
    wanted = affinity.node_affinity if affinity is not None else None
    required = wanted.required_during_scheduling_ignored_during_execution if wanted is not None else None
    fields = {"metadata.name": node.metadata.name}
    return required is None or selectors.node_matches(required, labels, fields)


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
