"""The socket: aiohttp's low-level server around the pipeline. Nothing else here knows aiohttp.

Bodies over the limit are refused while they come; pieces of a stream are sent as they are made, and the
stream is closed when the client is gone (its handler is cancelled; a write that is under way may be done).
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator

from aiohttp import web

from controlplane.api.model import MAX_BODY_BYTES, Request, Response
from controlplane.api.pipeline import Pipeline, failure
from kube.errors import Status

_ALWAYS = {"Cache-Control": "no-cache, private"}
_CHUNK_BYTES = 64 * 1024


class HttpServer:
    """One listening socket. `port` 0 takes a free one; `address` tells it after `start`."""

    def __init__(
        self, pipeline: Pipeline, host: str, port: int, *, tls: ssl.SSLContext | None = None
    ) -> None:
        self._pipeline = pipeline
        self._host = host
        self._port = port
        self._tls = tls
        self._runner: web.ServerRunner | None = None

    async def start(self) -> None:
        server = web.Server(self._serve, access_log=None, handler_cancellation=True)
        runner = web.ServerRunner(server, shutdown_timeout=1.0)
        await runner.setup()
        await web.TCPSite(runner, self._host, self._port, ssl_context=self._tls, backlog=512).start()
        self._runner = runner

    @property
    def address(self) -> tuple[str, int]:
        if self._runner is None or not self._runner.addresses:
            raise RuntimeError("the server has not been started")
        host, port = self._runner.addresses[0][:2]
        return str(host), int(port)

    async def stop(self) -> None:
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def _serve(self, incoming: web.BaseRequest) -> web.StreamResponse:
        body = await _read_body(incoming)
        if body is None:
            message = f"Request entity too large: limit is {MAX_BODY_BYTES}"
            answer = failure(Status(413, "RequestEntityTooLarge", message))
        else:
            answer = await self._pipeline.handle(_request_of(incoming, body))
        if answer.stream is not None:
            return await _send_stream(incoming, answer)
        headers = {**_ALWAYS, **answer.headers, "Content-Type": answer.content_type}
        return web.Response(body=answer.body, status=answer.code, headers=headers)


async def _read_body(incoming: web.BaseRequest) -> bytes | None:
    """None when it is larger than a request may be."""
    if not incoming.body_exists:
        return b""
    if (incoming.content_length or 0) > MAX_BODY_BYTES:
        return None
    pieces: list[bytes] = []
    size = 0
    async for piece in incoming.content.iter_chunked(_CHUNK_BYTES):
        size += len(piece)
        if size > MAX_BODY_BYTES:
            return None
        pieces.append(piece)
    return b"".join(pieces)


def _request_of(incoming: web.BaseRequest, body: bytes) -> Request:
    query = incoming.rel_url.query
    transport = incoming.transport
    tls = transport.get_extra_info("ssl_object") if transport is not None else None
    return Request(
        method=incoming.method,
        path=incoming.rel_url.path,
        query={name: query.getall(name) for name in query},
        headers={name.lower(): text for name, text in incoming.headers.items()},
        body=body,
        peer_certificate=(tls.getpeercert(binary_form=True) or b"") if tls is not None else b"",
    )


async def _send_stream(incoming: web.BaseRequest, answer: Response) -> web.StreamResponse:
    headers = {**_ALWAYS, **answer.headers, "Content-Type": answer.content_type}
    response = web.StreamResponse(status=answer.code, headers=headers)
    response.enable_chunked_encoding()
    stream = answer.stream
    try:
        await response.prepare(incoming)
        if stream is not None:
            async for piece in stream:
                if piece:
                    await response.write(piece)
        await response.write_eof()
    except ConnectionError:
        # The client is gone; nobody is left to tell.
        return response
    finally:
        if isinstance(stream, AsyncGenerator):
            await stream.aclose()
    return response
