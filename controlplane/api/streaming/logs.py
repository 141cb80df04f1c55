"""pods/log: the kubelet's stream as it comes, or its refusal as a Status; over a WebSocket for browsers."""

from __future__ import annotations

import asyncio
import base64
from contextlib import suppress

from controlplane.api.model import Request, Response
from controlplane.api.streaming.exchange import Answer, NodeClient, Question, Unreachable
from controlplane.api.streaming.targets import Target
from controlplane.api.streaming.upgrades import offered_protocols
from kube import status
from kube.client import resources as r
from kube.errors import Status, StatusError
from kube.http_server.model import Tunnel
from kube.websocket import (
    CloseCode,
    Closed,
    HandshakeError,
    WebSocket,
    WebSocketError,
    answer_headers,
    choose_subprotocol,
)

TEXT = "text/plain"
REFUSAL_MAX_BYTES = 50_000
"""Of a kubelet's error (registry/generic/rest/response_checker.go)."""
_BASE64 = "base64.binary.k8s.io"
_PROTOCOLS = ("binary.k8s.io", _BASE64)


async def read_log(client: NodeClient, target: Target, path: str, request: Request, name: str) -> Response:
    headers = None
    if request.upgrade == "websocket":
        protocol = choose_subprotocol(offered_protocols(request.headers), _PROTOCOLS)
        try:
            headers = answer_headers(request.headers, protocol)
        except HandshakeError as error:
            raise status.bad_request(str(error)) from error
    try:
        answer = await client.ask(target, Question("GET", path))
    except Unreachable as error:
        message = f'Get "{target.scheme}://{target.authority}{path}": {error}'
        raise status.error_of(Status(500, "", message)) from error
    if not 200 <= answer.code <= 206:
        raise await _refusal(answer, name)
    if headers is None:
        return Response(200, content_type=TEXT, stream=answer)
    is_base64 = headers.get("Sec-WebSocket-Protocol") == _BASE64

    async def told(tunnel: Tunnel) -> None:
        await _tell(tunnel, answer, is_base64=is_base64)

    return Response(101, headers=headers, upgrade=told)


async def _refusal(answer: Answer, name: str) -> StatusError:
    """GenericHttpResponseChecker: the kubelet's text, with the code that it gave."""
    text = (await answer.read(REFUSAL_MAX_BYTES)).decode("utf-8", "replace")
    if answer.code == 500:
        return status.error_of(Status(500, "InternalError", f"Internal error occurred: {text}"))
    if answer.code == 400:
        return status.bad_request(text)
    if answer.code == 404:
        message = f"the server could not find the requested resource ( {r.PODS.plural}/log {name}): {text}"
        return status.error_of(Status(404, "NotFound", message, {"name": name, "kind": "pods/log"}))
    return status.error_of(status.of_code(answer.code, text))


async def _tell(tunnel: Tunnel, answer: Answer, *, is_base64: bool) -> None:
    """Until the log ends or the reader leaves: a log that is followed may have nothing to say for days."""
    telling = asyncio.create_task(_send(tunnel, answer, is_base64=is_base64), name="log-to-client")
    leaving = asyncio.create_task(_left(tunnel), name="log-reader")
    try:
        await asyncio.wait((telling, leaving), return_when=asyncio.FIRST_COMPLETED)
        if telling.done():
            telling.result()
    finally:
        for task in (telling, leaving):
            task.cancel()
        await asyncio.gather(telling, leaving, return_exceptions=True)
        answer.close()
        tunnel.close()


async def _send(tunnel: Tunnel, answer: Answer, *, is_base64: bool) -> None:
    socket = WebSocket()
    async for piece in answer:
        socket.send(base64.b64encode(piece) if is_base64 else piece, is_text=is_base64)
        await tunnel.write(socket.take())
    socket.close(CloseCode.NORMAL)
    await tunnel.write(socket.take())


async def _left(tunnel: Tunnel) -> None:
    """Returns when the client closes. What else it says is dropped."""
    socket = WebSocket(in_parts=True)
    with suppress(ConnectionError, WebSocketError):
        while data := await tunnel.read():
            if any(isinstance(event, Closed) for event in socket.receive(data)):
                return
