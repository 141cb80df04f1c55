"""The question "may this user do that" and its answer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from controlplane.api.model import Decision, RequestInfo, UserInfo, Verdict
from controlplane.authn.identity import MASTERS
from kube import status
from kube.errors import Status, StatusError


class Access(Protocol):
    """What is asked for; the API server's RequestInfo fits."""

    @property
    def verb(self) -> str: ...
    @property
    def is_resource(self) -> bool: ...
    @property
    def group(self) -> str: ...
    @property
    def resource(self) -> str: ...
    @property
    def subresource(self) -> str: ...
    @property
    def namespace(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def field_selector(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Ask:
    """An Access of our own, for reviews and for questions that no request asked."""

    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""
    is_resource: bool = True
    field_selector: str = ""


class Judge(Protocol):
    """An authorizer that needs nothing but memory, and so does not wait."""

    def judge(self, user: UserInfo, access: Access) -> Verdict: ...


class Masters:
    """The group system:masters may do everything, whatever the policy says (NewPrivilegedGroups)."""

    def judge(self, user: UserInfo, access: Access) -> Verdict:
        return Verdict(Decision.ALLOWED if MASTERS in user.groups else Decision.NO_OPINION)


class Chain:
    """The first that has an opinion decides; the reasons of those that had none are kept (union)."""

    def __init__(self, judges: Iterable[Judge]) -> None:
        self._judges = tuple(judges)

    def judge(self, user: UserInfo, access: Access) -> Verdict:
        reasons = []
        for one in self._judges:
            verdict = one.judge(user, access)
            if verdict.decision is not Decision.NO_OPINION:
                return verdict
            if verdict.reason:
                reasons.append(verdict.reason)
        return Verdict(Decision.NO_OPINION, "\n".join(reasons))


class Court:
    """A Judge as the pipeline's Authorizer."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge

    async def authorize(self, user: UserInfo, info: RequestInfo) -> Verdict:
        return self._judge.judge(user, info)


def forbidden(user: UserInfo, access: Access, reason: str) -> StatusError:
    """The 403 of a request that nobody allowed, in upstream's words (responsewriters.Forbidden)."""
    because = _what(user, access) + (f": {reason}" if reason else "")
    return refuse(access.group, access.resource if access.is_resource else "", access.name, because)


def refuse(group: str, resource: str, name: str, because: str) -> StatusError:
    """`RESOURCE.GROUP "NAME" is forbidden: BECAUSE` (errors.NewForbidden)."""
    qualified = f"{resource}.{group}" if group else resource
    if not resource:
        message = f"forbidden: {because}"
    elif not name:
        message = f"{qualified} is forbidden: {because}"
    else:
        message = f'{qualified} "{name}" is forbidden: {because}'
    details: dict[str, Any] = {"name": name, "group": group, "kind": resource}
    return status.error_of(
        Status(403, "Forbidden", message, {key: text for key, text in details.items() if text})
    )


def _what(user: UserInfo, access: Access) -> str:
    if not access.is_resource:
        return f'User "{user.name}" cannot {access.verb} path "{access.path}"'
    resource = f"{access.resource}/{access.subresource}" if access.subresource else access.resource
    where = f'in the namespace "{access.namespace}"' if access.namespace else "at the cluster scope"
    what = f'cannot {access.verb} resource "{resource}" in API group "{access.group}"'
    return f'User "{user.name}" {what} {where}'
