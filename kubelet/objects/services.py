"""Services as environment variables show them: an informer of all namespaces, asked per container.

What a container needs of a Service is small (addresses and ports), so only that is kept. A pod of the API
waits until the Services were read once: without them its variables would be wrong for all its life.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from aio.clock import Clock
from kube import objects
from kube.cache import Cache
from kube.client import resources
from kube.client.model import Client
from kube.objects.cluster_v1 import Service
from kube.objects.core_v1 import Pod
from kubelet.podspec.errors import ContainerConfigError
from kubelet.podspec.service_env import (
    MASTER_NAMESPACE,
    MASTER_SERVICE,
    ServiceEndpoint,
    service_variables,
)

# How long one attempt to make a container waits for the first list; then it says so and is tried again.
SYNC_SECONDS = 5.0
NOT_READ = "services have not yet been read at least once, cannot construct envvars"
_BY_NAMESPACE = "namespace"


class ServiceVariables:
    """`run` keeps the Services; a loop for ever."""

    def __init__(self, client: Client, clock: Clock, *, jitter: Callable[[], float] = random.random) -> None:
        self._cache: Cache[ServiceEndpoint] = Cache(
            client,
            resources.SERVICES,
            read_service,
            clock=clock,
            indexes={_BY_NAMESPACE: lambda service: [service.namespace]},
            jitter=jitter,
        )

    async def run(self) -> None:
        await self._cache.run()

    async def of_pod(self, pod: Pod, *, wait: bool) -> dict[str, str]:
        """The variables of every container of the pod. With `wait` ContainerConfigError when the Services
        were not read in time; without it what is known has to do (static pods)."""
        if wait and not self._cache.has_synced:
            try:
                async with asyncio.timeout(SYNC_SECONDS):
                    await self._cache.wait_synced()
            except TimeoutError:
                raise ContainerConfigError(NOT_READ) from None
        namespace = pod.metadata.namespace
        found = list(self._cache.by_index(_BY_NAMESPACE, namespace))
        master = self._cache.get(f"{MASTER_NAMESPACE}/{MASTER_SERVICE}")
        if master is not None and namespace != MASTER_NAMESPACE:
            found.append(master)
        links = pod.spec.enable_service_links
        return service_variables(found, namespace, service_links=links is None or links)


def read_service(raw: bytes) -> ServiceEndpoint:
    """What variables need of a Service. ValueError for bytes that are none."""
    service = objects.decode(raw, Service)
    spec = service.spec
    ports = tuple((port.name or "", port.protocol or "TCP", port.port) for port in spec.ports)
    meta = service.metadata
    return ServiceEndpoint(meta.namespace, meta.name, spec.cluster_ip or "", ports)
