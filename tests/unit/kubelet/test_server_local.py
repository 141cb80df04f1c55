"""The local HTTP faces: routing, healthz, the view of pods, and the sockets they are on."""

from __future__ import annotations

import asyncio
import json
import socket
import stat
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from kube.objects.core_v1 import Pod
from kube.objects.meta_v1 import ObjectMeta
from kubelet.server import plain
from kubelet.server.healthz import healthz_routes
from kubelet.server.http import Request, Response, Router, text
from kubelet.server.view import drain_action, view_routes

pytestmark = pytest.mark.pure


def get(router: Router, target: str, method: str = "GET") -> tuple[int, str]:
    response = router.answer(Request.parse(method, target))
    return response.status, response.body.decode()


SICK = Router(healthz_routes({"log": lambda: None, "syncloop": lambda: "no pass for 6m0s"}))
WELL = Router(healthz_routes({"log": lambda: None, "syncloop": lambda: None}))


@pytest.mark.parametrize(
    ("router", "target", "status", "body"),
    [
        (WELL, "/healthz", 200, "ok"),
        (WELL, "/healthz/", 200, "ok"),
        (WELL, "/healthz/ping", 200, "ok"),
        (WELL, "/healthz?verbose", 200, "[+]ping ok\n[+]log ok\n[+]syncloop ok\nhealthz check passed\n"),
        (WELL, "/healthz/none", 404, "404 page not found\n"),
        (SICK, "/healthz", 500,
         "[+]ping ok\n[+]log ok\n[-]syncloop failed: reason withheld\nhealthz check failed\n"),
        (SICK, "/healthz/ping", 200, "ok"),
        (SICK, "/healthz/syncloop", 500, "internal server error: no pass for 6m0s\n"),
        (SICK, "/healthz?exclude=syncloop", 200, "ok"),
        (WELL, "/healthz?verbose=1&exclude=x", 200,
         "[+]ping ok\n[+]log ok\n[+]syncloop ok\n"
         'warn: some health checks cannot be excluded: no matches for "x"\nhealthz check passed\n'),
    ],
)  # fmt: skip
def test_healthz_speaks_as_kubernetes_does(router: Router, target: str, status: int, body: str) -> None:
    assert get(router, target) == (status, body)


class View:
    """Two pods and one story."""

    def pods(self) -> Sequence[Any]:
        return [Pod(api_version="v1", kind="Pod", metadata=ObjectMeta(name="web", uid="u1")), {"kind": "Pod"}]

    def summaries(self) -> Sequence[Mapping[str, Any]]:
        return [{"uid": "u1", "stage": "SYNCING"}]

    def story(self, uid: str) -> Mapping[str, Any] | None:
        return {"uid": uid, "story": ["began"]} if uid == "u1" else None

    def probes(self) -> Mapping[str, Any]:
        return {"count": 3, "bounds": [0.001], "counts": [2, 1]}


VIEW = Router(view_routes(View(), lambda: {"kind": "KubeletConfiguration", "maxPods": 5}))


def test_view_shows_pods_stories_and_configuration() -> None:
    pods = json.loads(get(VIEW, "/pods")[1])
    assert (pods["kind"], pods["apiVersion"]) == ("PodList", "v1")
    assert pods["items"][0]["metadata"] == {"name": "web", "uid": "u1"}
    assert json.loads(get(VIEW, "/debug/pods")[1]) == {"pods": [{"uid": "u1", "stage": "SYNCING"}]}
    assert json.loads(get(VIEW, "/debug/pods/u1")[1]) == {"uid": "u1", "story": ["began"]}
    assert get(VIEW, "/debug/pods/u2") == (404, 'cannot show pod: no pod with uid "u2" is known here\n')
    assert get(VIEW, "/debug/pods/u1/more")[0] == 404
    assert json.loads(get(VIEW, "/debug/probes")[1])["counts"] == [2, 1]
    assert json.loads(get(VIEW, "/configz")[1])["kubeletconfig"]["maxPods"] == 5


def test_view_is_read_only() -> None:
    response = VIEW.answer(Request.parse("DELETE", "/pods"))
    assert response.status == 405
    assert ("Allow", "GET, HEAD") in response.headers


def test_drain_is_asked_for_by_post_alone() -> None:
    asked: list[str] = []
    router = Router(view_routes(View(), dict), drain_action(lambda: asked.append("drain")))
    refused = router.answer(Request.parse("GET", "/drain"))
    assert (refused.status, asked) == (405, [])
    assert ("Allow", "POST") in refused.headers
    assert get(router, "/drain", "POST") == (200, '{"draining":true}')
    assert asked == ["drain"]
    assert get(router, "/pods", "POST")[0] == 405


async def talk(path: str, data: bytes) -> bytes:
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(data)
    writer.write_eof()
    answer = await reader.read()
    writer.close()
    return answer


