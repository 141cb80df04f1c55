"""Bytes of an HTTP answer in, its head and its body's pieces out (pure)."""

from __future__ import annotations

from collections import deque

import httptools

MAX_HEAD_BYTES = 1 << 20


class BadAnswer(Exception):
    """The other end does not speak HTTP, or broke off in the middle."""


class AnswerReader:
    """One answer. After a 101 `rest` has what came behind the head."""

    def __init__(self, *, has_body: bool = True) -> None:
        self.code = 0
        self.headers: dict[str, str] = {}
        self.pieces: deque[bytes] = deque()
        self.rest = b""
        self.has_head = False
        self.is_whole = False
        self._has_body = has_body
        self._fed = 0
        self._parser = httptools.HttpResponseParser(self)

    @property
    def is_upgrade(self) -> bool:
        return self.has_head and self.code == 101

    def feed(self, data: bytes) -> None:
        """BadAnswer for what is no answer."""
        if self.is_whole:
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self.rest = data[upgrade.args[0] :]
            self.is_whole = True
        except httptools.HttpParserError as error:
            if not self.is_whole:
                raise BadAnswer(f"malformed HTTP response: {error}") from error
        self._fed += len(data)
        if not self.has_head and self._fed > MAX_HEAD_BYTES:
            raise BadAnswer("the head of the HTTP response is too large")

    def end(self) -> None:
        """The other end sends no more. BadAnswer when something is missing."""
        if self.is_whole:
            return
        framed = "content-length" in self.headers or "chunked" in self.headers.get("transfer-encoding", "")
        if not self.has_head or framed:
            raise BadAnswer("unexpected EOF")
        self.is_whole = True

    # --- what the parser calls ---

    def on_message_begin(self) -> None:
        self.headers = {}

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.has_head:
            return  # a trailer
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        self.headers[key] = f"{self.headers[key]}, {text}" if key in self.headers else text

    def on_headers_complete(self) -> None:
        code = self._parser.get_status_code()
        if 100 <= code < 200 and code != 101:
            return  # 100 Continue and its like: the answer is still to come
        self.code = code
        self.has_head = True
        if not self._has_body:
            self.is_whole = True

    def on_body(self, piece: bytes) -> None:
        self.pieces.append(piece)

    def on_message_complete(self) -> None:
        self.is_whole = self.has_head
