"""exec, attach and port-forward: a client's upgraded connection joined to the runtime's streaming server.

Mechanism: CRI prepares the session and names an address on the node. The connection to it is made before the
client's upgrade is answered, so that what fails is still an HTTP answer. SPDY clients are passed through byte
for byte; WebSocket clients (channel protocols, tunnelled port-forwards) go through `kube.streams`. Whoever
goes first ends the session on the other side.

WebSocket protocols before v5 cannot end the input: `echo x | exec -i POD -- cat` does not end with them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from cri.errors import CriError
from cri.service import RuntimeService, Streams
from cri.streaming_http import Upgraded, upgrade
from kube.http_server.model import Request, Response, Tunnel
from kube.streams.carry import SocketTunnel, carry
from kube.streams.port_channels import PROTOCOLS as PORT_CHANNELS
from kube.streams.port_channels import PortChannels, read_ports
from kube.streams.port_forward import Unwrapped
from kube.streams.protocols import (
    PORT_FORWARD,
    PORT_FORWARD_TUNNEL,
    SPDY,
    SPDY_VERSIONS,
    V4,
    VERSION_HEADER,
    RemoteProtocol,
    Wanted,
    choose_remote_command,
)
from kube.streams.remote_command import RemoteCommand
from kube.streams.translation import PassThrough, Translation
from kube.websocket import HandshakeError, answer_headers, choose_subprotocol, subprotocols
from kubelet.server.answers import error_text, refused_by_runtime
from kubelet.server.served_pods import Pods, ServedPod

Prepare = Callable[[], Awaitable[str]]
_ON = frozenset({"1", "true"})


@dataclass(frozen=True, slots=True)
class Target:
    """What the path names: a container of a pod; no container for a port-forward."""

    namespace: str
    name: str
    uid: str = ""
    container: str = ""


class _Refused(Exception):
    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.response = error_text(code, message)


@dataclass(frozen=True, slots=True)
class Sessions:
    """Answers `/exec`, `/attach` and `/portForward`. A session in which nothing passes is ended after
    `idle_seconds`."""

    pods: Pods
    runtime: RuntimeService
    idle_seconds: float

    async def exec(self, request: Request, target: Target) -> Response:
        """Run a command: `command` once per word, `input`, `output`, `error`, `tty` = 1."""
        wanted = wanted_streams(request)
        command = [*request.query.get("command", ())]

        async def prepare() -> str:
            return await self.runtime.exec(self._container(target), command, _streams(wanted))

        return await self._remote_command(request, wanted, prepare)

    async def attach(self, request: Request, target: Target) -> Response:
        """Join the container's first process."""
        wanted = wanted_streams(request)

        async def prepare() -> str:
            return await self.runtime.attach(self._container(target), _streams(wanted))

        return await self._remote_command(request, wanted, prepare)

    async def port_forward(self, request: Request, target: Target) -> Response:
        """Connections to ports of the pod, told apart by SPDY streams."""
        try:
            pod = self._pod(target)
            headers, translation = _port_forward_protocol(request)
            sandbox = pod.sandbox_id()
            if sandbox is None:
                return error_text(500, f'pod "{target.name}" has no sandbox that is ready')
            url = await self.runtime.port_forward(sandbox)
            backend = await upgrade(url, SPDY, {VERSION_HEADER: PORT_FORWARD})
        except _Refused as refused:
            return refused.response
        except CriError as error:
            return refused_by_runtime(error)
        return self._joined(headers, backend, translation)

    async def _remote_command(self, request: Request, wanted: Wanted, prepare: Prepare) -> Response:
        if not (wanted.stdin or wanted.stdout or wanted.stderr):
            return error_text(400, "you must specify at least 1 of stdin, stdout, stderr")
        try:
            if request.upgrade == "websocket":
                protocol, headers = _web_socket_protocol(request)
                backend = await upgrade(await prepare(), SPDY, {VERSION_HEADER: V4})
                if backend.headers.get(VERSION_HEADER.lower()) != V4:
                    backend.socket.close()
                    return error_text(500, f"the runtime does not speak {V4}")
                return self._joined(headers, backend, RemoteCommand(protocol, wanted))
            if request.upgrade == SPDY.lower():
                return await self._passed_through(request, prepare)
        except _Refused as refused:
            return refused.response
        except CriError as error:
            return refused_by_runtime(error)
        return error_text(400, "Upgrade request required")

    async def _passed_through(self, request: Request, prepare: Prepare) -> Response:
        offered = [name.strip() for name in request.headers.get(VERSION_HEADER.lower(), "").split(",")]
        version = next((one for one in SPDY_VERSIONS if one in offered), "")
        if any(offered) and not version:
            known = ", ".join(SPDY_VERSIONS)
            said = f"unable to negotiate protocol: client supports {offered}, server accepts [{known}]"
            return error_text(403, said)
        # Older runtimes do not read a list in one header: they get the one that is agreed.
        backend = await upgrade(await prepare(), SPDY, {VERSION_HEADER: version} if version else {})
        headers = {"Upgrade": SPDY}
        if agreed := backend.headers.get(VERSION_HEADER.lower(), ""):
            headers[VERSION_HEADER] = agreed
        return self._joined(headers, backend, PassThrough())

    def _joined(self, headers: dict[str, str], backend: Upgraded, translation: Translation) -> Response:
        async def join(client: Tunnel) -> None:
            runtime = SocketTunnel(backend.socket, backend.rest)
            await carry(client, runtime, translation, idle_seconds=self.idle_seconds)

        return Response(101, headers=headers, upgrade=join)

    def _pod(self, target: Target) -> ServedPod:
        pod = self.pods.find(target.namespace, target.name, target.uid)
        if pod is None:
            raise _Refused(404, "pod does not exist\n")
        return pod

    def _container(self, target: Target) -> str:
        pod = self._pod(target)
        container_id = pod.running_id(target.container)
        if target.container not in pod.containers or container_id is None:
            raise _Refused(500, f'container not found ("{target.container}")')
        return container_id


