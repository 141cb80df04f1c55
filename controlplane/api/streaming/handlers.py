"""The handlers of the subresources that reach a node: log, exec, attach, portforward, proxy."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from controlplane.api.model import Authorizer, Decision, Handler, Request, RequestInfo, Response, UserInfo
from controlplane.api.pipeline import forbidden
from controlplane.api.streaming import questions, upgrades
from controlplane.api.streaming.exchange import NodeClient, NodeClientSettings
from controlplane.api.streaming.logs import read_log
from controlplane.api.streaming.proxying import proxy
from controlplane.api.streaming.targets import (
    Target,
    kubelet_of,
    node_target,
    pod_target,
    service_targets,
    split_name,
)
from kube import status
from kube.client import resources as r
from kube.client.model import JsonObject
from kube.client.resources import Resource

_SERVICE_LABEL = "kubernetes.io/service-name"


class Objects(Protocol):
    """What there is; the server's WatchCache. Values must not be changed."""

    def get(self, resource: Resource, namespace: str, name: str) -> JsonObject | None: ...

    def list(self, resource: Resource, namespace: str = "") -> Sequence[JsonObject]: ...

    async def reach_latest(self) -> int:
        """Waits for every write that has returned."""
        ...


class Streaming:
    """`objects` is asked for when a request comes: it may be made later than the handlers."""

    def __init__(
        self, objects: Callable[[], Objects], authorizer: Authorizer, settings: NodeClientSettings
    ) -> None:
        self._objects = objects
        self._authorizer = authorizer
        self._client = NodeClient(settings)
        self._may_reach = settings.may_reach

    def handlers(self) -> dict[tuple[str, str], Handler]:
        """By (plural, subresource), for the pipeline."""
        return {
            ("pods", "log"): self.log,
            ("pods", "exec"): self.exec,
            ("pods", "attach"): self.attach,
            ("pods", "portforward"): self.port_forward,
            ("pods", "proxy"): self.proxy_pod,
            ("services", "proxy"): self.proxy_service,
            ("nodes", "proxy"): self.proxy_node,
        }

    async def log(self, request: Request, info: RequestInfo, user: UserInfo) -> Response:
        if info.verb != "get":
            raise status.method_not_allowed()
        query = questions.log_query(request, info.name)
        pod = await self._find(r.PODS, info.namespace, info.name)
        container = questions.choose_container(pod, request.one("container"))
        node = pod["spec"].get("nodeName")
        if not node:
            return Response(204, content_type="")
        target = kubelet_of(await self._find(r.NODES, "", node))
        path = questions.log_path(pod, container, query)
        return await read_log(self._client, target, path, request, info.name)

    async def exec(self, request: Request, info: RequestInfo, user: UserInfo) -> Response:
        return await self._command("exec", request, info, user)

    async def attach(self, request: Request, info: RequestInfo, user: UserInfo) -> Response:
        return await self._command("attach", request, info, user)

    async def _command(self, kind: str, request: Request, info: RequestInfo, user: UserInfo) -> Response:
        await self._check_upgrade(info, user)
        pod = await self._find(r.PODS, info.namespace, info.name)
        container = questions.choose_container(pod, request.one("container"))
        target = await self._kubelet(pod)
        path = questions.command_path(kind, pod, container, request)
        translate = upgrades.remote_command(questions.wanted_streams(request))
        return await upgrades.upgrade(self._client, target, path, request, translate)

    async def port_forward(self, request: Request, info: RequestInfo, user: UserInfo) -> Response:
        await self._check_upgrade(info, user)
        pod = await self._find(r.PODS, info.namespace, info.name)
        target = await self._kubelet(pod)
        path = questions.port_forward_path(pod, request)
        return await upgrades.upgrade(self._client, target, path, request, upgrades.port_forward)

    async def proxy_pod(self, request: Request, info: RequestInfo, user: UserInfo) -> Response:
        scheme, name, port = _split(info.name, "pod")
        pod = await self._find(r.PODS, info.namespace, name)
        return await proxy(self._client, pod_target(pod, scheme, port, self._may_reach), request)

    async def proxy_service(self, request: Request, info: RequestInfo, user: UserInfo) -> Response:
        scheme, name, port = _split(info.name, "service")
        service = await self._find(r.SERVICES, info.namespace, name)
        slices = [
            one
            for one in self._objects().list(r.ENDPOINT_SLICES, info.namespace)
            if (one["metadata"].get("labels") or {}).get(_SERVICE_LABEL) == name
        ]
        target = random.choice(service_targets(service, slices, scheme, port))
        if not self._may_reach(target.host):
            raise status.bad_request("address not allowed")
        return await proxy(self._client, target, request)

    async def proxy_node(self, request: Request, info: RequestInfo, user: UserInfo) -> Response:
        scheme, name, port = _split(info.name, "node")
        node = await self._find(r.NODES, "", name)
        return await proxy(self._client, node_target(node, scheme, port), request)

    async def _check_upgrade(self, info: RequestInfo, user: UserInfo) -> None:
        """A WebSocket comes as a GET: who may only `get` pods/exec must not run commands by it
        (AuthorizePodWebsocketUpgradeCreatePermission)."""
        if info.verb == "create":
            return
        if info.verb != "get":
            raise status.method_not_allowed()
        asked = replace(info, verb="create")
        verdict = await self._authorizer.authorize(user, asked)
        if verdict.decision is not Decision.ALLOWED:
            raise forbidden(user, asked, verdict.reason)

    async def _kubelet(self, pod: JsonObject) -> Target:
        node = pod["spec"].get("nodeName")
        if not node:
            raise status.bad_request(f"pod {pod['metadata']['name']} does not have a host assigned")
        return kubelet_of(await self._find(r.NODES, "", node))

    async def _find(self, resource: Resource, namespace: str, name: str) -> JsonObject:
        objects = self._objects()
        await objects.reach_latest()
        found = objects.get(resource, namespace, name)
        if found is None:
            raise status.not_found(resource, name)
        return found


def _split(text: str, what: str) -> tuple[str, str, str]:
    found = split_name(text)
    if found is None:
        raise status.bad_request(f'invalid {what} request "{text}"')
    return found
