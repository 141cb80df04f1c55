"""The handlers of the agent's server that answer in one piece, and the table of all of them by path.

A handler gets the request and the path's segments after its first. What is served where, and what a node
with `enableDebuggingHandlers: false` refuses, is upstream's (pkg/kubelet/server/server.go).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aio import log as aio_log
from aio.clock import Clock
from aio.executors import Executors
from cri.errors import CriError
from cri.service import RuntimeService
from cri.stats import ContainerStats
from kube.http_server.model import Request, Response
from kubelet.model import NANOSECONDS_PER_SECOND, Phase
from kubelet.server import usage
from kubelet.server.answers import error_text, json, plain
from kubelet.server.exposition import CONTENT_TYPE
from kubelet.server.healthz import Check, healthz_routes
from kubelet.server.http import Request as PlainRequest
from kubelet.server.http import Router
from kubelet.server.log_streams import ContainerLogs
from kubelet.server.metrics import NodeMetrics
from kubelet.server.served_pods import Pods, ServedPod
from kubelet.server.sessions import Sessions, Target

log = aio_log.get(__name__)

Handler = Callable[[Request, Sequence[str]], Awaitable[Response]]
DEBUG_DISABLED = "Debug endpoints are disabled."
READ_ONLY = frozenset({"healthz", "pods", "metrics", "stats"})
"""What the port without authentication serves."""

DEBUGGING = frozenset({"run", "exec", "attach", "portForward", "containerLogs", "runningpods", "configz"})
RUN_TIMEOUT_SECONDS = 0  # upstream's RunInContainer has no limit either


@dataclass(frozen=True, slots=True)
class Endpoint:
    """`methods` it takes, `depths`: how many segments may follow the first one."""

    handler: Handler
    methods: tuple[str, ...] = ("GET", "HEAD")
    depths: tuple[int, ...] = (0,)


@dataclass(frozen=True, slots=True)
class Endpoints:
    """All that the server can answer from."""

    node_name: str
    pods: Pods
    runtime: RuntimeService
    executors: Executors
    clock: Clock
    metrics: NodeMetrics
    logs: ContainerLogs
    sessions: Sessions
    configz: Callable[[], Mapping[str, Any]]
    checks: Mapping[str, Check]

    def table(self, *, debugging: bool = True) -> dict[str, Endpoint]:
        """By first segment of the path."""
        both, in_pod = ("GET", "POST"), (3, 4)
        table = {
            "healthz": Endpoint(self._healthz, depths=(0, 1)),
            "pods": Endpoint(self._pods),
            "runningpods": Endpoint(self._running_pods),
            "configz": Endpoint(self._configz),
            "metrics": Endpoint(self._metrics, depths=(0, 1)),
            "stats": Endpoint(self._stats, depths=(1,)),
            "containerLogs": Endpoint(self._container_logs, depths=(3,)),
            "run": Endpoint(self._run, ("POST",), in_pod),
            "exec": Endpoint(self._exec, both, in_pod),
            "attach": Endpoint(self._attach, both, in_pod),
            "portForward": Endpoint(self._port_forward, both, (2, 3)),
        }
        if not debugging:
            disabled = Endpoint(_disabled, ("GET", "HEAD", "POST", "PUT", "DELETE"), tuple(range(8)))
            table |= dict.fromkeys(DEBUGGING, disabled)
        return table

    async def _healthz(self, request: Request, _: Sequence[str]) -> Response:
        router = Router(healthz_routes(self.checks))
        answer = router.answer(PlainRequest.parse(request.method, request.target))
        return Response(answer.status, answer.body, answer.content_type, dict(answer.headers))

    async def _pods(self, request: Request, _: Sequence[str]) -> Response:
        return json(_pod_list(self.pods.documents()))

    async def _running_pods(self, request: Request, _: Sequence[str]) -> Response:
        return json(_pod_list([_running(pod) for pod in self.pods.all() if pod.sandbox_id() is not None]))

    async def _configz(self, request: Request, _: Sequence[str]) -> Response:
        return json({"kubeletconfig": self.configz()})

    async def _metrics(self, request: Request, rest: Sequence[str]) -> Response:
        if not rest:
            return plain(self.metrics.text(self.pods), CONTENT_TYPE)
        if rest[0] != "resource":
            return not_found()
        stats, failed = await self._container_stats()
        node = await self._node_usage()
        pods = usage.pod_usages(self.pods.all(), stats)
        return plain(usage.resource_metrics(node, pods, failed=failed), CONTENT_TYPE)

    async def _stats(self, request: Request, rest: Sequence[str]) -> Response:
        if rest[0] != "summary":
            return not_found()
        stats, failed = await self._container_stats()
        if failed:
            return error_text(500, "Internal Error: failed to list pod stats")
        node = await self._node_usage()
        return json(usage.summary(self.node_name, node, usage.pod_usages(self.pods.all(), stats)))

    async def _container_stats(self) -> tuple[list[ContainerStats], bool]:
        try:
            return await self.runtime.list_container_stats(), False
        except CriError as error:
            log.warning("Cannot list the containers' usage", err=error)
            return [], True

    async def _node_usage(self) -> usage.NodeUsage:
        at = int(self.clock.wall() * NANOSECONDS_PER_SECOND)
        return await self.executors.run("walk", usage.read_node_usage, at)

    async def _container_logs(self, request: Request, rest: Sequence[str]) -> Response:
        namespace, pod, container = rest
        return await self.logs.answer(request, namespace, pod, container)

    async def _exec(self, request: Request, rest: Sequence[str]) -> Response:
        return await self.sessions.exec(request, _target(rest))

    async def _attach(self, request: Request, rest: Sequence[str]) -> Response:
        return await self.sessions.attach(request, _target(rest))

    async def _port_forward(self, request: Request, rest: Sequence[str]) -> Response:
        return await self.sessions.port_forward(request, Target(*rest))

    async def _run(self, request: Request, rest: Sequence[str]) -> Response:
        """Run a command to its end; its output is the answer, whatever its exit code (as upstream's)."""
        target = _target(rest)
        pod = self.pods.find(target.namespace, target.name, target.uid)
        if pod is None:
            return error_text(404, "pod does not exist\n")
        container_id = pod.running_id(target.container)
        if container_id is None:
            return error_text(500, f'container not found ("{target.container}")')
        command = request.one("cmd").split(" ")
        try:
            result = await self.runtime.exec_sync(container_id, command, RUN_TIMEOUT_SECONDS)
        except CriError as error:
            return error_text(500, error.message)
        return Response(200, result.stdout + result.stderr, "text/plain; charset=utf-8")


def not_found() -> Response:
    return error_text(404, "404 page not found\n")


async def _disabled(request: Request, _: Sequence[str]) -> Response:
    return error_text(405, DEBUG_DISABLED + "\n")


def _target(rest: Sequence[str]) -> Target:
    namespace, name, *uid, container = rest
    return Target(namespace, name, "".join(uid), container)


def _pod_list(items: Sequence[Any]) -> dict[str, Any]:
    return {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items}


def _running(pod: ServedPod) -> dict[str, Any]:
    """As much of a pod as the runtime knows."""
    seen = pod.observed.containers if pod.observed is not None else ()
    containers = [
        {"name": one.name, "image": one.image_ref or one.image, "resources": {}}
        for one in seen
        if one.phase is Phase.RUNNING
    ]
    meta = {"name": pod.name, "namespace": pod.namespace, "uid": pod.uid, "creationTimestamp": None}
    return {"metadata": meta, "spec": {"containers": containers}, "status": {}}
