"""Clients of exec, attach and port-forward as kubectl has them: SPDY/3.1, WebSocket channels, and SPDY inside
WebSocket messages; over plain TCP or TLS. Each `finish` reads to the end of the session.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import msgspec

from aio.spdy import Session
from aio.spdy_frames import Data, RstStream, SynReply
from kube.websocket import Closed, Message, WebSocket, accept_key, request_headers

READ_BYTES = 64 << 10
TIMEOUT_SECONDS = 60.0
V4 = "v4.channel.k8s.io"
V5 = "v5.channel.k8s.io"
PORT_FORWARD = "portforward.k8s.io"
TUNNEL = "SPDY/3.1+portforward.k8s.io"


@dataclass(frozen=True)
class Server:
    """Where to, and as whom."""

    host: str
    port: int
    tls: ssl.SSLContext | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    code: int
    headers: Mapping[str, str]
    body: bytes


@asynccontextmanager
async def connection(server: Server) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(server.host, server.port, ssl=server.tls, limit=1 << 20)
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(OSError, ssl.SSLError):
            await writer.wait_closed()


async def send_head(
    server: Server, writer: asyncio.StreamWriter, method: str, target: str, headers: Mapping[str, str]
) -> None:
    every = {"Host": f"{server.host}:{server.port}", **server.headers, **headers}
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in every.items()), "", ""]
    writer.write("\r\n".join(lines).encode())
    await writer.drain()


async def read_head(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in head[1:] if line)
    return int(head[0].split(" ")[1]), {name.lower(): value.strip() for name, _, value in pairs}


async def read_body(reader: asyncio.StreamReader, headers: Mapping[str, str]) -> bytes:
    if "content-length" in headers:
        return await reader.readexactly(int(headers["content-length"]))
    body = b""
    async for piece in chunks(reader):
        body += piece
    return body


async def chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """The pieces of a chunked body."""
    while size := int(await reader.readline(), 16):
        yield (await reader.readexactly(size + 2))[:-2]
    await reader.readline()


async def request(
    server: Server, target: str, *, method: str = "GET", headers: Mapping[str, str] | None = None
) -> Answer:
    """One request, its whole answer."""
    async with asyncio.timeout(TIMEOUT_SECONDS), connection(server) as (reader, writer):
        await send_head(server, writer, method, target, headers or {})
        code, answered = await read_head(reader)
        body = b"" if code == 101 else await read_body(reader, answered)
        return Answer(code, answered, body)


class UpgradeRefused(Exception):
    def __init__(self, answer: Answer) -> None:
        super().__init__(f"{answer.code}: {answer.body.decode(errors='replace')}")
        self.answer = answer


async def upgraded(
    server: Server,
    streams: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    method: str,
    target: str,
    headers: Mapping[str, str],
) -> dict[str, str]:
    reader, writer = streams
    await send_head(server, writer, method, target, headers)
    code, answered = await read_head(reader)
    if code != 101:
        raise UpgradeRefused(Answer(code, answered, await read_body(reader, answered)))
    return answered


class SpdyClient:
    """Streams over one connection; `tunnelled` wraps every byte in WebSocket messages."""

    def __init__(
        self, streams: tuple[asyncio.StreamReader, asyncio.StreamWriter], *, tunnelled: bool = False
    ) -> None:
        self.reader, self.writer = streams
        self.socket = WebSocket(mask=lambda: os.urandom(4)) if tunnelled else None
        self.session = Session(is_server=False, flow_control=False)
        self.received: dict[int, bytearray] = defaultdict(bytearray)
        self.ended: set[int] = set()
        self.accepted: set[int] = set()
        self.is_over = False

    def open(self, **headers: str) -> int:
        return self.session.open_stream(tuple(headers.items()))

    async def flush(self) -> None:
        data = self.session.take()
        if self.socket is not None:
            if data:
                self.socket.send(data)
            data = self.socket.take()
        self.writer.write(data)
        await self.writer.drain()

    async def send(self, stream: int, data: bytes, *, fin: bool = False) -> None:
        for at in range(0, max(1, len(data)), READ_BYTES):
            self.session.send(stream, data[at : at + READ_BYTES], fin=fin and at + READ_BYTES >= len(data))
            await self.flush()

    async def read_once(self) -> None:
        data = await self.reader.read(READ_BYTES)
        if not data:
            self.is_over = True
            return
        for piece in self._unwrapped(data):
            for event in self.session.receive(piece):
                if isinstance(event, SynReply):
                    self.accepted.add(event.stream_id)
                if isinstance(event, Data):
                    self.received[event.stream_id] += event.data
                if isinstance(event, RstStream) or (isinstance(event, Data | SynReply) and event.fin):
                    self.ended.add(event.stream_id)

    def _unwrapped(self, data: bytes) -> list[bytes]:
        if self.socket is None:
            return [data]
        events = self.socket.receive(data)
        self.is_over = self.is_over or any(isinstance(event, Closed) for event in events)
        return [event.data for event in events if isinstance(event, Message)]

    async def until_accepted(self, *ids: int) -> None:
        await self.flush()
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while not self.accepted >= set(ids) and not self.is_over:
                await self.read_once()

    async def until_ended(self, *ids: int) -> None:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while not self.ended >= set(ids) and not self.is_over:
                await self.read_once()

    async def until_received(self, stream: int, what: bytes) -> None:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while what not in self.received[stream]:
                is_over = self.is_over or stream in self.ended
                assert not is_over, f"{what[:80]!r} did not come, only {bytes(self.received[stream])[-80:]!r}"
                await self.read_once()


@asynccontextmanager
async def spdy_client(server: Server, target: str, version: str = V4) -> AsyncIterator[SpdyClient]:
    async with connection(server) as streams:
        headers = {"Connection": "Upgrade", "Upgrade": "SPDY/3.1", "X-Stream-Protocol-Version": version}
        answered = await upgraded(server, streams, "POST", target, headers)
        assert answered["upgrade"] == "SPDY/3.1"
        assert answered["x-stream-protocol-version"] == version.partition(",")[0]
        yield SpdyClient(streams)


@asynccontextmanager
async def tunnelled_client(server: Server, target: str) -> AsyncIterator[SpdyClient]:
    async with connection(server) as streams:
        await shake_hands(server, streams, target, TUNNEL)
        yield SpdyClient(streams, tunnelled=True)


async def shake_hands(
    server: Server, streams: tuple[asyncio.StreamReader, asyncio.StreamWriter], target: str, protocol: str
) -> None:
    headers = request_headers(os.urandom(16), (protocol,) if protocol else ())
    answered = await upgraded(server, streams, "GET", target, headers)
    assert answered["sec-websocket-accept"] == accept_key(headers["Sec-WebSocket-Key"])
    assert answered.get("sec-websocket-protocol", "") == protocol


class ChannelClient:
    """Channels over one WebSocket."""

    def __init__(self, streams: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
        self.reader, self.writer = streams
        self.socket = WebSocket(mask=lambda: os.urandom(4))
        self.received: dict[int, bytearray] = defaultdict(bytearray)
        self.is_greeted = False
        self.closed: Closed | None = None
        self.is_over = False

    async def send(self, channel: int, data: bytes) -> None:
        for at in range(0, max(1, len(data)), READ_BYTES):
            self.socket.send(bytes((channel,)) + data[at : at + READ_BYTES])
            await self.flush()

    async def flush(self) -> None:
        self.writer.write(self.socket.take())
        await self.writer.drain()

    async def read_once(self) -> None:
        data = await self.reader.read(READ_BYTES)
        self.is_over = self.is_over or not data
        for event in self.socket.receive(data):
            if isinstance(event, Message) and event.data:
                self.is_greeted = True
                self.received[event.data[0]] += event.data[1:]
            elif isinstance(event, Closed):
                self.closed, self.is_over = event, True

    async def finish(self) -> None:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while not self.is_over:
                await self.read_once()
        with suppress(ConnectionError):  # a server that is gone hears no answer to its close
            await self.flush()

    async def until_received(self, channel: int, what: bytes) -> None:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while what not in self.received[channel]:
                assert not self.is_over, f"{what!r} did not come, only {bytes(self.received[channel])!r}"
                await self.read_once()

    @property
    def exit_code(self) -> int:
        return exit_code(bytes(self.received[3]))


@asynccontextmanager
async def channel_client(server: Server, target: str, protocol: str = V5) -> AsyncIterator[ChannelClient]:
    async with connection(server) as streams:
        await shake_hands(server, streams, target, protocol)
        yield ChannelClient(streams)


def exit_code(status: bytes) -> int:
    """What a final Status tells."""
    told = msgspec.json.decode(status)
    if told["status"] == "Success":
        return 0
    assert told["reason"] == "NonZeroExitCode", told
    (cause,) = told["details"]["causes"]
    assert cause["reason"] == "ExitCode"
    return int(cause["message"])
