"""How much and how long a client may take: the bounds of one server, with their defaults (pure)."""

from __future__ import annotations

from dataclasses import dataclass

MAX_BODY_BYTES = 3 * 1024 * 1024
"""Of a request (server.Config MaxRequestBodyBytes)."""


@dataclass(frozen=True, slots=True)
class Limits:
    """`header_bytes` is request line and headers together (http.Server MaxHeaderBytes, 1 MiB); `idle` is
    between two requests (http.Server IdleTimeout as the API server sets it: 90 s), `head` and `body` from a
    request's first byte to the end of its headers (ReadHeaderTimeout 32 s) and from there to its last byte.
    `stalled` is how long a client may read nothing of an answer that waits for it."""

    header_bytes: int = 1024 * 1024
    headers: int = 256
    body_bytes: int = MAX_BODY_BYTES
    connections: int = 10_000
    pipelined: int = 16
    idle_seconds: float = 90.0
    head_seconds: float = 32.0
    body_seconds: float = 60.0
    stalled_seconds: float = 300.0
    stop_seconds: float = 1.0
