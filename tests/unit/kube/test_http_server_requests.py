"""Requests over a real socket: bodies, bounds, order, what is refused and how; on both event loops."""

from __future__ import annotations

import asyncio
import gzip
import socket
import struct

import pytest

from kube.http_server import Limits, Request, Response
from tests.unit.kube.http_world import Client, both_loops, echo, run, serving

pytestmark = pytest.mark.pure

GET = "GET /a%20b?x=1&x=%32&y HTTP/1.1\nHost: s\n\n"


@both_loops
def test_connection_takes_one_request_after_the_other(loop: str) -> None:
    async def test() -> None:
        async with serving(echo) as world, world.client() as client:
            for _ in range(3):
                found = await client.ask(GET)
                assert (found.code, found.headers["content-type"]) == (200, "text/plain")
                assert found.headers["cache-control"] == "no-cache" and "date" in found.headers
                assert found.body == b"GET /a b {'x': ['1', '2'], 'y': ['']} 0"
            assert (await client.ask("POST / HTTP/1.1\nHost: s\nContent-Length: 3\n\nabc")).body == (
                b"POST / {} 3"
            )

    run(loop, test)


@both_loops
def test_pipelined_requests_are_answered_in_order_however_long_each_takes(loop: str) -> None:
    gates = {f"/{n}": asyncio.Event() for n in range(40)}

    async def slow(request: Request) -> Response:
        await gates[request.path].wait()
        return Response(body=request.path.encode())

    async def test() -> None:
        async with serving(slow) as world, world.client() as client:
            await client.send("".join(f"GET /{n} HTTP/1.1\nHost: s\n\n" for n in range(40)))
            for gate in reversed(gates.values()):
                gate.set()
            assert [(await client.answer()).body.decode() for _ in range(40)] == list(gates)

    run(loop, test)


@both_loops
def test_body_comes_in_any_pieces(loop: str) -> None:
    async def back(request: Request) -> Response:
        return Response(body=request.body)

    async def test() -> None:
        async with serving(back) as world, world.client() as client:
            head = b"POST / HTTP/1.1\r\nHost: s\r\nTransfer-Encoding: chunked\r\n\r\n"
            whole = head + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
            for at in range(1, len(whole), 7):
                await client.send(whole[:at])
                await asyncio.sleep(0)
                await client.send(whole[at:])
                assert (await client.answer()).body == b"abcde"
            large = bytes(range(256)) * 8192
            await client.send(b"PUT / HTTP/1.1\r\nHost: s\r\nContent-Length: %d\r\n\r\n" % len(large))
            await client.send(large)
            assert (await client.answer()).body == large

    run(loop, test)


@both_loops
def test_client_that_asks_is_told_to_continue_and_one_with_too_much_is_not(loop: str) -> None:
    async def test() -> None:
        async with serving(echo) as world:
            async with world.client() as client:
                await client.send("POST / HTTP/1.1\nHost: s\nContent-Length: 3\nExpect: 100-continue\n\n")
                assert (await client.head()).code == 100
                assert (await client.ask("abc")).body == b"POST / {} 3"
            async with world.client() as client:
                head = "POST / HTTP/1.1\nHost: s\nContent-Length: 4194304\nExpect: 100-continue\n\n"
                assert (await client.ask(head)).code == 413
                assert await client.is_closed()

    run(loop, test)


@pytest.mark.parametrize("head", ["Content-Length: 4194304", "Transfer-Encoding: chunked"])
@both_loops
def test_too_large_a_body_is_refused_while_it_comes(loop: str, head: str) -> None:
    asked = []

    async def handle(request: Request) -> Response:
        asked.append(request)
        return Response()

    async def test() -> None:
        async with serving(handle) as world, world.client() as client:
            await client.send(f"POST / HTTP/1.1\nHost: s\n{head}\n\n")
            piece = b"10000\r\n" + b"x" * 65536 + b"\r\n"
            sending = asyncio.create_task(_send_all(client, piece * 64))
            found = await client.answer()
            assert (found.code, found.headers["connection"]) == (413, "close")
            assert b"Request entity too large: limit is 3145728" in found.body
            sending.cancel()
            await asyncio.wait((sending,))
            assert not asked

    run(loop, test)


async def _send_all(client: Client, raw: bytes) -> None:
    try:
        await client.send(raw)
    except ConnectionError:
        return


