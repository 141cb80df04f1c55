"""What the end of an exec session says, and sessions against a small SPDY server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest

import cri.streaming
from aio.spdy import Event, Session
from aio.spdy_frames import Data, SynStream
from cri.errors import CriError, Unavailable
from cri.service import Streams
from cri.streaming import V4, Channel, SessionEnds, TerminalSize, channels_of, exit_code_of, run_session

pytestmark = pytest.mark.pure

SUCCESS = b'{"metadata":{},"status":"Success"}'
HEAD = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n"


def test_the_final_status_tells_the_exit_code() -> None:
    assert exit_code_of(SUCCESS) == 0
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


def test_the_streams_opened_are_those_the_server_waits_for() -> None:
    assert channels_of(Streams(stdin=True)) == (
        Channel.ERROR,
        Channel.STDIN,
        Channel.STDOUT,
        Channel.STDERR,
    )
    assert channels_of(Streams(stdout=True, stderr=False, tty=True)) == (
        Channel.ERROR,
        Channel.STDOUT,
        Channel.RESIZE,
    )


class Served:
    """The server's side of one session: its streams by type, and what comes on them."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.session = Session(is_server=True, flow_control=False)
        self.ids: dict[str, int] = {}
        self.got: dict[str, bytes] = {}
        self.ended: set[str] = set()

    async def until(self, is_enough: Callable[[], bool]) -> None:
        while not is_enough():
            data = await self.reader.read(1 << 16)
            assert data, "the client left"
            for event in self.session.receive(data):
                self.note(event)
            await self.flush()

    def note(self, event: Event) -> None:
        if isinstance(event, SynStream):
            name = dict(event.headers)["streamtype"]
            self.ids[name], self.got[name] = event.stream_id, b""
            self.session.reply(event.stream_id)
        elif isinstance(event, Data):
            name = next(name for name, stream_id in self.ids.items() if stream_id == event.stream_id)
            self.got[name] += event.data
            self.ended |= {name} if event.fin else set()

    async def say(self, name: str, data: bytes, *, fin: bool = False) -> None:
        self.session.send(self.ids[name], data, fin=fin)
        await self.flush()

    async def flush(self) -> None:
        self.writer.write(self.session.take())
        await self.writer.drain()


Script = Callable[[Served], Awaitable[None]]


