"""Logs, exec, attach, port-forwards and proxies through the API server to a kubelet's stand-in over TLS."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from aio.spdy import Session
from aio.spdy_frames import Data, SynReply
from controlplane.api.model import Authorizer, Decision, RequestInfo, UserInfo, Verdict
from kube.http_server import Request, Response, Tunnel
from kube.pki import Subject, Usage
from kube.websocket import Closed, Message, WebSocket, accept_key
from tests.unit.controlplane.api_world import PODS
from tests.unit.controlplane.streaming_world import SUCCESS, cat, echo_raw, streaming
from tests.unit.kube.http_world import Client

pytestmark = [pytest.mark.pure, pytest.mark.asyncio]

KEY = base64.b64encode(bytes(16)).decode()
EXEC = f"{PODS}/{{}}/exec?command=cat&command=a%20b&stdin=true&stdout=true&stderr=true"
FORWARD = f"{PODS}/{{}}/portforward"


def web_socket(target: str, *protocols: str) -> str:
    offered = ", ".join(protocols)
    return (
        f"GET {target} HTTP/1.1\nHost: api\nConnection: Upgrade\nUpgrade: websocket\n"
        f"Sec-WebSocket-Version: 13\nSec-WebSocket-Key: {KEY}\nSec-WebSocket-Protocol: {offered}\n\n"
    )


def _socket() -> WebSocket:
    return WebSocket(mask=lambda: b"mask")


def spdy(target: str, *versions: str) -> str:
    lines = "".join(f"X-Stream-Protocol-Version: {version}\n" for version in versions)
    head = f"POST {target} HTTP/1.1\nHost: api\nConnection: Upgrade\nUpgrade: SPDY/3.1\n"
    return f"{head}{lines}Content-Length: 0\n\n"


async def text_log(request: Request) -> Response:
    async def lines() -> AsyncIterator[bytes]:
        yield b"one\n"
        yield b"two\n"

    return Response(content_type="text/plain", stream=lines())


async def nobody(request: Request) -> Response:
    raise AssertionError("the kubelet must not be asked")


# --- logs ---


async def test_log_is_streamed_from_the_node_by_the_servers_own_certificate(tmp_path: Path) -> None:
    async with streaming(tmp_path, text_log) as world:
        query = "follow=true&tailLines=5&timestamps&previous=false&limitBytes=9"
        query += "&sinceTime=2026-01-02T03:04:05Z"
        found = await world.get(f"{PODS}/web/log?{query}")
        assert (found.code, found.content_type, found.body) == (200, "text/plain", b"one\ntwo\n")
        (asked,) = world.kubelet.asked
        assert (asked.method, asked.path) == ("GET", "/containerLogs/default/web/main")
        assert asked.query == {
            "follow": ["true"], "tailLines": ["5"], "timestamps": ["true"], "limitBytes": ["9"],
            "sinceTime": ["2026-01-02T03:04:05Z"],
        }  # fmt: skip
        assert world.kubelet.users == ["kube-apiserver-kubelet-client"]
        assert "authorization" not in asked.headers


async def test_log_comes_as_it_is_written_and_ends_with_its_reader(tmp_path: Path) -> None:
    pieces: asyncio.Queue[bytes] = asyncio.Queue()
    ended = asyncio.Event()

    async def lines() -> AsyncIterator[bytes]:
        try:
            while True:
                yield await pieces.get()
        finally:
            ended.set()

    async def serve(request: Request) -> Response:
        return Response(content_type="text/plain", stream=lines())

    async with streaming(tmp_path, serve) as world, world.client() as client:
        await client.send(f"GET {PODS}/web/log?follow=1 HTTP/1.1\nHost: a\n\n")
        assert (await client.head()).code == 200
        for piece in (b"first\n", b"second\n"):
            pieces.put_nowait(piece)
            assert await client.chunk() == piece
        client.writer.transport.abort()
        await ended.wait()


async def test_container_of_a_log_is_chosen_in_upstreams_words(tmp_path: Path) -> None:
    async with streaming(tmp_path, text_log) as world:
        await world.pod("two", "old", "a", "b")
        await world.pod("waiting", "")
        told = await world.refused(f"{PODS}/two/log", 400)
        assert told["message"] == "a container name must be specified for pod two, choose one of: [a b]"
        told = await world.refused(f"{PODS}/two/log?container=c", 400)
        assert told["message"] == "container c is not valid for pod two"
        assert (await world.refused(f"{PODS}/none/log", 404))["message"] == 'pods "none" not found'
        assert (await world.get(f"{PODS}/two/log?container=b")).body == b"one\ntwo\n"
        assert world.kubelet.asked[-1].path == "/containerLogs/default/two/b"
        assert (await world.get(f"{PODS}/waiting/log")).code == 204


@pytest.mark.parametrize(
    ("query", "code", "message"),
    [
        ("tailLines=-1", 422, "tailLines: Invalid value: -1: must be greater than or equal to 0"),
        ("limitBytes=0", 422, "limitBytes: Invalid value: 0: must be greater than 0"),
        ("sinceSeconds=0", 422, "sinceSeconds: Invalid value: 0: must be greater than 0"),
        (
            "sinceSeconds=1&sinceTime=2026-01-01T00:00:00Z",
            422,
            "at most one of `sinceTime` or",
        ),
        ("stream=Both", 422, 'supported values: "All", "Stderr", "Stdout"'),
        ("stream=Stdout&tailLines=1", 422, "mutually exclusive"),
        ("tailLines=many", 400, 'parsing "many": invalid syntax'),
        ("sinceTime=yesterday", 400, "sinceTime"),
    ],
)
async def test_options_of_a_log_are_checked(tmp_path: Path, query: str, code: int, message: str) -> None:
    async with streaming(tmp_path, nobody) as world:
        assert message in (await world.refused(f"{PODS}/web/log?{query}", code))["message"]


@pytest.mark.parametrize(
    ("code", "reason", "message"),
    [
        (400, "BadRequest", 'container "main" in pod "web" is waiting to start: ContainerCreating'),
        (500, "InternalError", "Internal error occurred: the disk is gone"),
        (404, "NotFound", "pods/log"),
    ],
)
async def test_what_a_kubelet_refuses_is_told_as_a_status(
    tmp_path: Path, code: int, reason: str, message: str
) -> None:
    said = message.removeprefix("Internal error occurred: ")

    async def serve(request: Request) -> Response:
        return Response(code, said.encode(), "text/plain")

    async with streaming(tmp_path, serve) as world:
        told = await world.refused(f"{PODS}/web/log", code)
        assert told["reason"] == reason and message in told["message"]


async def test_log_over_a_web_socket_is_its_bytes_in_messages(tmp_path: Path) -> None:
    async with streaming(tmp_path, text_log) as world, world.client() as client:
        await client.send(web_socket(f"{PODS}/web/log", "binary.k8s.io"))
        head = await client.answer()
        assert (head.code, head.headers["sec-websocket-protocol"]) == (101, "binary.k8s.io")
        events = _socket().receive(await client.reader.read())
        assert b"".join(e.data for e in events if isinstance(e, Message)) == b"one\ntwo\n"
        assert isinstance(events[-1], Closed)


async def test_reader_who_leaves_a_silent_log_ends_it_at_the_node(tmp_path: Path) -> None:
    ended = asyncio.Event()

    async def silent(request: Request) -> Response:
        return Response(200, content_type="text/plain", stream=_first_line_then_nothing(ended))

    async with streaming(tmp_path, silent) as world:
        for is_polite in (True, False):
            ended.clear()
            async with world.client() as client:
                await client.send(web_socket(f"{PODS}/web/log?follow=true", "binary.k8s.io"))
                assert (await client.answer()).code == 101
                assert await client.reader.readexactly(5) == b"\x82\x03one"
                if is_polite:
                    socket = _socket()
                    socket.close()
                    await client.send(socket.take())
                    await client.reader.read()
            async with asyncio.timeout(10):
                await ended.wait()


async def _first_line_then_nothing(ended: asyncio.Event) -> AsyncIterator[bytes]:
    try:
        yield b"one"
        await asyncio.Event().wait()
    finally:
        ended.set()


async def test_renewed_certificate_is_shown_without_a_restart(tmp_path: Path) -> None:
    async with streaming(tmp_path, text_log) as world:
        assert (await world.get(f"{PODS}/web/log")).code == 200
        world.authority.pair("client", Subject("renewed"), Usage.CLIENT)
        assert (await world.get(f"{PODS}/web/log")).code == 200
        (tmp_path / "client.crt").unlink()
        told = await world.refused(f"{PODS}/web/log", 500)
        assert "certificate cannot be read" in told["message"]
        assert world.kubelet.users == ["kube-apiserver-kubelet-client", "renewed"]


# --- nodes that do not answer ---


async def test_node_that_is_down_is_said_with_its_address(tmp_path: Path) -> None:
    async with streaming(tmp_path, nobody) as world:
        await world.node("down", port=1)
        await world.pod("lost", "down")
        told = await world.refused(f"{PODS}/lost/log", 500)
        assert told["message"] == (
            'Get "https://127.0.0.1:1/containerLogs/default/lost/main": '
            "dial tcp 127.0.0.1:1: connect: connection refused"
        )
        async with world.client() as client:
            found = await client.ask(spdy(EXEC.format("lost"), "v4.channel.k8s.io"))
            assert found.code == 500
            assert b"error dialing backend: dial tcp 127.0.0.1:1: connect: connection refused" in found.body


async def test_node_with_a_strangers_certificate_is_told_nothing(tmp_path: Path) -> None:
    async with streaming(tmp_path, nobody, trusts=False) as world:
        told = await world.refused(f"{PODS}/web/log", 500)
        assert "tls: failed to verify certificate" in told["message"]
        assert not world.kubelet.asked


async def test_pod_without_a_node_has_nobody_to_run_commands(tmp_path: Path) -> None:
    async with streaming(tmp_path, nobody) as world:
        await world.pod("waiting", "")
        told = await world.refused(EXEC.format("waiting"), 400)
        assert told["message"] == "pod waiting does not have a host assigned"
        assert (await world.refused(EXEC.format("web"), 400))["message"] == "Upgrade request required"


# --- exec, attach, port-forward ---


async def _exec_spdy(client: Client, target: str, data: bytes) -> tuple[bytes, bytes]:
    """Stdout and the status of a command that is given `data` and then no more."""
    found = await client.ask(spdy(target, "v5.channel.k8s.io", "v4.channel.k8s.io"))
    assert (found.code, found.headers["upgrade"]) == (101, "SPDY/3.1"), found.body
    assert found.headers["x-stream-protocol-version"] == "v5.channel.k8s.io, v4.channel.k8s.io"
    session = Session(is_server=False, flow_control=False)
    ids = {kind: session.open_stream((("streamtype", kind),)) for kind in ("error", "stdin", "stdout")}
    await client.send(session.take())
    waiting, out, told = set(ids.values()), b"", b""
    while not told:
        got = await client.reader.read(65536)
        assert got, "the connection ended before the command"
        for event in session.receive(got):
            if isinstance(event, SynReply):
                waiting.discard(event.stream_id)
                if not waiting:
                    session.send(ids["stdin"], data, fin=True)
                    await client.send(session.take())
            elif isinstance(event, Data):
                out += event.data if event.stream_id == ids["stdout"] else b""
                told += event.data if event.stream_id == ids["error"] else b""
    return out, told


async def test_spdy_passes_byte_for_byte_with_the_end_of_the_input(tmp_path: Path) -> None:
    async with streaming(tmp_path, cat) as world, world.client() as client:
        assert await _exec_spdy(client, EXEC.format("web"), b"x\n") == (b"x\n", SUCCESS)
        (asked,) = world.kubelet.asked
        assert (asked.method, asked.path) == ("POST", "/exec/default/web/main")
        assert asked.query == {"input": ["1"], "output": ["1"], "error": ["1"], "command": ["cat", "a b"]}


async def test_web_socket_passes_to_a_node_that_takes_it_without_the_clients_token(tmp_path: Path) -> None:
    async with streaming(tmp_path, cat) as world, world.client() as client:
        token = "base64url.bearer.authorization.k8s.io." + base64.urlsafe_b64encode(b"secret").decode()
        offered = ("v5.channel.k8s.io", token, "v4.channel.k8s.io")
        found = await client.ask(web_socket(EXEC.format("new").replace("exec", "attach"), *offered))
        assert (found.code, found.headers["sec-websocket-protocol"]) == (101, "v5.channel.k8s.io")
        assert found.headers["sec-websocket-accept"] == accept_key(KEY)
        (asked,) = world.kubelet.asked
        assert (asked.upgrade, asked.path) == ("websocket", "/attach/default/new/main")
        assert asked.headers["sec-websocket-protocol"] == "v5.channel.k8s.io, v4.channel.k8s.io"
        assert "command" not in asked.query
        large = bytes(range(256)) * 16384
        sending = asyncio.create_task(client.send(large))
        assert await client.reader.readexactly(len(large)) == large
        await sending


@pytest.mark.parametrize("protocol", ["v5.channel.k8s.io", "v4.channel.k8s.io"])
async def test_web_socket_becomes_spdy_for_a_node_that_does_not_take_it(
    tmp_path: Path, protocol: str
) -> None:
    async with streaming(tmp_path, cat) as world, world.client() as client:
        found = await client.ask(web_socket(EXEC.format("web"), protocol))
        assert (found.code, found.headers["sec-websocket-protocol"]) == (101, protocol), found.body
        (asked,) = world.kubelet.asked
        assert (asked.method, asked.upgrade) == ("POST", "spdy/3.1")
        socket = _socket()
        socket.send(b"\x00hello")
        has_close = protocol.startswith("v5")
        if has_close:
            socket.send(b"\xff\x00")
        await client.send(socket.take())
        said = {1: b"", 3: b""}
        while said[1] != b"hello" or (has_close and not said[3]):
            for event in socket.receive(await client.reader.read(65536)):
                if isinstance(event, Message) and event.data:
                    said[event.data[0]] = said.get(event.data[0], b"") + event.data[1:]
        assert said[1] == b"hello" and said[3] == (SUCCESS if has_close else b"")


@pytest.mark.parametrize("pod", ["web", "new"])
async def test_port_forward_in_a_web_socket_reaches_either_kind_of_node(tmp_path: Path, pod: str) -> None:
    async with streaming(tmp_path, cat) as world, world.client() as client:
        found = await client.ask(web_socket(FORWARD.format(pod), "SPDY/3.1+portforward.k8s.io"))
        assert found.headers["sec-websocket-protocol"] == "SPDY/3.1+portforward.k8s.io", found.body
        (asked,) = world.kubelet.asked
        assert asked.path == f"/portForward/default/{pod}"
        assert asked.upgrade == ("spdy/3.1" if pod == "web" else "websocket")
        if pod == "new":
            return  # what passes there are the node's own messages
        session, socket = Session(is_server=False, flow_control=False), _socket()
        headers = (("port", "80"), ("requestid", "0"))
        session.open_stream((("streamtype", "error"), *headers))
        data = session.open_stream((("streamtype", "data"), *headers))
        socket.send(session.take())
        await client.send(socket.take())
        out, sent = b"", False
        while out != b"GET /":
            for message in socket.receive(await client.reader.read(65536)):
                assert isinstance(message, Message)
                for event in session.receive(message.data):
                    if isinstance(event, SynReply) and event.stream_id == data and not sent:
                        session.send(data, b"GET /")
                        socket.send(session.take())
                        await client.send(socket.take())
                        sent = True
                    elif isinstance(event, Data):
                        out += event.data


class OnlyGet:
    """May look, and nothing else."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def authorize(self, user: UserInfo, info: RequestInfo) -> Verdict:
        self.asked.append(f"{info.verb} {info.resource}/{info.subresource}")
        is_allowed = info.subresource not in ("exec", "attach", "portforward") or info.verb == "get"
        return Verdict(Decision.ALLOWED if is_allowed else Decision.NO_OPINION)


