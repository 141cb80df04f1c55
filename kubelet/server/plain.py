"""Serves a `Router` over HTTP/1.1 on a TCP or unix socket, with nothing but asyncio streams.

Only what read-only endpoints need: GET and HEAD, keep-alive, no request bodies, heads up to 16 KiB, at most
64 connections, each closed after a minute of silence. aiohttp would cost 17 MiB and 145 ms of start-up for
this (measured); the authenticated server uses it, these two sockets do not.
"""

from __future__ import annotations

import asyncio
import os
import stat
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path

from aio import log
from kubelet.server.http import Request, Response, Router, text

MAX_HEAD_BYTES = 16 << 10
MAX_CONNECTIONS = 64
IDLE_SECONDS = 60.0

_TURNS_OF_A_TRANSPORT = 5
_log = log.get(__name__)


class _BadRequest(Exception):
    """What came is not a request we answer; the text says why."""


@dataclass(slots=True)
class PlainServer:
    """A listening server. `close` ends it, its connections and its socket file."""

    name: str
    router: Router
    server: asyncio.Server | None = None
    socket_path: str = ""
    connections: set[asyncio.Task[None]] = field(default_factory=set)
    is_closing: bool = False

    @property
    def port(self) -> int:
        """The TCP port it listens on."""
        assert self.server is not None
        return int(self.server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Stop listening, cut every connection, remove the socket file."""
        self.is_closing = True
        # CPython 3.11 forgets a connection whose acceptance is under way when its server closes.
        await _turns()
        if self.server is not None:
            self.server.close()
        for task in list(self.connections):
            task.cancel()
        await asyncio.gather(*self.connections, return_exceptions=True)
        await _turns()
        if self.socket_path:
            Path(self.socket_path).unlink(missing_ok=True)

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection; the callback of asyncio's start_server."""
        task = asyncio.current_task()
        assert task is not None
        try:
            if self.is_closing:
                return
            if len(self.connections) < MAX_CONNECTIONS:
                self.connections.add(task)
                await _serve(self.name, self.router, reader, writer)
            else:
                writer.write(render(text("too many connections\n", 503), keep=False, with_body=True))
        except (ConnectionError, TimeoutError, asyncio.IncompleteReadError) as err:
            _log.v(4).info("Connection ended", server=self.name, err=str(err))
        except asyncio.CancelledError:
            if not self.is_closing:
                raise
        finally:
            self.connections.discard(task)
            if self.is_closing:
                writer.transport.abort()  # do not wait for a client that does not read
            writer.close()


async def _turns() -> None:
    """Let the loop finish what it does in steps: accepting a connection, closing a transport."""
    for _ in range(_TURNS_OF_A_TRANSPORT):
        await asyncio.sleep(0)


async def serve_tcp(name: str, host: str, port: int, router: Router) -> PlainServer:
    """Listen on host:port (0 = any free port). Raises OSError when the address is taken."""
    plain = PlainServer(name, router)
    plain.server = await asyncio.start_server(plain.connected, host, port, limit=MAX_HEAD_BYTES)
    return plain


async def serve_unix(name: str, path: str, router: Router) -> PlainServer:
    """Listen on a unix socket that only its owner may use. A stale socket file is replaced.

    Raises OSError when something else than a socket is in the way, or another process answers there.
    """
    await _clear_stale(path)
    plain = PlainServer(name, router, socket_path=path)
    mask = os.umask(0o177)  # no moment in which others could connect
    try:
        plain.server = await asyncio.start_unix_server(plain.connected, path, limit=MAX_HEAD_BYTES)
    finally:
        os.umask(mask)
    return plain


async def _clear_stale(path: str) -> None:
    try:
        facts = Path(path).lstat()
    except FileNotFoundError:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        return
    if not stat.S_ISSOCK(facts.st_mode):
        raise FileExistsError(f'cannot listen on "{path}": because a file that is not a socket is there')
    try:
        _, writer = await asyncio.open_unix_connection(path)
    except ConnectionError:
        Path(path).unlink(missing_ok=True)
        return
    writer.close()
    raise FileExistsError(f'cannot listen on "{path}": because another process answers there')


async def _serve(
    name: str, router: Router, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    keep = True
    while keep:
        with_body = True
        try:
            async with asyncio.timeout(IDLE_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
            request, keep = parse_head(head)
            with_body = request.method != "HEAD"
            response = _answer(name, router, request)
        except asyncio.LimitOverrunError:
            keep, response = False, text("request header is too large\n", 431)
        except _BadRequest as err:
            keep, response = False, text(f"bad request: {err}\n", 400)
        writer.write(render(response, keep=keep, with_body=with_body))
        async with asyncio.timeout(IDLE_SECONDS):
            await writer.drain()


def _answer(name: str, router: Router, request: Request) -> Response:
    try:
        return router.answer(request)
    except Exception as err:  # noqa: BLE001  # one faulty handler must not end the server: 500, and said
        _log.error("Handler failed", server=name, path=request.path, err=err)
        return text("500 internal server error\n", 500)


def parse_head(head: bytes) -> tuple[Request, bool]:
    """The request in one head (up to the empty line), and whether the connection is kept."""
    lines = head.decode("latin-1").split("\r\n")
    parts = lines[0].split(" ")
    if len(parts) != 3 or not parts[2].startswith("HTTP/1.") or not parts[0].isalpha():
        raise _BadRequest("malformed request line")
    if not parts[1].startswith("/"):
        raise _BadRequest("the target must be a path")
    headers: dict[str, str] = {}
    for line in lines[1:]:
        key, colon, value = line.partition(":")
        if line and (not colon or key != key.strip()):
            raise _BadRequest("malformed header")
        headers[key.lower()] = value.strip()
    if headers.get("content-length", "0") != "0" or "transfer-encoding" in headers:
        raise _BadRequest("a body is not expected")
    connection = headers.get("connection", "").lower()
    keep = connection != "close" and (parts[2] != "HTTP/1.0" or connection == "keep-alive")
    return Request.parse(parts[0].upper(), parts[1]), keep


def render(response: Response, *, keep: bool, with_body: bool) -> bytes:
    """The bytes of a response; `with_body` False for HEAD, which still tells the length."""
    lines = [
        f"HTTP/1.1 {response.status} {HTTPStatus(response.status).phrase}",
        f"Content-Type: {response.content_type}",
        f"Content-Length: {len(response.body)}",
        f"Connection: {'keep-alive' if keep else 'close'}",
        *(f"{key}: {value}" for key, value in response.headers),
    ]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (response.body if with_body else b"")
