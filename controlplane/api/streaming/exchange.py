"""A request to a kubelet, pod or endpoint, and its answer: head, then a body at the reader's pace, or after a
101 the raw connection. One connection per request, over TLS where the target has it.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from controlplane.api.streaming.answer_reading import AnswerReader, BadAnswer
from controlplane.api.streaming.targets import Target, is_global_unicast
from kube.http_server.tunnel import RawTunnel
from kube.http_server.writing import header_lines

CONNECT_SECONDS = 30.0
"""net.Dialer Timeout of the transports to nodes and pods."""
_WRITE_HIGH_BYTES = 256 * 1024


class Unreachable(Exception):
    """The target does not answer; the text says why as Go's net package would."""


@dataclass(frozen=True, slots=True)
class NodeClientSettings:
    """How kubelets are reached: with this client certificate (PEM files), trusting `ca` (PEM), or any
    certificate when it is empty, as upstream does unless told. `may_reach` says which pods' and endpoints'
    addresses may be proxied to."""

    certificate: Path | None = None
    key: Path | None = None
    ca: bytes = b""
    may_reach: Callable[[str], bool] = is_global_unicast


@dataclass(frozen=True, slots=True)
class Question:
    """`headers` without Host and what frames the body; a name may come more than once."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""

    def encode(self, target: Target) -> bytes:
        lines = header_lines((("Host", target.authority), *self.headers))
        if self.body or self.method in ("POST", "PUT", "PATCH"):
            lines += b"Content-Length: %d\r\n" % len(self.body)
        return b"%b %b HTTP/1.1\r\n%b\r\n%b" % (self.method.encode(), self.path.encode(), lines, self.body)


class Answer:
    """Of a target. Somebody must `close` it, read it to its end, or take its `tunnel` (after a 101)."""

    def __init__(self, tunnel: RawTunnel, reader: AnswerReader) -> None:
        self.code = reader.code
        self.headers = reader.headers
        self._tunnel = tunnel
        self._reader = reader

    @property
    def is_upgraded(self) -> bool:
        return self._reader.is_upgrade

    def tunnel(self) -> RawTunnel:
        self._tunnel.push_back(self._reader.rest)
        return self._tunnel

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        reader = self._reader
        while not reader.pieces:
            if reader.is_whole:
                self.close()
                raise StopAsyncIteration
            await _feed(reader, self._tunnel)
        return reader.pieces.popleft()

    async def read(self, limit: int) -> bytes:
        """No more than `limit` bytes of the body, then closed."""
        found = b""
        try:
            async for piece in self:
                found += piece
                if len(found) >= limit:
                    break
        finally:
            self.close()
        return found[:limit]

    async def aclose(self) -> None:
        self.close()

    def close(self) -> None:
        self._tunnel.abort()


class NodeClient:
    def __init__(self, settings: NodeClientSettings) -> None:
        self._settings = settings
        self._kubelets: ssl.SSLContext | None = None
        self._others: ssl.SSLContext | None = None
        self._written = 0

    async def ask(self, target: Target, question: Question) -> Answer:
        """Unreachable when there is no connection, or no HTTP on it."""
        tunnel = await self._connect(target)
        reader = AnswerReader(has_body=question.method != "HEAD")
        try:
            await tunnel.write(question.encode(target))
            while not reader.has_head:
                await _feed(reader, tunnel)
        except (OSError, BadAnswer) as error:
            tunnel.abort()
            raise Unreachable(str(error)) from error
        except BaseException:
            tunnel.abort()
            raise
        return Answer(tunnel, reader)

    async def _connect(self, target: Target) -> RawTunnel:
        loop = asyncio.get_running_loop()
        try:
            tls = self._context(target) if target.scheme == "https" else None
        except OSError as error:
            raise Unreachable(f"the API server's own certificate cannot be read: {error}") from error
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                _, protocol = await loop.create_connection(
                    _Client, target.host, target.port, ssl=tls,
                    server_hostname=target.host if tls is not None else None,
                )  # fmt: skip
        except TimeoutError as error:
            raise Unreachable(f"dial tcp {target.authority}: i/o timeout") from error
        except ssl.SSLCertVerificationError as error:
            raise Unreachable(f"tls: failed to verify certificate: {error.verify_message}") from error
        except ssl.SSLError as error:
            raise Unreachable(f"tls: {error.reason or error}") from error
        except OSError as error:
            reason = os.strerror(error.errno).lower() if error.errno else str(error)
            raise Unreachable(f"dial tcp {target.authority}: connect: {reason}") from error
        return protocol.tunnel

    def _context(self, target: Target) -> ssl.SSLContext:
        if not target.is_kubelet:
            if self._others is None:
                self._others = _context(b"")
            return self._others
        settings = self._settings
        written = settings.certificate.stat().st_mtime_ns if settings.certificate is not None else 0
        if self._kubelets is None or written != self._written:
            # Made for the first time, or the certificate has been renewed.
            made = _context(settings.ca)
            if settings.certificate is not None:
                made.load_cert_chain(settings.certificate, settings.key)
            self._kubelets, self._written = made, written
        return self._kubelets


class _Client(asyncio.Protocol):
    """A transport and its tunnel."""

    tunnel: RawTunnel

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        made = cast(asyncio.Transport, transport)
        made.set_write_buffer_limits(high=_WRITE_HIGH_BYTES)
        self.tunnel = RawTunnel(made)

    def data_received(self, data: bytes) -> None:
        self.tunnel.feed(data)

    def eof_received(self) -> bool:
        self.tunnel.feed_eof()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.tunnel.lost(exc)

    def pause_writing(self) -> None:
        self.tunnel.pause_writing()

    def resume_writing(self) -> None:
        self.tunnel.resume_writing()


async def _feed(reader: AnswerReader, tunnel: RawTunnel) -> None:
    data = await tunnel.read()
    if data:
        reader.feed(data)
    else:
        reader.end()


def _context(ca: bytes) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if ca:
        context.load_verify_locations(cadata=ca.decode("ascii"))
    else:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
