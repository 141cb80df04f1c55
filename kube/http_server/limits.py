"""How much and how long a client may take: the bounds of one server, with their defaults (pure)."""

from __future__ import annotations

from dataclasses import dataclass

MAX_BODY_BYTES = 3 * 1024 * 1024
"""Of a request (server.Config MaxRequestBodyBytes)."""


@dataclass(frozen=True, slots=True)
class Limits:
    """`header_bytes` is request line and headers together (http.Server MaxHeaderBytes), and again what may
    come between two pieces of a body and after the last. `idle` is between two
    requests (the API server's http.Server IdleTimeout), `head` from a connection's start or a request's first
    byte to the end of its headers (its ReadHeaderTimeout), `body` from there to its last byte. `stalled` is
    how long a client that has sent the next request may leave whole answers unread; streams and tunnels may
    wait for ever, TCP keep-alive finds the dead. `stop` is what requests under way get when the server
    stops. `pipelined` is how many whole requests wait behind the one under way before reading stops;
    it stops sooner when their bodies are more than `body_bytes` together."""

    header_bytes: int = 1024 * 1024
    headers: int = 1000
    body_bytes: int = MAX_BODY_BYTES
    connections: int = 10_000
    pipelined: int = 16
    idle_seconds: float = 90.0
    head_seconds: float = 32.0
    body_seconds: float = 60.0
    stalled_seconds: float = 60.0
    handshake_seconds: float = 10.0
    stop_seconds: float = 1.0