@both_loops
def test_body_cut_short_is_a_bad_request(loop: str) -> None:
    async def test() -> None:
        async with serving(echo) as world, world.client() as client:
            await client.send("POST / HTTP/1.1\nHost: s\nContent-Length: 30\n\nabc")
            client.writer.write_eof()
            found = await client.answer()
            assert found.code == 400 and b"cut short" in found.body
            assert await client.is_closed()

    run(loop, test)


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        ("NONSENSE\n\n", 400),
        ("GET / HTTP/1.1\n\n", 400),
        ("GET / HTTP/1.1\nHost: a\nHost: b\n\n", 400),
        ("GET / HTTP/1.1\nHost: s\nBad Header: x\n\n", 400),
        ("POST / HTTP/1.1\nHost: s\nContent-Length: -1\n\n", 400),
        ("POST / HTTP/1.1\nHost: s\nContent-Length: 3\nContent-Length: 4\n\n", 400),
        ("POST / HTTP/1.1\nHost: s\nContent-Length: 3\nTransfer-Encoding: chunked\n\n", 400),
        ("POST / HTTP/1.1\nHost: s\nTransfer-Encoding: chunked\n\nzz\n", 400),
        ("GET /%ff HTTP/1.1\nHost: s\n\n", 400),
        ("GET nowhere HTTP/1.1\nHost: s\n\n", 400),
        ("CONNECT a:1 HTTP/1.1\nHost: s\n\n", 400),
        ("GET / HTTP/1.1\nHost: s\nExpect: miracles\n\n", 417),
        ("GET / HTTP/1.1\nHost: s\n" + "".join(f"X{n}: y\n" for n in range(1001)) + "\n", 431),
        ("GET / HTTP/1.1\nHost: s\nX: " + "y" * (1 << 20), 431),
        ("GET /" + "y" * (1 << 21), 431),
    ],
)
def test_what_is_no_request_is_refused_and_disturbs_nobody(raw: str, code: int) -> None:
    async def test() -> None:
        async with serving(echo) as world, world.client() as other:
            assert (await other.ask(GET)).code == 200
            async with world.client() as client:
                sending = asyncio.create_task(_send_all(client, raw.replace("\n", "\r\n").encode()))
                found = await client.answer()
                assert (found.code, found.headers["connection"]) == (code, "close")
                assert await client.is_closed()
                await sending
            assert (await other.ask(GET)).code == 200

    run("asyncio", test)


def test_refusal_waits_for_the_answers_before_it() -> None:
    async def test() -> None:
        async with serving(echo) as world, world.client() as client:
            await client.send(GET + GET + "NONSENSE\n\n")
            assert [(await client.answer()).code for _ in range(3)] == [200, 200, 400]

    run("asyncio", test)


def test_headers_are_joined_and_lower_case_and_trailers_are_no_headers() -> None:
    seen: list[Request] = []

    async def handle(request: Request) -> Response:
        seen.append(request)
        return Response(body=b"{}")

    async def test() -> None:
        async with serving(handle) as world, world.client() as client:
            head = "POST http://other:1/p%2Fq?a=b HTTP/1.1\nHost: s\nX-Many: 1\nx-many: 2\n"
            await client.ask(f"{head}Transfer-Encoding: chunked\n\n1\nx\n0\nAuthorization: Bearer t\n\n")
            (request,) = seen
            assert request.headers["x-many"] == "1, 2"
            assert "authorization" not in request.headers
            assert (request.target, request.path, request.one("a")) == ("/p%2Fq?a=b", "/p/q", "b")
            assert request.peer_certificate == b""

    run("asyncio", test)


def test_old_clients_get_what_they_understand() -> None:
    async def test() -> None:
        async with serving(echo) as world:
            async with world.client() as client:
                found = await client.ask("GET / HTTP/1.0\n\n")
                assert found.code == 200 and found.headers["connection"] == "close"
                assert await client.is_closed()
            async with world.client() as client:
                found = await client.ask("GET / HTTP/1.0\nConnection: keep-alive\n\n")
                assert found.headers["connection"] == "keep-alive"
                found = await client.ask("GET / HTTP/1.1\nHost: s\nConnection: close\n\n")
                assert found.headers["connection"] == "close"
                assert await client.is_closed()

    run("asyncio", test)


def test_head_is_answered_with_the_length_of_what_is_not_sent() -> None:
    async def test() -> None:
        async with serving(echo) as world, world.client() as client:
            await client.send("HEAD / HTTP/1.1\nHost: s\n\n")
            found = await client.answer(has_body=False)
            assert (found.code, found.headers["content-length"]) == (200, str(len(b"HEAD / {} 0")))
            assert (await client.ask(GET)).code == 200

    run("asyncio", test)


def test_large_answers_are_small_for_those_who_take_gzip() -> None:
    body = b'{"items":[]}' * 20_000

    async def handle(request: Request) -> Response:
        return Response(body=body)

    async def test() -> None:
        async with serving(handle) as world, world.client() as client:
            found = await client.ask("GET / HTTP/1.1\nHost: s\nAccept-Encoding: deflate, gzip;q=0.5\n\n")
            assert found.headers["content-encoding"] == "gzip"
            assert gzip.decompress(found.body) == body
            for header in ("Accept-Encoding: gzip;q=0", "Accept-Encoding: br", "Accept: */*"):
                found = await client.ask(f"GET / HTTP/1.1\nHost: s\n{header}\n\n")
                assert found.body == body and "content-encoding" not in found.headers

    run("asyncio", test)


