"""The calls that write, down to one request each, over HTTPS or without a socket."""

from __future__ import annotations

from typing import Any

from kube.client.model import (
    DEFAULT_DELETE,
    DEFAULT_WRITE,
    DeleteOptions,
    JsonObject,
    PatchKind,
    WriteOptions,
)
from kube.client.resources import Resource

JSON = "application/json"


class Writes:
    """create, update, patch and delete of `kube.client.Client`; who inherits sends them by `_write`."""

    async def create(
        self, resource: Resource, body: JsonObject, *, namespace: str = "", name: str = "",
        subresource: str = "", options: WriteOptions = DEFAULT_WRITE,
    ) -> JsonObject:  # fmt: skip
        namespace = namespace or _meta(body).get("namespace", "")
        path = resource.path(namespace=namespace, name=name, subresource=subresource)
        return await self._write("POST", path, body, options)

    async def update(
        self, resource: Resource, body: JsonObject, *, name: str = "", namespace: str = "",
        subresource: str = "", options: WriteOptions = DEFAULT_WRITE,
    ) -> JsonObject:  # fmt: skip
        namespace = namespace or _meta(body).get("namespace", "")
        name = named(name or _meta(body).get("name", ""))
        path = resource.path(namespace=namespace, name=name, subresource=subresource)
        return await self._write("PUT", path, body, options)

    async def patch(
        self, resource: Resource, name: str, patch: Any, *, kind: PatchKind = PatchKind.MERGE,
        namespace: str = "", subresource: str = "", options: WriteOptions = DEFAULT_WRITE,
    ) -> JsonObject:  # fmt: skip
        path = resource.path(namespace=namespace, name=named(name), subresource=subresource)
        return await self._write("PATCH", path, patch, options, kind.value)

    async def delete(
        self, resource: Resource, name: str, *, namespace: str = "", options: DeleteOptions = DEFAULT_DELETE
    ) -> JsonObject:
        path = resource.path(namespace=namespace, name=named(name))
        return await self._write("DELETE", path, options.to_json(), DEFAULT_WRITE)

    async def _write(
        self, method: str, path: str, body: Any, options: WriteOptions, content_type: str = JSON
    ) -> JsonObject:
        raise NotImplementedError


def _meta(body: JsonObject) -> JsonObject:
    found = body.get("metadata")
    return found if isinstance(found, dict) else {}


def named(name: str) -> str:
    """An empty name would make the path that of the collection, and a delete of everything in it."""
    if not name:
        raise ValueError("cannot call the API server: because the object's name is empty")
    return name
