"""Lifecycle hooks: requests, fallbacks, failure texts."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from cri.errors import DeadlineExceeded
from cri.types import ExecSyncResponse
from kube.objects.core_v1 import LifecycleHandler, Pod
from kubelet.hook_http import http_get
from kubelet.hooks import HookFailed, HookRunner, HttpHook

pytestmark = pytest.mark.pure


class World:
    """Answers hooks and records what they asked."""

    def __init__(self) -> None:
        self.commands: list[tuple[str, tuple[str, ...], int]] = []
        self.requests: list[HttpHook] = []
        self.answers: list[int | Exception] = []
        self.exec_answer: ExecSyncResponse | Exception = ExecSyncResponse()
        self.slept: list[float] = []
        self.fallbacks: list[str] = []
        self.runner = HookRunner(
            self.exec_sync, self.get, self, lambda _pod, text: self.fallbacks.append(text)
        )

    async def exec_sync(
        self, container_id: str, cmd: Sequence[str], timeout_seconds: int
    ) -> ExecSyncResponse:
        self.commands.append((container_id, tuple(cmd), timeout_seconds))
        if isinstance(self.exec_answer, Exception):
            raise self.exec_answer
        return self.exec_answer

    async def get(self, hook: HttpHook) -> int:
        self.requests.append(hook)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    def monotonic(self) -> float:
        return 0.0

    def wall(self) -> float:
        return 0.0

    def now(self) -> Any:
        raise AssertionError("hooks do not ask for the date")


async def run(world: World, hook: dict[str, Any], host: str = "10.0.0.7") -> None:
    container = {
        "name": "c",
        "ports": [{"name": "web", "containerPort": 8080}],
        "lifecycle": {"preStop": hook},
    }
    metadata = {"name": "web", "namespace": "shop", "uid": "u1"}
    pod = msgspec.convert({"metadata": metadata, "spec": {"containers": [container]}}, Pod)
    await world.runner.run(msgspec.convert(hook, LifecycleHandler), pod, "id1", host)


@pytest.mark.asyncio
async def test_an_exec_hook_runs_without_a_timeout_of_its_own() -> None:
    world = World()
    await run(world, {"exec": {"command": ["sh", "-c", "x"]}})
    assert world.commands == [("id1", ("sh", "-c", "x"), 0)]


@pytest.mark.asyncio
async def test_a_failing_exec_hook_tells_command_and_output() -> None:
    world = World()
    world.exec_answer = ExecSyncResponse(b"out", b"err", 3)
    with pytest.raises(HookFailed) as failed:
        await run(world, {"exec": {"command": ["sh", "-c", "x"]}})
    assert failed.value.message == (
        'Exec lifecycle hook ([sh -c x]) for Container "c" in Pod "web_shop(u1)" failed - '
        "error: command 'sh -c x' exited with 3: err, message: \"outerr\""
    )


@pytest.mark.asyncio
async def test_a_runtime_that_does_not_answer_is_a_failed_hook() -> None:
    world = World()
    world.exec_answer = DeadlineExceeded("too late", call="ExecSync")
    with pytest.raises(HookFailed, match='failed - error: too late, message: ""'):
        await run(world, {"exec": {"command": ["x"]}})


@pytest.mark.asyncio
async def test_a_sleep_hook_sleeps() -> None:
    world = World()
    await run(world, {"sleep": {"seconds": 5}})
    assert world.slept == [5]


@pytest.mark.parametrize(
    ("hook", "host", "url"),
    [
        ({"port": 80}, "10.0.0.7", "http://10.0.0.7:80/"),
        ({"port": "web", "path": "/bye?x=1"}, "10.0.0.7", "http://10.0.0.7:8080/bye?x=1"),
        ({"port": "81", "path": "bye", "scheme": "HTTPS"}, "fd00::7", "https://[fd00::7]:81/bye"),
        ({"port": 80, "host": "h"}, "", "http://h:80/"),
    ],
)
@pytest.mark.asyncio
async def test_an_http_hook_asks_the_pod(hook: dict[str, Any], host: str, url: str) -> None:
    world = World()
    world.answers = [302]
    await run(world, {"httpGet": hook}, host)
    (request,) = world.requests
    assert request == HttpHook(url, (("User-Agent", "kube-lifecycle/1.36"), ("Accept", "*/*")))


@pytest.mark.asyncio
async def test_https_that_is_answered_in_http_is_asked_again_without_credentials() -> None:
    world = World()
    world.answers = [ssl.SSLError("wrong version number"), 200]
    headers = [{"name": "Authorization", "value": "s3cret"}, {"name": "user-agent", "value": "mine"}]
    await run(world, {"httpGet": {"port": 443, "scheme": "HTTPS", "httpHeaders": headers}})
    assert world.requests[1] == HttpHook("http://10.0.0.7:443/", (("user-agent", "mine"), ("Accept", "*/*")))
    assert world.fallbacks == [
        "request to HTTPS lifecycle hook 10.0.0.7:443 got HTTP response, retry with HTTP succeeded"
    ]


@pytest.mark.parametrize(
    ("hook", "host", "answer", "error"),
    [
        ({"port": 80, "path": "/p"}, "10.0.0.7", 500, "HTTP request failed with statuscode: 500"),
        ({"port": 80, "path": "/p"}, "10.0.0.7", ConnectionRefusedError("refused"), "refused"),
        ({"port": "none", "path": "/p"}, "10.0.0.7", 200, 'couldn\'t find port: "none"'),
        ({"port": 0, "path": "/p"}, "10.0.0.7", 200, "invalid port number: 0"),
        ({"port": 80, "path": "/p"}, "", 200, "failed to find networking container: the pod has no address"),
    ],
)
@pytest.mark.asyncio
async def test_a_failing_http_hook_says_why(
    hook: dict[str, Any], host: str, answer: int | Exception, error: str
) -> None:
    world = World()
    world.answers = [answer]
    with pytest.raises(HookFailed) as failed:
        await run(world, {"httpGet": hook}, host)
    assert failed.value.message == (
        f'HTTP lifecycle hook (/p) for Container "c" in Pod "web_shop(u1)" failed - error: {error}'
    )


@pytest.mark.asyncio
async def test_an_empty_handler_cannot_run() -> None:
    with pytest.raises(HookFailed, match="Cannot run handler"):
        await run(World(), {})


async def serve(answer: bytes) -> tuple[asyncio.Server, list[bytes], int]:
    seen: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.read(65536))
        writer.write(answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    return server, seen, server.sockets[0].getsockname()[1]


@pytest.mark.asyncio
async def test_the_request_on_the_wire() -> None:
    server, seen, port = await serve(b"HTTP/1.1 204 No Content\r\n\r\n")
    async with server:
        hook = HttpHook(
            f"http://127.0.0.1:{port}/bye?x=%2F",
            (("User-Agent", "kube-lifecycle/1.36"), ("X", "1"), ("X", "2")),
        )
        assert await http_get(hook) == 204
    head = seen[0].decode()
    assert head.startswith("GET /bye?x=%2F HTTP/1.1\r\n")
    assert "User-Agent: kube-lifecycle/1.36\r\n" in head
    assert [line for line in head.split("\r\n") if line.startswith("X:")] == ["X: 1", "X: 2"]


@pytest.mark.asyncio
async def test_a_plain_server_behind_https_is_a_tls_error() -> None:
    server, _, port = await serve(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    async with server:
        with pytest.raises(ssl.SSLError):
            await http_get(HttpHook(f"https://127.0.0.1:{port}/", ()))


@pytest.mark.asyncio
async def test_nobody_listening_is_an_os_error() -> None:
    server, _, port = await serve(b"")
    server.close()
    await server.wait_closed()
    with pytest.raises(OSError, match="Connect call failed"):
        await http_get(HttpHook(f"http://127.0.0.1:{port}/", ()))
