"""Exec, attach and port-forward: the client's upgraded connection joined to the node's.

SPDY is passed through byte for byte, and so is a WebSocket where the node declares that it takes it, or where
nothing here could translate it. For any other node a WebSocket becomes SPDY here (`kube.streams`). The node
is asked first: what it refuses is still an HTTP answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from controlplane.api.model import Request, Response
from controlplane.api.streaming.exchange import Answer, NodeClient, Question, Unreachable
from controlplane.api.streaming.joining import join
from controlplane.api.streaming.targets import Target
from kube import status
from kube.errors import Status
from kube.http_server.model import Tunnel
from kube.streams.carry import carry
from kube.streams.port_channels import PROTOCOLS, PortChannels, read_ports
from kube.streams.port_forward import Unwrapped
from kube.streams.protocols import (
    PORT_FORWARD,
    PORT_FORWARD_TUNNEL,
    SPDY,
    V4,
    VERSION_HEADER,
    Wanted,
    choose_remote_command,
)
from kube.streams.remote_command import RemoteCommand
from kube.streams.translation import Translation
from kube.websocket import HandshakeError, answer_headers, choose_subprotocol, subprotocols

IDLE_SECONDS = 4 * 3600.0
"""Of a translated session in which nothing passes (kubelet's streamingConnectionIdleTimeout)."""
REFUSAL_MAX_BYTES = 64 * 1024
_BEARER = "base64url.bearer.authorization.k8s.io."
_VERSION = VERSION_HEADER.lower()
_PROTOCOLS = "sec-websocket-protocol"
# What of a handshake the other end needs; credentials are not among it.
_PASSED = ("user-agent", "sec-websocket-key", "sec-websocket-version", "sec-websocket-extensions", "origin")
_HOP_BY_HOP = frozenset(
    ("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te",
     "trailer", "transfer-encoding", "upgrade", "content-length", "date", "content-type")
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Translated:
    """What the client is told, and what stands between the two."""

    headers: dict[str, str]
    version: str
    translation: Translation


class Translate(Protocol):
    def __call__(self, request: Request) -> Translated | None:
        """None when the client's protocol is none that can be translated."""
        ...


def remote_command(wanted: Wanted) -> Translate:
    """Of exec and attach: channels in WebSocket messages to SPDY streams."""

    def translate(request: Request) -> Translated | None:
        protocol = choose_remote_command(offered_protocols(request.headers))
        if protocol is None:
            return None
        headers = _handshake(request, protocol.name)
        return Translated(headers, V4, RemoteCommand(protocol, wanted))

    return translate


def port_forward(request: Request) -> Translated | None:
    """SPDY inside WebSocket messages, or the channels of older clients, to SPDY."""
    offered = offered_protocols(request.headers)
    if PORT_FORWARD_TUNNEL in offered:
        return Translated(_handshake(request, PORT_FORWARD_TUNNEL), PORT_FORWARD, Unwrapped())
    chosen = choose_subprotocol(offered, PROTOCOLS)
    if chosen is None:
        return None
    try:
        ports = read_ports(request.query.get("ports", ()))
    except ValueError as error:
        raise status.bad_request(str(error)) from error
    channels = PortChannels(ports, is_base64=PROTOCOLS[chosen])
    return Translated(_handshake(request, chosen), PORT_FORWARD, channels)


async def upgrade(
    client: NodeClient, target: Target, path: str, request: Request, translate: Translate
) -> Response:
    """The answer to a request for an upgrade; with `path` the node is asked."""
    if not request.upgrade:
        raise status.bad_request("Upgrade request required")
    if request.upgrade == "websocket" and not target.takes_websockets:
        translated = translate(request)
        if translated is not None:
            return await _translated(client, target, path, translated)
    return await passed_through(client, target, Question(request.method, path, handshake_headers(request)))


async def passed_through(client: NodeClient, target: Target, question: Question) -> Response:
    """Byte for byte, when the other end upgrades; else its answer."""
    answer = await _ask(client, target, question)
    if not answer.is_upgraded:
        return await refused(answer)
    tunnel = answer.tunnel()

    async def joined(mine: Tunnel) -> None:
        await join(mine, tunnel)

    headers = {"Upgrade": answer.headers.get("upgrade", ""), **answer_of(answer.headers)}
    return Response(101, headers=headers, upgrade=joined)


async def _translated(client: NodeClient, target: Target, path: str, found: Translated) -> Response:
    headers = (("Connection", "Upgrade"), ("Upgrade", SPDY), (VERSION_HEADER, found.version))
    answer = await _ask(client, target, Question("POST", path, headers))
    if not answer.is_upgraded:
        return await refused(answer)
    agreed = answer.headers.get(_VERSION, "")
    if agreed != found.version:
        answer.close()
        message = f"error dialing backend: the node speaks {agreed!r}, not {found.version!r}"
        raise status.error_of(Status(500, "", message))
    tunnel = answer.tunnel()

    async def carried(mine: Tunnel) -> None:
        await carry(mine, tunnel, found.translation, idle_seconds=IDLE_SECONDS)

    return Response(101, headers=found.headers, upgrade=carried)


async def _ask(client: NodeClient, target: Target, question: Question) -> Answer:
    try:
        return await client.ask(target, question)
    except Unreachable as error:
        raise status.error_of(Status(500, "", f"error dialing backend: {error}")) from error


async def refused(answer: Answer) -> Response:
    """What the other end says instead of 101, as it says it."""
    body = await answer.read(REFUSAL_MAX_BYTES)
    content_type = answer.headers.get("content-type", "text/plain; charset=utf-8")
    return Response(answer.code, body, content_type)


def offered_protocols(headers: Mapping[str, str]) -> tuple[str, ...]:
    """The client's subprotocols, without the one that is its token."""
    return tuple(name for name in subprotocols(headers) if not name.startswith(_BEARER))


def handshake_headers(request: Request) -> tuple[tuple[str, str], ...]:
    """The upgrade as it goes on to the node."""
    given = request.headers
    headers = [("Connection", "Upgrade"), ("Upgrade", given["upgrade"])]
    headers += [(name, given[name]) for name in _PASSED if name in given]
    if offered := offered_protocols(given):
        headers.append((_PROTOCOLS, ", ".join(offered)))
    # Older servers do not read a list in one line.
    versions = given.get(_VERSION, "").split(",")
    headers += [(VERSION_HEADER, version.strip()) for version in versions if version.strip()]
    return tuple(headers)


def answer_of(headers: Mapping[str, str]) -> dict[str, str]:
    """What of an answer goes on to the client."""
    return {name: text for name, text in headers.items() if name not in _HOP_BY_HOP}


def _handshake(request: Request, protocol: str) -> dict[str, str]:
    try:
        return answer_headers(request.headers, protocol)
    except HandshakeError as error:
        raise status.bad_request(str(error)) from error
