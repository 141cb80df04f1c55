"""What only the client over HTTPS can get wrong: certificates, tokens, cut streams, rates; on loopback."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from aio.clock import SystemClock
from kube import pki, status
from kube.client import Unreachable, WatchOptions
from kube.client import resources as r
from kube.client.http import HttpClient
from kube.client.settings import BadSettings, Limits, Material, Settings
from kube.errors import Status
from kube.fake import FakeApi, Pattern
from kube.pki import Pair, Subject, Usage
from kube.pki_files import PairFiles
from tests.fake_apiserver import Served, serve

pytestmark = pytest.mark.pure

NOW = datetime.now(UTC)
SERVER = Subject("kube-apiserver", hosts=("127.0.0.1", "kubernetes"))


class Authority:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.ca = pki.make_ca("kubernetes", NOW)
        (directory / "ca.crt").write_bytes(self.ca.certificate)
        PairFiles.of(directory, "server").write(pki.issue(self.ca, SERVER, Usage.SERVING, NOW))

    def client_pair(self, name: str) -> Pair:
        return pki.issue(self.ca, Subject(name), Usage.CLIENT, NOW)

    def server_context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=self.directory / "ca.crt")
        context.load_cert_chain(self.directory / "server.crt", self.directory / "server.key")
        context.verify_mode = ssl.CERT_OPTIONAL
        return context


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def api() -> FakeApi:
    return FakeApi(SystemClock())


class SteppedClock(SystemClock):
    """The host's clock, moved ahead by hand, whose sleeps are counted and take no time."""

    def __init__(self) -> None:
        self.ahead = 0.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.ahead += seconds
        await asyncio.sleep(0)


@asynccontextmanager
async def client_of(
    settings: Settings,
    clock: SystemClock | None = None,
    limits: Limits = Limits(),  # noqa: B008
) -> AsyncIterator[HttpClient]:
    client = HttpClient(settings, clock=clock, limits=limits)
    try:
        yield client
    finally:
        await client.close()


def config(name: str = "c") -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "x"}}


@pytest.mark.asyncio
async def test_client_certificate_from_memory_and_from_files_identifies_us(
    authority: Authority, api: FakeApi
) -> None:
    pair = authority.client_pair("admin")
    files = PairFiles.of(authority.directory, "me")
    files.write(authority.client_pair("system:node:n1"))
    ca = Material(authority.ca.certificate)
    async with serve(api, tls=authority.server_context()) as served:
        inline = Settings(served.url, ca=ca, certificate=Material(pair.certificate), key=Material(pair.key))
        by_file = replace(
            inline,
            ca=Material(file=str(authority.directory / "ca.crt")),
            certificate=Material(file=str(files.certificate)),
            key=Material(file=str(files.key)),
        )
        for settings in (inline, by_file):
            async with client_of(settings) as client:
                await client.list(r.PODS)
    assert served.seen.peers == ["admin", "system:node:n1"]


@pytest.mark.asyncio
async def test_server_of_another_authority_or_name_is_not_trusted(authority: Authority, api: FakeApi) -> None:
    stranger = pki.make_ca("kubernetes", NOW)
    async with serve(api, tls=authority.server_context()) as served:
        wrong = Settings(served.url, ca=Material(stranger.certificate))
        other_name = Settings(served.url, ca=Material(authority.ca.certificate), tls_server_name="elsewhere")
        good_name = replace(other_name, tls_server_name="kubernetes")
        for settings in (wrong, other_name):
            async with client_of(settings) as client:
                with pytest.raises(Unreachable, match=r"(?i)certificate"):
                    await client.list(r.PODS)
        for settings in (good_name, replace(wrong, is_insecure=True)):
            async with client_of(settings) as client:
                await client.list(r.PODS)


@pytest.mark.asyncio
async def test_renewed_certificate_is_used_for_new_requests_and_ends_old_watches(
    authority: Authority, api: FakeApi
) -> None:
    files = PairFiles.of(authority.directory, "me")
    files.write(authority.client_pair("old"))
    clock = SteppedClock()
    async with serve(api, tls=authority.server_context()) as served:
        settings = Settings(
            served.url,
            ca=Material(authority.ca.certificate),
            certificate=Material(file=str(files.certificate)),
            key=Material(file=str(files.key)),
        )
        async with client_of(settings, clock) as client:
            api.put(config())
            async with aclosing(client.watch(r.CONFIG_MAPS)) as events:
                await anext(events)
                files.write(authority.client_pair("new"))
                await client.list(r.PODS)
                assert served.seen.peers[-1] == "old", "files are looked at every ten seconds"
                clock.ahead += 11
                await client.list(r.PODS)
                assert served.seen.peers[-1] == "new"
                async with asyncio.timeout(5):
                    assert [event async for event in events] == []