def wanted_streams(request: Request) -> Wanted:
    """From the query, as the API server writes it for kubelets (`input=1`) and people do (`stdin=true`)."""

    def is_on(*names: str) -> bool:
        return any(request.one(name) in _ON for name in names)

    tty = is_on("tty")
    return Wanted(
        stdin=is_on("input", "stdin"),
        stdout=is_on("output", "stdout"),
        stderr=is_on("error", "stderr") and not tty,
        tty=tty,
    )


def _streams(wanted: Wanted) -> Streams:
    return Streams(stdin=wanted.stdin, stdout=wanted.stdout, stderr=wanted.stderr, tty=wanted.tty)


def _web_socket_protocol(request: Request) -> tuple[RemoteProtocol, dict[str, str]]:
    protocol = choose_remote_command(subprotocols(request.headers))
    if protocol is None:
        raise _Refused(400, "none of the WebSocket subprotocols offered is known")
    return protocol, _handshake(request, protocol.name)


def _port_forward_protocol(request: Request) -> tuple[dict[str, str], Translation]:
    if request.upgrade == SPDY.lower():
        offered = [name.strip() for name in request.headers.get(VERSION_HEADER.lower(), "").split(",")]
        if any(offered) and PORT_FORWARD not in offered:
            said = f"unable to negotiate protocol: client supports {offered}, server accepts [{PORT_FORWARD}]"
            raise _Refused(403, said)
        return {"Upgrade": SPDY, VERSION_HEADER: PORT_FORWARD}, PassThrough()
    if request.upgrade == "websocket":
        return _port_forward_over_web_socket(request)
    raise _Refused(400, "Upgrade request required")


def _port_forward_over_web_socket(request: Request) -> tuple[dict[str, str], Translation]:
    offered = subprotocols(request.headers) or ("",)
    protocol = choose_subprotocol(offered, (PORT_FORWARD_TUNNEL, *PORT_CHANNELS))
    if protocol is None:
        raise _Refused(400, f"port-forward over WebSocket needs the subprotocol {PORT_FORWARD_TUNNEL}")
    headers = _handshake(request, protocol)
    if protocol == PORT_FORWARD_TUNNEL:
        return headers, Unwrapped()
    try:
        ports = read_ports(request.query.get("port", ()))
    except ValueError as error:
        raise _Refused(400, str(error)) from error
    return headers, PortChannels(ports, is_base64=PORT_CHANNELS[protocol])


def _handshake(request: Request, protocol: str) -> dict[str, str]:
    try:
        return answer_headers(request.headers, protocol)
    except HandshakeError as error:
        raise _Refused(400, str(error)) from error
