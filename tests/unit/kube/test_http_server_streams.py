"""Streams, upgrades and TLS of the server: pace, ends of either side, certificates; on both event loops."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kube import pki
from kube.http_server import Request, Response, Tunnel
from kube.pki import Subject, Usage
from tests.unit.kube.http_world import Authority, both_loops, echo, run, serving

pytestmark = pytest.mark.pure

GET = "GET / HTTP/1.1\nHost: s\n\n"
UPGRADE = "POST /exec HTTP/1.1\nHost: s\nConnection: Upgrade\nUpgrade: SPDY/3.1\nContent-Length: 0\n\n"


class Source:
    """A stream that gives what is put in, and knows whether it was closed."""

    def __init__(self) -> None:
        self.pieces: asyncio.Queue[bytes] = asyncio.Queue()
        self.closed = asyncio.Event()
        self.given = 0

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        piece = await self.pieces.get()
        if not piece:
            raise StopAsyncIteration
        self.given += 1
        return piece

    async def aclose(self) -> None:
        self.closed.set()

    async def answer(self, request: Request) -> Response:
        return Response(content_type="text/plain", stream=self)


@both_loops
def test_pieces_of_a_stream_are_sent_as_they_are_made(loop: str) -> None:
    async def test() -> None:
        source = Source()
        async with serving(source.answer) as world, world.client() as client:
            await client.send(GET)
            assert (await client.head()).headers["transfer-encoding"] == "chunked"
            for piece in (b"one\n", b"two\n"):
                source.pieces.put_nowait(piece)
                assert await client.chunk() == piece
            source.pieces.put_nowait(b"")
            assert await client.chunk() == b""
            await source.closed.wait()
            source.pieces.put_nowait(b"again")
            source.pieces.put_nowait(b"")
            assert (await client.ask(GET)).body == b"again"

    run(loop, test)


def test_old_client_reads_a_stream_to_the_end_of_its_connection() -> None:
    async def test() -> None:
        source = Source()
        source.pieces.put_nowait(b"text")
        source.pieces.put_nowait(b"")
        async with serving(source.answer) as world, world.client() as client:
            found = await client.ask("GET / HTTP/1.0\nConnection: keep-alive\n\n")
            assert found.body == b"text" and "transfer-encoding" not in found.headers

    run("asyncio", test)


def test_head_of_a_stream_asks_for_none_of_it() -> None:
    async def test() -> None:
        source = Source()
        async with serving(source.answer) as world, world.client() as client:
            await client.send("HEAD / HTTP/1.1\nHost: s\n\n")
            assert (await client.answer(has_body=False)).code == 200
            await source.closed.wait()
            assert source.given == 0
            source.pieces.put_nowait(b"")
            assert (await client.ask(GET)).code == 200

    run("asyncio", test)


@pytest.mark.parametrize("how", ["half", "whole"])
@both_loops
def test_stream_is_closed_when_its_client_goes(loop: str, how: str) -> None:
    async def test() -> None:
        source = Source()
        async with serving(source.answer) as world, world.client() as client:
            await client.send(GET)
            await client.head()
            if how == "half":
                client.writer.write_eof()
            else:
                client.writer.transport.abort()
            await source.closed.wait()

    run(loop, test)


@both_loops
def test_slow_reader_holds_its_stream_back_and_nobody_else(loop: str) -> None:
    async def test() -> None:
        source = Source()
        for _ in range(1000):
            source.pieces.put_nowait(b"x" * 65536)
        source.pieces.put_nowait(b"")

        async def handle(request: Request) -> Response:
            return await (source.answer(request) if request.path == "/" else echo(request))

        async with serving(handle) as world, world.client() as client, world.client() as other:
            client.writer.transport.pause_reading()  # type: ignore[attr-defined]
            await client.send(GET)
            seen = -1
            while seen != source.given or not seen:
                seen = source.given
                for _ in range(20):
                    assert (await other.ask("GET /other HTTP/1.1\nHost: s\n\n")).code == 200
            assert seen < 900
            client.writer.transport.resume_reading()  # type: ignore[attr-defined]
            assert len((await client.answer()).body) == 1000 * 65536

    run(loop, test)


def test_stream_that_breaks_off_is_seen_as_cut() -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"begin"
        raise OSError("the disk is gone")

    async def handle(request: Request) -> Response:
        return Response(stream=broken())

    async def test() -> None:
        async with serving(handle) as world, world.client() as client:
            await client.send(GET)
            await client.head()
            with pytest.raises((asyncio.IncompleteReadError, ConnectionError, ValueError)):
                while await client.chunk():
                    pass

    run("asyncio", test)


@both_loops
def test_stopping_server_ends_streams_whole_and_tunnels(loop: str) -> None:
    async def test() -> None:
        source, gone = Source(), asyncio.Event()

        async def upgraded(tunnel: Tunnel) -> None:
            try:
                await tunnel.read()
            finally:
                gone.set()

        async def handle(request: Request) -> Response:
            if request.upgrade:
                return Response(headers={"Upgrade": request.upgrade}, upgrade=upgraded)
            return await source.answer(request)

        async with serving(handle) as world, world.client() as client, world.client() as other:
            await client.send(GET)
            await client.head()
            assert (await other.ask(UPGRADE)).code == 101
            stopping = asyncio.create_task(world.server.stop())
            assert await client.chunk() == b""
            assert await client.is_closed() and await other.is_closed()
            await stopping
            assert source.closed.is_set() and gone.is_set()

    run(loop, test)


async def _echo_tunnel(tunnel: Tunnel) -> None:
    while data := await tunnel.read():
        await tunnel.write(data)
    await tunnel.write(b"bye")


async def _upgrading(request: Request) -> Response:
    if request.upgrade == "spdy/3.1":
        headers = {"Upgrade": "SPDY/3.1", "X-Stream-Protocol-Version": "v4.channel.k8s.io"}
        return Response(headers=headers, upgrade=_echo_tunnel)
    return await echo(request)


@pytest.mark.parametrize("tls", [False, True])
@both_loops
def test_upgraded_connection_is_a_tunnel_both_ways(loop: str, tls: bool, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    served, client_tls = (authority.server(), authority.client()) if tls else (None, None)

    async def test() -> None:
        async with serving(_upgrading, tls=served, client_tls=client_tls) as world, world.client() as client:
            await client.send(UPGRADE + "early")
            found = await client.answer()
            assert (found.code, found.headers["upgrade"]) == (101, "SPDY/3.1")
            assert found.headers["connection"] == "Upgrade" and "content-length" not in found.headers
            assert found.headers["x-stream-protocol-version"] == "v4.channel.k8s.io"
            assert await client.reader.readexactly(5) == b"early"
            large = bytes(range(256)) * 4096 * 8
            sending = asyncio.create_task(client.send(large))
            assert await client.reader.readexactly(len(large)) == large
            await sending
            if not tls:
                client.writer.write_eof()
                assert await client.reader.read() == b"bye"

    run(loop, test)


@both_loops
def test_tunnel_is_held_back_by_an_end_that_does_not_read(loop: str) -> None:
    async def test() -> None:
        written = 0
        held, ended = asyncio.Event(), asyncio.Event()

        async def pour(tunnel: Tunnel) -> None:
            nonlocal written
            try:
                while True:
                    writing = asyncio.ensure_future(tunnel.write(b"x" * 65536))
                    done, _ = await asyncio.wait((writing,), timeout=0.2)
                    if not done:
                        held.set()
                    await writing
                    written += 65536
            except ConnectionError:
                ended.set()

        async def handle(request: Request) -> Response:
            return Response(headers={"Upgrade": "SPDY/3.1"}, upgrade=pour)

        async with serving(handle) as world, world.client() as client:
            client.writer.transport.pause_reading()  # type: ignore[attr-defined]
            await client.send(UPGRADE)
            await held.wait()
            assert written < 64 << 20
            client.writer.transport.abort()
            await ended.wait()

    run(loop, test)


def test_upgrade_that_is_not_made_leaves_a_connection_for_requests() -> None:
    async def test() -> None:
        async with serving(_upgrading) as world, world.client() as client:
            h2c = "GET /a HTTP/1.1\nHost: s\nConnection: Upgrade, HTTP2-Settings\nUpgrade: h2c\n\n"
            await client.send(GET + h2c + GET + h2c)
            bodies = [(await client.answer()).body for _ in range(4)]
            assert bodies == [b"GET / {} 0", b"GET /a {} 0"] * 2
            assert (await client.ask(UPGRADE)).code == 101

    run("asyncio", test)


def test_function_of_an_upgrade_is_called_though_the_client_is_gone() -> None:
    async def test() -> None:
        begun, go, called = asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def upgraded(tunnel: Tunnel) -> None:
            assert await tunnel.read() == b""
            called.set()

        async def stubborn(request: Request) -> Response:
            begun.set()
            try:
                await go.wait()
            except asyncio.CancelledError:
                return Response(headers={"Upgrade": "x"}, upgrade=upgraded)
            return Response()

        async with serving(stubborn) as world:
            async with world.client() as client:
                await client.send(UPGRADE)
                await begun.wait()
                client.writer.transport.abort()
            await called.wait()

    run("asyncio", test)


@both_loops
def test_certificate_of_the_client_is_seen_as_it_was_shown(loop: str, tmp_path: Path) -> None:
    authority = Authority(tmp_path)

    async def who(request: Request) -> Response:
        der = request.peer_certificate
        pem = ssl.DER_cert_to_PEM_cert(der).encode() if der else b""
        name = pki.read_certificate(pem).subject.common_name if pem else "nobody"
        return Response(body=name.encode())

    async def test() -> None:
        async with serving(who, tls=authority.server()) as world:
            for user, name in (("alice", b"alice"), ("", b"nobody")):
                world.tls = authority.client(user)
                async with world.client() as client:
                    assert (await client.ask(GET)).body == name
                    assert (await client.ask(GET)).body == name

    run(loop, test)


@both_loops
def test_certificate_of_another_authority_gets_no_connection(loop: str, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other", "other")
    stranger = other.pair("mallory", Subject("mallory"), Usage.CLIENT)
    context = authority.client()
    context.load_cert_chain(stranger.certificate, stranger.key)

    async def test() -> None:
        async with serving(echo, tls=authority.server(), client_tls=context) as world:
            with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
                async with world.client() as client:
                    await client.ask(GET)
            world.tls = authority.client("alice")
            async with world.client() as client:
                assert (await client.ask(GET)).code == 200

    run(loop, test)


@both_loops
def test_client_that_speaks_no_tls_is_let_go(loop: str, tmp_path: Path) -> None:
    authority = Authority(tmp_path)

    async def test() -> None:
        async with serving(echo, tls=authority.server()) as world:
            async with world.client() as client:
                await client.send(GET)
                alert = await client.reader.read()
                assert b"HTTP" not in alert
            world.tls = authority.client()
            async with world.client() as client:
                assert (await client.ask(GET)).code == 200

    run(loop, test)


def test_many_connections_at_once_are_all_served() -> None:
    async def test() -> None:
        async with serving(echo) as world:

            async def one() -> None:
                async with world.client() as client:
                    for _ in range(5):
                        assert (await client.ask(GET)).code == 200

            await asyncio.gather(*(one() for _ in range(100)))

    run("uvloop", test)
