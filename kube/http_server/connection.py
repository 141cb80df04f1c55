"""One client's connection: requests are answered one after the other, in the order they came.

A request is served by a task of its own. When the client goes, the task of its request is cancelled; while a
client does not read, its stream is not asked for more, and its next request is not begun. Bounds of time are
one timer that is set again only when it fires, so that a request costs none.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import cast

from aio import log
from kube.http_server import writing
from kube.http_server.compressing import compress, is_worth_compressing
from kube.http_server.limits import Limits
from kube.http_server.model import Handle, Response
from kube.http_server.reading import Arrived, Phase, Refusal, RequestReader
from kube.http_server.tunnel import RawTunnel

_log = log.get(__name__)

LINGER_SECONDS = 0.5
"""After a refusal, what the client still sends is read and dropped, or it would never see the answer."""
_WRITE_HIGH_BYTES = 256 * 1024
_JOINED_BYTES = 16 * 1024
_PIECE_BYTES = 256 * 1024
_LONG_PIECE_BYTES = 64 * 1024
"""After a piece of a stream that is longer, others get their turn."""

Refuse = Callable[[int, str], Response]


@dataclass(frozen=True, slots=True)
class Service:
    """What all connections of a server share. `common` is sent with every answer."""

    handle: Handle
    refuse: Refuse
    limits: Limits
    common: Callable[[], bytes]
    connections: Connections


class Connections(set["Connection"]):
    """Those that are open; `none_left` is for the server's end."""

    def __init__(self) -> None:
        super().__init__()
        self.none_left = asyncio.Event()

    def forget(self, connection: Connection) -> None:
        self.discard(connection)
        if not self:
            self.none_left.set()


