"""What a request to the agent asks to do, as Kubernetes' authorizers see it (pure).

Every request is one on `nodes/SUBRESOURCE` of this node; which one follows from the path, the verb from the
method (kubelet 1.36, pkg/kubelet/server/auth.go, with KubeletFineGrainedAuthz). Where there are two, the
narrow one is asked for first and `nodes/proxy`, which allows everything, after it.

One thing is stricter than upstream: a GET that turns into exec, attach or a port-forward (WebSocket clients
have no other method) needs `create`, as its POST does. Read access to nodes/proxy, which monitoring often
has, is no shell in every pod.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

PROXY = "proxy"
_VERBS = {
    "POST": "create",
    "GET": "get",
    "HEAD": "get",
    "PUT": "update",
    "PATCH": "patch",
    "DELETE": "delete",
}
_BY_TREE = {"stats": "stats", "metrics": "metrics", "logs": "log", "checkpoint": "checkpoint"}
_NARROW = {"pods": "pods", "runningpods": "pods", "healthz": "healthz", "configz": "configz"}
_SESSIONS = frozenset({"exec", "attach", "portForward"})


@dataclass(frozen=True, slots=True)
class User:
    """Who asks."""

    name: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict, compare=False)


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked for; any one of the subresources allowed is enough."""

    verb: str
    subresources: tuple[str, ...]

    def forbidden(self, user: User) -> str:
        """The body of the 403, as upstream has it."""
        named = " ".join(self.subresources)
        return f"Forbidden (user={user.name}, verb={self.verb}, resource=nodes, subresource(s)=[{named}])\n"


def wish(method: str, path: str, *, upgrades: bool = False) -> Wish:
    """`path` is decoded; `upgrades`: the connection is to change its protocol."""
    first = path.strip("/").partition("/")[0]
    verb = _VERBS.get(method, "")
    if upgrades and first in _SESSIONS:
        verb = "create"
    if first in _BY_TREE:
        return Wish(verb, (_BY_TREE[first],))
    if first in _NARROW:
        return Wish(verb, (_NARROW[first], PROXY))
    return Wish(verb, (PROXY,))


def access_review(user: User, verb: str, subresource: str, node: str) -> dict[str, Any]:
    """The SubjectAccessReview that asks whether `user` may."""
    spec: dict[str, Any] = {
        "user": user.name,
        "resourceAttributes": {
            "verb": verb,
            "version": "v1",
            "resource": "nodes",
            "subresource": subresource,
            "name": node,
        },
    }
    if user.uid:
        spec["uid"] = user.uid
    if user.groups:
        spec["groups"] = list(user.groups)
    if user.extra:
        spec["extra"] = {key: list(values) for key, values in user.extra.items()}
    return {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}


def token_review(token: str) -> dict[str, Any]:
    """The TokenReview that asks whose token this is."""
    return {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}}


def reviewed_user(review: Mapping[str, Any]) -> User | None:
    """Who a TokenReview's answer says it is; None when the token is nobody's."""
    status = review.get("status") or {}
    told = status.get("user") or {}
    if not status.get("authenticated") or not told.get("username"):
        return None
    return User(
        told["username"],
        told.get("uid", ""),
        tuple(told.get("groups") or ()),
        {key: tuple(values) for key, values in (told.get("extra") or {}).items()},
    )