@pytest.mark.parametrize("what", ["exec", "attach", "portforward"])
async def test_who_may_only_get_runs_no_commands_by_a_web_socket(tmp_path: Path, what: str) -> None:
    looks: Authorizer = OnlyGet()
    async with streaming(tmp_path, nobody, authorizer=looks) as world, world.client() as client:
        found = await client.ask(web_socket(f"{PODS}/web/{what}?command=sh", "v5.channel.k8s.io"))
        assert found.code == 403
        assert f'cannot create resource \\"pods/{what}\\"'.encode() in found.body
        assert not world.kubelet.asked


@pytest.mark.parametrize("ask", ["websocket", "spdy"])
async def test_what_a_node_says_instead_of_upgrading_is_said_to_the_client(tmp_path: Path, ask: str) -> None:
    async def serve(request: Request) -> Response:
        return Response(404, b'container not found ("main")', "text/plain; charset=utf-8")

    async with streaming(tmp_path, serve) as world, world.client() as client:
        target = EXEC.format("web")
        raw = spdy(target, "v4.channel.k8s.io") if ask == "spdy" else web_socket(target, "v5.channel.k8s.io")
        found = await client.ask(raw)
        assert (found.code, found.body) == (404, b'container not found ("main")')


@pytest.mark.parametrize("pod", ["web", "new"])
async def test_client_that_vanishes_ends_its_session_at_the_node(tmp_path: Path, pod: str) -> None:
    ended = asyncio.Event()

    async def session(tunnel: Tunnel) -> None:
        try:
            await echo_raw(tunnel)
        finally:
            ended.set()

    async def serve(request: Request) -> Response:
        answer = await cat(request)
        return Response(headers=answer.headers, upgrade=session)

    async with streaming(tmp_path, serve) as world, world.client() as client:
        assert (await client.ask(web_socket(EXEC.format(pod), "v5.channel.k8s.io"))).code == 101
        client.writer.transport.abort()
        await ended.wait()


