"""RBAC's decisions, and what a user may grant."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.api.model import Decision, UserInfo
from controlplane.authn.identity import MASTERS, service_account_groups, service_account_name
from controlplane.authz.escalation import why_not
from controlplane.authz.model import Ask, Chain, Judge, Masters, forbidden
from controlplane.authz.rbac import Policy
from controlplane.authz.rules import Rule, uncovered, url_matches
from kube.status import NotFound

pytestmark = pytest.mark.pure


def allows(judge: Judge, user: UserInfo, ask: Ask) -> bool:
    return judge.judge(user, ask).decision is Decision.ALLOWED


ANN = UserInfo("ann", groups=("dev", "system:authenticated"))


def role(kind: str, name: str, *rules: Rule, namespace: str = "") -> dict[str, Any]:
    return {
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace},
        "rules": [rule.to_json() for rule in rules],
    }


def binding(kind: str, name: str, ref: str, *subjects: str, namespace: str = "") -> dict[str, Any]:
    def subject(text: str) -> dict[str, str]:
        what, _, who = text.partition(":")
        space, _, account = who.partition("/")
        if what == "ServiceAccount":
            return {"kind": what, "name": account, "namespace": space}
        return {"kind": what, "name": who}

    ref_kind, _, ref_name = ref.partition(":")
    return {
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace},
        "roleRef": {"kind": ref_kind, "name": ref_name},
        "subjects": [subject(text) for text in subjects],
    }


def policy(*items: dict[str, Any]) -> Policy:
    made = Policy()
    for item in items:
        made.put(item["kind"], item)
    return made


READER = role("ClusterRole", "reader", Rule(("get", "list"), ("",), ("pods", "pods/log")))


def test_a_group_gets_what_its_cluster_role_allows_everywhere() -> None:
    made = policy(READER, binding("ClusterRoleBinding", "readers", "ClusterRole:reader", "Group:dev"))
    decision = made.judge(ANN, Ask("get", "", "pods", namespace="a", name="web"))
    assert decision.decision is Decision.ALLOWED
    assert decision.reason == (
        'RBAC: allowed by ClusterRoleBinding "readers" of ClusterRole "reader" to Group "dev"'
    )
    assert allows(made, ANN, Ask("get", "", "pods", "log", "a", "web"))
    for other in (
        Ask("delete", "", "pods", namespace="a"),
        Ask("get", "apps", "pods", namespace="a"),
        Ask("get", "", "pods", "exec", "a", "web"),
    ):
        assert not allows(made, ANN, other)


def test_a_role_binding_reaches_its_own_namespace_only() -> None:
    made = policy(READER, binding("RoleBinding", "b", "ClusterRole:reader", "User:ann", namespace="a"))
    assert made.judge(ANN, Ask("list", "", "pods", namespace="a")).reason == (
        'RBAC: allowed by RoleBinding "b/a" of ClusterRole "reader" to User "ann"'
    )
    assert not allows(made, ANN, Ask("list", "", "pods", namespace="b"))
    assert not allows(made, ANN, Ask("list", "", "pods"))


def test_a_service_account_is_named_without_groups() -> None:
    made = policy(
        READER, binding("ClusterRoleBinding", "b", "ClusterRole:reader", "ServiceAccount:kube-system/bot")
    )
    bot = UserInfo(service_account_name("kube-system", "bot"), groups=service_account_groups("kube-system"))
    other = UserInfo(service_account_name("default", "bot"))
    assert allows(made, bot, Ask("get", "", "pods"))
    assert not allows(made, other, Ask("get", "", "pods"))


def test_names_limit_a_rule_and_never_allow_a_nameless_request() -> None:
    limited = role("ClusterRole", "r", Rule(("get", "create", "list"), ("",), ("secrets",), ("one",)))
    made = policy(limited, binding("ClusterRoleBinding", "b", "ClusterRole:r", "User:ann"))
    assert allows(made, ANN, Ask("get", "", "secrets", name="one"))
    assert not allows(made, ANN, Ask("get", "", "secrets", name="two"))
    assert not allows(made, ANN, Ask("create", "", "secrets"))


def test_a_wildcard_subresource_is_that_subresource_of_everything() -> None:
    scaler = role("ClusterRole", "r", Rule(("get",), ("*",), ("*/scale",)))
    made = policy(scaler, binding("ClusterRoleBinding", "b", "ClusterRole:r", "User:ann"))
    assert allows(made, ANN, Ask("get", "apps", "deployments", "scale", "a", "x"))
    assert not allows(made, ANN, Ask("get", "apps", "deployments", "", "a", "x"))


def test_a_decision_changes_with_the_policy() -> None:
    bound = binding("ClusterRoleBinding", "b", "ClusterRole:reader", "User:ann")
    made = policy(bound)
    ask = Ask("get", "", "pods")
    missing = made.judge(ANN, ask)
    assert missing.decision is not Decision.ALLOWED
    assert missing.reason == 'RBAC: clusterrole.rbac.authorization.k8s.io "reader" not found'
    made.put("ClusterRole", READER)
    assert allows(made, ANN, ask)
    made.put("ClusterRoleBinding", {**bound, "subjects": []})
    assert not allows(made, ANN, ask)
    made.put("ClusterRoleBinding", bound)
    made.remove("ClusterRoleBinding", "", "b")
    assert not allows(made, ANN, ask)


def test_paths_match_whole_or_by_their_beginning() -> None:
    assert url_matches("/healthz", "/healthz")
    assert not url_matches("/healthz", "/healthz/etcd")
    assert url_matches("/healthz/*", "/healthz/etcd")
    assert not url_matches("/healthz/*", "/healthz")
    made = policy(
        role("ClusterRole", "r", Rule(("get",), urls=("/metrics",))),
        binding("ClusterRoleBinding", "b", "ClusterRole:r", "User:ann"),
    )
    assert allows(made, ANN, Ask("get", path="/metrics", is_resource=False))
    assert not allows(made, ANN, Ask("get", path="/logs", is_resource=False))


def test_masters_need_no_policy() -> None:
    chain = Chain((Masters(), policy()))
    assert allows(chain, UserInfo("root", groups=(MASTERS,)), Ask("delete", "", "nodes"))
    assert not allows(chain, ANN, Ask("delete", "", "nodes"))


def test_refusals_speak_as_kubernetes_does() -> None:
    denied = forbidden(ANN, Ask("get", "apps", "deployments", "scale", "a", "web"), "")
    assert str(denied) == (
        'deployments.apps "web" is forbidden: User "ann" cannot get resource "deployments/scale" '
        'in API group "apps" in the namespace "a"'
    )
    assert denied.status.code == 403
    assert str(forbidden(ANN, Ask("list", "", "nodes"), "")) == (
        'nodes is forbidden: User "ann" cannot list resource "nodes" in API group "" at the cluster scope'
    )
    path = Ask("get", path="/metrics", is_resource=False)
    assert str(forbidden(ANN, path, "")) == 'forbidden: User "ann" cannot get path "/metrics"'


def test_covering_goes_verb_by_verb() -> None:
    owned = (Rule(("get",), ("",), ("pods",)), Rule(("*",), ("apps",), ("*",)))
    wanted = (Rule(("get", "delete"), ("",), ("pods",)), Rule(("patch",), ("apps",), ("deployments/scale",)))
    assert uncovered(owned, wanted) == [Rule(("delete",), ("",), ("pods",))]
    assert uncovered((Rule(("get",), ("",), ("pods",), ("a",)),), (Rule(("get",), ("",), ("pods",)),))
    assert not uncovered((Rule(("get",), urls=("/api/*",)),), (Rule(("get",), urls=("/api/v1*",)),))


def test_nobody_grants_what_they_do_not_hold() -> None:
    made = policy(READER, binding("ClusterRoleBinding", "b", "ClusterRole:reader", "User:ann"))
    held = (made, made)
    allowed = role("Role", "mine", Rule(("get",), ("",), ("pods",)), namespace="a")
    assert why_not("Role", allowed, None, ANN, held) == ""
    wider = role("Role", "mine", Rule(("get", "delete", "patch"), ("",), ("pods",)), namespace="a")
    assert why_not("Role", wider, allowed, ANN, held) == (
        'user "ann" (groups=["dev" "system:authenticated"]) is attempting to grant RBAC permissions not '
        'currently held:\n{APIGroups:[""], Resources:["pods"], Verbs:["delete" "patch"]}'
    )
    assert why_not("Role", wider, wider, ANN, held) == ""
    assert why_not("Role", wider, None, UserInfo("root", groups=(MASTERS,)), held) == ""


def test_binding_a_role_needs_its_rules_or_the_verb_bind() -> None:
    secret = role("ClusterRole", "secrets", Rule(("get",), ("",), ("secrets",)))
    made = policy(secret)
    wanted = binding("RoleBinding", "b", "ClusterRole:secrets", "User:ann", namespace="a")
    assert "not currently held" in why_not("RoleBinding", wanted, None, ANN, (made, made))
    bind = Rule(("bind",), ("rbac.authorization.k8s.io",), ("clusterroles",), ("secrets",))
    made.put("ClusterRole", role("ClusterRole", "binder", bind))
    made.put("ClusterRoleBinding", binding("ClusterRoleBinding", "x", "ClusterRole:binder", "User:ann"))
    assert why_not("RoleBinding", wanted, None, ANN, (made, made)) == ""
    with pytest.raises(NotFound, match=r'clusterroles.rbac.authorization.k8s.io "none" not found'):
        why_not("RoleBinding", {**wanted, "roleRef": {"kind": "ClusterRole", "name": "none"}}, None, ANN,
                (made, made))  # fmt: skip


def test_an_aggregate_is_for_those_who_may_do_everything() -> None:
    made = policy()
    aggregate = {**role("ClusterRole", "all"), "aggregationRule": {"clusterRoleSelectors": []}}
    assert "aggregationRule" in why_not("ClusterRole", aggregate, None, ANN, (made, made))
