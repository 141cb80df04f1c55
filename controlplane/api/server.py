"""The API server put together over a store. `start` returns once reads can be served; `stop` ends its loop.

server = ApiServer(store, clock, Access(authenticator, authorizer))
await server.start()
response = await server.pipeline.handle(request)      # or HttpServer(server.pipeline, host, port)
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from aio.clock import Clock
from controlplane.allocation.follow import Addresses
from controlplane.allocation.services import Services
from controlplane.api import discovery, health, openapi, openapi_v2
from controlplane.api.handlers import identity
from controlplane.api.handlers.identity import Identity
from controlplane.api.handlers.lists import Lists
from controlplane.api.handlers.subresources import BindingByBody, Subresources
from controlplane.api.handlers.verbs import Verbs
from controlplane.api.handlers.watches import Watches
from controlplane.api.model import AdmissionPlugin, Authenticator, Authorizer, Handler, Request, UserInfo
from controlplane.api.pages import Page
from controlplane.api.pipeline import Parts, Pipeline, asking
from controlplane.api.registry import Registry, standard
from controlplane.api.storage import Storage
from controlplane.api.watchcache import CHANGES_KEPT, WatchCache
from controlplane.store.model import Store
from kube.client.resources import PODS


@dataclass(frozen=True, slots=True)
class Access:
    """Who may do what, and what else has a say. `handlers` answer subresources by (plural, subresource).
    With an `identity` reviews and tokens are served; `services` gives Services their addresses and ports."""

    authenticator: Authenticator
    authorizer: Authorizer
    admission: Sequence[AdmissionPlugin] = ()
    identity: Identity | None = None
    services: Services | None = None
    handlers: Mapping[tuple[str, str], Handler] = field(default_factory=dict)
    pages: Mapping[str, Page] = field(default_factory=dict)
    checks: Mapping[str, health.Check] = field(default_factory=dict)
    """More of what /livez and /readyz look at."""


class Known:
    """The authenticator of who is known without being asked: a part of this very process."""

    def __init__(self, user: UserInfo) -> None:
        self._user = user

    async def authenticate(self, request: Request) -> UserInfo | None:
        return self._user


class ApiServer:
    def __init__(
        self, store: Store, clock: Clock, access: Access, *, registry: Registry | None = None,
        changes_kept: int = CHANGES_KEPT,
    ) -> None:  # fmt: skip
        kinds = self.registry = registry or standard()
        self._store = store
        self.cache = WatchCache(store, kinds, clock, changes_kept=changes_kept)
        addresses = Addresses(access.services, self.cache) if access.services else None
        self.storage = Storage(store, self.cache, clock, access.admission, addresses)
        self._loop: asyncio.Task[None] | None = None
        lists, watches = Lists(store, self.cache), Watches(self.cache, clock)
        verbs = Verbs(self.storage, lists, watches, clock, asking(access.authorizer))
        checks = {"ping": lambda: "", "watch-cache": self._cache_trouble, **access.checks}
        pages = {
            **health.pages(checks), **discovery.pages(kinds), **openapi.pages(kinds),
            "/openapi/v2": openapi_v2.page(kinds), **access.pages,
        }  # fmt: skip
        pages["/"] = discovery.root(pages)
        pages |= discovery.no_custom_kinds()
        subresources = Subresources(self.storage, clock)
        own: dict[tuple[str, str], Handler] = {("bindings", ""): BindingByBody(subresources, kinds.of(PODS))}
        if access.identity:
            own |= identity.handlers(access.identity, self.storage, clock)
        self._parts = Parts(
            registry=kinds,
            clock=clock,
            authenticator=access.authenticator,
            authorizer=access.authorizer,
            verbs=verbs,
            subresources=subresources,
            handlers={**own, **access.handlers},
            pages=pages,
        )
        self.pipeline = Pipeline(self._parts)

    def pipeline_as(self, user: UserInfo) -> Pipeline:
        """The same server for one user who is known already; what the user may do is asked as ever."""
        return Pipeline(replace(self._parts, authenticator=Known(user)))

    async def start(self) -> None:
        self._loop = asyncio.create_task(self.cache.run(), name="watch cache")
        await self.cache.reach_latest()

    async def ended(self) -> None:
        """Returns when the server cannot go on: its view of the store has ended. Raises what ended it."""
        if self._loop is not None:
            await asyncio.shield(self._loop)

    async def stop(self) -> None:
        loop, self._loop = self._loop, None
        if loop is not None:
            loop.cancel()
            await asyncio.wait((loop,))

    def _cache_trouble(self) -> str:
        if self._loop is None:
            return "it is not started"
        return "its loop has ended" if self._loop.done() else ""