@pytest.mark.parametrize("pod", ["web", "new"])
async def test_node_that_vanishes_ends_the_clients_session(tmp_path: Path, pod: str) -> None:
    async def session(tunnel: Tunnel) -> None:
        await tunnel.read()
        raise ConnectionResetError("the node is gone")

    async def serve(request: Request) -> Response:
        answer = await cat(request)
        return Response(headers=answer.headers, upgrade=session)

    async with streaming(tmp_path, serve) as world, world.client() as client:
        assert (await client.ask(web_socket(EXEC.format(pod), "v5.channel.k8s.io"))).code == 101
        socket = _socket()
        socket.send(b"\x00x")
        await client.send(socket.take())
        events = socket.receive(await client.reader.read())
        if pod == "web":  # translated: the client is told that this was no success
            told = b"".join(e.data for e in events if isinstance(e, Message) and e.data[:1] == b"\x03")
            assert b'"Failure"' in told


async def test_client_that_does_not_read_holds_the_node_back(tmp_path: Path) -> None:
    written = 0
    held, go = asyncio.Event(), asyncio.Event()

    async def pour(tunnel: Tunnel) -> None:
        nonlocal written
        for _ in range(512):
            writing = asyncio.ensure_future(tunnel.write(b"x" * 65536))
            done, _ = await asyncio.wait((writing,), timeout=0.3)
            if not done:
                held.set()
            await writing
            written += 65536

    async def serve(request: Request) -> Response:
        return Response(headers={"Upgrade": "SPDY/3.1"}, upgrade=pour)

    async with streaming(tmp_path, serve) as world, world.client() as client:
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await client.send(spdy(EXEC.format("web"), "v4.channel.k8s.io"))
        await held.wait()
        assert written < 24 << 20
        client.writer.transport.resume_reading()  # type: ignore[attr-defined]
        assert (await client.answer()).code == 101
        assert len(await client.reader.read()) == 512 * 65536
        go.set()


