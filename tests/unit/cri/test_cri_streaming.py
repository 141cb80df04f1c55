"""What the end of an exec session says, and a session against a small WebSocket server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import WSMsgType, web

from cri.errors import CriError, Unavailable
from cri.streaming import V4, V5, Channel, SessionEnds, TerminalSize, exit_code_of, run_session

pytestmark = pytest.mark.pure


def test_the_final_status_tells_the_exit_code() -> None:
    assert exit_code_of(b'{"metadata":{},"status":"Success"}') == 0
    failure = (
        b'{"metadata":{},"status":"Failure","message":"command terminated with exit code 42",'
        b'"reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"42"}]}}'
    )
    assert exit_code_of(failure) == 42


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (b'{"status":"Failure","reason":"InternalError","message":"no such command"}', "no such command"),
        (b'{"status":"Failure","reason":"NonZeroExitCode"}', "NonZeroExitCode"),
        (b'{"status":"Failure"}', "gives no reason"),
        (b"plain text", "plain text"),
    ],
)
def test_any_other_end_is_an_error_with_its_reason(status: bytes, text: str) -> None:
    with pytest.raises(CriError, match=text):
        exit_code_of(status)


class Server:
    """Speaks one protocol: echoes stdin to stdout, notes what else comes, ends at a line "end" or a close."""

    def __init__(self, protocol: str, *, ending: bytes = b'\x03{"status":"Success"}') -> None:
        self.protocol = protocol
        self.ending = ending
        self.noted: list[bytes] = []

    async def handle(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(protocols=[self.protocol])
        await socket.prepare(request)
        for channel in (1, 2, 3):
            await socket.send_bytes(bytes((channel,)))
        async for message in socket:
            assert message.type is WSMsgType.BINARY
            if message.data[0] == 0 and message.data[1:] != b"end":
                await socket.send_bytes(b"\x01" + message.data[1:])
                continue
            self.noted.append(message.data)
            if message.data[0] in (0, 255):
                break
        await socket.send_bytes(b"\x02bye")
        await socket.send_bytes(self.ending)
        await socket.close()
        return socket

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        app = web.Application()
        app.router.add_get("/exec/x", self.handle)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        try:
            yield f"http://{host}:{port}/exec/x"
        finally:
            await runner.cleanup()


async def lines(*texts: bytes) -> AsyncIterator[bytes]:
    for text in texts:
        yield text


@pytest.mark.asyncio
async def test_v5_tells_the_end_of_input() -> None:
    server, got = Server(V5), []
    async with server.running() as url, asyncio.timeout(5):
        code = await run_session(url, SessionEnds(lambda *data: got.append(data), lines(b"a", b"b")))
    assert code == 0
    assert got == [(Channel.STDOUT, b"a"), (Channel.STDOUT, b"b"), (Channel.STDERR, b"bye")]
    assert server.noted == [bytes((255, 0))]


@pytest.mark.asyncio
async def test_v4_carries_the_same_without_an_end_of_input() -> None:
    server, got = Server(V4), []
    async with server.running() as url, asyncio.timeout(5):
        code = await run_session(url, SessionEnds(lambda *data: got.append(data), lines(b"a", b"end")))
    assert code == 0
    assert got == [(Channel.STDOUT, b"a"), (Channel.STDERR, b"bye")]


@pytest.mark.asyncio
async def test_terminal_sizes_are_told() -> None:
    server = Server(V4)

    async def sizes() -> AsyncIterator[TerminalSize]:
        yield TerminalSize(80, 24)

    async def later() -> AsyncIterator[bytes]:
        while not server.noted:
            await asyncio.sleep(0.001)
        yield b"end"

    async with server.running() as url, asyncio.timeout(5):
        await run_session(url, SessionEnds(lambda *_: None, later(), sizes()))
    assert server.noted[0] == b'\x04{"Width":80,"Height":24}'


@pytest.mark.asyncio
async def test_a_session_that_ends_without_a_status_has_no_code() -> None:
    server = Server(V4, ending=b"\x03")
    async with server.running() as url, asyncio.timeout(5):
        assert await run_session(url, SessionEnds(lambda *_: None, lines(b"end"))) is None


@pytest.mark.asyncio
async def test_a_failing_input_fails_the_session() -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"end"
        raise OSError("terminal is gone")

    async with Server(V4).running() as url, asyncio.timeout(5):
        with pytest.raises(OSError, match="terminal is gone"):
            await run_session(url, SessionEnds(lambda *_: None, broken()))


@pytest.mark.asyncio
async def test_no_server_and_a_refusal_are_unavailable() -> None:
    with pytest.raises(Unavailable, match="does not answer"):
        await run_session("http://127.0.0.1:1/exec/x", SessionEnds(lambda *_: None))
    async with Server(V4).running() as url:
        with pytest.raises(Unavailable, match="does not answer"):
            await run_session(url + "/other", SessionEnds(lambda *_: None))
