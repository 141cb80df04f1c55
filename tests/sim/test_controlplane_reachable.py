"""The way to the API server, looked after while the server runs."""

from __future__ import annotations

import asyncio

import pytest

from aio import virtual
from aio.clock import VirtualClock
from controlplane.api.model import AllowAll
from controlplane.api.server import Access, ApiServer
from controlplane.bootstrap.plan import Cluster
from controlplane.bootstrap.write import KEPT_EVERY_SECONDS, keep_reachable, write_bootstrap
from controlplane.store.memory import MemoryStore
from kube.client import resources as r

pytestmark = pytest.mark.sim

CLUSTER = Cluster("10.96.0.0/12", ("10.0.0.5",), 6443, "PEM")
KINDS = (r.SERVICES, r.ENDPOINTS, r.ENDPOINT_SLICES)


def test_deleted_kubernetes_service_and_its_addresses_come_back() -> None:
    async def scenario(clock: VirtualClock) -> None:
        store = MemoryStore(clock=clock)
        server = ApiServer(store, clock, Access(AllowAll(), AllowAll()))
        await server.start()
        written = (store, server.cache, server.registry, CLUSTER, clock)
        await write_bootstrap(*written)
        keeping = asyncio.ensure_future(keep_reachable(*written))
        start = await store.revision()
        try:
            await clock.sleep(KEPT_EVERY_SECONDS * 2.5)
            assert await store.revision() == start, "nothing to mend, nothing written"
            for resource in KINDS:
                await store.delete(server.registry.of(resource).key("default", "kubernetes"))
            await server.cache.reach_latest()
            assert not any(server.cache.get(kind, "default", "kubernetes") for kind in KINDS)
            await clock.sleep(KEPT_EVERY_SECONDS + 1)
            service = server.cache.get(r.SERVICES, "default", "kubernetes")
            assert service is not None and service["spec"]["clusterIP"] == "10.96.0.1"
            assert all(server.cache.get(kind, "default", "kubernetes") for kind in KINDS)
        finally:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)
            await server.stop()
            await store.close()

    virtual.run(scenario)
