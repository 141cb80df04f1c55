"""The fake API server on a loopback port, over HTTP or HTTPS: real bytes for clients, none of them cluster's.

Requests become calls of a `FakeClient`, so faults and `requests` work as without a wire. Status errors are
answered with their code; `Unreachable` cuts the connection.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import msgspec
from aiohttp import web

from kube import status
from kube.client.model import (
    Call,
    DeleteOptions,
    ListOptions,
    ObjectList,
    PatchKind,
    WatchOptions,
    WriteOptions,
)
from kube.client.resources import Resource
from kube.client.unreachable import Unreachable
from kube.errors import StatusError
from kube.fake import FakeApi


@dataclass(slots=True)
class Seen:
    """What the wire carried besides the call itself."""

    headers: list[dict[str, str]]
    peers: list[str]
    connections: set[int]


@dataclass(frozen=True, slots=True)
class Served:
    url: str
    seen: Seen


@dataclass(frozen=True, slots=True)
class _Target:
    resource: Resource
    namespace: str
    name: str
    subresource: str


class _Server:
    def __init__(self, api: FakeApi, resources: dict[tuple[str, str, str], Resource]) -> None:
        self.api = api
        self.client = api.client("http")
        self.resources = resources
        self.seen = Seen([], [], set())
        self.accepts: Callable[[web.Request], bool] = lambda _request: True

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self._note(request)
        try:
            if not self.accepts(request):
                raise status.error_of(status.of_code(401, "Unauthorized"))
            target = None if request.path in self.api.pages else self._target(request.path)
            if target is None:
                body = await self.client.call(Call(request.path, request.method))
                return web.Response(body=body)
            if request.query.get("watch") == "true":
                return await self._watch(request, target)
            return await self._verb(request, target)
        except StatusError as error:
            return _refusal(error)
        except Unreachable:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()

    def _note(self, request: web.Request) -> None:
        assert request.transport is not None
        self.seen.headers.append(dict(request.headers))
        self.seen.connections.add(id(request.transport))
        certificate = request.transport.get_extra_info("peercert")
        if certificate:
            names = [value for part in certificate["subject"] for key, value in part if key == "commonName"]
            self.seen.peers += names

    def _target(self, path: str) -> _Target | None:
        parts = path.strip("/").split("/")
        if parts[0] == "api" and len(parts) > 2:
            group, version, rest = "", parts[1], parts[2:]
        elif parts[0] == "apis" and len(parts) > 3:
            group, version, rest = parts[1], parts[2], parts[3:]
        else:
            return None
        namespace = ""
        if rest[0] == "namespaces" and len(rest) > 2 and (group, version, rest[2]) in self.resources:
            namespace, rest = rest[1], rest[2:]
        resource = self.resources.get((group, version, rest[0]))
        if resource is None:
            raise status.no_such_resource()
        return _Target(resource, namespace, *[*rest[1:], "", ""][:2])

    async def _verb(self, request: web.Request, target: _Target) -> web.Response:
        body = msgspec.json.decode(await request.read() or b"{}")
        query = request.query
        options = WriteOptions(query.get("dryRun") == "All", query.get("fieldManager", ""))
        at: dict[str, Any] = {"namespace": target.namespace}
        if request.method == "GET" and not target.name:
            return _json(_list_body(target.resource, await self._list(request, target)))
        if request.method == "GET":
            found = await self.client.get(target.resource, target.name, subresource=target.subresource, **at)
            return _json(found)
        if request.method == "DELETE":
            return _json(await self._delete(request, target, body))
        at["subresource"] = target.subresource
        if request.method == "POST":
            made = await self.client.create(target.resource, body, name=target.name, options=options, **at)
            return _json(made, 201)
        if request.method == "PUT":
            return _json(
                await self.client.update(target.resource, body, name=target.name, options=options, **at)
            )
        kind = PatchKind(request.content_type)
        return _json(
            await self.client.patch(target.resource, target.name, body, kind=kind, options=options, **at)
        )

    async def _list(self, request: web.Request, target: _Target) -> ObjectList:
        return await self.client.list(
            target.resource, namespace=target.namespace, options=_list_options(request)
        )

    async def _delete(self, request: web.Request, target: _Target, body: dict[str, Any]) -> Any:
        wanted = body.get("preconditions") or {}
        options = DeleteOptions(
            body.get("gracePeriodSeconds"), body.get("propagationPolicy", ""), wanted.get("uid", ""),
            wanted.get("resourceVersion", ""), body.get("dryRun") == ["All"],
        )  # fmt: skip
        if target.name:
            return await self.client.delete(
                target.resource, target.name, namespace=target.namespace, options=options
            )
        await self.client.delete_collection(
            target.resource, namespace=target.namespace, selection=_list_options(request), options=options
        )
        return {"kind": "Status", "status": "Success"}

    async def _watch(self, request: web.Request, target: _Target) -> web.StreamResponse:
        query = request.query
        options = WatchOptions(
            label_selector=query.get("labelSelector", ""),
            field_selector=query.get("fieldSelector", ""),
            resource_version=query.get("resourceVersion", ""),
            bookmarks=query.get("allowWatchBookmarks") == "true",
            initial_events=query.get("sendInitialEvents") == "true",
            timeout_seconds=int(query.get("timeoutSeconds", "0")),
        )
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        stream = self.client.watch(target.resource, namespace=target.namespace, options=options)
        async with aclosing(stream) as events:
            try:
                async for event in events:
                    await _begin(response, request)
                    await response.write(b'{"type":"%s","object":%s}\n' % (event.type.encode(), event.raw))
            except StatusError as error:
                if not response.prepared:
                    raise
                raw = msgspec.json.encode(error.status.to_json())
                await response.write(b'{"type":"ERROR","object":%s}\n' % raw)
        await _begin(response, request)
        return response


async def _begin(response: web.StreamResponse, request: web.Request) -> None:
    if not response.prepared:
        await response.prepare(request)


def _list_options(request: web.Request) -> ListOptions:
    query = request.query
    return ListOptions(
        query.get("labelSelector", ""), query.get("fieldSelector", ""), int(query.get("limit", "0")),
        query.get("continue", ""), query.get("resourceVersion", ""), query.get("resourceVersionMatch", ""),
    )  # fmt: skip


def _list_body(resource: Resource, found: ObjectList) -> dict[str, Any]:
    metadata: dict[str, Any] = {"resourceVersion": found.resource_version}
    if found.continue_token:
        metadata["continue"] = found.continue_token
    if found.remaining is not None:
        metadata["remainingItemCount"] = found.remaining
    items = [msgspec.Raw(item) for item in found.items]
    return {"kind": f"{resource.kind}List", "metadata": metadata, "items": items}


def _json(value: Any, code: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), status=code, content_type="application/json")


def _refusal(error: StatusError) -> web.Response:
    response = _json(error.status.to_json(), error.status.code)
    after = status.retry_after_seconds(error.status)
    if after:
        response.headers["Retry-After"] = str(int(after))
    return response


@asynccontextmanager
async def serve(
    api: FakeApi, *, tls: ssl.SSLContext | None = None, accepts: Callable[[web.Request], bool] | None = None
) -> AsyncIterator[Served]:
    """Serve `api` on 127.0.0.1 until the block is left. `accepts(request)` False answers 401."""
    server = _Server(api, {(r.group, r.version, r.plural): r for r in api.resources})
    if accepts is not None:
        server.accepts = accepts
    app = web.Application(client_max_size=4 << 20)
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.2)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    port = runner.addresses[0][1]
    try:
        yield Served(f"{'https' if tls else 'http'}://127.0.0.1:{port}", server.seen)
    finally:
        await runner.cleanup()