def test_bug_in_a_handler_is_that_requests_failure_alone() -> None:
    async def handle(request: Request) -> Response:
        if request.path == "/bug":
            raise KeyError("x")
        return Response(body=b"{}", headers={"X-Text": "a\r\nX-Smuggled: b"})

    async def test() -> None:
        async with serving(handle) as world, world.client() as client:
            assert (await client.ask("GET /bug HTTP/1.1\nHost: s\n\n")).code == 500
            found = await client.ask(GET)
            assert (found.code, found.headers["x-text"]) == (200, "a  X-Smuggled: b")
            assert "x-smuggled" not in found.headers

    run("asyncio", test)


@both_loops
def test_large_requests_behind_a_slow_one_wait_at_their_client(loop: str) -> None:
    limits = Limits(body_bytes=100_000, pipelined=1000)
    go = asyncio.Event()
    sizes: list[int] = []

    async def handle(request: Request) -> Response:
        sizes.append(len(request.body))
        await go.wait()
        return Response(body=b"{}")

    async def test() -> None:
        async with serving(handle, limits) as world, world.client() as client:
            head = b"POST / HTTP/1.1\r\nHost: s\r\nContent-Length: 90000\r\n\r\n"
            sending = asyncio.create_task(client.send((head + b"x" * 90_000) * 200))
            while not sizes:
                await asyncio.sleep(0)
            _, waiting = await asyncio.wait((sending,), timeout=0.3)
            assert waiting, "18 MB were taken from a client whose first request is not answered"
            go.set()
            for _ in range(200):
                assert (await client.answer()).code == 200
            await sending
            assert sizes == [90_000] * 200

    run(loop, test)


@both_loops
def test_answer_that_cannot_be_sent_ends_its_connection(loop: str) -> None:
    async def handle(request: Request) -> Response:
        headers = {"X-Text": "\udc80"} if request.path == "/bad" else {}
        return Response(body=b"{}", headers=headers)

    async def test() -> None:
        async with serving(handle) as world:
            async with world.client() as client:
                await client.send("GET /bad HTTP/1.1\nHost: s\n\n")
                assert await client.is_closed()
            async with world.client() as client:
                assert (await client.ask(GET)).code == 200

    run(loop, test)


def test_clients_that_take_too_long_are_let_go() -> None:
    limits = Limits(idle_seconds=0.2, head_seconds=0.1, body_seconds=0.1)

    async def test() -> None:
        async with serving(echo, limits) as world:
            async with world.client() as client:
                await client.send("GET / HT")
                assert (await client.answer()).code == 408
            async with world.client() as client:
                await client.send("POST / HTTP/1.1\nHost: s\nContent-Length: 9\n\nabc")
                assert (await client.answer()).code == 408
            async with world.client() as client:
                assert (await client.ask(GET)).code == 200
                assert await client.is_closed()
            async with world.client() as client:  # a byte at a time does not help
                with pytest.raises(ConnectionError):
                    for byte in GET * 100:
                        await client.send(byte)
                        await asyncio.sleep(0.01)

    run("asyncio", test)


@both_loops
def test_one_connection_too_many_is_refused(loop: str) -> None:
    async def test() -> None:
        async with (
            serving(echo, Limits(connections=2)) as world,
            world.client() as one,
            world.client() as two,
        ):
            assert ((await one.ask(GET)).code, (await two.ask(GET)).code) == (200, 200)
            async with world.client() as three:
                assert (await three.answer()).code == 503
            assert (await one.ask(GET)).code == 200

    run(loop, test)


@both_loops
def test_work_for_a_client_that_is_gone_is_stopped(loop: str) -> None:
    async def test() -> None:
        begun, ended = asyncio.Event(), asyncio.Event()

        async def handle(request: Request) -> Response:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()
            return Response()

        async with serving(handle) as world:
            async with world.client() as client:
                await client.send(GET)
                await begun.wait()
                sock = client.writer.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                client.writer.transport.abort()
            await ended.wait()

    run(loop, test)


def test_client_that_does_not_read_its_answers_is_not_served_more() -> None:
    asked = 0
    body = b"x" * (4 << 20)

    async def handle(request: Request) -> Response:
        nonlocal asked
        asked += 1
        return Response(body=body)

    async def test() -> None:
        async with serving(handle, Limits(stalled_seconds=0.2)) as world, world.client() as client:
            await client.send(GET * 30)
            client.writer.transport.pause_reading()  # type: ignore[attr-defined]
            while world.server.connections:
                await asyncio.sleep(0.02)
            assert asked < 30

    run("asyncio", test)


@both_loops
def test_server_that_stops_finishes_what_is_under_way(loop: str) -> None:
    async def test() -> None:
        begun, go = asyncio.Event(), asyncio.Event()

        async def handle(request: Request) -> Response:
            begun.set()
            await go.wait()
            return Response(body=b"done")

        async with serving(handle) as world, world.client() as idle, world.client() as busy:
            await busy.send(GET)
            await begun.wait()
            stopping = asyncio.create_task(world.server.stop())
            assert await idle.is_closed()
            go.set()
            assert (await busy.answer()).body == b"done"
            assert await busy.is_closed()
            await stopping
            assert world.server.connections == 0

    run(loop, test)
