"""What a handler of HTTP requests sees: a request, an answer, and the raw connection after an upgrade (pure).

Nothing here knows sockets. A handler is `async (Request) -> Response`; a test calls it with a Request of its
own making.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import parse_qsl

JSON = "application/json"

Query = Mapping[str, Sequence[str]]


class Request:
    """One HTTP request. Header names are in lower case; a header given twice is joined by ", ".

    `path` is decoded, `target` is what the request line had (path and query, still escaped), `query` holds
    every value of a name, decoded when it is first asked for. `peer_certificate` is the DER of the client's
    certificate, already verified against the client CA; empty for none.
    """

    __slots__ = ("_query", "body", "headers", "method", "path", "peer_certificate", "target")

    def __init__(
        self,
        method: str,
        path: str,
        query: Query | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        peer_certificate: bytes = b"",
        target: str = "",
    ) -> None:
        self.method = method
        self.path = path
        self.headers: Mapping[str, str] = {} if headers is None else headers
        self.body = body
        self.peer_certificate = peer_certificate
        self.target = target or path
        self._query = query

    @property
    def query(self) -> Query:
        if self._query is None:
            self._query = parse_query(self.raw_query) if "?" in self.target else {}
        return self._query

    @property
    def raw_query(self) -> str:
        """Still escaped, without the question mark."""
        return self.target.partition("?")[2]

    def one(self, name: str) -> str:
        """The first value of a query parameter, "" when it is not there."""
        values = self.query.get(name)
        return values[0] if values else ""

    @property
    def upgrade(self) -> str:
        """The protocol that the client wants to change to, in lower case ("spdy/3.1", "websocket"); "" for
        none."""
        wanted = self.headers.get("upgrade", "")
        if not wanted or "upgrade" not in self.headers.get("connection", "").lower():
            return ""
        return wanted.strip().lower()

    def __repr__(self) -> str:
        return f"Request({self.method} {self.target})"


def parse_query(text: str) -> dict[str, list[str]]:
    """Every value of each name, in order; `a` alone is `a=`. Bytes that are no UTF-8 become U+FFFD."""
    found: dict[str, list[str]] = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        found.setdefault(name, []).append(value)
    return found


class Tunnel(Protocol):
    """The connection after an upgrade. Every call may raise ConnectionError when the other end is gone."""

    async def read(self) -> bytes:
        """The next bytes as they came, b"" when the other end sends no more. What is not read is held back
        at the sender."""
        ...

    async def write(self, data: bytes) -> None:
        """Returns when the connection takes more: a slow reader slows the writer."""
        ...

    async def write_eof(self) -> None:
        """Everything written is sent, then this end sends no more. A connection that cannot be closed for
        one direction (TLS) is closed."""
        ...

    def close(self) -> None:
        """Everything written is still sent; a reader gets b""."""
        ...


@dataclass(frozen=True, slots=True)
class Response:
    """`body` is whole, or `stream` gives the pieces, each to be sent at once; the server closes it with
    `aclose`, also when the client goes. With `upgrade` the answer is a 101 with these headers (which name the
    protocol: `Upgrade`), and the function then has the connection until it returns; it is called even when
    the client is gone by then. Only for a request that asks for an upgrade; content type and body are not
    sent."""

    code: int = 200
    body: bytes = b""
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)
    stream: AsyncIterator[bytes] | None = None
    upgrade: Callable[[Tunnel], Awaitable[None]] | None = None


Handle = Callable[[Request], Awaitable[Response]]
