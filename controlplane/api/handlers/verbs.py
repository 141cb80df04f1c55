"""The verbs on one object and on a collection, from request to response."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from aio.clock import Clock
from controlplane.api import codec, options
from controlplane.api.handlers import applying
from controlplane.api.handlers.applying import Applying
from controlplane.api.handlers.lists import Lists, reach
from controlplane.api.handlers.watches import Watches
from controlplane.api.model import Request, RequestInfo, Response, UserInfo, bare
from controlplane.api.registry import pods
from controlplane.api.registry.model import Kind, ValidateUpdate
from controlplane.api.storage import ATTEMPTS, Owners, Part, Storage, Writer, note_strict
from kube import patch, rules, schema, status, structure
from kube.client import resources as r
from kube.client.model import JsonObject, copy
from kube.client.resources import Resource
from kube.errors import ErrorKind, Status, join_errors

_PATCHES = (patch.JSON_PATCH, patch.MERGE, patch.STRATEGIC_MERGE)
MayCreate = Callable[[UserInfo, RequestInfo], Awaitable[None]]
_LARGE_BODY_BYTES = 64 * 1024
_MANY_ITEMS = 4000
"""A longer list is put together in a thread; to copy it takes milliseconds."""
_WARNING_MAX = 4096


class Verbs:
    """`may_create` raises Forbidden; it is asked when a PUT or an apply would make a new object."""

    def __init__(
        self, storage: Storage, lists: Lists, watches: Watches, clock: Clock, may_create: MayCreate
    ) -> None:
        self.storage = storage
        self._clock = clock
        self._may_create = may_create
        self._lists = lists
        self._watches = watches

    async def get(self, kind: Kind, request: Request, info: RequestInfo) -> Response:
        version = options.reading(request, is_watch=False).version
        if version not in ("", "0"):
            await reach(self.storage.cache, version)
        found = await self.storage.read(kind, info.namespace, info.name, latest=version == "")
        return Response(body=found.raw)

    async def list(self, kind: Kind, request: Request, info: RequestInfo) -> Response:
        listing = await self._lists.read(kind, info.namespace, options.reading(request, is_watch=False))
        if len(listing.items) > _MANY_ITEMS:
            return Response(body=await asyncio.to_thread(listing.encode, kind))
        return Response(body=listing.encode(kind))

    async def watch(self, kind: Kind, request: Request, info: RequestInfo) -> Response:
        wanted = options.reading(request, is_watch=True)
        stream = await self._watches.open(kind, info.namespace, wanted)
        return Response(stream=stream)

    async def create(self, kind: Kind, request: Request, info: RequestInfo, user: UserInfo) -> Response:
        writer = writer_of(request, info, user)
        body = await read_object(kind, request, writer)
        stored = await self.storage.create(kind, info.namespace, body, writer)
        return answer(writer, stored, code=201)

    async def update(self, kind: Kind, request: Request, info: RequestInfo, user: UserInfo) -> Response:
        writer = writer_of(request, info, user)
        body = await read_object(kind, request, writer)
        check_place(info, body)
        subresource = info.subresource
        if kind.resource in rules.CREATE_ON_UPDATE and not subresource:
            try:
                await self.storage.read(kind, info.namespace, info.name)
            except status.NotFound:
                if bare(body.get("metadata")).get("resourceVersion"):
                    raise
                creator = await self._creator(writer)
                stored = await self.storage.create(kind, info.namespace, body, creator)
                return answer(writer, stored, code=201)
        return await self._change(kind, info, lambda old: body, writer)

    async def patch(self, kind: Kind, request: Request, info: RequestInfo, user: UserInfo) -> Response:
        writer = writer_of(request, info, user)
        if applying.is_apply(request):
            return await self._apply(kind, request, info, writer)
        apply = await read_patch(kind.type_name, request, writer)

        def change(old: JsonObject) -> JsonObject:
            changed = apply(old)
            rules.check_type(kind.resource, changed)
            check_place(info, changed)
            return changed

        return await self._change(kind, info, change, writer)

    async def _apply(self, kind: Kind, request: Request, info: RequestInfo, writer: Writer) -> Response:
        """Changes the object, or makes it where there is none."""
        is_forced = options.forced(request)
        body = await read_value(applying.readable(request), writer)
        check_place(info, bare(body))
        config = applying.read_config(kind, body, info, writer)
        work = Applying(kind, config, writer, is_forced=is_forced, now=self._clock.now)
        for _ in range(ATTEMPTS):
            try:
                return await self._change(kind, info, work.change, writer, work.entries)
            except status.NotFound:
                if info.subresource or not await self._is_missing(kind, info):
                    raise
            if uid := config["metadata"].get("uid"):
                raise applying.no_such_uid(kind.resource, info.name, uid)
            creator = await self._creator(writer)
            try:
                made = work.change({})
                stored = await self.storage.create(kind, info.namespace, made, creator, work.entries)
            except status.AlreadyExists:
                continue
            return answer(writer, stored, code=201)
        raise status.modified(kind.resource, info.name)

    async def _is_missing(self, kind: Kind, info: RequestInfo) -> bool:
        try:
            await self.storage.read(kind, info.namespace, info.name)
        except status.NotFound:
            return True
        return False

    async def _creator(self, writer: Writer) -> Writer:
        """The writer as one who creates, which is another permission than to change."""
        info = replace(writer.info, verb="create")
        await self._may_create(writer.user, info)
        return replace(writer, info=info)

    async def delete(self, kind: Kind, request: Request, info: RequestInfo, user: UserInfo) -> Response:
        writer = writer_of(request, info, user)
        wanted = options.deletion(request, await _read_options(request))
        left, is_gone = await self.storage.delete(kind, info.namespace, info.name, wanted, writer)
        if is_gone and kind.resource not in rules.RETURNS_DELETED:
            return Response(body=codec.encode(rules.success(kind.resource, codec.decode(left))))
        return Response(body=left)

    async def delete_collection(
        self, kind: Kind, request: Request, info: RequestInfo, user: UserInfo
    ) -> Response:
        """One by one; what somebody else removes meanwhile is no error."""
        writer = writer_of(request, info, user)
        wanted = options.deletion(request, await _read_options(request))
        listing = await self._lists.read(kind, info.namespace, options.reading(request, is_watch=False))
        for item in listing.items:
            meta = item.value["metadata"]
            try:
                await self.storage.delete(kind, item.namespace, meta["name"], wanted, writer)
            except status.NotFound:
                continue
        return Response(body=listing.encode(kind))

    async def _change(
        self, kind: Kind, info: RequestInfo, change: Callable[[JsonObject], JsonObject], writer: Writer,
        owners: Owners | None = None,
    ) -> Response:  # fmt: skip
        subresource = info.subresource
        if kind.resource == r.NAMESPACES and subresource != "status":
            change, subresource = _of_namespace(change, is_finalize=subresource == "finalize"), ""
        part = Part(subresource, owners=owners)
        if found := _PARTS_OF_PODS.get(subresource):
            change, part = _of_pod(kind, change, found[0]), Part(subresource, found[1], owners)
        stored = await self.storage.update(kind, info.namespace, info.name, change, writer, part)
        return answer(writer, stored)


# What of the pod the path writes, and what is checked of it.
_PARTS_OF_PODS: dict[str, tuple[Callable[[JsonObject, JsonObject], JsonObject], ValidateUpdate]] = {
    "ephemeralcontainers": (pods.with_ephemeral, pods.ephemeral_update),
    "resize": (pods.with_resources, pods.resize),
}


def _of_pod(
    kind: Kind, change: Callable[[JsonObject], JsonObject],
    part: Callable[[JsonObject, JsonObject], JsonObject],
) -> Callable[[JsonObject], JsonObject]:  # fmt: skip
    def changed(old: JsonObject) -> JsonObject:
        value = part(old, change(copy(old)))
        kind.default(value)
        return value

    return changed


def _of_namespace(
    change: Callable[[JsonObject], JsonObject], *, is_finalize: bool
) -> Callable[[JsonObject], JsonObject]:
    """`finalize` writes the spec's finalizers and nothing else; all other writes leave them alone."""

    def kept(old: JsonObject) -> JsonObject:
        value = change(copy(old))
        target, source = (old, value) if is_finalize else (value, old)
        spec = {**bare(target.get("spec")), "finalizers": bare(source.get("spec")).get("finalizers", [])}
        meta = {**target["metadata"], "resourceVersion": value["metadata"].get("resourceVersion", "")}
        return {**target, "spec": spec, "metadata": meta}

    return kept