@asynccontextmanager
async def serving(
    script: Script, head: str = f"{HEAD}{cri.streaming.VERSION_HEADER}: {V4}\r\n\r\n"
) -> AsyncIterator[str]:
    """The URL of a server that answers with `head` and then plays `script`; its failures are the test's."""
    failures: list[BaseException] = []
    requests: list[bytes] = []
    handling: set[asyncio.Task[None]] = set()

    def start(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handling.add(asyncio.create_task(handle(reader, writer)))

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            requests.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(head.encode())
            await script(Served(reader, writer))
        except (ConnectionError, AssertionError) as failure:
            failures.append(failure)
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    server = await asyncio.start_server(start, "127.0.0.1", 0)
    async with server:
        host, port = server.sockets[0].getsockname()[:2]
        yield f"http://{host}:{port}/exec/token?x=1"
        await asyncio.gather(*handling)
    assert not failures
    assert all(request.startswith(b"POST /exec/token?x=1 HTTP/1.1\r\n") for request in requests)


async def parts(*texts: bytes) -> AsyncIterator[bytes]:
    for text in texts:
        yield text


async def echo(served: Served) -> None:
    await served.until(lambda: "stdin" in served.ended)
    await served.say("stdout", served.got["stdin"], fin=True)
    await served.say("stderr", b"bye", fin=True)
    await served.say("error", SUCCESS, fin=True)


class Got:
    def __init__(self) -> None:
        self.by: dict[Channel, bytes] = {Channel.STDOUT: b"", Channel.STDERR: b""}

    def __call__(self, channel: Channel, data: bytes) -> None:
        self.by[channel] += data


@pytest.mark.asyncio
async def test_the_end_of_input_is_told_and_all_output_comes_back() -> None:
    got, much = Got(), b"x" * (1 << 20)
    async with serving(echo) as url, asyncio.timeout(10):
        ends = SessionEnds(got, parts(b"head", much, b"tail"))
        assert await run_session(url, Streams(stdin=True), ends) == 0
    assert got.by == {Channel.STDOUT: b"head" + much + b"tail", Channel.STDERR: b"bye"}


@pytest.mark.asyncio
async def test_a_stdin_that_nobody_gives_ends_at_once() -> None:
    got = Got()
    async with serving(echo) as url, asyncio.timeout(5):
        assert await run_session(url, Streams(stdin=True), SessionEnds(got)) == 0
    assert got.by == {Channel.STDOUT: b"", Channel.STDERR: b"bye"}


@pytest.mark.asyncio
async def test_terminal_sizes_are_told() -> None:
    told: list[bytes] = []

    async def script(served: Served) -> None:
        await served.until(lambda: b"}" in served.got.get("resize", b""))
        told.append(served.got["resize"])
        await served.say("error", SUCCESS)

    async def sizes() -> AsyncIterator[TerminalSize]:
        yield TerminalSize(80, 24)

    streams = Streams(stdout=True, stderr=False, tty=True)
    async with serving(script) as url, asyncio.timeout(5):
        assert await run_session(url, streams, SessionEnds(Got(), sizes=sizes())) == 0
    assert told == [b'{"Width":80,"Height":24}']


@pytest.mark.asyncio
async def test_a_session_that_ends_without_a_status_has_no_code() -> None:
    async def script(served: Served) -> None:
        await served.until(lambda: len(served.ids) == 3)

    async with serving(script) as url, asyncio.timeout(5):
        assert await run_session(url, Streams(), SessionEnds(Got())) is None


@pytest.mark.asyncio
async def test_a_failing_input_fails_the_session_at_once() -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"start"
        raise OSError("terminal is gone")

    async def script(served: Served) -> None:
        with pytest.raises(AssertionError, match="the client left"):
            await served.until(lambda: "stdin" in served.ended)

    async with serving(script) as url, asyncio.timeout(5):
        with pytest.raises(OSError, match="terminal is gone"):
            await run_session(url, Streams(stdin=True), SessionEnds(Got(), broken()))


@pytest.mark.asyncio
async def test_a_code_that_comes_before_a_broken_connection_counts() -> None:
    async def script(served: Served) -> None:
        await served.until(lambda: len(served.got.get("stdin", b"")) > 0)
        await served.say("error", SUCCESS)
        # Closed with input unread: the kernel resets the connection under the client's writing.

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * (1 << 16)

    async with serving(script) as url, asyncio.timeout(5):
        assert await run_session(url, Streams(stdin=True), SessionEnds(Got(), endless())) == 0


@pytest.mark.asyncio
async def test_a_runtime_stuck_on_input_nobody_reads_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cri.streaming, "STUCK_SECONDS", 0.05)
    gone = asyncio.Event()

    async def script(served: Served) -> None:
        await served.until(lambda: len(served.got.get("stdin", b"")) > 0)
        await served.say("stdout", b"", fin=True)
        await served.say("stderr", b"", fin=True)
        await gone.wait()

    async with serving(script) as url, asyncio.timeout(5):
        with pytest.raises(Unavailable, match="left its input unread"):
            await run_session(url, Streams(stdin=True), SessionEnds(Got(), parts(b"x" * 100_000)))
        gone.set()


@pytest.mark.asyncio
async def test_a_server_that_breaks_the_protocol_or_speaks_another_version_is_an_error() -> None:
    async def garbage(served: Served) -> None:
        served.writer.write(b"\x80\x09garbage garbage")

    async with serving(garbage) as url, asyncio.timeout(5):
        with pytest.raises(Unavailable, match="cut off"):
            await run_session(url, Streams(), SessionEnds(Got()))
    async with serving(garbage, HEAD + "\r\n") as url, asyncio.timeout(5):
        with pytest.raises(CriError, match=V4):
            await run_session(url, Streams(), SessionEnds(Got()))


@pytest.mark.asyncio
async def test_no_server_a_refusal_and_another_scheme_are_errors() -> None:
    async def nothing(served: Served) -> None:
        served.writer.write(b"no such token")

    with pytest.raises(Unavailable, match="does not answer"):
        await run_session("http://127.0.0.1:1/exec/x", Streams(), SessionEnds(Got()))
    async with serving(nothing, "HTTP/1.1 404 Not Found\r\n\r\n") as url, asyncio.timeout(5):
        with pytest.raises(Unavailable, match="404 Not Found"):
            await run_session(url, Streams(), SessionEnds(Got()))
    with pytest.raises(CriError, match="plain HTTP"):
        await run_session("https://127.0.0.1:1/exec/x", Streams(), SessionEnds(Got()))
