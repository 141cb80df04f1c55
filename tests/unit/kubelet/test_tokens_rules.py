"""Service account tokens: what is asked, when they are renewed, who shares a request."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from aio import virtual
from aio.clock import VirtualClock
from kube import objects, status
from kube.client import resources
from kube.client.model import JsonObject
from kube.errors import Status
from kube.fake import FakeApi
from kube.fake.faults import Pattern
from kube.objects.core_v1 import Pod
from kubelet.tokens import TokenError, Tokens, TokenWish, read_answer, renewal_time, token_request

pytestmark = pytest.mark.pure

HOUR = 3600.0
ASKED = Pattern(verb="create", resource=resources.SERVICE_ACCOUNTS)


def pod(uid: str = "u1", account: str = "robot") -> Pod:
    metadata = {"name": "web", "namespace": "shop", "uid": uid}
    return objects.convert(
        {"metadata": metadata, "spec": {"serviceAccountName": account, "containers": []}}, Pod
    )


def run(scenario: Callable[[FakeApi, Tokens, VirtualClock], Awaitable[None]]) -> None:
    async def go(clock: VirtualClock) -> None:
        api = FakeApi(clock)
        metadata = {"name": "robot", "namespace": "shop"}
        api.put({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata})
        tokens = Tokens(api.client(), clock, jitter=lambda: 0.0)
        try:
            await scenario(api, tokens, clock)
        finally:
            tokens.close()

    virtual.run(go)


@pytest.mark.parametrize(
    ("life", "used"),
    [
        (600.0, 480.0),
        (HOUR, 2880.0),
        (24 * HOUR, 19.2 * HOUR),
        (48 * HOUR, 24 * HOUR),
        (8760 * HOUR, 24 * HOUR),
    ],
)
def test_token_is_due_at_four_fifths_of_its_life_or_after_a_day(life: float, used: float) -> None:
    assert renewal_time(1000.0 + life, life, 0.0) == pytest.approx(1000.0 + used)
    assert renewal_time(1000.0 + life, life, 0.5) == pytest.approx(1000.0 + used - 5.0)


def test_request_is_bound_to_the_pod() -> None:
    assert token_request(pod(), TokenWish("vault", 7200)) == {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {
            "audiences": ["vault"],
            "expirationSeconds": 7200,
            "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "web", "uid": "u1"},
        },
    }
    assert "audiences" not in token_request(pod(), TokenWish())["spec"]


def test_life_that_the_server_grants_counts() -> None:
    body: JsonObject = {
        "spec": {"expirationSeconds": 7200},
        "status": {"token": "t", "expirationTimestamp": "2026-01-01T02:00:00Z"},
    }
    token = read_answer(body, 0.0)
    assert token.text == "t" and token.expires_at - token.due_at == pytest.approx(1440.0)


def test_equal_wishes_share_one_request_and_others_have_their_own() -> None:
    async def scenario(api: FakeApi, tokens: Tokens, _clock: VirtualClock) -> None:
        wishes = [TokenWish(), TokenWish(), TokenWish("vault"), TokenWish(seconds=7200)]
        found = await asyncio.gather(*(tokens.get(pod(), wish) for wish in wishes))
        assert found[0] == found[1] and len(set(found)) == 3
        other = await tokens.get(pod("u2"), TokenWish())
        assert other not in found
        assert len(api.requests_of("create")) == 4

    run(scenario)


def test_due_token_is_announced_and_replaced_when_asked_for() -> None:
    async def scenario(_api: FakeApi, tokens: Tokens, clock: VirtualClock) -> None:
        due: list[tuple[str, float]] = []
        began = clock.monotonic()
        tokens.add_listener(lambda uid: due.append((uid, round(clock.monotonic() - began))))
        first = await tokens.get(pod(), TokenWish())
        await clock.sleep(2879)
        assert due == [] and await tokens.get(pod(), TokenWish()) == first
        await clock.sleep(2)
        assert due == [("u1", 2880)]
        assert await tokens.get(pod(), TokenWish()) != first

    run(scenario)


def test_token_is_renewed_in_time_after_the_calendar_was_set_forward() -> None:
    async def scenario(_api: FakeApi, tokens: Tokens, clock: VirtualClock) -> None:
        due: list[str] = []
        tokens.add_listener(due.append)
        await tokens.get(pod(), TokenWish())
        clock.step_wall(3000)
        await clock.sleep(301)
        assert due == ["u1"]

    run(scenario)


def test_old_token_serves_until_it_expires_and_no_longer() -> None:
    async def scenario(api: FakeApi, tokens: Tokens, clock: VirtualClock) -> None:
        first = await tokens.get(pod(), TokenWish())
        api.go_away()
        await clock.sleep(3500)
        assert await tokens.get(pod(), TokenWish()) == first
        await clock.sleep(200)
        with pytest.raises(TokenError, match="token expired and refresh failed: cannot reach API server"):
            await tokens.get(pod(), TokenWish())
        api.come_back()
        assert await tokens.get(pod(), TokenWish()) != first

    run(scenario)


def test_refusal_is_told_in_the_servers_words_and_the_next_question_is_asked() -> None:
    async def scenario(api: FakeApi, tokens: Tokens, _clock: VirtualClock) -> None:
        api.fail(status.error_of(Status(403, "Forbidden", "not bound to this node")), ASKED)
        with pytest.raises(TokenError, match=r"^failed to fetch token: not bound to this node$"):
            await tokens.get(pod(), TokenWish())
        assert await tokens.get(pod(), TokenWish())
        with pytest.raises(TokenError, match=r'failed to fetch token: serviceaccounts "none" not found'):
            await tokens.get(pod("u3", "none"), TokenWish())

    run(scenario)


def test_server_that_keeps_silent_is_not_waited_for_longer_than_20_seconds() -> None:
    async def scenario(api: FakeApi, tokens: Tokens, clock: VirtualClock) -> None:
        api.delay(100.0, ASKED)
        began = clock.monotonic()
        with pytest.raises(TokenError, match="failed to fetch token: no answer within 20 s"):
            await tokens.get(pod(), TokenWish())
        assert clock.monotonic() - began == pytest.approx(20.0)

    run(scenario)


def test_pod_that_goes_while_its_token_is_asked_for_gets_none() -> None:
    async def scenario(api: FakeApi, tokens: Tokens, clock: VirtualClock) -> None:
        api.delay(1.0, ASKED)
        asking = asyncio.create_task(tokens.get(pod(), TokenWish()))
        await clock.sleep(0.5)
        tokens.forget("u1")
        with pytest.raises(TokenError, match="is gone"):
            await asking

    run(scenario)