# --- proxies ---


async def site(request: Request) -> Response:
    body = f"{request.method} {request.target} {request.body.decode()}".encode()
    seen = request.headers.get("authorization", "-") + request.headers.get("x-own", "-")
    return Response(201, body, "text/plain", {"X-Seen": seen, "Connection": "close"})


async def test_proxy_of_a_node_passes_the_request_as_it_came(tmp_path: Path) -> None:
    async with streaming(tmp_path, site) as world:
        found = await world.get(
            "/api/v1/nodes/old/proxy/a%2Fb/?q=%20x", method="POST", body=b"data",
            head="Authorization: Bearer t\nX-Own: y\nConnection: close, X-Hop\nX-Hop: z\n"
            "Impersonate-User: ann\n",
        )  # fmt: skip
        assert (found.code, found.body) == (201, b"POST /a%2Fb/?q=%20x data")
        assert found.headers["x-seen"] == "-y"
        assert not {"x-hop", "impersonate-user"} & set(world.kubelet.asked[-1].headers)
        assert world.kubelet.users[-1] == "kube-apiserver-kubelet-client"
        port = world.kubelet_server.address[1]
        found = await world.get(f"/api/v1/nodes/https:old:{port}/proxy/x")
        assert found.body == b"GET /x "
        found = await world.get("/api/v1/nodes/old/proxy?a=b")
        assert (found.code, found.headers["location"]) == (301, "/api/v1/nodes/old/proxy/?a=b")
        assert (await world.get("/api/v1/nodes/old/proxy/", method="HEAD")).code == 201
        assert (await world.refused("/api/v1/nodes/ftp:old:1/proxy/", 400))["reason"] == "BadRequest"
        assert (await world.refused("/api/v1/nodes/old:99999/proxy/", 400))["reason"] == "BadRequest"


