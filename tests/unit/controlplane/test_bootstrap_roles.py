"""The roles a cluster starts with."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.api.model import Decision, UserInfo
from controlplane.authn.identity import ANONYMOUS, UNAUTHENTICATED
from controlplane.authz.model import Ask
from controlplane.authz.rbac import Policy
from controlplane.bootstrap import roles

pytestmark = pytest.mark.pure


def allows(judge: Policy, user: UserInfo, ask: Ask) -> bool:
    return judge.judge(user, ask).decision is Decision.ALLOWED


@pytest.fixture(scope="module")
def policy() -> Policy:
    made = Policy()
    for item in roles.objects():
        made.put(item["kind"], item)
    return made


def user(name: str, *groups: str) -> UserInfo:
    return UserInfo(name, groups=groups)


def test_masters_are_bound_to_cluster_admin(policy: Policy) -> None:
    assert allows(policy, user("x", "system:masters"), Ask("nuke", "any", "thing"))


def test_everybody_reads_health_and_only_known_users_discover(policy: Policy) -> None:
    nobody = user(ANONYMOUS, UNAUTHENTICATED)
    someone = user("ann", "system:authenticated")
    assert allows(policy, nobody, Ask("get", path="/healthz", is_resource=False))
    assert not allows(policy, nobody, Ask("get", path="/apis", is_resource=False))
    assert allows(policy, someone, Ask("get", path="/apis/apps/v1", is_resource=False))
    assert allows(policy, someone, Ask("create", "authorization.k8s.io", "selfsubjectaccessreviews"))
    assert not allows(policy, someone, Ask("list", "", "pods", namespace="default"))


def test_the_scheduler_binds_pods_and_reads_no_secrets(policy: Policy) -> None:
    scheduler = user("system:kube-scheduler", "system:authenticated")
    assert allows(policy, scheduler, Ask("create", "", "pods", "binding", "a", "web"))
    lease = ("coordination.k8s.io", "leases", "", "kube-system")
    assert allows(policy, scheduler, Ask("update", *lease, "kube-scheduler"))
    assert not allows(policy, scheduler, Ask("get", "", "secrets", namespace="a"))


def test_a_controller_has_its_own_role(policy: Policy) -> None:
    account = user("system:serviceaccount:kube-system:deployment-controller")
    assert allows(policy, account, Ask("update", "apps", "deployments", "status", "a", "web"))
    assert not allows(policy, account, Ask("delete", "", "pods", namespace="a", name="web"))


def test_nodes_get_nothing_from_their_role(policy: Policy) -> None:
    node = user("system:node:one", "system:nodes")
    assert not allows(policy, node, Ask("get", "", "secrets", namespace="a", name="x"))
    assert any(item["metadata"]["name"] == "system:node" and "subjects" not in item
               for item in roles.objects() if item["kind"] == "ClusterRoleBinding")  # fmt: skip


def test_admin_holds_edit_and_view_and_view_reads_no_secrets() -> None:
    by_name = {item["metadata"]["name"]: item for item in roles.objects() if item["kind"] == "ClusterRole"}
    assert all(rule in by_name["admin"]["rules"] for rule in by_name["edit"]["rules"])
    assert all(rule in by_name["edit"]["rules"] for rule in by_name["view"]["rules"])
    assert not any("secrets" in rule["resources"] for rule in by_name["view"]["rules"])
    assert len(by_name["view"]["rules"]) > 10


def test_aggregation_collects_by_label_and_leaves_itself_out() -> None:
    found = [item for item in roles.objects() if item["kind"] == "ClusterRole"]
    view = next(item for item in found if item["metadata"]["name"] == "view")
    extra: dict[str, Any] = {
        "metadata": {"name": "crd", "labels": {f"{roles.AGGREGATE}view": "true"}},
        "rules": [{"verbs": ["get"], "apiGroups": ["x.io"], "resources": ["things"]}],
    }
    rules = roles.aggregate(view, [*found, extra])
    assert rules is not None
    assert extra["rules"][0] in rules
    assert roles.aggregate(extra, found) is None


def test_a_restart_mends_a_role_and_keeps_additions() -> None:
    wanted = next(item for item in roles.objects() if item["metadata"]["name"] == "system:basic-user")
    assert roles.reconcile(wanted, None) == wanted
    assert roles.reconcile(wanted, wanted) is None
    own = {"verbs": ["get"], "apiGroups": ["x.io"], "resources": ["things"]}
    broken = {**wanted, "rules": [own]}
    mended = roles.reconcile(wanted, broken)
    assert mended is not None
    assert mended["rules"][0] == own
    assert roles.reconcile(wanted, mended) is None
    kept = {**broken, "metadata": {**wanted["metadata"], "annotations": {roles.AUTO_UPDATE: "false"}}}
    assert roles.reconcile(wanted, kept) is None


def test_a_bad_line_is_named() -> None:
    with pytest.raises(ValueError, match="line 2"):
        list(roles.parse("one\n  core pods get\n"))


def test_a_selector_that_cannot_be_read_collects_nothing() -> None:
    meta = {"name": "all", "labels": {"a": "b"}}
    odd = [{"matchExpressions": [{"key": "a", "operator": "Zoo"}]}]
    other = {"metadata": {"name": "one", "labels": {"a": "b"}}, "rules": [{"verbs": ["get"]}]}
    assert (
        roles.aggregate({"metadata": meta, "aggregationRule": {"clusterRoleSelectors": odd}}, [other]) == []
    )
    exact = [{"matchLabels": {"a": "b"}}]
    found = roles.aggregate({"metadata": meta, "aggregationRule": {"clusterRoleSelectors": exact}}, [other])
    assert found == other["rules"]
