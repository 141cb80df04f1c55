"""An API server over the store in memory, asked in process, as the tests of the API see it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import wraps
from itertools import count
from typing import Any

import msgspec

from aio.clock import Clock, SystemClock
from controlplane.allocation.pool import ports
from controlplane.allocation.services import Services
from controlplane.api.handlers.identity import Identity
from controlplane.api.model import AdmissionPlugin, AllowAll, Request, Response
from controlplane.api.server import Access, ApiServer
from controlplane.store.memory import MemoryStore

Json = dict[str, Any]
POD: Json = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "web"},
    "spec": {"containers": [{"name": "main", "image": "busybox:1.35"}]},
}
PODS = "/api/v1/namespaces/default/pods"
MAPS = "/api/v1/namespaces/default/configmaps"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"


def config_map(name: str, **data: str) -> Json:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def deployment(name: str, replicas: int = 2) -> Json:
    return {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "main", "image": "busybox:1.35"}]},
            },
        },
    }  # fmt: skip


class World:
    def __init__(self, server: ApiServer, store: MemoryStore, services: Services | None = None) -> None:
        self.server = server
        self.store = store
        self.services = services or Services("10.96.0.0/12", ports(), lambda: 0)

    async def ask(
        self,
        method: str,
        target: str,
        body: Any = None,
        content_type: str = "application/json",
        **headers: str,
    ) -> Response:
        path, _, query = target.partition("?")
        pairs: dict[str, list[str]] = {}
        for part in query.split("&") if query else ():
            name, _, value = part.partition("=")
            pairs.setdefault(name, []).append(value.replace("%3D", "="))
        raw = body if isinstance(body, bytes) else msgspec.json.encode(body) if body is not None else b""
        heads = {
            "content-type": content_type,
            **{key.replace("_", "-"): text for key, text in headers.items()},
        }
        return await self.server.pipeline.handle(Request(method, path, pairs, heads, raw))

    async def do(self, method: str, target: str, body: Any = None, *, code: int = 0, **values: str) -> Json:
        """The answer's object; its code must be `code`, by default that of a success."""
        answer = await self.ask(method, target, body, **values)
        value: Json = msgspec.json.decode(answer.body)
        assert answer.code == code if code else answer.code < 300, value
        return value

    async def watch(self, target: str) -> Watcher:
        answer = await self.ask("GET", target)
        assert answer.code == 200, answer.body
        assert isinstance(answer.stream, AsyncGenerator)
        return Watcher(answer.stream)


class Watcher:
    def __init__(self, stream: AsyncGenerator[bytes, None]) -> None:
        self._stream = stream
        self._lines: list[bytes] = []

    async def next(self) -> Json:
        async with asyncio.timeout(5):
            while not self._lines:
                self._lines += (await anext(self._stream)).splitlines()
        event: Json = msgspec.json.decode(self._lines.pop(0))
        return event

    async def seen(self) -> tuple[str, str]:
        """Type and name of the next event."""
        event = await self.next()
        return event["type"], event["object"]["metadata"].get("name", "")

    async def ended(self) -> bool:
        async with asyncio.timeout(5):
            return not [piece async for piece in self._stream if piece]

    async def close(self) -> None:
        await self._stream.aclose()


@asynccontextmanager
async def world(
    *admission: AdmissionPlugin, clock: Clock | None = None, changes_kept: int = 1000,
    identity: Identity | None = None,
) -> AsyncIterator[World]:  # fmt: skip
    used = clock or SystemClock()
    store = MemoryStore(clock=used)
    numbers = count()
    services = Services("10.96.0.0/12", ports(), lambda: next(numbers))
    access = Access(AllowAll(), AllowAll(), admission, identity, services)
    server = ApiServer(store, used, access, changes_kept=changes_kept)
    await server.start()
    try:
        yield World(server, store, services)
    finally:
        await server.stop()
        await store.close()


def in_world(test: Callable[[World], Awaitable[None]]) -> Callable[[], None]:
    """A test that is given a server of its own, without a fixture's event loop."""

    @wraps(test)
    def run() -> None:
        async def inside() -> None:
            async with world() as made:
                await test(made)

        asyncio.run(inside())

    del run.__wrapped__  # pytest would take its argument for a fixture
    return run
