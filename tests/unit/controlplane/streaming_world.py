"""An API server whose nodes' kubelet is a stand-in over TLS, both on loopback ports."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from aio.clock import SystemClock
from aio.spdy import Session
from aio.spdy_frames import Data, SynStream
from controlplane.api.http import HttpServer
from controlplane.api.model import AllowAll, Authorizer
from controlplane.api.server import Access, ApiServer
from controlplane.api.streaming import NodeClientSettings, streaming_handlers
from controlplane.store.memory import MemoryStore
from kube import http_server, pki
from kube.http_server import Request, Response, Tunnel
from kube.pki import Subject, Usage
from kube.websocket import answer_headers, subprotocols
from tests.unit.controlplane.api_world import POD, PODS, Json
from tests.unit.kube.http_world import Authority, Client

SUCCESS = b'{"metadata":{},"status":"Success"}'
Serve = Callable[[Request], Awaitable[Response]]


@dataclass(slots=True)
class Kubelet:
    """Answers as `serve` says, and remembers what it was asked."""

    serve: Serve
    asked: list[Request] = field(default_factory=list)
    users: list[str] = field(default_factory=list)

    async def handle(self, request: Request) -> Response:
        self.asked.append(request)
        self.users.append(_common_name(request.peer_certificate))
        return await self.serve(request)


def _common_name(der: bytes) -> str:
    import ssl

    if not der:
        return ""
    return pki.read_certificate(ssl.DER_cert_to_PEM_cert(der).encode()).subject.common_name


@dataclass(slots=True)
class World:
    kubelet: Kubelet
    api: HttpServer
    pipeline: Any
    kubelet_server: http_server.HttpServer
    authority: Authority

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        made = Client(*await asyncio.open_connection(*self.api.address))
        try:
            yield made
        finally:
            await made.close()

    async def get(self, target: str, *, method: str = "GET", body: bytes = b"", head: str = "") -> Response:
        """Over a socket, as a whole."""
        async with self.client() as client:
            length = f"Content-Length: {len(body)}\n" if body else ""
            await client.send(f"{method} {target} HTTP/1.1\nHost: api\n{head}{length}\n")
            if body:
                await client.send(body)
            found = await client.answer(has_body=method != "HEAD")
            return Response(found.code, found.body, found.headers.get("content-type", ""), found.headers)

    async def refused(self, target: str, code: int, *, head: str = "") -> Json:
        found = await self.get(target, head=head)
        assert found.code == code, (found.code, found.body)
        told: Json = msgspec.json.decode(found.body)
        assert (told["kind"], told["code"]) == ("Status", code)
        return told

    async def put(self, path: str, value: Json) -> Json:
        """Create, and write the status when there is one."""
        made = await self._ask("POST", path, value)
        if "status" in value:
            full = {**made, "status": value["status"]}
            made = await self._ask("PUT", f"{path}/{made['metadata']['name']}/status", full)
        return made

    async def _ask(self, method: str, path: str, value: Json) -> Json:
        headers = {"content-type": "application/json"}
        request = Request(method, path, headers=headers, body=msgspec.json.encode(value))
        found = await self.pipeline.handle(request)
        assert found.code < 300, found.body
        stored: Json = msgspec.json.decode(found.body)
        return stored

    async def node(self, name: str, *features: str, port: int = 0) -> None:
        status = {
            "addresses": [
                {"type": "Hostname", "address": "nowhere"}, {"type": "InternalIP", "address": "127.0.0.1"},
            ],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": port or self.kubelet_server.address[1]}},
            "declaredFeatures": list(features),
        }  # fmt: skip
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "status": status}
        await self.put("/api/v1/nodes", node)

    async def pod(self, name: str, node: str, *containers: str, **status: Any) -> None:
        spec = {"containers": [{"name": c, "image": "i"} for c in containers or ("main",)]}
        if node:
            spec["nodeName"] = node  # type: ignore[assignment]
        pod: Json = {**POD, "metadata": {"name": name}, "spec": spec}
        await self.put(PODS, {**pod, "status": status} if status else pod)


@asynccontextmanager
async def streaming(
    directory: Path, serve: Serve, *, authorizer: Authorizer | None = None, trusts: bool = True
) -> AsyncIterator[World]:
    """Pod `web` on node `old`, which declares nothing; pod `new` on node `new`, which takes WebSockets."""
    authority = Authority(directory)
    files = authority.pair("client", Subject("kube-apiserver-kubelet-client"), Usage.CLIENT)
    kubelet = Kubelet(serve)
    kubelet_server = http_server.HttpServer(kubelet.handle, "127.0.0.1", 0, tls=authority.server())
    await kubelet_server.start()
    ca = authority.ca.certificate if trusts else pki.make_ca("other", authority.now).certificate
    settings = NodeClientSettings(files.certificate, files.key, ca, may_reach=lambda address: bool(address))
    allowed = authorizer or AllowAll()
    store = MemoryStore(clock=SystemClock())
    handlers = streaming_handlers(lambda: server.cache, allowed, settings)
    server = ApiServer(store, SystemClock(), Access(AllowAll(), allowed, handlers=handlers))
    await server.start()
    api = HttpServer(server.pipeline, "127.0.0.1", 0)
    await api.start()
    pipeline = ApiServer.pipeline_as(server, (await AllowAll().authenticate(Request("GET", "/"))))  # type: ignore[arg-type]
    world = World(kubelet, api, pipeline, kubelet_server, authority)
    try:
        await world.node("old")
        await world.node("new", "ExtendWebSocketsToKubelet")
        await world.pod("web", "old")
        await world.pod("new", "new")
        yield world
    finally:
        await api.stop()
        await kubelet_server.stop()
        await server.stop()
        await store.close()


async def cat(request: Request) -> Response:
    """exec and attach of `cat`, port-forwards that echo: SPDY streams, or a WebSocket's raw bytes."""
    if request.upgrade == "spdy/3.1":
        version = request.headers["x-stream-protocol-version"]
        headers = {"Upgrade": "SPDY/3.1", "X-Stream-Protocol-Version": version}
        return Response(headers=headers, upgrade=_cat_spdy)
    if request.upgrade == "websocket":
        offered = subprotocols(request.headers)
        return Response(headers=answer_headers(request.headers, offered[0]), upgrade=echo_raw)
    return Response(400, b"Upgrade request required", "text/plain")


async def echo_raw(tunnel: Tunnel) -> None:
    while data := await tunnel.read():
        await tunnel.write(data)


async def _cat_spdy(tunnel: Tunnel) -> None:
    session = Session(is_server=True, flow_control=False)
    streams: dict[str, int] = {}
    is_over = False
    while not is_over and (data := await tunnel.read()):
        for event in session.receive(data):
            if isinstance(event, SynStream):
                kind = dict(event.headers)["streamtype"]
                streams[kind] = event.stream_id
                session.reply(event.stream_id)
            elif isinstance(event, Data) and event.stream_id == streams.get("data"):
                session.send(event.stream_id, event.data, fin=event.fin)
            elif isinstance(event, Data) and event.stream_id == streams.get("stdin"):
                session.send(streams["stdout"], event.data, fin=event.fin)
                if event.fin:
                    session.send(streams["error"], SUCCESS, fin=True)
                    is_over = True
        await tunnel.write(session.take())