def explode(_: Request) -> Response:
    raise RuntimeError("a fault of ours")


@asynccontextmanager
async def served(tmp_path: Path) -> AsyncIterator[str]:
    routes = {"/hello": lambda request: text(f"hello {request.query.get('who', '')}"), "/boom": explode}
    server = await plain.serve_unix("test", str(tmp_path / "run" / "k.sock"), Router(routes))
    try:
        yield server.socket_path
    finally:
        await server.close()


@pytest.mark.asyncio
async def test_unix_socket_is_the_owners_alone_and_goes_away(tmp_path: Path) -> None:
    async with served(tmp_path) as path:
        assert stat.S_IMODE(Path(path).stat().st_mode) == 0o600
    assert not Path(path).exists()


@pytest.mark.asyncio
async def test_requests_of_one_connection_are_answered_in_turn(tmp_path: Path) -> None:
    async with served(tmp_path) as path:
        data = b"GET /hello?who=a%20b HTTP/1.1\r\nHost: x\r\n\r\nHEAD /hello HTTP/1.1\r\nHost: x\r\n\r\n"
        answer = await talk(
            path, data + b"GET /none HTTP/1.1\r\nConnection: close\r\n\r\nGET /hello HTTP/1.1\r\n\r\n"
        )
    assert answer.count(b"HTTP/1.1 ") == 3
    assert b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 9\r\n" in answer
    assert answer.count(b"hello a b") == 1
    assert answer.count(b"Content-Length: 6\r\n") == 1  # HEAD tells the length and sends no body
    assert answer.endswith(b"404 page not found\n")


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GARBAGE\r\n\r\n", b"400"),
        (b"GET /hello HTTP/2\r\n\r\n", b"400"),
        (b"GET http://x/hello HTTP/1.1\r\n\r\n", b"400"),
        (b"GET /hello HTTP/1.1\r\nBad Header\r\n\r\n", b"400"),
        (b"POST /hello HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", b"400"),
        (b"POST /hello HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", b"400"),
        (b"POST /hello HTTP/1.1\r\n\r\n", b"405"),
        (b"GET /hello HTTP/1.1\r\nX: " + b"y" * 20000 + b"\r\n\r\n", b"431"),
        (b"GET /boom HTTP/1.1\r\n\r\n", b"500"),
        (b"\xff\xfe /\x00 \xff\r\n\r\n", b"400"),
    ],
)
@pytest.mark.asyncio
async def test_bad_request_gets_its_status_and_the_server_lives_on(
    tmp_path: Path, data: bytes, status: bytes
) -> None:
    async with served(tmp_path) as path:
        assert (await talk(path, data)).startswith(b"HTTP/1.1 " + status)
        assert b"200 OK" in await talk(path, b"GET /hello HTTP/1.1\r\nConnection: close\r\n\r\n")


@pytest.mark.asyncio
async def test_client_that_hangs_up_or_says_nothing_does_no_harm(tmp_path: Path) -> None:
    async with served(tmp_path) as path:
        assert await talk(path, b"GET /hel") == b""
        _, silent = await asyncio.open_unix_connection(path)
        assert b"200 OK" in await talk(path, b"GET /hello HTTP/1.0\r\n\r\n")
    silent.close()  # close() of the server did not wait for it


@pytest.mark.asyncio
async def test_connections_over_the_bound_are_turned_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plain, "MAX_CONNECTIONS", 1)
    async with served(tmp_path) as path:
        reader, first = await asyncio.open_unix_connection(path)
        first.write(b"GET /hello HTTP/1.1\r\n\r\n")
        await reader.readuntil(b"hello ")
        assert (await talk(path, b"")).startswith(b"HTTP/1.1 503 ")
        first.close()


@pytest.mark.asyncio
async def test_stale_socket_is_replaced_and_a_live_or_foreign_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "k.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    first = await plain.serve_unix("first", str(path), Router({}))
    with pytest.raises(FileExistsError, match="because another process answers there"):
        await plain.serve_unix("second", str(path), Router({}))
    await first.close()
    path.write_text("precious")
    with pytest.raises(FileExistsError, match="because a file that is not a socket is there"):
        await plain.serve_unix("third", str(path), Router({}))
    assert path.read_text() == "precious"


@pytest.mark.asyncio
async def test_tcp_server_answers_on_loopback_and_refuses_a_taken_port() -> None:
    server = await plain.serve_tcp("healthz", "127.0.0.1", 0, WELL)
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n")
        assert (await reader.read()).endswith(b"\r\n\r\nok")
        writer.close()
        with pytest.raises(OSError, match="in use"):
            await plain.serve_tcp("healthz", "127.0.0.1", server.port, WELL)
    finally:
        await server.close()
