"""Whether a pod and a node want each other, by what both say (pure): the scheduler asks it before a pod is
bound, the agent again before it is begun.

Rules: component-helpers/scheduling/corev1 of Kubernetes 1.36 (nodeaffinity, ToleratesTaint).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from kube import selectors
from kube.objects.cluster_v1 import Taint
from kube.objects.core_v1 import Pod, Toleration

# The words of the scheduler's plugins, which the agent uses too.
TAINTED = "node(s) had untolerated taint(s)"
NODE_AFFINITY = "node(s) didn't match Pod's node affinity/selector"


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


def untolerated(pod: Pod, taints: Iterable[Taint], *effects: str) -> Iterator[Taint]:
    """The taints of these effects that the pod does not tolerate."""
    for taint in taints:
        if taint.effect in effects and not tolerates(pod.spec.tolerations, taint):
            yield taint


def wants_node(pod: Pod, name: str, labels: Mapping[str, str]) -> bool:
    """nodeSelector and required node affinity both hold for the node of this name with these labels."""
    if any(labels.get(key) != value for key, value in pod.spec.node_selector.items()):
        return False
    affinity = pod.spec.affinity
    wanted = affinity.node_affinity if affinity is not None else None
    required = wanted.required_during_scheduling_ignored_during_execution if wanted is not None else None
    return required is None or selectors.node_matches(required, labels, {"metadata.name": name})
