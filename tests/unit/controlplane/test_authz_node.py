"""What a node may, by what its pods reference."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.api.model import Decision, UserInfo
from controlplane.authz.graph import Graph, references
from controlplane.authz.model import Ask
from controlplane.authz.node import NodeAuthorizer
from controlplane.bootstrap import roles
from kube.meta import CONFIG_MIRROR

pytestmark = pytest.mark.pure
ONE = UserInfo("system:node:one", groups=("system:nodes",))
TWO = UserInfo("system:node:two", groups=("system:nodes",))


def pod(name: str = "web", node: str = "one", **spec: Any) -> dict[str, Any]:
    return {"metadata": {"namespace": "a", "name": name}, "spec": {"nodeName": node, **spec}}


SECRET: dict[str, Any] = {"volumes": [{"name": "v", "secret": {"secretName": "s"}}]}


@pytest.fixture
def graph() -> Graph:
    return Graph()


@pytest.fixture
def node(graph: Graph) -> NodeAuthorizer:
    rules = next(item.rules for item in roles.declared() if item.name == "system:node")
    return NodeAuthorizer(graph, rules)


def allows(node: NodeAuthorizer, user: UserInfo, ask: Ask) -> bool:
    return node.judge(user, ask).decision is Decision.ALLOWED


def test_a_node_reads_only_the_secrets_that_its_own_pods_reference(
    node: NodeAuthorizer, graph: Graph
) -> None:
    ask = Ask("get", "", "secrets", namespace="a", name="s")
    refused = node.judge(ONE, ask)
    assert refused.reason == "no relationship found between node 'one' and this object"
    graph.put_pod(pod(**SECRET))
    assert allows(node, ONE, ask)
    assert allows(node, ONE, Ask("watch", "", "secrets", namespace="a", name="s"))
    assert not allows(node, TWO, ask)
    for other in (
        Ask("get", "", "secrets", namespace="b", name="s"),
        Ask("list", "", "secrets", namespace="a"),
        Ask("list", "", "secrets", name="s"),
        Ask("update", "", "secrets", namespace="a", name="s"),
        Ask("get", "", "configmaps", namespace="a", name="s"),
    ):
        assert not allows(node, ONE, other)


def test_access_ends_with_the_last_pod_that_needs_it(node: NodeAuthorizer, graph: Graph) -> None:
    ask = Ask("get", "", "secrets", namespace="a", name="s")
    graph.put_pod(pod("web", **SECRET))
    graph.put_pod(pod("db", **SECRET))
    graph.remove_pod("a", "web")
    assert allows(node, ONE, ask)
    graph.put_pod(pod("db", node="two", **SECRET))
    assert not allows(node, ONE, ask)
    assert allows(node, TWO, ask)
    graph.remove_pod("a", "db")
    graph.remove_pod("a", "db")
    assert not allows(node, TWO, ask)


def test_references_of_every_kind_are_found() -> None:
    spec: dict[str, Any] = {
        "serviceAccountName": "bot",
        "imagePullSecrets": [{"name": "pull"}],
        "initContainers": [{"envFrom": [{"configMapRef": {"name": "env"}}, {"secretRef": {"name": "envs"}}]}],
        "containers": [
            {"env": [
                {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "key"}}},
                {"name": "B", "valueFrom": {"secretKeyRef": {"name": "keys"}}},
                {"name": "C", "value": "x"},
            ]}
        ],
        "volumes": [
            {"name": "p", "projected": {"sources": [
                {"secret": {"name": "ps"}}, {"configMap": {"name": "pc"}},
            ]}},
            {"name": "c", "configMap": {"name": "vol"}},
            {"name": "d", "persistentVolumeClaim": {"claimName": "disk"}},
            {"name": "e", "ephemeral": {}},
            {"name": "f", "ephemeral": {"volumeClaimTemplate": {}}},
            {"name": "g", "csi": {"nodePublishSecretRef": {"name": "publish"}}},
        ],
    }  # fmt: skip
    found = {(plural, name) for plural, _, name in references(pod(**spec))}
    assert found == {
        ("pods", "web"), ("serviceaccounts", "bot"),
        *(("secrets", name) for name in ("pull", "envs", "keys", "ps", "publish")),
        *(("configmaps", name) for name in ("env", "key", "pc", "vol")),
        ("persistentvolumeclaims", "disk"), ("persistentvolumeclaims", "web-f"),
    }  # fmt: skip


def test_a_mirror_pod_opens_nothing(node: NodeAuthorizer, graph: Graph) -> None:
    mirror = pod(**SECRET)
    mirror["metadata"]["annotations"] = {CONFIG_MIRROR: "hash"}
    graph.put_pod(mirror)
    assert not allows(node, ONE, Ask("get", "", "secrets", namespace="a", name="s"))
    assert allows(node, ONE, Ask("get", "", "pods", namespace="a", name="web"))


def test_a_node_makes_tokens_for_the_accounts_of_its_pods_alone(node: NodeAuthorizer, graph: Graph) -> None:
    graph.put_pod(pod(serviceAccountName="bot"))
    assert allows(node, ONE, Ask("create", "", "serviceaccounts", "token", "a", "bot"))
    assert not allows(node, ONE, Ask("create", "", "serviceaccounts", "token", "a", "root"))
    assert not allows(node, TWO, Ask("create", "", "serviceaccounts", "token", "a", "bot"))
    assert not allows(node, ONE, Ask("get", "", "serviceaccounts", namespace="a", name="bot"))


def test_a_node_sees_and_writes_itself_alone(node: NodeAuthorizer) -> None:
    for verb in ("get", "list", "watch", "update", "patch"):
        assert allows(node, ONE, Ask(verb, "", "nodes", name="one"))
        assert not allows(node, ONE, Ask(verb, "", "nodes", name="two"))
    assert allows(node, ONE, Ask("patch", "", "nodes", "status", name="one"))
    assert not allows(node, ONE, Ask("patch", "", "nodes", "status", name="two"))
    assert allows(node, ONE, Ask("create", "", "nodes"))
    assert not allows(node, ONE, Ask("delete", "", "nodes", name="one"))
    assert node.judge(ONE, Ask("list", "", "nodes")).reason == (
        "node 'one' cannot read all nodes, only its own Node object"
    )


def test_a_node_lists_the_pods_bound_to_it(node: NodeAuthorizer, graph: Graph) -> None:
    graph.put_pod(pod())
    ask = Ask("watch", "", "pods", field_selector="spec.nodeName=one")
    assert allows(node, ONE, ask)
    assert not allows(node, TWO, ask)
    for selector in ("", "spec.nodeName!=one", "spec.nodeName=one,,=", "metadata.name=x"):
        assert not allows(node, ONE, Ask("list", "", "pods", field_selector=selector))
    assert allows(node, ONE, Ask("get", "", "pods", namespace="a", name="web"))
    assert not allows(node, TWO, Ask("get", "", "pods", namespace="a", name="web"))
    assert allows(node, ONE, Ask("patch", "", "pods", "status", "a", "web"))
    assert not allows(node, ONE, Ask("create", "", "pods", "exec", "a", "web"))


def test_a_node_keeps_its_own_lease(node: NodeAuthorizer) -> None:
    group = "coordination.k8s.io"
    assert allows(node, ONE, Ask("update", group, "leases", namespace="kube-node-lease", name="one"))
    assert not allows(node, ONE, Ask("update", group, "leases", namespace="kube-node-lease", name="two"))
    assert not allows(node, ONE, Ask("update", group, "leases", namespace="kube-system", name="one"))


def test_the_rest_is_the_roles_and_others_are_not_judged(node: NodeAuthorizer) -> None:
    assert allows(node, ONE, Ask("list", "", "services"))
    assert allows(node, ONE, Ask("create", "authorization.k8s.io", "subjectaccessreviews"))
    assert not allows(node, ONE, Ask("delete", "apps", "deployments", namespace="a"))
    nameless = UserInfo("bob", groups=("system:nodes",))
    assert node.judge(nameless, Ask("list", "", "services")).reason == 'unknown node for user "bob"'
    account = UserInfo("system:node:one")
    assert node.judge(account, Ask("list", "", "services")).decision is Decision.NO_OPINION
