"""The agent's server as a handler: who gets in, what is remembered, what is served where."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from aio.clock import VirtualClock
from aio.executors import Executors
from aio.virtual import run
from cri.errors import CriError
from cri.fake import FakeRuntime
from cri.logs import LogOptions
from kube import pki
from kube.client import resources
from kube.fake import FakeApi
from kube.http_server.model import Request, Response
from kube.pki import Subject, Usage
from kubelet.configuration import KubeletConfiguration
from kubelet.configuration.types import (
    AnonymousAuthentication,
    Authentication,
    Authorization,
    WebhookAuthentication,
)
from kubelet.model import Observed, ObservedContainer, ObservedSandbox, Phase
from kubelet.server.gate import Authenticator, Authorizer
from kubelet.server.log_streams import ContainerLogs, PodChanges, _Run
from kubelet.server.metrics import NodeMetrics, count_calls
from kubelet.server.node_server import NodeServer, ServerParts
from kubelet.server.remembered import MAX_ENTRIES
from kubelet.server.served_pods import ServedPod
from kubelet.server.serving import Host, keep_own, make_context

pytestmark = pytest.mark.sim

HOST = Host("n1", ("127.0.0.1",))
CA = pki.make_ca("ca", datetime.now(UTC))
OBSERVED = Observed(
    0.0,
    (ObservedSandbox("box", 0, True, 0),),
    (ObservedContainer("1", "main", "box", 0, Phase.RUNNING, 0, log_path="/nowhere/0.log"),),
)
STATUS = {"containerStatuses": [{"name": "main", "containerID": "containerd://1", "state": {"running": {}}}]}
POD = ServedPod("u", "shop", "talker", ("main",), STATUS, OBSERVED)


class OnePod:
    """`Pods` with one."""

    def documents(self) -> Sequence[Any]:
        return [{"metadata": {"name": POD.name}}]

    def find(self, namespace: str, name: str, uid: str = "") -> ServedPod | None:
        return POD if (namespace, name) == ("shop", "talker") and uid in ("", "u") else None

    def by_uid(self, uid: str) -> ServedPod | None:
        return POD if uid == "u" else None

    def all(self) -> Iterator[ServedPod]:
        yield POD


class World:
    """A server and the API server that it asks."""

    def __init__(self, clock: VirtualClock, **settings: Any) -> None:
        self.clock = clock
        self.api = FakeApi(clock)
        self.asked: list[dict[str, Any]] = []
        self.allowed = {("create", "proxy"), ("get", "proxy"), ("get", "metrics"), ("get", "pods")}
        self.tokens = {"good": {"username": "bob", "uid": "7", "groups": ["testers"]}}
        self.api.answer(resources.TOKEN_REVIEWS, self._review_token)
        self.api.answer(resources.SUBJECT_ACCESS_REVIEWS, self._review_access)
        self.server = NodeServer(
            ServerParts(
                host=HOST,
                config=KubeletConfiguration(**settings),
                cert_dir=Path("/nowhere"),
                client=self.api.client("kubelet"),
                clock=clock,
                executors=Executors(),
                runtime=FakeRuntime(clock),
                pods=OnePod(),
                checks={"syncloop": lambda: None},
            )
        )

    def _review_token(self, body: dict[str, Any], _: object) -> dict[str, Any]:
        self.asked.append(body)
        user = self.tokens.get(body["spec"]["token"])
        return {**body, "status": {"authenticated": user is not None, "user": user or {}}}

    def _review_access(self, body: dict[str, Any], _: object) -> dict[str, Any]:
        self.asked.append(body)
        wanted = body["spec"]["resourceAttributes"]
        return {**body, "status": {"allowed": (wanted["verb"], wanted["subresource"]) in self.allowed}}

    def kinds(self) -> list[str]:
        """What was asked since the last time."""
        asked, self.asked = [body["kind"] for body in self.asked], []
        return asked

    async def get(self, path: str, token: str = "good", method: str = "GET", **headers: str) -> Response:
        if token:
            headers["authorization"] = f"Bearer {token}"
        bare = path.partition("?")[0]
        return await self.server.answer(Request(method, bare, headers=headers, target=path))


def scene(**settings: Any) -> Callable[[Callable[[World], Awaitable[None]]], None]:
    def play(body: Callable[[World], Awaitable[None]]) -> None:
        async def main(clock: VirtualClock) -> None:
            await body(World(clock, **settings))

        run(main)

    return play


def test_a_token_and_a_wish_are_asked_for_once() -> None:
    @scene()
    async def _(world: World) -> None:
        for _time in range(3):
            assert (await world.get("/metrics")).code == 200
        assert world.kinds() == ["TokenReview", "SubjectAccessReview"]
        (review,) = [one for one in world.api.requests if one.resource == resources.TOKEN_REVIEWS]
        assert review.verb == "create"


def test_who_was_asked_about_is_told_with_groups_and_uid() -> None:
    @scene()
    async def _(world: World) -> None:
        await world.get("/metrics")
        spec = world.asked[1]["spec"]
        assert (spec["user"], spec["uid"]) == ("bob", "7")
        assert spec["groups"] == ["testers", "system:authenticated"]
        assert spec["resourceAttributes"]["name"] == "n1"


def test_tokens_are_forgotten_after_two_minutes_and_leave_after_five() -> None:
    @scene()
    async def _(world: World) -> None:
        await world.get("/metrics")
        world.kinds()
        await world.clock.sleep(119)
        await world.get("/metrics")
        assert world.kinds() == []
        await world.clock.sleep(2)
        await world.get("/metrics")
        assert world.kinds() == ["TokenReview"]
        await world.clock.sleep(180)
        await world.get("/metrics")
        assert world.kinds() == ["TokenReview", "SubjectAccessReview"]


def test_a_refusal_is_asked_again_after_thirty_seconds() -> None:
    @scene()
    async def _(world: World) -> None:
        assert (await world.get("/stats/summary")).code == 403
        world.allowed.add(("get", "stats"))
        assert (await world.get("/stats/summary")).code == 403
        await world.clock.sleep(31)
        assert (await world.get("/stats/summary")).code == 200


def test_nobody_gets_in_without_credentials() -> None:
    @scene()
    async def _(world: World) -> None:
        for token in ("", "bad"):
            answer = await world.get("/metrics", token)
            assert (answer.code, answer.body) == (401, b"Unauthorized")
        assert (await world.get("/metrics", "", authorization="Basic Ym9iOg==")).code == 401
        # One wrong token is one question, however often it is shown.
        await world.get("/metrics", "bad")
        assert world.kinds() == ["TokenReview"]


def test_anonymous_is_somebody_where_it_is_enabled_but_a_wrong_token_is_nobody() -> None:
    @scene(authentication=Authentication(anonymous=AnonymousAuthentication(enabled=True)))
    async def _(world: World) -> None:
        assert (await world.get("/metrics", "")).code == 200
        assert world.asked[-1]["spec"]["user"] == "system:anonymous"
        assert world.asked[-1]["spec"]["groups"] == ["system:unauthenticated"]
        assert (await world.get("/metrics", "bad")).code == 401


def test_a_client_certificate_is_its_subject() -> None:
    @scene()
    async def _(world: World) -> None:
        pair = pki.issue(CA, Subject("eve", ("a", "b")), Usage.CLIENT, datetime.now(UTC))
        der = ssl.PEM_cert_to_DER_cert(pair.certificate.decode())
        request = Request("GET", "/metrics", peer_certificate=der)
        assert (await world.server.answer(request)).code == 200
        assert world.kinds() == ["SubjectAccessReview"]
        assert (await world.server.answer(Request("GET", "/metrics", peer_certificate=b"?"))).code == 401


def test_the_narrow_permission_or_the_wide_one_is_enough() -> None:
    @scene()
    async def _(world: World) -> None:
        assert (await world.get("/pods")).code == 200
        assert world.kinds() == ["TokenReview", "SubjectAccessReview"]
        assert (await world.get("/configz")).code == 200  # by nodes/proxy
        assert world.kinds() == ["SubjectAccessReview", "SubjectAccessReview"]
        world.allowed.clear()
        await world.clock.sleep(301)
        answer = await world.get("/pods")
        said = b"Forbidden (user=bob, verb=get, resource=nodes, subresource(s)=[pods proxy])\n"
        assert (answer.code, answer.body) == (403, said)


def test_read_access_is_no_shell() -> None:
    @scene()
    async def _(world: World) -> None:
        world.allowed = {("get", "proxy")}
        upgrade = {"connection": "Upgrade", "upgrade": "websocket"}
        assert (await world.get("/containerLogs/shop/talker/ghost")).code == 404
        assert (await world.get("/exec/shop/talker/main?output=1", **upgrade)).code == 403


def test_an_api_server_that_does_not_answer_lets_nobody_new_in() -> None:
    @scene()
    async def _(world: World) -> None:
        assert (await world.get("/metrics")).code == 200
        world.api.go_away()
        assert (await world.get("/metrics")).code == 200  # remembered
        assert (await world.get("/stats/summary")).code == 500  # who is known, whether they may is not
        await world.clock.sleep(121)
        assert (await world.get("/metrics")).code == 401
        world.api.come_back()
        assert (await world.get("/metrics")).code == 200  # no failure was remembered


def test_always_allow_asks_nobody_what_may_be_done() -> None:
    @scene(authorization=Authorization(mode="AlwaysAllow"))
    async def _(world: World) -> None:
        assert (await world.get("/stats/summary")).code == 200
        assert world.kinds() == ["TokenReview"]


def test_without_an_api_server_webhooks_are_refused_at_once() -> None:
    @scene()
    async def _(world: World) -> None:
        with pytest.raises(ValueError, match="cannot use webhook authentication"):
            Authenticator(Authentication(), None, world.clock)
        with pytest.raises(ValueError, match="cannot use webhook authorization"):
            Authorizer(Authorization(), None, world.clock, "n1")
        offline = Authentication(webhook=WebhookAuthentication(enabled=False))
        assert await Authenticator(offline, None, world.clock).authenticate(Request("GET", "/")) is None


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/healthz", 200),
        ("GET", "/healthz/syncloop", 200),
        ("GET", "/healthz/nothing", 404),
        ("GET", "/pods", 200),
        ("GET", "/pods/", 200),
        ("GET", "/pods/more", 404),
        ("GET", "/runningpods/", 200),
        ("GET", "/metrics/cadvisor", 404),
        ("GET", "/", 404),
        ("GET", "/exec", 404),
        ("GET", "/exec/shop/talker", 404),
        ("GET", "/exec/shop//main", 404),
        ("GET", "/exec/shop/talker/main?output=1", 400),
        ("DELETE", "/exec/shop/talker/main", 405),
        ("POST", "/pods", 405),
        ("GET", "/run/shop/talker/main", 405),
        ("POST", "/run/shop/ghost/main", 404),
        ("POST", "/run/shop/talker/ghost", 500),
        ("GET", "/containerLogs/shop/ghost/main", 404),
        ("GET", "/containerLogs/shop/talker/main", 400),
        ("GET", "/portForward/shop/talker", 400),
    ],
)
def test_paths_and_methods(method: str, path: str, code: int) -> None:
    @scene(authorization=Authorization(mode="AlwaysAllow"))
    async def _(world: World) -> None:
        assert (await world.get(path, method=method)).code == code


def test_a_log_that_is_gone_is_said() -> None:
    @scene()
    async def _(world: World) -> None:
        answer = await world.get("/containerLogs/shop/talker/main")
        assert answer.body == b"unable to retrieve container logs for containerd://1"


def test_without_debugging_handlers_nobody_gets_into_a_container() -> None:
    @scene(enable_debugging_handlers=False)
    async def _(world: World) -> None:
        for path in ("/exec/shop/talker/main", "/containerLogs/shop/talker/main", "/portForward/a/b"):
            answer = await world.get(path)
            assert (answer.code, answer.body) == (405, b"Debug endpoints are disabled.\n")
        assert (await world.get("/pods")).code == 200


def test_the_read_only_port_has_no_gate_and_little_behind_it() -> None:
    @scene()
    async def _(world: World) -> None:
        codes = {}
        for path in ("/healthz", "/pods", "/metrics", "/exec/shop/talker/main", "/run/a/b/c", "/configz"):
            codes[path] = (await world.server.answer_anybody(Request("GET", path))).code
        assert list(codes.values()) == [200, 200, 200, 404, 404, 404]
        assert world.kinds() == []


def test_requests_are_counted_by_what_is_served_not_by_what_is_asked() -> None:
    @scene()
    async def _(world: World) -> None:
        await world.get("/pods")
        await world.get("/secret/path")
        text = (await world.get("/metrics")).body.decode()
        counted = [line for line in text.splitlines() if line.startswith("kubelet_http_requests_total")]
        served = 'long_running="false",method="GET",path="{}",server_type="readwrite"'
        assert counted == [
            f"kubelet_http_requests_total{{{served.format(path)}}} 1" for path in ("pods", "other", "metrics")
        ]
        assert "\nprocess_resident_memory_bytes " in text


def test_calls_of_the_runtime_are_counted_where_they_are_made() -> None:
    async def main(clock: VirtualClock) -> None:
        metrics = NodeMetrics("n1", 0.0)
        runtime = FakeRuntime(clock)
        counted = count_calls(runtime, metrics)
        await counted.version()
        await counted.version()
        with pytest.raises(CriError):
            await counted.container_status("ghost")
        text = metrics.text(OnePod())
        assert 'kubelet_runtime_operations_total{operation_type="version"} 2' in text
        assert 'kubelet_runtime_operations_errors_total{operation_type="container_status"} 1' in text
        assert 'operations_duration_seconds_count{operation_type="version"} 2' in text

    run(main)


def test_a_pods_start_counts_once_and_those_who_are_gone_cost_nothing_without_a_scrape() -> None:
    metrics = NodeMetrics("n1", 0.0)
    began = replace(OBSERVED, containers=(replace(OBSERVED.containers[0], started_at=3_000_000_000),))
    pod = replace(POD, observed=began, seen_at=1.0)
    for _ in range(2):
        metrics.pod_changed(pod)
        metrics.pod_changed(replace(pod, observed=replace(began, containers=())))
    for number in range(2 * MAX_ENTRIES):
        metrics.pod_changed(replace(pod, uid=f"gone-{number}"))
        metrics.pod_changed(pod)
    assert f"kubelet_pod_start_duration_seconds_count {2 * MAX_ENTRIES + 1}" in metrics.text(OnePod())
    assert len(metrics._counted) <= MAX_ENTRIES


def test_who_follows_a_pod_that_cannot_be_looked_at_is_cut_off_and_does_not_wait(
    tmp_path: Path,
) -> None:
    class Broken(OnePod):
        def by_uid(self, uid: str) -> ServedPod | None:
            raise LookupError("broken")

    async def main(clock: VirtualClock) -> None:
        log = tmp_path / "0.log"
        log.write_text("2026-01-01T00:00:00.000000000Z stdout F hello\n")
        logs = ContainerLogs(Broken(), FakeRuntime(clock), Executors(), clock, PodChanges())
        lines = logs._lines(_Run("u", "1", log), LogOptions(follow=True))
        assert await anext(lines) == b"hello\n"
        with pytest.raises(LookupError, match="broken"):
            await anext(lines)

    run(main)


def test_changes_reach_those_who_wait_for_that_pod() -> None:
    async def main(_: VirtualClock) -> None:
        changes = PodChanges()
        with changes.of("a") as one, changes.of("a") as two, changes.of("b") as other:
            changes.report("a")
            assert (one.is_set(), two.is_set(), other.is_set()) == (True, True, False)
        changes.report("a")
        assert changes == PodChanges()

    run(main)


def test_an_own_certificate_is_kept_while_it_fits(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    files = keep_own(tmp_path, HOST, now)
    first = files.read()
    assert first is not None
    assert (files.certificate.name, files.key.name) == ("kubelet.crt", "kubelet.key")
    assert files.key.stat().st_mode & 0o777 == 0o600
    assert first.certificate.count(b"BEGIN CERTIFICATE") == 2
    facts = pki.read_certificate(first.certificate)
    assert set(facts.subject.hosts) == {"n1", "127.0.0.1"}
    keep_own(tmp_path, HOST, now + timedelta(days=30))
    assert files.read() == first
    keep_own(tmp_path, Host("n1", ("127.0.0.1", "10.0.0.1")), now)
    second = files.read()
    assert second != first
    keep_own(tmp_path, HOST, now + timedelta(days=364))
    assert files.read() != second


def test_the_configured_versions_and_ciphers_are_served(tmp_path: Path) -> None:
    config = KubeletConfiguration(
        tls_min_version="VersionTLS13", tls_cipher_suites=("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",)
    )
    context = make_context(config, tmp_path, HOST, datetime.now(UTC))
    assert context.minimum_version is ssl.TLSVersion.TLSv1_3
    twelve = [one["name"] for one in context.get_ciphers() if one["protocol"] == "TLSv1.2"]
    assert twelve == ["ECDHE-RSA-AES256-GCM-SHA384"]
    with pytest.raises(ValueError, match="unknown tls version"):
        make_context(KubeletConfiguration(tls_min_version="SSL3"), tmp_path, HOST, datetime.now(UTC))
