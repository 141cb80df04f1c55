"""What a service-account token says (the claims of pkg/serviceaccount/claims.go), made and checked as values.

A token is bound to its service account, and maybe to a pod (with its node) or a secret: `check` reads those
objects again, by UID, each time a token is shown, so it dies with them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from controlplane.api.model import UserInfo
from controlplane.authn import identity
from kube import meta

PRIVATE = "kubernetes.io"
SECONDS_MIN = 600
SECONDS_MAX = 1 << 32
SECONDS_DEFAULT = 3600
# What projected volumes ask for; a year of grace for clients that never read the file again (warnafter).
SECONDS_PROJECTED = 3607
SECONDS_EXTENDED = 365 * 24 * 3600
# A token outlives the deletion of its objects by this much (claims.go: 60 s for skew).
DELETED_GRACE = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Named:
    name: str
    uid: str

    def to_json(self) -> dict[str, str]:
        return {"name": self.name, "uid": self.uid} if self.uid else {"name": self.name}


@dataclass(frozen=True, slots=True)
class Binding:
    """What a token is for. `kind` of `to` is "pod" or "secret"; a node goes with a pod, or alone."""

    namespace: str
    account: Named
    pod: Named | None = None
    secret: Named | None = None
    node: Named | None = None


class Objects(Protocol):
    """Reading what a token is bound to: plural, namespace ("" for nodes), name."""

    def __call__(self, plural: str, namespace: str, name: str) -> Mapping[str, Any] | None: ...


def make(
    issuer: str, binding: Binding, audiences: Sequence[str], seconds: int, now: datetime, token_id: str
) -> dict[str, Any]:
    """The claims of a token of `seconds`; `token_id` is a fresh UUID."""
    issued = int(now.timestamp())
    private: dict[str, Any] = {
        "namespace": binding.namespace,
        "serviceaccount": binding.account.to_json(),
    }
    for key, bound in (("pod", binding.pod), ("secret", binding.secret), ("node", binding.node)):
        if bound:
            private[key] = bound.to_json()
    extended = (
        seconds == SECONDS_PROJECTED and binding.pod is not None and issuer in audiences
    )  # the API server's own audience
    if extended:
        private["warnafter"] = issued + seconds
    return {
        "aud": list(audiences),
        "exp": issued + (SECONDS_EXTENDED if extended else seconds),
        "iat": issued,
        "iss": issuer,
        "jti": token_id,
        PRIVATE: private,
        "nbf": issued,
        "sub": identity.service_account_name(binding.namespace, binding.account.name),
    }


def check(claims: Mapping[str, Any], objects: Objects, now: datetime) -> UserInfo | str:
    """The user of verified claims, or why they hold no longer."""
    wrong = _dates(claims, now)
    if wrong:
        return wrong
    binding = read(claims)
    if binding is None:
        return "token claims are not those of a service account"
    account = objects("serviceaccounts", binding.namespace, binding.account.name)
    wrong = _bound("service account", account, binding.account, now)
    if wrong:
        return wrong
    for plural, label, bound in (("pods", "pod", binding.pod), ("secrets", "secret", binding.secret)):
        if bound:
            wrong = _bound(label, objects(plural, binding.namespace, bound.name), bound, now)
            if wrong:
                return wrong
    if binding.node and binding.pod is None:
        wrong = _bound("node", objects("nodes", "", binding.node.name), binding.node, now)
        if wrong:
            return wrong
    return _user(binding, str(claims.get("jti", "")))


def read(claims: Mapping[str, Any]) -> Binding | None:
    """None when the claims are not laid out as a service account's, or name another subject."""
    private = claims.get(PRIVATE)
    if not isinstance(private, dict):
        return None
    namespace, account = private.get("namespace"), _named(private.get("serviceaccount"))
    if not isinstance(namespace, str) or not namespace or account is None or not account.uid:
        return None
    if claims.get("sub") != identity.service_account_name(namespace, account.name):
        return None
    parts = {key: _named(private.get(key)) for key in ("pod", "secret", "node")}
    if any(private.get(key) is not None and part is None for key, part in parts.items()):
        return None
    return Binding(namespace, account, **parts)


def _named(value: Any) -> Named | None:
    if not isinstance(value, dict):
        return None
    name, uid = value.get("name"), value.get("uid", "")
    return Named(name, uid) if isinstance(name, str) and name and isinstance(uid, str) else None


def _dates(claims: Mapping[str, Any], now: datetime) -> str:
    stamp = now.timestamp()
    expires, starts = claims.get("exp"), claims.get("nbf", 0)
    if not isinstance(expires, int | float) or not isinstance(starts, int | float):
        return "service account token has no dates"
    if stamp >= expires:
        return "service account token has expired"
    return "service account token is not valid yet" if stamp + 1 < starts else ""


def _bound(label: str, found: Mapping[str, Any] | None, bound: Named, now: datetime) -> str:
    if found is None:
        return f"{label} {bound.name!r} of the token has been deleted"
    metadata = found["metadata"]
    if metadata.get("uid") != bound.uid:
        return f"the {label} UID does not match the claim's"
    stamp = metadata.get("deletionTimestamp")
    if stamp and now > meta.parse_time(stamp) + DELETED_GRACE:
        return f"{label} {bound.name!r} of the token has been deleted"
    return ""


def _user(binding: Binding, token_id: str) -> UserInfo:
    extra: dict[str, tuple[str, ...]] = {}
    if token_id:
        extra[identity.CREDENTIAL] = (f"JTI={token_id}",)
    if binding.pod:
        extra |= {identity.POD_NAME: (binding.pod.name,), identity.POD_UID: (binding.pod.uid,)}
    if binding.node:
        extra[identity.NODE_NAME] = (binding.node.name,)
        if binding.node.uid:
            extra[identity.NODE_UID] = (binding.node.uid,)
    namespace, account = binding.namespace, binding.account
    return UserInfo(
        identity.service_account_name(namespace, account.name),
        account.uid,
        identity.service_account_groups(namespace),
        extra,
    )
