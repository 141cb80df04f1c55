"""NodeRestriction: a node writes only itself, its Lease, and the pods that are bound to it
(plugin/pkg/admission/noderestriction).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from controlplane.admission.plugin import DELETES, WRITES, Plugin, denied, is_create, name_of
from controlplane.api.model import Attributes, View
from controlplane.authn.identity import node_of
from controlplane.authz.graph import references
from controlplane.authz.node import LEASE_NAMESPACE
from kube.client.resources import PODS
from kube.meta import CONFIG_MIRROR

# Labels that a node may give itself (kubelet/apis/well_known_labels.go).
_LABELS = frozenset((
    "kubernetes.io/hostname", "kubernetes.io/arch", "kubernetes.io/os",
    "beta.kubernetes.io/arch", "beta.kubernetes.io/os", "beta.kubernetes.io/instance-type",
    "node.kubernetes.io/instance-type", "topology.kubernetes.io/zone", "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/region",
))  # fmt: skip
_OPEN_DOMAINS = ("kubelet.kubernetes.io", "node.kubernetes.io")
_CLOSED_DOMAINS = ("kubernetes.io", "k8s.io")


class NodeRestriction(Plugin):
    name = "NodeRestriction"
    verbs = (*WRITES, *DELETES)
    kinds = frozenset((
        "/pods", "/nodes", "/serviceaccounts", "coordination.k8s.io/leases", "storage.k8s.io/csinodes",
    ))  # fmt: skip
    subresources = frozenset(("", "status", "eviction", "token", "binding", "resize", "ephemeralcontainers"))

    async def validate(self, attributes: Attributes, view: View) -> None:
        node = node_of(attributes.user)
        if node is None:
            return
        if not node:
            raise denied(attributes, f'could not determine node from user "{attributes.user.name}"')
        because = _CHECKS[attributes.info.resource](node, attributes, view)
        if because:
            raise denied(attributes, because)


def _pod(node: str, attributes: Attributes, view: View) -> str:
    if attributes.info.subresource == "eviction":
        pod = view.get(PODS, attributes.info.namespace, attributes.info.name)
        if pod is None or _node_name(pod) == node:
            # One that is gone is answered with 404 by the eviction itself.
            return ""
        return f'node "{node}" can only evict pods with spec.nodeName set to itself'
    if attributes.info.subresource == "status":
        return _pod_status(node, attributes)
    if attributes.info.subresource:
        subresource = attributes.info.subresource
        return f'unexpected pod subresource "{subresource}", only "status" and "eviction" are allowed'
    if is_create(attributes):
        return _mirror_pod(node, attributes.value or {})
    if attributes.info.verb in DELETES:
        if _node_name(attributes.old or {}) != node:
            return f'node "{node}" can only delete pods with spec.nodeName set to itself'
        return ""
    return (
        f'unexpected operation "{attributes.info.verb}", node "{node}" can only create and delete mirror pods'
    )


def _pod_status(node: str, attributes: Attributes) -> str:
    old, new = attributes.old or {}, attributes.value or {}
    if _node_name(old) != node:
        return f'node "{node}" can only update pod status for pods with spec.nodeName set to itself'
    if (old["metadata"].get("labels") or {}) != (new["metadata"].get("labels") or {}):
        return f'node "{node}" cannot update labels through pod status'
    return ""


def _mirror_pod(node: str, pod: Mapping[str, Any]) -> str:
    meta, spec = pod["metadata"], pod.get("spec") or {}
    if CONFIG_MIRROR not in (meta.get("annotations") or {}):
        return f'pod does not have "{CONFIG_MIRROR}" annotation, node "{node}" can only create mirror pods'
    if _node_name(pod) != node:
        return f'node "{node}" can only create pods with spec.nodeName set to itself'
    owners = meta.get("ownerReferences") or []
    if len(owners) > 1 or any(
        owner.get("kind") != "Node" or owner.get("name") != node or owner.get("apiVersion") != "v1"
        for owner in owners
    ):
        return f'node "{node}" can only create pods with an owner reference set to itself'
    if spec.get("serviceAccountName"):
        return f'node "{node}" can not create pods that reference a service account'
    # As of an ordinary pod: a mirror pod's references are not followed, and it may have none.
    plain = {**pod, "metadata": {**meta, "annotations": {}}}
    for plural, _, _ in references(plain):
        if plural != "pods":
            return f'node "{node}" can not create pods that reference {plural}'
    return ""


def _node(node: str, attributes: Attributes, view: View) -> str:
    name = attributes.info.name or name_of(attributes)
    if name != node:
        return f'node "{node}" is not allowed to modify node "{name}"'
    if attributes.info.verb in DELETES:
        return f'node "{node}" is not allowed to delete itself'
    old, new = attributes.old or {}, attributes.value or {}
    if attributes.old is not None:
        if _taints(old) != _taints(new):
            return f'node "{node}" is not allowed to modify taints'
        if old["metadata"].get("ownerReferences") != new["metadata"].get("ownerReferences"):
            return f'node "{node}" is not allowed to modify ownerReferences'
    elif new["metadata"].get("ownerReferences"):
        return f'node "{node}" is not allowed to set ownerReferences'
    forbidden = sorted(label for label in _changed_labels(old, new) if not may_label(label))
    if forbidden:
        verb = "set" if attributes.old is None else "modify"
        return f'node "{node}" is not allowed to {verb} the following labels: {", ".join(forbidden)}'
    return ""


def _changed_labels(old: Mapping[str, Any], new: Mapping[str, Any]) -> set[str]:
    before = (old.get("metadata") or {}).get("labels") or {}
    after = (new.get("metadata") or {}).get("labels") or {}
    return {label for label in {*before, *after} if before.get(label) != after.get(label)}


def may_label(label: str) -> bool:
    """Whether a node may set this label on itself."""
    domain, slash, _ = label.rpartition("/")
    if not slash:
        return True
    if domain == "node-restriction.kubernetes.io" or domain.endswith(".node-restriction.kubernetes.io"):
        return False
    if label in _LABELS or _within(domain, _OPEN_DOMAINS):
        return True
    return not _within(domain, _CLOSED_DOMAINS)


def _within(domain: str, parents: tuple[str, ...]) -> bool:
    return any(domain == parent or domain.endswith(f".{parent}") for parent in parents)


def _token(node: str, attributes: Attributes, view: View) -> str:
    if attributes.info.subresource != "token":
        return ""
    request = attributes.value or {}
    bound = (request.get("spec") or {}).get("boundObjectRef") or {}
    if bound.get("kind") != "Pod" or bound.get("apiVersion") != "v1" or not bound.get("name"):
        return "node requested token not bound to a pod"
    if not bound.get("uid"):
        return "node requested token with a pod binding without a uid"
    pod = view.get(PODS, attributes.info.namespace, bound["name"])
    if pod is None:
        return f'pod "{bound["name"]}" not found'
    if pod["metadata"].get("uid") != bound["uid"]:
        return f"the UID in the bound object reference ({bound['uid']}) does not match the UID in record"
    if _node_name(pod) != node:
        return "node requested token bound to a pod scheduled on a different node"
    if (pod.get("spec") or {}).get("serviceAccountName") != attributes.info.name:
        return "node requested token for a service account that the pod does not run as"
    return ""


def _lease(node: str, attributes: Attributes, view: View) -> str:
    if attributes.info.namespace != LEASE_NAMESPACE:
        return f'can only access leases in the "{LEASE_NAMESPACE}" system namespace'
    if (attributes.info.name or name_of(attributes)) != node:
        return "can only access node lease with the same name as the requesting node"
    return ""


def _csi_node(node: str, attributes: Attributes, view: View) -> str:
    if (attributes.info.name or name_of(attributes)) != node:
        return "can only access CSINode with the same name as the requesting node"
    return ""


def _node_name(pod: Mapping[str, Any]) -> str:
    return str((pod.get("spec") or {}).get("nodeName", ""))


def _taints(node: Mapping[str, Any]) -> list[Any]:
    return (node.get("spec") or {}).get("taints") or []


_CHECKS = {
    "pods": _pod, "nodes": _node, "serviceaccounts": _token, "leases": _lease, "csinodes": _csi_node,
}  # fmt: skip
