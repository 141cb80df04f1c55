"""Acting as somebody else."""

from __future__ import annotations

import asyncio

import pytest

from aio.clock import SystemClock
from controlplane.api.model import Decision, Request, UserInfo, Verdict
from controlplane.authn import impersonation
from controlplane.authn.impersonation import Wanted
from controlplane.authn.request import RequestAuthenticator, Sources
from controlplane.authn.tokenfile import read_tokens
from controlplane.authz.model import Access, Chain, Masters
from kube import status

pytestmark = pytest.mark.pure

MASTER = UserInfo("ann", groups=("system:masters",))
BOB = UserInfo("bob")


class Grants:
    """Allows what is listed as (resource, namespace, name)."""

    def __init__(self, *granted: tuple[str, str, str]) -> None:
        self._granted = granted

    def judge(self, user: UserInfo, access: Access) -> Verdict:
        asked = (access.resource, access.namespace, access.name)
        is_granted = access.verb == "impersonate" and asked in self._granted
        return Verdict(Decision.ALLOWED if is_granted else Decision.NO_OPINION)


def test_requests_without_the_headers_ask_for_nothing() -> None:
    assert impersonation.wanted({"authorization": "x"}) is None


def test_headers_say_who() -> None:
    headers = {
        "impersonate-user": "carl", "impersonate-group": "a, b", "impersonate-uid": "u",
        "impersonate-extra-example.com%2fscopes": "view",
    }  # fmt: skip
    assert impersonation.wanted(headers) == Wanted(
        "carl", ("a", "b"), "u", (("example.com/scopes", ("view",)),)
    )
    with pytest.raises(status.BadRequest, match="without impersonating a user"):
        impersonation.wanted({"impersonate-group": "a"})


def test_a_master_becomes_anybody() -> None:
    judge = Chain((Masters(),))
    assert impersonation.become(MASTER, Wanted("carl"), judge) == UserInfo(
        "carl", groups=("system:authenticated",)
    )
    account = impersonation.become(MASTER, Wanted("system:serviceaccount:shop:web"), judge)
    assert account.groups == (
        "system:serviceaccounts", "system:serviceaccounts:shop", "system:authenticated",
    )  # fmt: skip
    nobody = impersonation.become(MASTER, Wanted("system:anonymous"), judge)
    assert nobody.groups == ("system:unauthenticated",)


def test_each_thing_needs_its_own_permission() -> None:
    grants = Grants(("users", "", "carl"), ("groups", "", "a"), ("serviceaccounts", "shop", "web"))
    assert impersonation.become(BOB, Wanted("carl", ("a",)), grants).groups == ("a", "system:authenticated")
    assert impersonation.become(BOB, Wanted("system:serviceaccount:shop:web"), grants)
    for asked in (
        Wanted("dora"), Wanted("carl", ("system:masters",)), Wanted("carl", uid="u"),
        Wanted("carl", extra=(("k", ("v",)),)), Wanted("system:serviceaccount:shop:other"),
    ):  # fmt: skip
        with pytest.raises(status.Forbidden, match='User "bob" cannot impersonate resource'):
            impersonation.become(BOB, asked, grants)


def test_the_authenticator_gives_the_other_user_and_the_anonymous_become_nobody_else() -> None:
    async def run() -> None:
        static = read_tokens('t,ann,1,"system:masters"\n')
        authenticator = RequestAuthenticator(Sources(static=static), SystemClock(), Chain((Masters(),)))
        headers = {"authorization": "Bearer t", "impersonate-user": "carl"}
        user = await authenticator.authenticate(Request("GET", "/api", headers=headers))
        assert user is not None and user.name == "carl"
        with pytest.raises(status.Forbidden, match='"system:anonymous" cannot impersonate'):
            await authenticator.authenticate(Request("GET", "/api", headers={"impersonate-user": "carl"}))
        with pytest.raises(status.Unauthorized):
            await RequestAuthenticator(Sources(static=static), SystemClock()).authenticate(
                Request("GET", "/api", headers=headers)
            )

    asyncio.run(run())
