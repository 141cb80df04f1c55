"""The review kinds: questions about users, answered in the object that comes back. Nothing is stored.

Each function takes the review as it was sent and returns it with its status; StatusError (Invalid) when the
question makes no sense (pkg/registry/{authorization,authentication}).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from controlplane.api.model import Decision, UserInfo
from controlplane.authn.identity import user_json
from controlplane.authn.refusal import cause
from controlplane.authz.model import Ask, Judge
from controlplane.authz.rbac import Policy
from kube import errors, status
from kube.errors import FieldError, InvalidObject, invalid_status
from kube.status import Unauthorized

Json = dict[str, Any]
_GROUP = "authorization.k8s.io"


def subject_access(review: Json, judge: Judge) -> Json:
    """SubjectAccessReview: may the user of the spec?"""
    spec = review.get("spec") or {}
    wrong = _attributes(spec)
    if not spec.get("user") and not spec.get("groups"):
        wrong.append(errors.invalid("spec.user", "", "at least one of user or group must be specified"))
    _refuse("SubjectAccessReview", wrong)
    user = UserInfo(
        spec.get("user", ""),
        spec.get("uid", ""),
        tuple(spec.get("groups") or ()),
        {key: tuple(values) for key, values in (spec.get("extra") or {}).items()},
    )
    return {**review, "status": _status(judge, user, _ask(spec))}


def local_subject_access(review: Json, judge: Judge, namespace: str) -> Json:
    """LocalSubjectAccessReview: the same, in the namespace it is made in."""
    spec = review.get("spec") or {}
    if (spec.get("resourceAttributes") or {}).get("namespace", "") != namespace:
        path = "spec.resourceAttributes.namespace"
        asked = (spec.get("resourceAttributes") or {}).get("namespace", "")
        _refuse(
            "LocalSubjectAccessReview", [errors.invalid(path, asked, f"must match namespace: {namespace}")]
        )
    return subject_access(review, judge)


def self_subject_access(review: Json, judge: Judge, user: UserInfo) -> Json:
    """SelfSubjectAccessReview: may I? (`kubectl auth can-i`)"""
    spec = review.get("spec") or {}
    _refuse("SelfSubjectAccessReview", _attributes(spec))
    return {**review, "status": _status(judge, user, _ask(spec))}


def self_subject_rules(review: Json, policy: Policy, user: UserInfo) -> Json:
    """SelfSubjectRulesReview: all that RBAC gives me in a namespace (`kubectl auth can-i --list`)."""
    namespace = (review.get("spec") or {}).get("namespace", "")
    if not namespace:
        _refuse("SelfSubjectRulesReview", [errors.required("spec.namespace")])
    rules = [rule.to_json() for rule in policy.rules_for(user, namespace)]
    answer = {
        "resourceRules": [rule for rule in rules if "resources" in rule],
        "nonResourceRules": [rule for rule in rules if "nonResourceURLs" in rule],
        "incomplete": False,
    }
    return {**review, "status": answer}


def self_subject(review: Json, user: UserInfo) -> Json:
    """SelfSubjectReview: who am I? (`kubectl auth whoami`)"""
    return {**review, "status": {"userInfo": user_json(user)}}


def token(review: Json, user_of: Callable[[str, Sequence[str]], tuple[UserInfo, list[str]]]) -> Json:
    """TokenReview: whose token is this? `user_of` raises Unauthorized for nobody's."""
    spec = review.get("spec") or {}
    if not spec.get("token"):
        raise status.bad_request("token is required for TokenReview in authentication")
    try:
        user, audiences = user_of(spec["token"], tuple(spec.get("audiences") or ()))
    except Unauthorized as refused:
        return {**review, "status": {"authenticated": False, "error": cause(refused)}}
    answer: Json = {"authenticated": True, "user": user_json(user)}
    if audiences:
        answer["audiences"] = audiences
    return {**review, "status": answer}


def _attributes(spec: Mapping[str, Any]) -> list[FieldError]:
    resource, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if resource is not None and path is not None:
        detail = "cannot be specified in combination with resourceAttributes"
        return [errors.invalid("spec.nonResourceAttributes", path, detail)]
    if resource is None and path is None:
        detail = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        return [errors.invalid("spec.resourceAttributes", None, detail)]
    return []


def _ask(spec: Mapping[str, Any]) -> Ask:
    path = spec.get("nonResourceAttributes")
    if path is not None:
        return Ask(path.get("verb", ""), path=path.get("path", ""), is_resource=False)
    asked = spec["resourceAttributes"]
    return Ask(
        asked.get("verb", ""),
        asked.get("group", ""),
        asked.get("resource", ""),
        asked.get("subresource", ""),
        asked.get("namespace", ""),
        asked.get("name", ""),
        field_selector=(asked.get("fieldSelector") or {}).get("rawSelector", ""),
    )


def _status(judge: Judge, user: UserInfo, ask: Ask) -> Json:
    verdict = judge.judge(user, ask)
    answer: Json = {"allowed": verdict.decision is Decision.ALLOWED}
    if verdict.decision is Decision.DENIED:
        answer["denied"] = True
    if verdict.reason:
        answer["reason"] = verdict.reason
    return answer


def _refuse(kind: str, wrong: Sequence[FieldError]) -> None:
    if wrong:
        raise status.error_of(invalid_status(InvalidObject(wrong, kind), _GROUP))
