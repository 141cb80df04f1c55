"""The fake's side of the `Client` protocol: each call waits at least one turn of the loop, as on a wire."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, TypeVar

from kube import status
from kube.client.model import (
    DEFAULT_DELETE,
    DEFAULT_LIST,
    DEFAULT_WATCH,
    DEFAULT_WRITE,
    Call,
    DeleteOptions,
    JsonObject,
    ListOptions,
    ObjectList,
    PatchKind,
    WatchEvent,
    WatchOptions,
    WriteOptions,
    copy,
)
from kube.client.resources import Resource
from kube.fake.faults import Request
from kube.selection import select

if TYPE_CHECKING:
    from kube.fake.server import FakeApi

T = TypeVar("T")


class FakeClient:
    """See `kube.client.Client`; made by `FakeApi.client`."""

    def __init__(self, api: FakeApi, user: str) -> None:
        self._api = api
        self._user = user

    async def get(
        self, resource: Resource, name: str, *, namespace: str = "", subresource: str = ""
    ) -> JsonObject:
        request = self._request("get", resource, namespace, name, subresource)
        return await self._call(request, lambda: self._api.get(resource, (namespace, name), subresource))

    async def list(
        self, resource: Resource, *, namespace: str = "", options: ListOptions = DEFAULT_LIST
    ) -> ObjectList:
        request = self._request("list", resource, namespace)
        return await self._call(request, lambda: self._api.list(resource, namespace, options))

    async def watch(
        self, resource: Resource, *, namespace: str = "", options: WatchOptions = DEFAULT_WATCH
    ) -> AsyncGenerator[WatchEvent, None]:
        chosen = await self._call(
            self._request("watch", resource, namespace),
            lambda: select(resource, namespace, options.label_selector, options.field_selector),
        )
        async with aclosing(self._api.watches.run(chosen, options)) as events:
            async for event in events:
                yield event

    async def create(
        self, resource: Resource, body: JsonObject, *, namespace: str = "", name: str = "",
        subresource: str = "", options: WriteOptions = DEFAULT_WRITE,
    ) -> JsonObject:  # fmt: skip
        namespace = namespace or _meta(body).get("namespace", "")
        sent = copy(body)
        shown = name if subresource else _meta(body).get("name", "")
        request = self._request("create", resource, namespace, shown, subresource)
        place = (namespace, name)
        return await self._call(
            request, lambda: self._api.create(resource, place, sent, subresource, options)
        )

    async def update(
        self, resource: Resource, body: JsonObject, *, name: str = "", namespace: str = "",
        subresource: str = "", options: WriteOptions = DEFAULT_WRITE,
    ) -> JsonObject:  # fmt: skip
        namespace = namespace or _meta(body).get("namespace", "")
        name = name or _meta(body).get("name", "")
        sent = copy(body)
        request = self._request("update", resource, namespace, name, subresource)
        place = (namespace, name)
        return await self._call(
            request, lambda: self._api.update(resource, place, sent, subresource, options)
        )

    async def patch(
        self, resource: Resource, name: str, patch: Any, *, kind: PatchKind = PatchKind.MERGE,
        namespace: str = "", subresource: str = "", options: WriteOptions = DEFAULT_WRITE,
    ) -> JsonObject:  # fmt: skip
        request = self._request("patch", resource, namespace, name, subresource)
        place = (namespace, name)
        sent = copy({"patch": patch})["patch"]
        return await self._call(
            request, lambda: self._api.patch(resource, place, sent, kind, subresource, options)
        )

    async def delete(
        self, resource: Resource, name: str, *, namespace: str = "", options: DeleteOptions = DEFAULT_DELETE
    ) -> JsonObject:
        request = self._request("delete", resource, namespace, name)
        return await self._call(request, lambda: self._api.delete(resource, (namespace, name), options))

    async def delete_collection(
        self, resource: Resource, *, namespace: str = "", selection: ListOptions = DEFAULT_LIST,
        options: DeleteOptions = DEFAULT_DELETE,
    ) -> None:  # fmt: skip
        request = self._request("deletecollection", resource, namespace)
        await self._call(
            request, lambda: self._api.delete_collection(resource, namespace, selection, options)
        )

    async def call(self, call: Call) -> bytes:
        request = self._request(call.method.lower(), None, "", call.path)
        return await self._call(request, lambda: self._page(call.path))

    async def stream(self, call: Call) -> AsyncGenerator[bytes, None]:
        yield await self.call(call)

    async def close(self) -> None:
        """Nothing is held."""

    def _page(self, path: str) -> bytes:
        found = self._api.pages.get(path)
        if found is None:
            raise status.no_such_resource()
        return found

    def _request(
        self, verb: str, resource: Resource | None, namespace: str, name: str = "", subresource: str = ""
    ) -> Request:
        return Request(verb, resource, namespace, name, subresource, self._user)

    async def _call(self, request: Request, work: Callable[[], T]) -> T:
        self._api.requests.append(request)
        verdict = self._api.faults.judge(request)
        await asyncio.sleep(verdict.delay_seconds)
        if verdict.before is not None:
            raise verdict.before
        result = work()
        if verdict.after is not None:
            raise verdict.after
        return result


def _meta(body: JsonObject) -> JsonObject:
    found = body.get("metadata")
    return found if isinstance(found, dict) else {}