@pytest.mark.asyncio
async def test_half_changed_certificate_leaves_the_old_one_in_use(authority: Authority, api: FakeApi) -> None:
    files = PairFiles.of(authority.directory, "me")
    files.write(authority.client_pair("old"))
    fresh = authority.client_pair("new")
    clock = SteppedClock()
    async with serve(api, tls=authority.server_context()) as served:
        settings = Settings(
            served.url,
            ca=Material(authority.ca.certificate),
            certificate=Material(file=str(files.certificate)),
            key=Material(file=str(files.key)),
        )
        async with client_of(settings, clock) as client:
            files.key.write_bytes(fresh.key)
            clock.ahead += 11
            await client.list(r.PODS)
            files.certificate.write_bytes(fresh.certificate)
            clock.ahead += 11
            await client.list(r.PODS)
    assert served.seen.peers == ["old", "new"]


@pytest.mark.asyncio
async def test_token_file_is_read_again_at_once_when_it_is_refused(tmp_path: Path, api: FakeApi) -> None:
    file = tmp_path / "token"
    file.write_text("old\n")
    wanted = "old"

    def accepts(request: web.Request) -> bool:
        return request.headers.get("Authorization") == f"Bearer {wanted}"

    async with serve(api, accepts=accepts) as served:
        async with client_of(Settings(served.url, token_file=str(file))) as client:
            await client.list(r.PODS)
            wanted = "new"
            with pytest.raises(status.Unauthorized):
                await client.list(r.PODS)
            file.write_text("newer\n")
            wanted = "newer"
            await client.list(r.PODS)
    sent = [headers["Authorization"] for headers in served.seen.headers]
    assert sent == ["Bearer old", "Bearer old", "Bearer old", "Bearer newer"]


@pytest.mark.asyncio
async def test_credentials_that_cannot_be_used_are_said_at_the_start(authority: Authority) -> None:
    pair = authority.client_pair("me")
    ca = Material(authority.ca.certificate)
    key = Material(pki.make_key())
    for settings, says in (
        (Settings("https://x", ca=ca, certificate=Material(pair.certificate), key=key), "client certificate"),
        (Settings("https://x", ca=Material(b"nonsense")), "certificate authority"),
        (Settings("https://x", ca=Material(file="/nonexistent/ca.crt")), 'cannot read "/nonexistent/ca.crt"'),
    ):
        with pytest.raises(BadSettings, match=says):
            HttpClient(settings)


@pytest.mark.asyncio
async def test_headers_say_who_asks(api: FakeApi) -> None:
    async with serve(api) as served:
        settings = Settings(
            served.url,
            basic=("u", "p"),
            impersonate_user="bob",
            impersonate_groups=("dev",),
            user_agent="kubelet",
        )
        async with client_of(settings) as client:
            await client.create(r.CONFIG_MAPS, config())
    (headers,) = served.seen.headers
    assert headers["Authorization"] == "Basic dTpw"
    assert (headers["User-Agent"], headers["Accept"]) == ("kubelet", "application/json")
    assert (headers["Impersonate-User"], headers["Impersonate-Group"]) == ("bob", "dev")
    assert headers["Content-Type"] == "application/json"


@pytest.mark.asyncio
async def test_refusal_that_names_a_time_is_repeated_and_in_the_end_given_up(api: FakeApi) -> None:
    busy = status.error_of(Status(429, "TooManyRequests", "busy", {"retryAfterSeconds": 3}))
    clock = SteppedClock()
    async with serve(api) as served, client_of(Settings(served.url), clock) as client:
        api.fail(busy, times=2)
        await client.create(r.CONFIG_MAPS, config())
        assert clock.slept == [3.0, 3.0]
        api.fail(busy, times=-1)
        with pytest.raises(status.TooManyRequests, match="busy"):
            await client.list(r.PODS)
        assert len(clock.slept) == 12


@pytest.mark.asyncio
async def test_requests_keep_to_the_rate_and_another_client_is_not_held_up(api: FakeApi) -> None:
    clock = SteppedClock()
    async with serve(api) as served:
        limits = Limits(qps=5, burst=2)
        async with client_of(Settings(served.url), clock, limits) as client:
            for _ in range(6):
                await client.list(r.PODS)
            assert len(clock.slept) == 4
            assert 0.6 <= sum(clock.slept) <= 0.8
            own = SteppedClock()
            async with client_of(Settings(served.url), own, limits) as lease_client:
                await lease_client.list(r.LEASES)
            assert own.slept == []


@pytest.mark.asyncio
async def test_one_connection_serves_many_requests_and_watches_do_not_use_up_others(api: FakeApi) -> None:
    async with serve(api) as served, client_of(Settings(served.url), limits=Limits(qps=0)) as client:
        for _ in range(20):
            await client.list(r.PODS)
        assert len(served.seen.connections) == 1
        api.put(config())
        streams = [client.watch(r.CONFIG_MAPS) for _ in range(120)]
        try:
            await asyncio.gather(*(anext(stream) for stream in streams))
            async with asyncio.timeout(5):
                await client.list(r.PODS)
        finally:
            for stream in streams:
                await stream.aclose()


