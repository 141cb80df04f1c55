"""The fake API server behind a request handler instead of a socket: the counterpart of the direct client.

Requests become calls of a `FakeClient`, so faults and `requests` work as over a wire; an `Unreachable` comes
out of `handle` as it is.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import msgspec

from controlplane.api import requestinfo
from controlplane.api.model import Request, RequestInfo, Response
from controlplane.api.pipeline import failure
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
from kube.errors import StatusError
from kube.fake import FakeApi


class DirectApi:
    """`handle` is what a DirectClient takes."""

    def __init__(self, api: FakeApi) -> None:
        self._api = api
        self._client = api.client("direct")
        self._resources = {(one.group, one.version, one.plural): one for one in api.resources}

    async def handle(self, request: Request) -> Response:
        try:
            return await self._answer(request)
        except StatusError as error:
            return failure(error.status)

    async def _answer(self, request: Request) -> Response:
        info = requestinfo.parse(request.method, request.path, request.query)
        if request.path in self._api.pages or not info.is_resource:
            return Response(body=await self._client.call(Call(request.path, request.method)))
        resource = self._resources.get((info.group, info.version, info.resource))
        if resource is None:
            raise status.no_such_resource()
        if info.verb == "watch":
            return Response(stream=self._watch(request, resource, info))
        body = msgspec.json.decode(request.body) if request.body else {}
        value = await self._verb(request, resource, info, body)
        return Response(201 if info.verb == "create" else 200, msgspec.json.encode(value))

    async def _verb(self, request: Request, resource: Resource, info: RequestInfo, body: Any) -> Any:
        client = self._client
        options = WriteOptions(request.one("dryRun") == "All", request.one("fieldManager"))
        at: dict[str, Any] = {"namespace": info.namespace}
        match info.verb:
            case "list":
                return _listed(await client.list(resource, options=_selection(request), **at))
            case "delete":
                return await client.delete(resource, info.name, options=_deletion(body), **at)
            case "deletecollection":
                await client.delete_collection(
                    resource, selection=_selection(request), options=_deletion(body), **at
                )
                return {"kind": "Status", "status": "Success"}
        at["subresource"] = info.subresource
        match info.verb:
            case "get":
                return await client.get(resource, info.name, **at)
            case "create":
                return await client.create(resource, body, name=info.name, options=options, **at)
            case "update":
                return await client.update(resource, body, name=info.name, options=options, **at)
        kind = PatchKind(request.headers["content-type"])
        return await client.patch(resource, info.name, body, kind=kind, options=options, **at)

    async def _watch(
        self, request: Request, resource: Resource, info: RequestInfo
    ) -> AsyncGenerator[bytes, None]:
        options = WatchOptions(
            label_selector=request.one("labelSelector"),
            field_selector=request.one("fieldSelector"),
            resource_version=request.one("resourceVersion"),
            bookmarks=request.one("allowWatchBookmarks") == "true",
            initial_events=request.one("sendInitialEvents") == "true",
            timeout_seconds=int(request.one("timeoutSeconds") or 0),
        )
        stream = self._client.watch(resource, namespace=info.namespace, options=options)
        async with aclosing(stream) as events:
            try:
                async for event in events:
                    yield b'{"type":"%s","object":%s}\n' % (event.type.encode(), event.raw)
            except StatusError as error:
                yield b'{"type":"ERROR","object":%s}\n' % msgspec.json.encode(error.status.to_json())


def _selection(request: Request) -> ListOptions:
    return ListOptions(
        request.one("labelSelector"), request.one("fieldSelector"), int(request.one("limit") or 0),
        request.one("continue"), request.one("resourceVersion"), request.one("resourceVersionMatch"),
    )  # fmt: skip


def _deletion(body: Any) -> DeleteOptions:
    wanted = body.get("preconditions") or {}
    return DeleteOptions(
        body.get("gracePeriodSeconds"), body.get("propagationPolicy", ""), wanted.get("uid", ""),
        wanted.get("resourceVersion", ""), body.get("dryRun") == ["All"],
    )  # fmt: skip


def _listed(found: ObjectList) -> dict[str, Any]:
    metadata = {
        "resourceVersion": found.resource_version,
        "continue": found.continue_token,
        "remainingItemCount": found.remaining,
    }
    return {"metadata": metadata, "items": [msgspec.Raw(item) for item in found.items]}
