"""Reviews and token requests: questions and their answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import jwt
import pytest

from controlplane.api.model import UserInfo
from controlplane.authn import tokenrequest
from controlplane.authn.refusal import unauthorized
from controlplane.authn.tokens import Signer
from controlplane.authz import reviews
from controlplane.authz.rbac import Policy
from controlplane.bootstrap import roles
from kube import pki
from kube.defaults_rbac import default_binding
from kube.status import BadRequest, Conflict, Invalid, NotFound

pytestmark = pytest.mark.pure
NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
Json = dict[str, Any]


@pytest.fixture(scope="module")
def policy() -> Policy:
    made = Policy()
    for item in roles.objects():
        made.put(item["kind"], item)
    return made


def test_an_access_review_answers_for_its_user(policy: Policy) -> None:
    pods = {"verb": "delete", "resource": "pods", "namespace": "a"}
    review = {"spec": {"user": "root", "groups": ["system:masters"], "resourceAttributes": pods}}
    answer = reviews.subject_access(review, policy)
    assert answer["status"]["allowed"] is True
    assert "cluster-admin" in answer["status"]["reason"]
    assert answer["spec"] == review["spec"]
    nobody = reviews.subject_access({"spec": {"user": "ann", "resourceAttributes": pods}}, policy)
    assert nobody["status"] == {"allowed": False}


def test_senseless_reviews_are_invalid(policy: Policy) -> None:
    both = {"user": "a", "resourceAttributes": {}, "nonResourceAttributes": {}}
    for spec, because in (
        (both, "cannot be specified in combination"),
        ({"user": "a"}, "exactly one of"),
        ({"resourceAttributes": {}}, "at least one of user or group"),
    ):
        with pytest.raises(Invalid, match=because):
            reviews.subject_access({"spec": spec}, policy)
    elsewhere = {"spec": {"user": "a", "resourceAttributes": {"namespace": "b"}}}
    with pytest.raises(Invalid, match="must match namespace"):
        reviews.local_subject_access(elsewhere, policy, "a")


def test_a_user_may_ask_about_itself(policy: Policy) -> None:
    me = UserInfo("ann", groups=("system:authenticated",))
    path = {"spec": {"nonResourceAttributes": {"verb": "get", "path": "/apis"}}}
    assert reviews.self_subject_access(path, policy, me)["status"]["allowed"] is True
    found = reviews.self_subject_rules({"spec": {"namespace": "default"}}, policy, me)["status"]
    assert any("selfsubjectaccessreviews" in rule["resources"] for rule in found["resourceRules"])
    assert any("/apis" in rule["nonResourceURLs"] for rule in found["nonResourceRules"])
    assert reviews.self_subject({}, me)["status"]["userInfo"]["username"] == "ann"


def test_a_token_review_names_the_user_or_the_error() -> None:
    def user_of(token: str, audiences: Sequence[str]) -> tuple[UserInfo, list[str]]:
        if token != "good":
            raise unauthorized("token has expired")
        return UserInfo("ann", "1"), list(audiences)

    good = reviews.token({"spec": {"token": "good", "audiences": ["x"]}}, user_of)["status"]
    assert good == {"authenticated": True, "user": {"username": "ann", "uid": "1"}, "audiences": ["x"]}
    bad = reviews.token({"spec": {"token": "bad"}}, user_of)["status"]
    assert bad == {"authenticated": False, "error": "token has expired"}
    with pytest.raises(BadRequest):
        reviews.token({"spec": {}}, user_of)


STORED: dict[tuple[str, str, str], Json] = {
    ("serviceaccounts", "a", "bot"): {"metadata": {"name": "bot", "uid": "u-bot"}},
    ("pods", "a", "web"): {
        "metadata": {"name": "web", "uid": "u-web"},
        "spec": {"serviceAccountName": "bot", "nodeName": "one"},
    },
    ("pods", "a", "other"): {"metadata": {"name": "other", "uid": "u-o"}, "spec": {}},
    ("nodes", "", "one"): {"metadata": {"name": "one", "uid": "u-one"}},
}


def stored(plural: str, namespace: str, name: str) -> Mapping[str, Any] | None:
    return STORED.get((plural, namespace, name))


def ask(**spec: Any) -> tokenrequest.Wanted:
    return tokenrequest.checked({"spec": spec}, ("a", "bot"), ["api"], stored)


def pod(name: str, **fields: str) -> Json:
    return {"apiVersion": "v1", "kind": "Pod", "name": name, **fields}


def test_a_token_request_is_bound_to_its_pod_and_the_pods_node() -> None:
    wanted = ask(boundObjectRef=pod("web", uid="u-web"))
    assert wanted.audiences == ("api",)
    assert wanted.seconds == 3600
    answer = tokenrequest.answer({}, wanted, Signer("iss", pki.make_key()), NOW, "id")
    assert answer["status"]["expirationTimestamp"] == "2026-05-01T13:00:00Z"
    found = jwt.decode(answer["status"]["token"], options={"verify_signature": False})["kubernetes.io"]
    assert found["pod"] == {"name": "web", "uid": "u-web"}
    assert found["node"] == {"name": "one", "uid": "u-one"}


def test_a_token_request_for_what_is_not_there_is_refused() -> None:
    with pytest.raises(Conflict, match="does not match the UID in record"):
        ask(boundObjectRef=pod("web", uid="old"))
    with pytest.raises(NotFound, match='pods "gone" not found'):
        ask(boundObjectRef=pod("gone"))
    with pytest.raises(BadRequest, match="different serviceaccount name"):
        ask(boundObjectRef=pod("other"))
    with pytest.raises(BadRequest, match="cannot bind token"):
        ask(boundObjectRef={"apiVersion": "v1", "kind": "ConfigMap", "name": "x"})
    with pytest.raises(NotFound, match='serviceaccounts "none" not found'):
        tokenrequest.checked({}, ("a", "none"), ["api"], stored)
    for seconds in (599, 2**32 + 1):
        with pytest.raises(Invalid, match="may not specify a duration"):
            ask(expirationSeconds=seconds)


def test_a_binding_gets_the_groups_it_left_out() -> None:
    subjects = [{"kind": "User", "name": "a"}, {"kind": "ServiceAccount", "name": "b"}]
    value: Json = {"roleRef": {"kind": "Role", "name": "r"}, "subjects": subjects}
    default_binding(value)
    assert value["roleRef"]["apiGroup"] == value["subjects"][0]["apiGroup"] == "rbac.authorization.k8s.io"
    assert "apiGroup" not in value["subjects"][1]