def writer_of(request: Request, info: RequestInfo, user: UserInfo) -> Writer:
    wanted = options.writing(request)
    manager = options.manager(request) or user.name.rpartition(":")[2]
    return Writer(user, info, [], wanted.dry_run, wanted.field_validation, manager)


async def read_value(request: Request, writer: Writer | None = None) -> Any:
    """The body as a value; one that takes long is read in a thread."""
    if not request.body.strip():
        raise status.bad_request("the body of the request is empty")
    content_type = options.content_type(request)
    if len(request.body) > _LARGE_BODY_BYTES:
        value, twice = await asyncio.to_thread(codec.read_value, request.body, content_type)
    else:
        value, twice = codec.read_value(request.body, content_type)
    if writer is not None:
        writer.noted.extend(twice)
    return value


async def read_object(kind: Kind, request: Request, writer: Writer) -> JsonObject:
    """An object of this kind. BadRequest for anything else."""
    value = await read_value(request, writer)
    if not isinstance(value, dict):
        raise status.bad_request("couldn't get version/kind; the body of the request is not an object")
    value = _typed(kind.resource, value)
    rules.check_type(kind.resource, value)
    if not isinstance(value.setdefault("metadata", {}), dict):
        raise status.bad_request("metadata: must be an object")
    return value


