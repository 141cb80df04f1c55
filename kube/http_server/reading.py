"""Bytes in, whole requests out: httptools' parser with bounds (pure).

A request that cannot be served as HTTP becomes a `Refusal`, after which nothing more is read: where the next
request would begin is no longer known. A request that asks for an upgrade stops the reading as well; `rest`
holds what came after it, for the tunnel, or for `go_on` when the upgrade is not made.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum
from urllib.parse import unquote_to_bytes

import httptools

from kube.http_server.limits import Limits
from kube.http_server.model import Request


class Phase(Enum):
    """Of the request that is being read."""

    IDLE = "idle"
    HEAD = "head"
    BODY = "body"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Answered by the server itself; the connection ends after it."""

    code: int
    message: str


@dataclass(frozen=True, slots=True)
class Arrived:
    """A whole request, and what its connection can do after it. `is_1_1`: the client knows chunked bodies."""

    request: Request
    keeps_alive: bool
    is_1_1: bool


class _Stop(Exception):
    """Ends the parser's run; the reason is in `refusal`."""


_NO_BODY: bytes = b""


class RequestReader:
    """One connection's. `arrived` is taken from by the owner."""

    def __init__(self, limits: Limits, peer_certificate: bytes = b"") -> None:
        self.arrived: deque[Arrived] = deque()
        self.phase = Phase.IDLE
        self.refusal: Refusal | None = None
        self.is_upgrade_pending = False
        self.is_last = False
        self.wants_continue = False
        self.rest = bytearray()
        self._limits = limits
        self._peer_certificate = peer_certificate
        self._parser = httptools.HttpRequestParser(self)
        self._head_bytes = 0
        self._silent_bytes = 0
        self._begin()

    @property
    def is_full(self) -> bool:
        """As much waits as may: requests by number, or bodies that are larger together than one may be."""
        limits = self._limits
        if len(self.arrived) >= limits.pipelined:
            return True
        return sum(len(one.request.body) for one in self.arrived) > limits.body_bytes

    def feed(self, data: bytes) -> None:
        """What comes after a refusal, or after a request that ends its connection, is passed over."""
        if self.refusal is not None or self.is_last:
            return
        if self.is_upgrade_pending:
            self.rest += data
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self.is_upgrade_pending = True
            self.rest += data[upgrade.args[0] :]
        except httptools.HttpParserError as error:
            if self.refusal is None and not self.is_last:
                self._refuse(400, f"Bad Request: {error}")
        if self.phase is Phase.HEAD and self.refusal is None:
            self._head_bytes += len(data)
            if self._head_bytes > self._limits.header_bytes:
                self._refuse(431, "Request Header Fields Too Large")
        elif self.phase is Phase.BODY and self.refusal is None:
            # Sizes of chunks and trailers: the parser holds on to what it has begun of them.
            self._silent_bytes += len(data)
            if self._silent_bytes > self._limits.header_bytes + len(data):
                self._refuse(431, "Request Header Fields Too Large")

    def end(self) -> None:
        """The client sends no more."""
        if self.phase is Phase.BODY and self.refusal is None:
            self._refuse(400, "Bad Request: the body of the request was cut short: unexpected EOF")
        elif self.phase is Phase.HEAD and self.refusal is None:
            self._refuse(400, "Bad Request: the request was cut short: unexpected EOF")

    def go_on(self) -> None:
        """The upgrade was not made: what came after the request are requests."""
        self.is_upgrade_pending = False
        self._parser = httptools.HttpRequestParser(self)
        rest, self.rest = bytes(self.rest), bytearray()
        if rest:
            self.feed(rest)

    def close(self) -> None:
        """Lets go of the parser, which holds on to this object."""
        self.is_last = True
        del self._parser

    def _refuse(self, code: int, message: str) -> None:
        self.refusal = Refusal(code, message)
        self.phase = Phase.IDLE

    def _begin(self) -> None:
        self._url = b""
        self._headers: dict[str, str] = {}
        self._count = 0
        self._body: list[bytes] = []
        self._size = 0

    # --- what the parser calls ---

    def on_message_begin(self) -> None:
        self.phase = Phase.HEAD
        self._head_bytes = 0
        self._silent_bytes = 0
        self._begin()

    def on_url(self, url: bytes) -> None:
        self._url = self._url + url if self._url else url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.phase is Phase.BODY:
            return  # a trailer: nothing that is asked for, and too late to say who asks
        self._count += 1
        if self._count > self._limits.headers:
            self._refuse(431, "Request Header Fields Too Large")
            raise _Stop
        key = name.decode("latin-1").lower()
        text = value.decode("latin-1")
        headers = self._headers
        if key in headers:
            # Two of these say two different things about where the request is, or ends.
            if key in ("host", "content-length"):
                self._refuse(400, f"Bad Request: too many {key} headers")
                raise _Stop
            text = f"{headers[key]}, {text}"
        headers[key] = text

    def on_headers_complete(self) -> None:
        headers = self._headers
        is_1_1 = self._parser.get_http_version() != "1.0"
        if is_1_1 and "host" not in headers:
            self._refuse(400, "Bad Request: missing required Host header")
            raise _Stop
        length = headers.get("content-length")
        if length is not None and int(length) > self._limits.body_bytes:
            self._too_large()
        expected = headers.get("expect")
        if expected is not None:
            if expected.lower() != "100-continue":
                self._refuse(417, "Expectation Failed")
                raise _Stop
            has_body = "transfer-encoding" in headers or (length is not None and int(length) > 0)
            self.wants_continue = is_1_1 and has_body
        self.phase = Phase.BODY

    def on_body(self, piece: bytes) -> None:
        self.wants_continue = False
        self._silent_bytes = 0
        self._size += len(piece)
        if self._size > self._limits.body_bytes:
            self._too_large()
        self._body.append(piece)

    def on_message_complete(self) -> None:
        self.phase = Phase.IDLE
        self.wants_continue = False
        pieces = self._body
        body = _NO_BODY if not pieces else pieces[0] if len(pieces) == 1 else b"".join(pieces)
        method = self._parser.get_method().decode("latin-1")
        target, path = self._place(method)
        request = Request(method, path, None, self._headers, body, self._peer_certificate, target)
        is_1_1 = self._parser.get_http_version() != "1.0"
        keeps_alive = self._parser.should_keep_alive()
        self.is_last = not keeps_alive and not request.upgrade
        self.arrived.append(Arrived(request, keeps_alive, is_1_1))

    def _place(self, method: str) -> tuple[str, str]:
        """Target in origin form, and its decoded path."""
        target = self._url.decode("latin-1")
        if not target.startswith("/") and target != "*":
            target = self._origin_form(method)
        path = target.partition("?")[0].partition("#")[0]
        if "%" not in path and path.isascii():
            return target, path
        try:
            return target, unquote_to_bytes(path.encode("latin-1")).decode()
        except UnicodeDecodeError:
            self._refuse(400, "Bad Request: the path is not UTF-8")
            raise _Stop from None

    def _origin_form(self, method: str) -> str:
        """Of `http://host/path`, as a proxy is asked."""
        try:
            url = httptools.parse_url(self._url)
        except httptools.HttpParserInvalidURLError:
            url = None
        if url is None or method == "CONNECT" or not url.schema:
            self._refuse(400, "Bad Request: malformed request target")
            raise _Stop
        query = b"?" + url.query if url.query is not None else b""
        return ((url.path or b"/") + query).decode("latin-1")

    def _too_large(self) -> None:
        self._refuse(413, f"Request entity too large: limit is {self._limits.body_bytes}")
        raise _Stop
