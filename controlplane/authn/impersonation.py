"""Acting as somebody else (`kubectl --as`): the headers, what they ask of the authorizer, and who comes of it
(apiserver's filters/impersonation.go). Pure.

Each thing that is asked for, the user, every group, the UID and every extra value, needs the verb
`impersonate` on it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import unquote

from controlplane.api.model import Decision, UserInfo
from controlplane.authn import identity
from controlplane.authz.model import Ask, Judge, forbidden
from kube import status

USER, GROUP, UID, EXTRA = "impersonate-user", "impersonate-group", "impersonate-uid", "impersonate-extra-"
_GROUP_OF_OTHERS = "authentication.k8s.io"


@dataclass(frozen=True, slots=True)
class Wanted:
    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: tuple[tuple[str, tuple[str, ...]], ...] = ()


def wanted(headers: Mapping[str, str]) -> Wanted | None:
    """What the headers (names in lower case) ask for. BadRequest for groups and the like without a user."""
    name = headers.get(USER, "")
    found = [header for header in headers if header.startswith("impersonate-")]
    if not found:
        return None
    if not name:
        raise status.bad_request("requested impersonation without impersonating a user")
    extra = tuple(
        (unquote(header.removeprefix(EXTRA)), _listed(headers[header]))
        for header in found
        if header.startswith(EXTRA)
    )
    return Wanted(name, _listed(headers.get(GROUP, "")), headers.get(UID, ""), extra)


def become(user: UserInfo, asked: Wanted, judge: Judge) -> UserInfo:
    """Forbidden unless `user` may have all of it."""
    for question in _questions(asked):
        verdict = judge.judge(user, question)
        if verdict.decision is not Decision.ALLOWED:
            raise forbidden(user, question, verdict.reason)
    return UserInfo(asked.name, asked.uid, _groups(asked), dict(asked.extra))


def _questions(asked: Wanted) -> Iterator[Ask]:
    account = identity.split_service_account(asked.name)
    if account is not None:
        yield Ask("impersonate", "", "serviceaccounts", namespace=account[0], name=account[1])
    else:
        yield Ask("impersonate", "", "users", name=asked.name)
    for group in asked.groups:
        yield Ask("impersonate", "", "groups", name=group)
    if asked.uid:
        yield Ask("impersonate", _GROUP_OF_OTHERS, "uids", name=asked.uid)
    for key, values in asked.extra:
        for value in values:
            yield Ask("impersonate", _GROUP_OF_OTHERS, "userextras", key, name=value)


def _groups(asked: Wanted) -> tuple[str, ...]:
    """Everybody but the anonymous is authenticated; an account is in its own groups when none are named."""
    if asked.name == identity.ANONYMOUS:
        return tuple(dict.fromkeys((*asked.groups, identity.UNAUTHENTICATED)))
    account = identity.split_service_account(asked.name)
    groups = asked.groups
    if account is not None and not groups:
        groups = identity.service_account_groups(account[0])
    return tuple(dict.fromkeys((*groups, identity.AUTHENTICATED)))


def _listed(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())