def _typed(resource: Resource, body: JsonObject) -> JsonObject:
    """What the body does not say of its type is that of the path (the decoder's default)."""
    head = {"apiVersion": resource.api_version, "kind": resource.kind}
    return body | {key: text for key, text in head.items() if not body.get(key)}


async def read_checked(resource: Resource, request: Request, writer: Writer) -> JsonObject:
    """The body as an object of a kind that is not stored. BadRequest for anything else."""
    body = await read_value(request, writer)
    if not isinstance(body, dict):
        raise status.bad_request("couldn't get version/kind; the body of the request is not an object")
    body = _typed(resource, body)
    rules.check_type(resource, body)
    type_name = schema.find_kind(resource.api_version, resource.kind)
    if type_name is None:
        raise KeyError(f"no schema for {resource.api_version}/{resource.kind}")
    checked = structure.check(body, type_name)
    wrong = [error for error in checked.errors if error.kind is not ErrorKind.UNKNOWN_FIELD]
    if wrong:
        name = f'{resource.kind} in version "{resource.version}"'
        raise status.bad_request(f"{name} cannot be handled as a {resource.kind}: {join_errors(wrong)}")
    note_strict([str(e) for e in checked.errors if e.kind is ErrorKind.UNKNOWN_FIELD], writer)
    value: JsonObject = checked.value
    return value


async def read_patch(type_name: str, request: Request, writer: Writer) -> Callable[[JsonObject], JsonObject]:
    """What the patch does to an object. UnsupportedMediaType for a kind of patch that is not served."""
    content_type = codec.media_type(options.content_type(request))
    if content_type not in _PATCHES:
        raise status.unsupported_media_type(content_type, (*_PATCHES, applying.CONTENT_TYPE))
    options.not_forced(request)
    as_json = Request(request.method, request.path, body=request.body)
    body = await read_value(as_json, writer)

    def apply(old: JsonObject) -> JsonObject:
        try:
            return patch.apply(content_type, old, body, type_name)
        except patch.PatchError as error:
            raise status.error_of(Status(error.code, status.reason_of(error.code), str(error))) from error

    return apply


def check_place(info: RequestInfo, body: JsonObject) -> None:
    """The body's name and namespace, where it has them, are the request's."""
    meta = bare(body.get("metadata"))
    if (name := meta.get("name")) and name != info.name:
        message = f"the name of the object ({name}) does not match the name on the URL ({info.name})"
        raise status.bad_request(message)
    if info.namespace and (namespace := meta.get("namespace")) and namespace != info.namespace:
        raise status.bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )


async def _read_options(request: Request) -> Any:
    return await read_value(request) if request.body.strip() else None


def answer(writer: Writer, body: bytes, *, code: int = 200) -> Response:
    """With the writer's warnings as headers."""
    return Response(code, body, headers=warning_headers(writer.warnings))


def warning_headers(warnings: list[str]) -> dict[str, str]:
    """`299 - "text"` each; no more than 4096 characters in all."""
    shown: list[str] = []
    length = 0
    for text in warnings:
        escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ").replace("\r", " ")
        length += len(escaped)
        if length > _WARNING_MAX:
            break
        shown.append(f'299 - "{escaped}"')
    return {"Warning": ", ".join(shown)} if shown else {}
