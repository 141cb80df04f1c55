"""The agent's authenticated server on 10250, and the read-only one beside it if it is configured.

Mechanism: every request goes through the gate (who, may they), then to the handler that its path names. The
read-only port has no gate and serves what cannot harm: health, pods, metrics.

    server = NodeServer(parts)        # raises ValueError for settings that cannot be
    await server.start()              # OSError, BadTls
    server.pod_changed(uid)           # at each change of a pod's status
    await server.stop()
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from aio import log as aio_log
from aio.clock import Clock
from aio.executors import Executors
from cri.service import RuntimeService
from kube.client.model import Client
from kube.http_server import HttpServer
from kube.http_server.model import Request, Response
from kubelet.configuration import KubeletConfiguration
from kubelet.configuration.codec import encode
from kubelet.server.access import wish
from kubelet.server.answers import error_text
from kubelet.server.endpoints import READ_ONLY, Endpoint, Endpoints, not_found
from kubelet.server.exposition import labels
from kubelet.server.gate import Authenticator, Authorizer, CannotDecide
from kubelet.server.healthz import Check
from kubelet.server.log_streams import ContainerLogs, PodChanges
from kubelet.server.metrics import NodeMetrics
from kubelet.server.served_pods import Pods
from kubelet.server.serving import Host, make_context
from kubelet.server.sessions import Sessions

log = aio_log.get(__name__)

_LONG_RUNNING = frozenset({"exec", "attach", "portForward", "containerLogs"})


@dataclass(frozen=True, slots=True)
class ServerParts:
    """What the server is made of. `client` is None on a node without a cluster, where only anonymous
    authentication and AlwaysAllow can be; `checks` are those of /healthz."""

    host: Host
    config: KubeletConfiguration
    cert_dir: Path
    client: Client | None
    clock: Clock
    executors: Executors
    runtime: RuntimeService
    pods: Pods
    checks: Mapping[str, Check] = field(default_factory=dict)


class NodeServer:
    """Listens from `start` to `stop`. `metrics` counts; hand the runtime's service through
    `kubelet.server.metrics.count_calls(service, server.metrics)` to have its calls counted."""

    def __init__(self, parts: ServerParts, metrics: NodeMetrics | None = None) -> None:
        config, client, clock = parts.config, parts.client, parts.clock
        self._parts = parts
        self._authenticator = Authenticator(config.authentication, client, clock)
        self._authorizer = Authorizer(config.authorization, client, clock, parts.host.name)
        self._changes = PodChanges()
        self.metrics = metrics or NodeMetrics(parts.host.name, clock.wall())
        endpoints = Endpoints(
            node_name=parts.host.name,
            pods=parts.pods,
            runtime=parts.runtime,
            executors=parts.executors,
            clock=clock,
            metrics=self.metrics,
            logs=ContainerLogs(parts.pods, parts.runtime, parts.executors, clock, self._changes),
            sessions=Sessions(parts.pods, parts.runtime, config.streaming_connection_idle_timeout),
            configz=lambda: encode(config),
            checks=parts.checks,
        )
        self._table = endpoints.table(debugging=config.enable_debugging_handlers)
        self._server: HttpServer | None = None
        self._read_only: HttpServer | None = None

    @property
    def address(self) -> tuple[str, int]:
        """Where the authenticated server listens."""
        if self._server is None:
            raise RuntimeError("the server has not been started")
        return self._server.address

    async def start(self) -> None:
        """Listen. BadTls for settings, OSError for files and addresses that cannot be had."""
        config, parts = self._parts.config, self._parts
        now = parts.clock.now()
        context = await parts.executors.run("fsync", make_context, config, parts.cert_dir, parts.host, now)
        server = HttpServer(self.answer, config.address, config.port, tls=context)
        await server.start()
        self._server = server
        log.info("Starting to listen", address=config.address, port=server.address[1])
        if config.read_only_port:
            await self.start_read_only(config.address, config.read_only_port)

    async def start_read_only(self, address: str, port: int) -> None:
        """The port without authentication; 0 takes a free one."""
        read_only = HttpServer(self.answer_anybody, address, port)
        await read_only.start()
        self._read_only = read_only
        log.info("Starting to listen read-only", address=address, port=read_only.address[1])

    async def stop(self) -> None:
        """No new connections; streams and sessions are cut."""
        for server in (self._server, self._read_only):
            if server is not None:
                await server.stop()

    def pod_changed(self, uid: str) -> None:
        """A pod's status has changed: those who follow a log look whether its container has ended."""
        self._changes.report(uid)
        pod = self._parts.pods.by_uid(uid)
        if pod is not None:
            self.metrics.pod_changed(pod)

    async def answer(self, request: Request) -> Response:
        """A request on the authenticated port."""
        self._count(request, "readwrite")
        user = await self._authenticator.authenticate(request)
        if user is None:
            return error_text(401, "Unauthorized")
        wanted = wish(request.method, request.path, upgrades=bool(request.upgrade))
        try:
            allowed = await self._authorizer.allows(user, wanted)
        except CannotDecide as error:
            log.warning("Authorization error", user=user.name, path=request.path, err=error)
            named = " ".join(wanted.subresources)
            said = f"user={user.name}, verb={wanted.verb}, resource=nodes, subresource(s)=[{named}]"
            return error_text(500, f"Authorization error ({said})")
        if not allowed:
            return error_text(403, wanted.forbidden(user))
        return await self._dispatch(request, self._table)

    async def answer_anybody(self, request: Request) -> Response:
        """A request on the read-only port."""
        self._count(request, "readonly")
        table = {name: endpoint for name, endpoint in self._table.items() if name in READ_ONLY}
        return await self._dispatch(request, table)

    async def _dispatch(self, request: Request, table: Mapping[str, Endpoint]) -> Response:
        first, *rest = request.path.strip("/").split("/")
        endpoint = table.get(first)
        if endpoint is None or len(rest) not in endpoint.depths or not all(rest):
            return not_found()
        if request.method not in endpoint.methods:
            return error_text(405, "405: Method Not Allowed")
        return await endpoint.handler(request, rest)

    def _count(self, request: Request, server_type: str) -> None:
        """By the first segment, and only one that is served: paths are the clients' to choose."""
        first = request.path.strip("/").partition("/")[0]
        known = first in self._table
        self.metrics.requests.add(
            labels(
                long_running=str(first in _LONG_RUNNING).lower(),
                method=request.method if request.method in ("GET", "HEAD", "POST") else "other",
                path=first if known else "other",
                server_type=server_type,
            )
        )