class Connection(asyncio.Protocol):
    def __init__(self, service: Service) -> None:
        self._service = service
        self._limits = service.limits
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._reader: RequestReader
        self._task: asyncio.Task[None] | None = None
        self._streaming = False
        self._tunnel: RawTunnel | None = None
        self._is_closing = False
        self._is_lost = False
        self._is_lingering = False
        self._is_half_closed = False
        self._is_reading_paused = False
        self._can_write: asyncio.Event | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._deadline: float | None = None

    @property
    def task(self) -> asyncio.Task[None] | None:
        return self._task

    # --- asyncio's side ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's are no subclass.
        self._transport = transport = cast(asyncio.Transport, transport)
        transport.set_write_buffer_limits(high=_WRITE_HIGH_BYTES)
        tls = transport.get_extra_info("ssl_object")
        self._reader = RequestReader(self._limits, _peer_certificate(tls))
        connections = self._service.connections
        connections.add(self)
        if len(connections) > self._limits.connections:
            self._refuse(Refusal(503, "the server has too many connections, try again later"))
        else:
            self._expect(self._limits.head_seconds)

    def data_received(self, data: bytes) -> None:
        if self._tunnel is not None:
            self._tunnel.feed(data)
            return
        if self._is_closing:
            return
        reader = self._reader
        was = reader.phase
        reader.feed(data)
        if self._task is None:
            self._next(was)
        if (reader.arrived and reader.is_full) or len(reader.rest) > _WRITE_HIGH_BYTES:
            self._pause_reading()

    def eof_received(self) -> bool:
        """True keeps the connection open for the answers to what came before the end."""
        if self._tunnel is not None:
            self._tunnel.feed_eof()
            return self._transport.can_write_eof()
        if self._is_lingering or not self._transport.can_write_eof():
            return False
        self._is_half_closed = True
        self._reader.end()
        self._reader.is_last = True
        # Nobody waits for a stream or a tunnel who sends no more.
        is_upgrade = self._reader.is_upgrade_pending and not self._reader.arrived
        if self._task is not None and (self._streaming or is_upgrade):
            self._task.cancel()
        if self._task is None:
            self._next(Phase.IDLE)
        return self._task is not None or self._is_lingering

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_lost = True
        self._is_closing = True
        self._service.connections.forget(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._can_write is not None:
            self._can_write.set()
        self._reader.close()
        if self._tunnel is not None:
            self._tunnel.lost(exc)
        elif self._task is not None:
            self._task.cancel()

    def pause_writing(self) -> None:
        if self._tunnel is not None:
            self._tunnel.pause_writing()
        self._can_write = asyncio.Event()

    def resume_writing(self) -> None:
        if self._tunnel is not None:
            self._tunnel.resume_writing()
        if self._can_write is not None:
            self._can_write.set()
            self._can_write = None
        if self._task is None and not self._is_closing:
            self._next(self._reader.phase)

    # --- one request after the other ---

    def _next(self, was: Phase) -> None:
        """Begin the next request that is there. Without one: refuse what cannot be read, or wait for more;
        `was` is the phase that the last bound of time is for."""
        reader = self._reader
        if reader.arrived:
            if self._can_write is not None:
                if self._deadline is None:
                    self._expect(self._limits.stalled_seconds)
                return
            self._expect(None)
            arrived = reader.arrived.popleft()
            if self._is_reading_paused and not reader.is_full:
                self._resume_reading()
            self._task = self._loop.create_task(self._serve(arrived))
        elif reader.refusal is not None:
            self._refuse(reader.refusal)
        elif reader.is_last:
            self._close()
        else:
            if reader.wants_continue:
                reader.wants_continue = False
                self._transport.write(writing.CONTINUE)
            if reader.phase is not was or self._deadline is None:
                self._expect(self._seconds_of(reader.phase))

    def _seconds_of(self, phase: Phase) -> float:
        limits = self._limits
        if phase is Phase.IDLE:
            return limits.idle_seconds
        return limits.head_seconds if phase is Phase.HEAD else limits.body_seconds

    async def _serve(self, arrived: Arrived) -> None:
        try:
            keeps_alive = await self._answer(arrived)
        except asyncio.CancelledError:
            self._close()
            raise
        except Exception as error:  # noqa: BLE001 (an answer that cannot be sent must not leave its client waiting)
            _log.error("An answer failed", path=arrived.request.path, err=error)
            self._transport.abort()
            return
        finally:
            self._task = None
            self._streaming = False
        if self._is_lost:
            return
        if not keeps_alive or self._is_closing:
            self._close()
            return
        reader = self._reader
        if reader.is_upgrade_pending and not reader.arrived:
            reader.go_on()
            self._resume_reading()
        self._next(Phase.IDLE)

    async def _answer(self, arrived: Arrived) -> bool:
        """Whether the connection can take another request."""
        request = arrived.request
        try:
            response = await self._service.handle(request)
        except Exception as error:  # noqa: BLE001 (one request's bug must not end what others do)
            _log.error("A request failed", method=request.method, path=request.path, err=error)
            response = self._service.refuse(500, f"Internal error occurred: {type(error).__name__}")
        if response.upgrade is not None:
            await self._tunnelled(response)
            return False
        if response.stream is not None:
            return await self._stream(response, response.stream, arrived)
        await self._whole(response, arrived)
        return arrived.keeps_alive

    async def _whole(self, response: Response, arrived: Arrived) -> None:
        request, body = arrived.request, response.body
        headers = dict(response.headers)
        if is_worth_compressing(request, response):
            body = await compress(body)
            headers["Content-Encoding"] = "gzip"
            headers["Vary"] = "Accept-Encoding"
        head = self._head(response, headers, arrived)
        if response.code >= 200 and response.code not in (204, 304):
            head += b"Content-Length: %d\r\n" % len(body)
        if not writing.may_have_body(request.method, response.code):
            body = b""
        if len(body) < _JOINED_BYTES:
            self._transport.write(head + b"\r\n" + body)
        else:
            self._transport.write(head + b"\r\n")
            await self._large(memoryview(body))

    async def _large(self, body: memoryview) -> None:
        """Piece by piece, as the client takes it: to encrypt much at once would keep others waiting."""
        for at in range(0, len(body), _PIECE_BYTES):
            self._transport.write(body[at : at + _PIECE_BYTES])
            if self._can_write is not None:
                self._expect(self._limits.stalled_seconds)
                await self._can_write.wait()
                self._expect(None)
            else:
                await asyncio.sleep(0)

    async def _stream(self, response: Response, stream: AsyncIterator[bytes], arrived: Arrived) -> bool:
        """Whether the connection can take another request."""
        self._streaming = True
        is_chunked = arrived.is_1_1
        is_whole = False
        try:
            head = self._head(response, response.headers, arrived)
            framing = b"Transfer-Encoding: chunked\r\n\r\n" if is_chunked else b"Connection: close\r\n\r\n"
            self._transport.write(head + framing)
            if writing.may_have_body(arrived.request.method, response.code):
                async for piece in stream:
                    if piece:
                        self._transport.write(writing.chunk(piece) if is_chunked else piece)
                    if self._can_write is not None:
                        await self._can_write.wait()
                    elif len(piece) > _LONG_PIECE_BYTES:
                        await asyncio.sleep(0)
                is_whole = True
        except Exception as error:  # noqa: BLE001 (what is sent cannot be taken back: the client sees a cut)
            _log.warning("A stream broke off", path=arrived.request.path, err=error)
            self._transport.abort()
            return False
        except asyncio.CancelledError:
            # The server stops, or the client is gone. A stream that is ended is whole for its client.
            is_whole = not self._is_lost
            raise
        finally:
            if is_whole and is_chunked:
                self._transport.write(writing.LAST_CHUNK)
            await close_stream(stream)
        return is_chunked and arrived.keeps_alive

    async def _tunnelled(self, response: Response) -> None:
        """The function is called even when the client is gone already: it may have something to let go of."""
        upgrade = response.upgrade
        assert upgrade is not None
        tunnel = RawTunnel(self._transport, bytes(self._reader.rest))
        self._reader.rest.clear()
        if self._is_lost:
            tunnel.lost(None)
        else:
            head = writing.status_line(101, "") + writing.header_lines(response.headers)
            self._transport.write(head + b"Connection: Upgrade\r\n\r\n")
            self._tunnel = tunnel
            self._resume_reading()
            if self._is_half_closed:
                tunnel.feed_eof()
        try:
            await upgrade(tunnel)
        except ConnectionError as error:
            if log_it := _log.v(4):
                log_it.info("A tunnel broke", err=str(error))
        except Exception as error:  # noqa: BLE001
            _log.error("A tunnel failed", err=error)
        finally:
            self._is_closing = True
            tunnel.close()

    def _head(self, response: Response, headers: Mapping[str, str], arrived: Arrived) -> bytes:
        """Without what frames the body, and the empty line."""
        head = writing.status_line(response.code, response.content_type) + self._service.common()
        if headers:
            head += writing.header_lines(headers)
        if not arrived.keeps_alive:
            head += b"Connection: close\r\n"
        elif not arrived.is_1_1:
            head += b"Connection: keep-alive\r\n"
        return head

    # --- the end ---

    def _refuse(self, refusal: Refusal) -> None:
        """Answer, and close once the client has had the time to read it."""
        response = self._service.refuse(refusal.code, refusal.message)
        head = writing.status_line(response.code, response.content_type) + self._service.common()
        head += writing.header_lines(response.headers)
        framing = b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(response.body)
        self._transport.write(head + framing + response.body)
        self._is_closing = True
        if self._is_half_closed:
            self._transport.close()
            return
        self._is_lingering = True
        self._resume_reading()
        self._expect(LINGER_SECONDS)

    def _close(self) -> None:
        self._is_closing = True
        self._transport.close()

    def end(self) -> None:
        """The server stops: now when nothing is under way, a stream or a tunnel at once, else after the
        answer."""
        self._is_closing = True
        if self._task is None:
            self._transport.close()
        elif self._streaming or self._tunnel is not None:
            self._task.cancel()

    def abort(self) -> None:
        if self._task is not None:
            self._task.cancel()
        self._transport.abort()

    # --- time, and the client's pace ---

    def _pause_reading(self) -> None:
        if not self._is_reading_paused:
            self._is_reading_paused = True
            self._transport.pause_reading()

    def _resume_reading(self) -> None:
        if self._is_reading_paused and not self._is_lost:
            self._is_reading_paused = False
            self._transport.resume_reading()

    def _expect(self, seconds: float | None) -> None:
        """Something has to come within that time; None: no bound."""
        if seconds is None:
            self._deadline = None
            return
        self._deadline = deadline = self._loop.time() + seconds
        if self._timer is None or self._timer.when() > deadline:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_at(deadline, self._fire)

    def _fire(self) -> None:
        self._timer = None
        if self._deadline is None:
            return
        if self._loop.time() < self._deadline:
            self._timer = self._loop.call_at(self._deadline, self._fire)
            return
        self._deadline = None
        if self._is_lingering or self._can_write is not None:
            self._transport.abort()
        elif self._reader.phase is Phase.IDLE:
            self._close()
        else:
            self._refuse(Refusal(408, "Request Timeout: the request did not come within the time allowed"))


async def close_stream(stream: AsyncIterator[bytes]) -> None:
    """Of a generator, or whatever else has something to let go of."""
    close = getattr(stream, "aclose", None)
    if close is not None:
        await close()


def _peer_certificate(tls: ssl.SSLObject | None) -> bytes:
    return (tls.getpeercert(binary_form=True) or b"") if tls is not None else b""


def plain_refusal(code: int, message: str) -> Response:
    """As Go's net/http says it, for servers that have no form of their own."""
    return Response(code, f"{code} {message}\n".encode(), "text/plain; charset=utf-8")
