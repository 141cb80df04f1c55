"""The direct client before a real API server: who asks is asked what they may, and nothing is left behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest

from aio.clock import SystemClock
from controlplane.admission.order import plugins
from controlplane.api.health import GIT_VERSION
from controlplane.api.model import AllowAll, UserInfo
from controlplane.api.server import Access, ApiServer
from controlplane.authz.follow import Guard
from controlplane.bootstrap.plan import Cluster
from controlplane.bootstrap.roles import node_rules
from controlplane.bootstrap.write import write_bootstrap
from controlplane.components import account_of, system_user
from controlplane.credentials import SCHEDULER
from controlplane.direct import DirectClient
from controlplane.flags import KUBERNETES_VERSION
from controlplane.store.memory import MemoryStore
from kube import status
from kube.client import Call, ListOptions, WatchOptions
from kube.client import resources as r
from kube.client.paging import list_all

pytestmark = pytest.mark.pure

MASTER = UserInfo("ann", groups=("system:masters",))


@asynccontextmanager
async def served() -> AsyncIterator[ApiServer]:
    clock = SystemClock()
    store = MemoryStore(clock=clock)
    guard = Guard(node_rules())
    server = ApiServer(store, clock, Access(AllowAll(), guard, plugins(guard.policy, guard)))
    await server.start()
    guard.attach(server.cache)
    cluster = Cluster("10.96.0.0/12", ("10.0.0.5",), 6443, "PEM")
    await write_bootstrap(store, server.cache, server.registry, cluster, clock)
    try:
        yield server
    finally:
        await server.stop()
        await store.close()


def client_of(server: ApiServer, user: UserInfo) -> DirectClient:
    return DirectClient(server.pipeline_as(user).handle)


def config(name: str) -> dict[str, Any]:
    meta = {"name": name, "namespace": "default"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta}


@pytest.mark.asyncio
async def test_each_part_may_do_its_work_and_no_other() -> None:
    async with served() as server:
        scheduler = client_of(server, system_user(SCHEDULER))
        assert (await scheduler.list(r.PODS)).items == ()
        with pytest.raises(status.Forbidden, match='kube-scheduler" cannot list resource "secrets"'):
            await scheduler.list(r.SECRETS)
        replicas = client_of(server, account_of("replicaset-controller"))
        with pytest.raises(status.NotFound):
            await replicas.delete(r.PODS, "web", namespace="default")
        with pytest.raises(status.Forbidden, match="replicaset-controller"):
            await replicas.create(r.CONFIG_MAPS, config("a"))


@pytest.mark.asyncio
async def test_a_watch_that_is_closed_leaves_no_watcher() -> None:
    async with served() as server:
        client = client_of(server, MASTER)
        watchers = server.cache.of(r.CONFIG_MAPS).watchers
        version = (await client.list(r.CONFIG_MAPS)).resource_version
        options = WatchOptions(resource_version=version)
        async with aclosing(client.watch(r.CONFIG_MAPS, namespace="default", options=options)) as events:
            reading = asyncio.ensure_future(anext(events))
            while not watchers:
                await asyncio.sleep(0)
            made = await client.create(r.CONFIG_MAPS, config("a"))
            event = await reading
            assert (event.type, event.identity.name) == ("ADDED", "a")
            assert event.identity.resource_version == made["metadata"]["resourceVersion"]
        assert not watchers


@pytest.mark.asyncio
async def test_pages_calls_and_refusals_are_as_over_a_wire() -> None:
    async with served() as server:
        client = client_of(server, MASTER)
        for name in ("a", "b", "c"):
            await client.create(r.CONFIG_MAPS, config(name))
        first = await client.list(r.CONFIG_MAPS, namespace="default", options=ListOptions(limit=2))
        assert (len(first.items), first.remaining) == (2, 2)
        everything = await list_all(client, r.CONFIG_MAPS, namespace="default")
        assert len(everything.items) == 4, "with the CA's"
        assert GIT_VERSION.encode() in await client.call(Call("/version"))
        assert await client.call(Call("/readyz?verbose")) != b"ok", "a query inside the path counts"
        with pytest.raises(status.NotFound):
            await client.call(Call("/nowhere"))
        with pytest.raises(ValueError, match="name is empty"):
            await client.delete(r.CONFIG_MAPS, "", namespace="default")


def test_the_programs_version_is_the_apis() -> None:
    assert KUBERNETES_VERSION == GIT_VERSION
