"""Writes what a cluster starts with, straight into the store: a hundred objects in a transaction or two.

It goes past admission, which would ask for what is only being made here. A record that somebody else writes
in between makes it look again. What leads to the API server is looked after as long as it runs.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from aio import log
from aio.clock import Clock
from controlplane.api.registry.model import Registry
from controlplane.api.watchcache import WatchCache
from controlplane.bootstrap.plan import Cluster, operations, reachable, wanted
from controlplane.store.errors import Conflict, Exists, NotFound, StoreError
from controlplane.store.model import MAX_OPERATIONS, Store
from kube.client.model import JsonObject

_log = log.get(__name__)
ATTEMPTS = 5
KEPT_EVERY_SECONDS = 10.0
"""controlplane/apiserver: EndpointInterval of the kubernetes service."""


async def write_bootstrap(
    store: Store, cache: WatchCache, registry: Registry, cluster: Cluster, clock: Clock
) -> int:
    """How many objects were written; when it returns the cache shows them. StoreError."""
    written = await _write(store, cache, registry, wanted(cluster), clock)
    if written:
        _log.info("Wrote what the cluster starts with", objects=written)
    return written


async def keep_reachable(
    store: Store, cache: WatchCache, registry: Registry, cluster: Cluster, clock: Clock
) -> None:
    """Runs for ever: the `kubernetes` Service and its addresses come back when somebody deletes them
    (`kubectl delete all --all` does)."""
    items = reachable(cluster)
    while True:
        await clock.sleep(KEPT_EVERY_SECONDS)
        try:
            written = await _write(store, cache, registry, items, clock)
        except StoreError as error:
            _log.warning("Cannot look after the kubernetes service, trying again", err=error)
            continue
        if written:
            _log.info("Put the kubernetes service right", objects=written)


async def _write(
    store: Store, cache: WatchCache, registry: Registry, items: Sequence[JsonObject], clock: Clock
) -> int:
    written = 0
    for attempt in range(1, ATTEMPTS + 1):
        await cache.reach_latest()
        found = operations(registry, cache.get, items, clock.now(), lambda: str(uuid.uuid4()))
        try:
            for start in range(0, len(found), MAX_OPERATIONS):
                part = found[start : start + MAX_OPERATIONS]
                await store.transact(part)
                written += len(part)
        except (Conflict, Exists, NotFound) as error:
            if attempt == ATTEMPTS:
                raise
            _log.v(2).info("Somebody else wrote what the cluster starts with, looking again", err=error)
            continue
        break
    await cache.reach_latest()
    return written