@pytest.mark.asyncio
async def test_requests_at_once_share_as_many_connections_as_they_may_beside_watches(api: FakeApi) -> None:
    api.put(config())
    async with serve(api) as served:
        async with client_of(Settings(served.url), limits=Limits(qps=0, in_flight=2)) as client:
            streams = [client.watch(r.CONFIG_MAPS) for _ in range(3)]
            try:
                await asyncio.gather(*(anext(stream) for stream in streams))
                await asyncio.gather(*(client.list(r.PODS) for _ in range(20)))
            finally:
                for stream in streams:
                    await stream.aclose()
        assert 3 < len(served.seen.connections) <= 5


@pytest.mark.asyncio
async def test_event_of_a_megabyte_and_a_half_comes_through(api: FakeApi) -> None:
    api.put({**config(), "data": {"x": "y" * 1_500_000}})
    async with serve(api) as served, client_of(Settings(served.url)) as client:
        async with aclosing(client.watch(r.CONFIG_MAPS)) as events:
            event = await anext(events)
        assert len(event.raw) > 1_500_000
        assert len((await client.list(r.CONFIG_MAPS)).items[0]) > 1_500_000


@pytest.mark.asyncio
async def test_call_that_gets_no_answer_ends_in_time(api: FakeApi) -> None:
    api.delay(30, Pattern("list"))
    async with serve(api) as served:
        async with client_of(Settings(served.url), limits=Limits(request_seconds=0.1)) as client:
            with pytest.raises(Unreachable, match="because it did not answer in time"):
                await client.list(r.PODS)


@pytest.mark.asyncio
async def test_server_that_is_not_there_is_unreachable_and_named() -> None:
    async with client_of(Settings("http://127.0.0.1:1")) as client:
        with pytest.raises(Unreachable, match=r'^cannot reach API server "http://127\.0\.0\.1:1": because '):
            await client.get(r.NODES, "n1")


@pytest.mark.asyncio
async def test_empty_name_never_reaches_the_server(api: FakeApi) -> None:
    api.put(config())
    async with serve(api) as served, client_of(Settings(served.url)) as client:
        with pytest.raises(ValueError, match="name is empty"):
            await client.delete(r.CONFIG_MAPS, "", namespace="x")
    assert served.seen.headers == []
    assert len(api.objects(r.CONFIG_MAPS)) == 1


RawHandler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def raw_server(answer: bytes) -> AsyncIterator[Served]:
    """Answers every connection with these bytes and closes it."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        yield Served(f"http://127.0.0.1:{port}", None)  # type: ignore[arg-type]


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
EVENT = b'{"type":"ADDED","object":{"metadata":{"name":"a"}}}'


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", "payload|not completed|Connection"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>", "the answer is not"),
        (b"", "disconnected"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "."),
    ],
)
@pytest.mark.asyncio
async def test_answer_that_is_cut_short_or_no_api_is_unreachable(answer: bytes, says: str) -> None:
    async with raw_server(answer) as served, client_of(Settings(served.url)) as client:
        with pytest.raises(Unreachable, match=says):
            await client.list(r.PODS)
        with pytest.raises(Unreachable, match=says):
            await client.get(r.NODES, "n1")


@pytest.mark.asyncio
async def test_event_without_a_line_end_counts_and_half_an_event_does_not() -> None:
    whole = CHUNKED + b"%x\r\n%s\r\n0\r\n\r\n" % (len(EVENT), EVENT)
    half = CHUNKED + b"%x\r\n%s\r\n0\r\n\r\n" % (20, EVENT[:20])
    cut = CHUNKED + b"%x\r\n%s\n\r\n" % (len(EVENT) + 1, EVENT)
    async with raw_server(whole) as served, client_of(Settings(served.url)) as client:
        assert [event.type async for event in client.watch(r.PODS)] == ["ADDED"]
    async with raw_server(half) as served, client_of(Settings(served.url)) as client:
        with pytest.raises(Unreachable, match="not readable"):
            await anext(client.watch(r.PODS))
    async with raw_server(cut) as served, client_of(Settings(served.url)) as client:
        async with aclosing(client.watch(r.PODS)) as events:
            assert (await anext(events)).identity.name == "a"
            with pytest.raises(Unreachable):
                await anext(events)


@pytest.mark.asyncio
async def test_silent_stream_ends_soon_after_its_time(api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kube.client.http._STREAM_SLACK_SECONDS", -0.9)
    api.put(config())
    async with serve(api) as served, client_of(Settings(served.url)) as client:
        with pytest.raises(Unreachable, match=r"(?i)time"):
            async with asyncio.timeout(5):
                async for _ in client.watch(r.CONFIG_MAPS, options=WatchOptions(timeout_seconds=1)):
                    pass


@pytest.mark.asyncio
async def test_closed_client_says_so(api: FakeApi) -> None:
    async with serve(api) as served:
        client = HttpClient(Settings(served.url))
        await client.close()
        with pytest.raises(RuntimeError, match="closed"):
            await client.list(r.PODS)