async def test_proxy_of_a_pod_and_of_a_service_reach_it_without_the_servers_certificate(
    tmp_path: Path,
) -> None:
    async with streaming(tmp_path, site) as world:
        port = world.kubelet_server.address[1]
        await world.pod("site", "old", podIP="127.0.0.1", podIPs=[{"ip": "127.0.0.1"}])
        found = await world.get(f"{PODS}/https:site:{port}/proxy/x")
        assert (found.code, found.body, world.kubelet.users[-1]) == (201, b"GET /x ", "")
        service = {
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "svc"},
            "spec": {"ports": [{"name": "web", "port": 80}], "clusterIP": "None"},
        }  # fmt: skip
        await world.put("/api/v1/namespaces/default/services", service)
        told = await world.refused("/api/v1/namespaces/default/services/svc:80/proxy/", 503)
        assert told["message"] == 'no endpoints available for service "svc"'
        told = await world.refused("/api/v1/namespaces/default/services/svc:other/proxy/", 503)
        assert told["message"] == 'no service port "other" found for service "svc"'
        slice_ = {
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"name": "svc-1", "labels": {"kubernetes.io/service-name": "svc"}},
            "endpoints": [
                {"addresses": ["127.0.0.9"], "conditions": {"ready": False}},
                {"addresses": ["127.0.0.1"], "conditions": {"ready": True}},
            ],
            "ports": [{"name": "web", "port": port}],
        }  # fmt: skip
        await world.put("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", slice_)
        for name in ("https:svc:80", "https:svc:web", "https:svc:"):
            found = await world.get(f"/api/v1/namespaces/default/services/{name}/proxy/y")
            assert (found.code, found.body) == (201, b"GET /y "), name


