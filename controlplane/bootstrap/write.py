"""Writes what a cluster starts with, straight into the store: a hundred objects in a transaction or two.

It goes past admission, which would ask for what is only being made here. A record that somebody else writes
in between makes it look again.
"""

from __future__ import annotations

import uuid

from aio import log
from aio.clock import Clock
from controlplane.api.registry.model import Registry
from controlplane.api.watchcache import WatchCache
from controlplane.bootstrap.plan import Cluster, operations, wanted
from controlplane.store.errors import Conflict, Exists, NotFound
from controlplane.store.model import MAX_OPERATIONS, Store

_log = log.get(__name__)
ATTEMPTS = 5


async def write_bootstrap(
    store: Store, cache: WatchCache, registry: Registry, cluster: Cluster, clock: Clock
) -> int:
    """How many objects were written; when it returns the cache shows them. StoreError."""
    items = wanted(cluster)
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
    if written:
        _log.info("Wrote what the cluster starts with", objects=written)
    return written
