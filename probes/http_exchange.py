"""One HTTP/1.1 exchange on a connection of its own: a request out, status, one header and some body back.

A protocol straight on the event loop, because a check is small and there are many of them: a general client
took 8 MiB more, and half as much CPU again in an agent at rest (docs/decisions). Reading stops when the body
is complete or `limit` bytes of it are there; the rest is dropped with the connection.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast
from urllib.parse import urlsplit

from probes.http_client import port_of

MAX_HEAD_BYTES = 64 << 10
# A body in chunks is at most so much longer than what is in it before it counts as nonsense.
MAX_CHUNKED_BYTES = 256 << 10
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-9]\d\d)(?: [^\r\n]*)?\r?(?:\n|$)")
_HEAD_END = re.compile(rb"\r?\n\r?\n")
_CHUNK_SIZE = re.compile(rb"[0-9A-Fa-f]{1,16}")
_BODILESS = frozenset((204, 304))


class NotHttp(Exception):
    """What came is no HTTP answer; the text says why."""


class EndedEarly(Exception):
    """The connection ended before the answer was complete."""


@dataclass(frozen=True, slots=True)
class Answer:
    """`location` is the Location header, "" without one."""

    status: int
    location: str
    body: bytes


async def exchange(
    url: str, request: bytes, tls: Callable[[], ssl.SSLContext], limit: int, got_head: Callable[[], None]
) -> Answer:
    """Send `request` to where `url` points. Raises OSError, ssl.SSLError, NotHttp, EndedEarly, ValueError.

    `got_head` is called when the header is complete and the body is what is waited for.
    """
    parts = urlsplit(url)
    port = port_of(parts)
    loop = asyncio.get_running_loop()
    context = tls() if parts.scheme == "https" else None
    protocol = _Exchange(request, limit, got_head, loop.create_future())
    try:
        await loop.create_connection(lambda: protocol, parts.hostname or "", port, ssl=context)
        return await protocol.answer
    finally:
        protocol.abort()


class _Exchange(asyncio.Protocol):
    def __init__(
        self, request: bytes, limit: int, got_head: Callable[[], None], answer: asyncio.Future[Answer]
    ) -> None:
        self.answer = answer
        self._request = request
        self._limit = limit
        self._got_head = got_head
        self._transport: asyncio.Transport | None = None
        self._data = bytearray()
        self._head: _Head | None = None

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()
        self.answer.cancel()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass of it
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._data += data
        self._advance(is_over=False)

    def eof_received(self) -> bool:
        self._advance(is_over=True)
        return False

    def connection_lost(self, error: Exception | None) -> None:
        if error is not None and not self.answer.done():
            self.answer.set_exception(error)
        self._advance(is_over=True)

    def _advance(self, *, is_over: bool) -> None:
        """Read on in what has come; settle the answer when it is complete, or never will be."""
        if self.answer.done():
            return
        try:
            answer = self._read(is_over=is_over)
        except (NotHttp, EndedEarly) as error:
            self.answer.set_exception(error)
            return
        if answer is not None:
            self.answer.set_result(answer)

    def _read(self, *, is_over: bool) -> Answer | None:
        while self._head is None:
            end = _HEAD_END.search(self._data)
            if end is None:
                self._check_start(is_over=is_over)
                return None
            head = parse_head(bytes(self._data[: end.start()]))
            del self._data[: end.end()]
            if head.status >= 200:  # what comes before is information only
                self._head = head
                self._got_head()
        body = _body(self._head, bytes(self._data), self._limit, is_over=is_over)
        if body is None:
            return None
        return Answer(self._head.status, self._head.location, body)

    def _check_start(self, *, is_over: bool) -> None:
        if self._data and not b"HTTP/1.".startswith(self._data[:7]):
            raise NotHttp(f"malformed HTTP response {_shown(self._data)}")
        if len(self._data) > MAX_HEAD_BYTES:
            raise NotHttp(f"server response headers exceeded {MAX_HEAD_BYTES} bytes; aborted")
        if is_over:
            raise EndedEarly


@dataclass(frozen=True, slots=True)
class _Head:
    status: int
    location: str
    length: int | None  # None: until the connection ends, or in chunks
    is_chunked: bool


def parse_head(head: bytes) -> _Head:
    """Status line and header without the empty line at their end (pure). Raises NotHttp."""
    match = _STATUS_LINE.match(head)
    if match is None:
        raise NotHttp(f"malformed HTTP response {_shown(head)}")
    fields: dict[bytes, bytes] = {}
    for line in head[match.end() :].splitlines():
        name, colon, value = line.partition(b":")
        if not colon:
            raise NotHttp(f"malformed MIME header line: {line.decode('latin-1')}")
        fields.setdefault(name.lower(), value.strip())
    status = int(match[1])
    length = fields.get(b"content-length", b"")
    if length and not length.isdigit():
        raise NotHttp(f'bad Content-Length "{length.decode("latin-1")}"')
    return _Head(
        status,
        fields.get(b"location", b"").decode("utf-8", "replace"),
        0 if status in _BODILESS else int(length) if length else None,
        is_chunked=fields.get(b"transfer-encoding", b"").lower() == b"chunked",
    )


def _body(head: _Head, data: bytes, limit: int, *, is_over: bool) -> bytes | None:
    """The body as far as it is wanted; None while more must come."""
    if head.is_chunked and head.length != 0:
        body, is_complete = dechunk(data)
        if not is_complete and len(data) > MAX_CHUNKED_BYTES:
            raise NotHttp("chunked body is far longer than what is in it")
    else:
        body = data if head.length is None else data[: head.length]
        is_complete = is_over if head.length is None else len(body) == head.length
    if is_complete or len(body) >= limit:
        return body[:limit]
    if is_over:
        raise EndedEarly
    return None


def dechunk(data: bytes) -> tuple[bytes, bool]:
    """What the chunks hold so far, and whether the last one was among them (pure). Raises NotHttp."""
    body, at = bytearray(), 0
    while (end := data.find(b"\n", at)) >= 0:
        text = data[at:end].partition(b";")[0].strip()
        if not _CHUNK_SIZE.fullmatch(text):
            raise NotHttp("invalid byte in chunk length")
        size = int(text, 16)
        if not size:
            return bytes(body), True
        body += data[end + 1 : end + 1 + size]
        at = end + 1 + size
        if at > len(data):
            break
        at = data.find(b"\n", at) + 1 or len(data)
    return bytes(body), False


def _shown(data: bytes | bytearray) -> str:
    line = bytes(data[:80]).splitlines()[:1] or [b""]
    return '"' + line[0].decode("ascii", "backslashreplace").replace('"', '\\"') + '"'
