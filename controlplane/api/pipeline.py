"""The way of one request: what is it about, who asks, may they, do it; every failure becomes a Status.

Framework-free: `handle` takes a `Request` and gives a `Response`, and never raises but for cancellation.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from aio import log
from aio.clock import Clock
from controlplane.api import codec, negotiation, requestinfo
from controlplane.api.handlers.subresources import Subresources
from controlplane.api.handlers.verbs import MayCreate, Verbs
from controlplane.api.model import (
    MAX_BODY_BYTES,
    Authenticator,
    Authorizer,
    Decision,
    Handler,
    Request,
    RequestInfo,
    Response,
    UserInfo,
)
from controlplane.api.pages import Page
from controlplane.api.printers.workloads import SCALE
from controlplane.api.registry.model import Kind, Registry
from controlplane.store.errors import StoreError, Unavailable
from kube import status
from kube.client.resources import Resource
from kube.errors import Status, StatusError

_log = log.get(__name__)

REQUEST_SECONDS = 60.0
"""For everything but what waits for somebody else; of a watch or stream, until it begins."""
LONG_RUNNING = frozenset(("attach", "exec", "log", "portforward", "proxy"))
"""Subresources whose answer comes when a node, pod or person has it (controlplane/apiserver/config.go)."""
ANONYMOUS = UserInfo("system:anonymous", groups=("system:unauthenticated",))


@dataclass(frozen=True, slots=True)
class Parts:
    """What the wire-up gives. `handlers` by (plural, subresource), `pages` by path."""

    registry: Registry
    clock: Clock
    authenticator: Authenticator
    authorizer: Authorizer
    verbs: Verbs
    subresources: Subresources
    handlers: Mapping[tuple[str, str], Handler] = field(default_factory=dict)
    pages: Mapping[str, Page] = field(default_factory=dict)


class Pipeline:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def handle(self, request: Request) -> Response:
        try:
            if len(request.body) > MAX_BODY_BYTES:
                message = f"Request entity too large: limit is {MAX_BODY_BYTES}"
                raise status.error_of(Status(413, "RequestEntityTooLarge", message))
            info = requestinfo.parse(request.method, request.path, request.query)
            if info.subresource in LONG_RUNNING:
                return await self._answer(request, info)
            async with asyncio.timeout(REQUEST_SECONDS):
                return await self._answer(request, info)
        except StatusError as error:
            return failure(error.status)
        except TimeoutError:
            return failure(
                Status(504, "Timeout", "Timeout: request did not complete within the allotted timeout")
            )
        except Unavailable as error:
            _log.warning("The store does not answer", path=request.path, err=error)
            return failure(Status(503, "ServiceUnavailable", str(error), {"retryAfterSeconds": 1}))
        except StoreError as error:
            _log.error("The store refused", path=request.path, err=error)
            return failure(Status(500, "InternalError", f"Internal error occurred: {error}"))
        except Exception as error:  # noqa: BLE001 (one request's bug must not end the connection of others)
            _log.error("A request failed", method=request.method, path=request.path, err=error)
            return failure(Status(500, "InternalError", f"Internal error occurred: {type(error).__name__}"))

    async def _answer(self, request: Request, info: RequestInfo) -> Response:
        user = await self._parts.authenticator.authenticate(request) or ANONYMOUS
        verdict = await self._parts.authorizer.authorize(user, info)
        if verdict.decision is not Decision.ALLOWED:
            raise forbidden(user, info, verdict.reason)
        if not info.is_resource:
            return await self._page(request)
        kind = self._parts.registry.find(info.group, info.version, info.resource)
        if kind is None and request.path in self._parts.pages:
            return await self._page(request)
        if kind is None or not info.verb:
            raise status.no_such_resource()
        _check_place(kind, info)
        handler = self._parts.handlers.get((info.resource, info.subresource))
        if handler is not None:
            if not info.subresource and info.verb not in kind.verbs:
                raise not_supported(kind.resource, info.verb)
            if not kind.is_stored:
                negotiation.wanted_of(request, has_forms=False)
            return await handler(request, info, user)
        if not kind.is_stored:
            raise status.no_such_resource()
        wanted = negotiation.wanted_of(request)
        _check_scope(kind, info)
        act = self._subresource if info.subresource else self._verb
        printer = SCALE if info.subresource == "scale" else kind.printer
        made = await act(kind, request, info, user)
        return await negotiation.in_form(made, wanted, printer, self._parts.clock.now)

    async def _page(self, request: Request) -> Response:
        pages = self._parts.pages
        found = pages.get(request.path) or pages.get(request.path.rstrip("/"))
        if found is None:
            inside = [path for path in pages if path.endswith("/") and path != "/"]
            below = [path for path in inside if request.path.startswith(path)]
            found = pages[max(below, key=len)] if below else None
        if found is None:
            raise status.no_such_resource()
        return await found(request)

    async def _verb(self, kind: Kind, request: Request, info: RequestInfo, user: UserInfo) -> Response:
        verbs = self._parts.verbs
        if info.verb not in kind.verbs:
            raise not_supported(kind.resource, info.verb)
        match info.verb:
            case "get":
                return await verbs.get(kind, request, info)
            case "list":
                return await verbs.list(kind, request, info)
            case "watch":
                return await verbs.watch(kind, request, info)
            case "create":
                return await verbs.create(kind, request, info, user)
            case "update":
                return await verbs.update(kind, request, info, user)
            case "patch":
                return await verbs.patch(kind, request, info, user)
            case "delete":
                return await verbs.delete(kind, request, info, user)
        return await verbs.delete_collection(kind, request, info, user)

    async def _subresource(self, kind: Kind, request: Request, info: RequestInfo, user: UserInfo) -> Response:
        if info.subresource not in kind.subresources:
            raise status.no_such_resource()
        more = self._parts.subresources
        match info.subresource, info.verb:
            case "status", "get" | "update" | "patch":
                return await self._verb(kind, request, info, user)
            case "ephemeralcontainers" | "resize", "get" | "update" | "patch":
                return await self._verb(kind, request, info, user)
            case "finalize", "update":
                return await self._verb(kind, request, info, user)
            case "scale", "get":
                return await more.get_scale(kind, info)
            case "scale", "update" | "patch":
                return await more.write_scale(kind, request, info, user)
            case "binding", "create":
                return await more.bind(kind, request, info, user)
            case "eviction", "create":
                return await more.evict(kind, request, info, user)
        raise not_supported(kind.resource, info.verb)


def asking(authorizer: Authorizer) -> MayCreate:
    """Raises Forbidden for what the user may not."""

    async def ask(user: UserInfo, info: RequestInfo) -> None:
        verdict = await authorizer.authorize(user, info)
        if verdict.decision is not Decision.ALLOWED:
            raise forbidden(user, info, verdict.reason)

    return ask


def _check_place(kind: Kind, info: RequestInfo) -> None:
    """A cluster's object has no namespace in its path. Who may do anything in one namespace was let through
    for that namespace alone: what is not of it must not be reached by its path, whoever answers there."""
    is_own_path = kind.resource.plural == "namespaces" and info.namespace == info.name
    if info.namespace and not kind.resource.namespaced and not is_own_path:
        raise status.no_such_resource()


def _check_scope(kind: Kind, info: RequestInfo) -> None:
    """Collections across namespaces are for reading."""
    resource = kind.resource
    if resource.namespaced and not info.namespace and info.verb not in ("list", "watch"):
        raise not_supported(resource, info.verb)
    if info.verb == "create" and info.name and not info.subresource:
        raise not_supported(resource, info.verb)
    if info.verb in ("update", "patch", "delete") and not info.name:
        raise not_supported(resource, info.verb)


def failure(found: Status) -> Response:
    headers = {}
    if (seconds := (found.details or {}).get("retryAfterSeconds")) is not None:
        headers["Retry-After"] = str(seconds)
    return Response(found.code, codec.encode(found.to_json()), headers=headers)


def not_supported(resource: Resource, verb: str) -> StatusError:
    details = {"group": resource.group, "kind": resource.plural}
    message = f'{verb} is not supported on resources of kind "{resource.qualified}"'
    shown = {key: text for key, text in details.items() if text}
    return status.error_of(Status(405, "MethodNotAllowed", message, shown))


def forbidden(user: UserInfo, info: RequestInfo, reason: str) -> StatusError:
    """403 in upstream's words."""
    if not info.is_resource:
        message = f'forbidden: User "{user.name}" cannot {info.verb} path "{info.path}"'
        return status.error_of(Status(403, "Forbidden", message + (f": {reason}" if reason else ""), {}))
    qualified = f"{info.resource}.{info.group}" if info.group else info.resource
    subject = f'{qualified} "{info.name}" is forbidden' if info.name else f"{qualified} is forbidden"
    shown = f"{info.resource}/{info.subresource}" if info.subresource else info.resource
    where = f'in the namespace "{info.namespace}"' if info.namespace else "at the cluster scope"
    message = (
        f'{subject}: User "{user.name}" cannot {info.verb} resource "{shown}" in API group '
        f'"{info.group}" {where}' + (f": {reason}" if reason else "")
    )
    details = {"name": info.name, "group": info.group, "kind": info.resource}
    return status.error_of(
        Status(403, "Forbidden", message, {key: text for key, text in details.items() if text})
    )
