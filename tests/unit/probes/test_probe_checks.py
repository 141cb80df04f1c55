"""The four checks against real servers on loopback, the badly behaved ones above all."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from probes import exec as exec_check
from probes import grpc as grpc_check
from probes import tcp as tcp_check
from probes.checks import Checks
from probes.http import HttpProbe
from probes.http_client import request_bytes, request_headers, url_of
from probes.http_exchange import dechunk
from probes.outcome import Outcome, Verdict, failure, success
from probes.spec import ExecCheck, GrpcCheck, HttpCheck, ProbeSpec, TcpCheck
from probes.target import ProbeTarget

pytestmark = pytest.mark.pure

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Server:
    """Answers each connection with `handle`; knows which connections are still open."""

    port: int = 0
    requests: list[str] = field(default_factory=list)
    open: int = 0


@contextlib.asynccontextmanager
async def serving(handle: Handler | bytes, tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    server = Server()
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.open += 1
        try:
            request = await reader.readuntil(b"\r\n\r\n")
            server.requests.append(request.decode())
            if isinstance(handle, bytes):
                writer.write(handle)
                await writer.drain()
            else:
                await handle(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the probe went away, which some tests want to see
        finally:
            server.open -= 1
            writer.close()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    listener = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=tls)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0.01)  # transports close on the next turns


def answer(status: str, body: bytes = b"", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


async def http(check: HttpCheck, timeout: float = 2.0) -> Outcome:
    probe = HttpProbe()
    try:
        return await probe.check(check, timeout)
    finally:
        await probe.close()


async def settled(server: Server) -> None:
    """Wait until every connection of the probe is gone."""
    async with asyncio.timeout(5):
        while server.open:
            await asyncio.sleep(0.002)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("status", "verdict", "message"),
    [
        ("200 OK", Verdict.SUCCESS, "hi"),
        ("204 No Content", Verdict.SUCCESS, ""),
        ("304 Not Modified", Verdict.WARNING, "Probe terminated redirects, Response body: "),
        ("399 Odd", Verdict.WARNING, "Probe terminated redirects, Response body: hi"),
        ("400 Bad", Verdict.FAILURE, "HTTP probe failed with statuscode: 400"),
        ("503 Busy", Verdict.FAILURE, "HTTP probe failed with statuscode: 503"),
    ],
)
async def test_status_code_decides(status: str, verdict: Verdict, message: str) -> None:
    body = b"" if status.startswith(("204", "304")) else b"hi"
    async with serving(answer(status, body)) as server:
        assert await http(HttpCheck(server.port, host="127.0.0.1")) == Outcome(verdict, message)
        await settled(server)


@pytest.mark.asyncio
async def test_request_is_what_upstream_sends() -> None:
    headers = (("Host", "shop.example"), ("X-A", "1"), ("X-A", "2"))
    async with serving(answer("200 OK")) as server:
        await http(HttpCheck(server.port, "/ok a?deep=1&x=a%2Fb", "127.0.0.1", headers=headers))
        lines = server.requests[0].split("\r\n")
    assert lines[0] == "GET /ok%20a?deep=1&x=a%2Fb HTTP/1.1"
    assert sorted(filter(None, lines[1:]), key=str.lower) == [
        "Accept: */*",
        "Connection: close",
        "Host: shop.example",
        "User-Agent: kube-probe/1.36",
        "X-A: 1",
        "X-A: 2",
    ]


def test_users_headers_win_and_empty_ones_send_nothing() -> None:
    check = HttpCheck(80, headers=(("User-Agent", "me"), ("Accept", "")))
    assert dict(request_headers(check)) == {"User-Agent": "me", "Connection": "close"}
    assert url_of(HttpCheck(80, "status", "fd00::1")) == "http://[fd00::1]:80/status"


def test_header_that_would_end_its_line_is_refused() -> None:
    with pytest.raises(ValueError, match="invalid header"):
        request_bytes("http://10.0.0.1:80/", (("X-A", "1\r\nX-B: 2"),))


def test_request_has_no_fragment_and_names_host_and_port() -> None:
    sent = request_bytes("http://10.0.0.1:80/a?b=1#c", ()).decode()
    assert sent == "GET /a?b=1 HTTP/1.1\r\nHost: 10.0.0.1:80\r\n\r\n"


@pytest.fixture(scope="module")
def libuv() -> None:
    """The pipe for signals that libuv opens once per process, outside the watch for leaks."""
    uvloop.new_event_loop().close()


@pytest.mark.usefixtures("libuv")
def test_check_works_on_the_agents_own_event_loop(tls: ssl.SSLContext) -> None:
    async def body() -> None:
        for scheme, context in (("http", None), ("https", tls)):
            async with serving(answer("200 OK", b"hi"), context) as server:
                assert await http(HttpCheck(server.port, host="127.0.0.1", scheme=scheme)) == success("hi")
                await settled(server)
        port = unused_port()
        refused = f'Get "http://127.0.0.1:{port}/": dial tcp 127.0.0.1:{port}: connect: connection refused'
        assert await http(HttpCheck(port, host="127.0.0.1")) == failure(refused)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(body())


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        (CHUNKED + b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n", success("abcde")),
        (CHUNKED + b"3\r\nab", failure("EOF")),
        (CHUNKED + b"-3\r\nabc\r\n", failure("invalid byte in chunk length")),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab", failure("EOF")),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nab", failure('bad Content-Length "-5"')),
        (b"HTTP/1.0 200 OK\n\nuntil the end", success("until the end")),
        (b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\n\r\nafter", success("after")),
        (b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", success("")),
        (b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", failure("malformed MIME header line: no colon")),
        (b"SSH-2.0-OpenSSH\r\n", failure('malformed HTTP response "SSH-2.0-OpenSSH"')),
    ],
)
async def test_answer_is_read_as_http_defines_it(reply: bytes, outcome: Outcome) -> None:
    async with serving(reply) as server:
        found = await http(HttpCheck(server.port, host="127.0.0.1"))
        prefix = "" if outcome.is_success else f'Get "http://127.0.0.1:{server.port}/": '
        assert found == Outcome(outcome.verdict, prefix + outcome.message)
        await settled(server)


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=8), st.data())
def test_chunks_come_out_whole_however_they_were_cut(parts: list[bytes], data: st.DataObject) -> None:
    sent = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
    body, is_complete = dechunk(sent)
    assert (body, is_complete) == (b"".join(parts), True)
    cut = data.draw(st.integers(0, len(sent) - 5))
    early, is_complete = dechunk(sent[:cut])
    assert body.startswith(early)
    assert not is_complete


@pytest.mark.asyncio
async def test_redirect_within_the_host_is_followed() -> None:
    async def handle(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = server.requests[-1].startswith("GET / ")
        writer.write(answer("302 Found", b"", "Location: /home") if first else answer("200 OK", b"home"))

    async with serving(handle) as server:
        assert await http(HttpCheck(server.port, host="127.0.0.1")) == success("home")
        assert len(server.requests) == 2
        await settled(server)


@pytest.mark.asyncio
async def test_redirect_to_another_host_is_a_warning_and_not_followed() -> None:
    moved = answer("301 Moved", b"bye", "Location: http://other.example/")
    async with serving(moved) as server:
        outcome = await http(HttpCheck(server.port, host="127.0.0.1"))
        await settled(server)
    assert outcome == Outcome(Verdict.WARNING, "Probe terminated redirects, Response body: bye")


@pytest.mark.asyncio
async def test_redirects_in_a_circle_fail_after_ten() -> None:
    async with serving(answer("302 Found", b"", "Location: /again")) as server:
        outcome = await http(HttpCheck(server.port, host="127.0.0.1"))
        assert outcome == failure(f'Get "http://127.0.0.1:{server.port}/again": stopped after 10 redirects')
        assert len(server.requests) == 10
        await settled(server)


async def never(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(3600)


async def trickle(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.01)


async def header_trickle(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nX: ")
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.01)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("handle", "phase"),
    [
        (never, "while awaiting headers"),
        (header_trickle, "while awaiting headers"),
        (trickle, "while reading body"),
    ],
)
async def test_target_that_never_finishes_is_bounded_and_leaves_no_connection(
    handle: Handler, phase: str
) -> None:
    async with serving(handle) as server:
        started = asyncio.get_running_loop().time()
        outcome = await http(HttpCheck(server.port, host="127.0.0.1"), timeout=0.15)
        assert asyncio.get_running_loop().time() - started < 1.0
        reason = f"context deadline exceeded (Client.Timeout exceeded {phase})"
        assert outcome == failure(f'Get "http://127.0.0.1:{server.port}/": {reason}')
        if handle is not never:
            await settled(server)


@pytest.mark.asyncio
async def test_endless_body_is_cut_at_ten_kibibytes_and_succeeds() -> None:
    async def endless(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"y" * 65536)
            await writer.drain()

    async with serving(endless) as server:
        outcome = await http(HttpCheck(server.port, host="127.0.0.1"))
        assert outcome == success("y" * 10240)
        await settled(server)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "reply", [b"", b"SSH-2.0-OpenSSH\r\n\r\n", b"HTTP/1.1 2000 x\r\n\r\n", b"\x00" * 100]
)
async def test_target_that_does_not_speak_http_is_a_failure(reply: bytes) -> None:
    async with serving(reply) as server:
        outcome = await http(HttpCheck(server.port, host="127.0.0.1"))
        assert outcome.verdict is Verdict.FAILURE
        assert outcome.message.startswith(f'Get "http://127.0.0.1:{server.port}/": ')
        await settled(server)


@pytest.mark.asyncio
async def test_refused_connection_reads_as_in_go() -> None:
    port = unused_port()
    dial = f"dial tcp 127.0.0.1:{port}: connect: connection refused"
    assert await http(HttpCheck(port, host="127.0.0.1")) == failure(f'Get "http://127.0.0.1:{port}/": {dial}')
    assert await tcp_check.check(TcpCheck(port, "127.0.0.1"), 1.0) == failure(dial)


def unused_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """A server's context with a certificate that nobody would trust."""
    directory: Path = tmp_path_factory.mktemp("tls")
    key, certificate = directory / "key.pem", directory / "cert.pem"
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=nobody"]
    subprocess.run([*make, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


@pytest.mark.asyncio
async def test_certificate_is_not_verified(tls: ssl.SSLContext) -> None:
    async with serving(answer("200 OK", b"secret"), tls) as server:
        assert await http(HttpCheck(server.port, host="127.0.0.1", scheme="https")) == success("secret")
        await settled(server)


@pytest.mark.asyncio
async def test_https_probe_of_a_plain_server_fails() -> None:
    async with serving(answer("200 OK")) as server:
        outcome = await http(HttpCheck(server.port, host="127.0.0.1", scheme="https"), 0.3)
        assert outcome.verdict is Verdict.FAILURE


@pytest.mark.asyncio
async def test_tcp_succeeds_when_somebody_listens_and_names_are_looked_up() -> None:
    async with serving(never) as server:
        assert await tcp_check.check(TcpCheck(server.port, "127.0.0.1"), 1.0) == success()
        assert await tcp_check.check(TcpCheck(server.port, "localhost"), 1.0) == success()
        await settled(server)
    await asyncio.get_running_loop().shutdown_default_executor()


@pytest.mark.asyncio
async def test_tcp_times_out_where_nobody_accepts() -> None:
    """A listener with a full backlog drops further connections, as a black hole does."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        for _ in range(2):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                filler.connect(address)
        outcome = await tcp_check.check(TcpCheck(address[1], "127.0.0.1"), 0.1)
    assert outcome == failure(f"dial tcp 127.0.0.1:{address[1]}: i/o timeout")


@dataclass
class Ran:
    stdout: bytes = b""
    stderr: bytes = b""
    exit_code: int = 0


class RuntimeDeadline(Exception):
    code = "DEADLINE_EXCEEDED"


def runs(result: Ran | Exception) -> exec_check.ExecSync:
    async def exec_sync(container_id: str, command: tuple[str, ...], timeout: int) -> Ran:
        assert (container_id, command, timeout) == ("c1", ("sh", "-c", "x"), 2)
        if isinstance(result, Exception):
            raise result
        return result

    return exec_sync


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("result", "verdict", "message"),
    [
        (Ran(b"fine", b"!"), Verdict.SUCCESS, "fine!"),
        (Ran(b"a", b"b", 3), Verdict.FAILURE, "ab"),
        (Ran(b"\xff" + b"z" * 20000, b"", 1), Verdict.FAILURE, "\ufffd" + "z" * 10239),
        (TimeoutError(), Verdict.FAILURE, 'command "sh -c x" timed out'),
        (RuntimeDeadline("slow"), Verdict.FAILURE, 'command "sh -c x" timed out'),
        (OSError("no socket"), Verdict.UNKNOWN, "no socket"),
    ],
)
async def test_exec_outcome_follows_exit_code_and_errors(
    result: Ran | Exception, verdict: Verdict, message: str
) -> None:
    outcome = await exec_check.check(ExecCheck(("sh", "-c", "x")), "c1", 1.5, runs(result))
    assert outcome == Outcome(verdict, message)


@pytest.mark.asyncio
async def test_runtime_that_never_answers_an_exec_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def hang(_container: str, _command: tuple[str, ...], _timeout: int) -> Ran:
        await asyncio.sleep(3600)
        return Ran()

    monkeypatch.setattr(exec_check, "GUARD_SECONDS", 0.01)
    outcome = await exec_check.check(ExecCheck(("a",)), "c1", 0.02, hang)
    assert outcome == failure('command "a" timed out')


@pytest.mark.asyncio
async def test_error_of_the_prober_is_tried_three_times_and_a_failure_once() -> None:
    calls: list[str] = []
    outcomes: list[Ran | Exception] = [OSError("gone"), OSError("gone"), Ran(b"", b"", 1)]

    async def exec_sync(container: str, _command: tuple[str, ...], _timeout: int) -> Ran:
        calls.append(container)
        result = outcomes.pop(0)
        if isinstance(result, Exception):
            raise result
        return result

    checks = Checks(exec_sync)
    target = ProbeTarget(ProbeSpec(ExecCheck(("x",))), "c1", 0.0)
    assert (await checks.run(target, lambda: None)).verdict is Verdict.FAILURE
    assert calls == ["c1"] * 3
    outcomes[:] = [OSError("gone")] * 3
    assert (await checks.run(target, lambda: None)).verdict is Verdict.UNKNOWN
    await checks.close()


HealthHandler = Callable[[bytes, "grpc.aio.ServicerContext[bytes, bytes]"], Awaitable[bytes]]


@contextlib.asynccontextmanager
async def health_server(handle: HealthHandler | None) -> AsyncIterator[int]:
    server = grpc.aio.server()
    port = server.add_insecure_port("127.0.0.1:0")
    if handle is not None:
        method: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(handle)
        service = grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": method})
        server.add_generic_rpc_handlers((service,))
    await server.start()
    try:
        yield port
    finally:
        await server.stop(None)


@pytest.mark.asyncio
async def test_grpc_asks_for_its_service_and_only_serving_is_a_success() -> None:
    asked: list[bytes] = []
    reply = b"\x08\x01"

    async def handle(request: bytes, _context: object) -> bytes:
        asked.append(request)
        return reply

    async with health_server(handle) as port:
        assert await grpc_check.check(GrpcCheck(port), "127.0.0.1", 2.0) == success("service healthy")
        reply = b"\x08\x02"
        outcome = await grpc_check.check(GrpcCheck(port, "s" * 300), "127.0.0.1", 2.0)
        assert outcome == failure('service unhealthy (responded with "NOT_SERVING")')
        reply = b""
        outcome = await grpc_check.check(GrpcCheck(port, "shop"), "127.0.0.1", 2.0)
        assert outcome == failure('service unhealthy (responded with "UNKNOWN")')
    assert asked == [b"", b"\x0a\xac\x02" + b"s" * 300, b"\x0a\x04shop"]


@pytest.mark.asyncio
async def test_grpc_failures_read_as_upstreams() -> None:
    async def slow(_request: bytes, _context: object) -> bytes:
        await asyncio.sleep(5)
        return b""

    async def unknown_service(_request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        await context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")

    async with health_server(slow) as port:
        outcome = await grpc_check.check(GrpcCheck(port), "127.0.0.1", 0.3)
        assert outcome == failure("timeout: health rpc did not complete within 300ms")
    async with health_server(unknown_service) as port:
        outcome = await grpc_check.check(GrpcCheck(port, "x"), "127.0.0.1", 2.0)
        reason = "rpc error: code = NotFound desc = unknown service"
        assert outcome == failure(f"error: health rpc probe failed: {reason}")
    async with health_server(None) as port:
        outcome = await grpc_check.check(GrpcCheck(port), "127.0.0.1", 2.0)
        assert outcome.message.startswith("error: this server does not implement the grpc health protocol")
    port = unused_port()
    outcome = await grpc_check.check(GrpcCheck(port), "127.0.0.1", 0.2)
    reached = f'failed to connect service "127.0.0.1:{port}" within 200ms: context deadline exceeded'
    assert outcome == failure(f"timeout: {reached}")
