"""A server on a loopback port and a client of raw bytes, on both event loops."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest
import uvloop

from kube import pki
from kube.http_server import Handle, HttpServer, Limits, Request, Response, server_context
from kube.pki import Subject, Usage
from kube.pki_files import PairFiles

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
# libuv keeps a pipe of its own from the first loop on.
uvloop.new_event_loop().close()
SECONDS = 20.0
both_loops = pytest.mark.parametrize("loop", LOOPS)


def run(loop: str, test: Callable[[], Awaitable[None]]) -> None:
    """To its end, within SECONDS; no task may be left."""

    async def whole() -> None:
        async with asyncio.timeout(SECONDS):
            await test()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, left

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(whole())


@dataclass(slots=True)
class Answer:
    code: int
    headers: dict[str, str]
    body: bytes = b""
    chunks: list[bytes] = field(default_factory=list)


class Client:
    """Speaks to one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, raw: bytes | str) -> None:
        self.writer.write(raw if isinstance(raw, bytes) else raw.replace("\n", "\r\n").encode())
        await self.writer.drain()

    async def head(self) -> Answer:
        lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[:-2]
        code = int(lines[0].split()[1])
        return Answer(code, {k.lower(): v for k, _, v in (line.partition(": ") for line in lines[1:])})

    async def answer(self, *, has_body: bool = True) -> Answer:
        found = await self.head()
        if not has_body or found.code in (100, 101, 204, 304):
            return found
        if found.headers.get("transfer-encoding") == "chunked":
            while piece := await self.chunk():
                found.chunks.append(piece)
            found.body = b"".join(found.chunks)
        elif "content-length" in found.headers:
            found.body = await self.reader.readexactly(int(found.headers["content-length"]))
        else:
            found.body = await self.reader.read()
        return found

    async def chunk(self) -> bytes:
        size = int(await self.reader.readline(), 16)
        piece = await self.reader.readexactly(size)
        assert await self.reader.readexactly(2) == b"\r\n"
        return piece

    async def ask(self, raw: bytes | str) -> Answer:
        await self.send(raw)
        return await self.answer()

    async def is_closed(self) -> bool:
        """Nothing more comes."""
        try:
            return await self.reader.read() == b""
        except ConnectionResetError:
            return True

    async def close(self) -> None:
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except (ConnectionError, ssl.SSLError):
            return


@dataclass(slots=True)
class World:
    server: HttpServer
    tls: ssl.SSLContext | None = None

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        host, port = self.server.address
        made = Client(*await asyncio.open_connection(host, port, ssl=self.tls))
        try:
            yield made
        finally:
            await made.close()


@asynccontextmanager
async def serving(
    handle: Handle, limits: Limits | None = None, *, tls: ssl.SSLContext | None = None,
    client_tls: ssl.SSLContext | None = None,
) -> AsyncIterator[World]:  # fmt: skip
    server = HttpServer(handle, "127.0.0.1", 0, tls=tls, limits=limits, headers={"Cache-Control": "no-cache"})
    await server.start()
    try:
        yield World(server, client_tls)
    finally:
        await server.stop()


async def echo(request: Request) -> Response:
    """What came, as text."""
    body = f"{request.method} {request.path} {dict(request.query)} {len(request.body)}".encode()
    return Response(200, body, "text/plain")


class Authority:
    """A CA in a directory, with contexts for both ends."""

    def __init__(self, directory: Path, name: str = "kubernetes") -> None:
        self.directory = directory
        self.now = datetime.now(UTC)
        self.ca = pki.make_ca(name, self.now)
        self.files = self.pair("server", Subject("server", hosts=("127.0.0.1",)), Usage.SERVING)

    def pair(self, name: str, subject: Subject, usage: Usage) -> PairFiles:
        files = PairFiles.of(self.directory, name)
        files.write(pki.issue(self.ca, subject, usage, self.now))
        return files

    def server(self) -> ssl.SSLContext:
        return server_context(self.files.certificate, self.files.key, client_ca=self.ca.certificate)

    def client(self, user: str = "") -> ssl.SSLContext:
        context = ssl.create_default_context(cadata=self.ca.certificate.decode())
        if user:
            files = self.pair(user, Subject(user), Usage.CLIENT)
            context.load_cert_chain(files.certificate, files.key)
        return context
