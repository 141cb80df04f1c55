"""The Node authorizer: a node reads itself and what its own pods reference, and writes only its own.

What it may do beside that is the rules of the role system:node (plugin/pkg/auth/authorizer/node). What a node
may *write* into an object that it may write is NodeRestriction's part.
"""

from __future__ import annotations

from collections.abc import Callable

from controlplane.api.model import Decision, UserInfo, Verdict
from controlplane.authn.identity import node_of
from controlplane.authz.graph import Graph
from controlplane.authz.model import Access
from controlplane.authz.rules import Rule, Rules
from kube import selectors

LEASE_NAMESPACE = "kube-node-lease"
_ALLOWED = Verdict(Decision.ALLOWED)
_READS = ("get", "list", "watch")


class NodeAuthorizer:
    """`rules` are those of system:node; `graph` is kept up to date by whoever follows the pods."""

    def __init__(self, graph: Graph, rules: tuple[Rule, ...]) -> None:
        self._graph = graph
        self._rules = Rules(rules)
        self._special: dict[tuple[str, str], Callable[[str, Access], str]] = {
            ("", "secrets"): self._referenced,
            ("", "configmaps"): self._referenced,
            ("", "persistentvolumeclaims"): self._claim,
            ("", "persistentvolumes"): self._unreachable,
            ("", "serviceaccounts"): self._account,
            ("", "nodes"): self._node,
            ("", "pods"): self._pod,
            ("coordination.k8s.io", "leases"): self._lease,
            ("storage.k8s.io", "csinodes"): self._own_named,
            ("storage.k8s.io", "volumeattachments"): self._unreachable,
        }

    def judge(self, user: UserInfo, access: Access) -> Verdict:
        node = node_of(user)
        if node is None:
            return Verdict(Decision.NO_OPINION)
        if not node:
            return _no(f'unknown node for user "{user.name}"')
        special = self._special.get((access.group, access.resource)) if access.is_resource else None
        if special:
            because = special(node, access)
            return _no(because) if because else _ALLOWED
        return _ALLOWED if self._rules.allow(access) else Verdict(Decision.NO_OPINION)

    def _referenced(self, node: str, access: Access) -> str:
        """Secrets and ConfigMaps: read one by one, by name, also in a list or watch."""
        if access.verb not in _READS:
            return "can only read resources of this type"
        if access.subresource:
            return "cannot read subresource"
        if not access.namespace:
            return "can only read namespaced object of this type"
        return self._reached(node, access.resource, access)

    def _reached(self, node: str, plural: str, access: Access) -> str:
        if not access.name:
            return "No Object name found"
        if self._graph.reaches(node, plural, access.namespace, access.name):
            return ""
        return f"no relationship found between node '{node}' and this object"

    def _unreachable(self, node: str, access: Access) -> str:
        """Kinds of volumes that this server has no graph for."""
        return f"no relationship found between node '{node}' and this object"

    def _claim(self, node: str, access: Access) -> str:
        if access.subresource == "status":
            if access.verb not in ("get", "patch", "update"):
                return "can only get, update, or patch this type"
        elif access.subresource or access.verb != "get":
            return "can only get individual resources of this type"
        return self._reached(node, access.resource, access)

    def _account(self, node: str, access: Access) -> str:
        """Tokens of the accounts that its pods run as."""
        if access.subresource != "token" or access.verb != "create":
            return "can only create tokens for individual service accounts"
        return self._reached(node, "serviceaccounts", access)

    def _node(self, node: str, access: Access) -> str:
        if access.subresource == "status":
            allowed: tuple[str, ...] = ("patch", "update")
        elif access.subresource:
            return f"node '{node}' cannot use subresource '{access.subresource}' of nodes"
        else:
            allowed = (*_READS, "create", "patch", "update")
        if access.verb not in allowed:
            return f"node '{node}' cannot {access.verb} nodes"
        if access.name == node or (access.verb == "create" and not access.name):
            return ""
        what = "read" if access.verb in _READS else "modify"
        if not access.name:
            return f"node '{node}' cannot {what} all nodes, only its own Node object"
        return f"node '{node}' cannot {what} '{access.name}', only its own Node object"

    def _pod(self, node: str, access: Access) -> str:
        if access.subresource not in ("", "status", "eviction"):
            return f"node '{node}' cannot use subresource '{access.subresource}' of pods"
        if not access.subresource and access.verb in ("list", "watch"):
            if access.name and access.namespace:
                return self._reached(node, "pods", access)
            if _demands(access.field_selector, "spec.nodeName", node):
                return ""
            return "can only list/watch pods with spec.nodeName field selector"
        if not access.subresource and access.verb == "get":
            return self._reached(node, "pods", access)
        # NodeRestriction looks whose pod it is, since it may be written before it is known here.
        return "" if self._rules.allow(access) else f"node '{node}' cannot {access.verb} pods"

    def _lease(self, node: str, access: Access) -> str:
        if access.verb not in ("get", "create", "update", "patch", "delete"):
            return "can only get, create, update, patch, or delete a node lease"
        if access.namespace != LEASE_NAMESPACE:
            return f'can only access leases in the "{LEASE_NAMESPACE}" system namespace'
        # The name of a create stands in its body, and NodeRestriction reads it.
        if access.verb != "create" and access.name != node:
            return "can only access node lease with the same name as the requesting node"
        return "" if not access.subresource else "cannot use subresources of a node lease"

    def _own_named(self, node: str, access: Access) -> str:
        if access.verb not in ("get", "create", "update", "patch", "delete"):
            return "can only get, create, update, patch, or delete a CSINode"
        if access.verb != "create" and access.name != node:
            return "can only access CSINode with the same name as the requesting node"
        return "" if not access.subresource else "cannot authorize CSINode subresources"


def _no(because: str) -> Verdict:
    return Verdict(Decision.NO_OPINION, because)


def _demands(field_selector: str, field: str, value: str) -> bool:
    """Whether the selector lets through only objects whose field has the value; a bad selector does not."""
    try:
        found = selectors.parse_fields(field_selector)
    except selectors.SelectorError:
        return False
    return any(item.field == field and item.equal and item.value == value for item in found)