async def test_proxy_streams_what_is_large_and_tunnels_what_upgrades(tmp_path: Path) -> None:
    async def serve(request: Request) -> Response:
        if request.upgrade:
            return Response(headers={"Upgrade": "chat"}, upgrade=echo_raw)

        async def body() -> AsyncIterator[bytes]:
            for _ in range(64):
                yield b"x" * 65536

        return Response(content_type="application/octet-stream", stream=body())

    async with streaming(tmp_path, serve) as world:
        found = await world.get("/api/v1/nodes/old/proxy/large")
        assert (len(found.body), found.content_type) == (64 * 65536, "application/octet-stream")
        async with world.client() as client:
            head = (
                "GET /api/v1/nodes/old/proxy/chat HTTP/1.1\nHost: a\nConnection: Upgrade\nUpgrade: chat\n\n"
            )
            assert (await client.ask(head)).code == 101
            await client.send(b"hello")
            assert await client.reader.readexactly(5) == b"hello"


async def test_last_words_of_a_node_reach_a_client_that_is_still_sending(tmp_path: Path) -> None:
    async def head(tunnel: Tunnel) -> None:
        await tunnel.read()
        await tunnel.write(b"enough")

    async def serve(request: Request) -> Response:
        return Response(headers={"Upgrade": "SPDY/3.1"}, upgrade=head)

    async with streaming(tmp_path, serve) as world:
        for _ in range(5):
            async with world.client() as client:
                assert (await client.ask(spdy(EXEC.format("web"), "v4.channel.k8s.io"))).code == 101
                pouring = asyncio.create_task(_pour(client))
                assert await client.reader.readexactly(6) == b"enough"
                pouring.cancel()
                await asyncio.wait((pouring,))


async def _pour(client: Client) -> None:
    try:
        while True:
            await client.send(b"x" * 65536)
    except ConnectionError:
        return


async def test_old_client_forwards_a_port_to_a_node_that_takes_no_web_sockets(tmp_path: Path) -> None:
    async with streaming(tmp_path, cat) as world, world.client() as client:
        target = FORWARD.format("web")
        found = await client.ask(web_socket(target, "v4.channel.k8s.io"))
        assert found.code == 400 and b"is required" in found.body
        assert (await client.ask(web_socket(f"{target}?ports=80000", "v4.channel.k8s.io"))).code == 400
        found = await client.ask(web_socket(f"{target}?ports=80", "v4.channel.k8s.io"))
        assert (found.code, found.headers["sec-websocket-protocol"]) == (101, "v4.channel.k8s.io")
        (asked,) = world.kubelet.asked
        assert (asked.upgrade, asked.query) == ("spdy/3.1", {"port": ["80"]})
        socket = _socket()
        socket.send(b"\x00GET /")
        await client.send(socket.take())
        said: list[bytes] = []
        while b"\x00GET /" not in said:
            events = socket.receive(await client.reader.read(65536))
            said += [event.data for event in events if isinstance(event, Message)]
        assert said == [b"\x00P\x00", b"\x01P\x00", b"\x00GET /"]
