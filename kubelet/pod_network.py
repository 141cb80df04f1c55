"""The pod network of this node, kept by the agent where it was asked to: configuration, rules, addresses.

When the cluster gives the node its range, the network list is written for the runtime to read, and one
nftables table takes pods to the API server's ClusterIP and to the outside. A cluster with a network of its
own is never asked for this (`--pod-network-bridge`).

At start, addresses are given back whose sandbox is gone. Only those that were given out before this agent
began: a sandbox in the making has its address, and is in no list yet.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from ipaddress import AddressValueError, IPv4Address
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

from aio import log as aio_log
from aio.backoff import Backoff
from aio.clock import Clock
from aio.errors import Retry
from aio.executors import Executors
from cni import leases, node_network, rules
from cni.conflist import parse
from cni.filter_table import NodeRules, ruleset
from cni.network import Network
from cni.node_network import NodeNetwork
from cni.plugins import Programs, Runner
from cni.results import Results
from cri.errors import CriError
from cri.service import RuntimeService
from kube import status
from kube.client import resources
from kube.client.model import Client
from kube.errors import InvalidObject, StatusError

log = aio_log.get(__name__)

RETRY = Backoff(initial=0.2, maximum=10.0, reset_after=60.0)
PORTMAP = "portmap"
API_SERVICE = ("default", "kubernetes")


@dataclass(frozen=True, slots=True)
class PodNetworkSettings:
    """`bridge` is also the name of the network and of the table; `server` the API server's URL, as the agent
    reaches it."""

    bridge: str
    conflist: Path
    leases: Path
    results: Path
    plugin_directories: tuple[str, ...]
    server: str = ""


class PodNetwork:
    """`own_address` gives an address of this node that pods reach; `changed` is called when the runtime has
    something new to read."""

    def __init__(
        self,
        settings: PodNetworkSettings,
        client: Client,
        runtime: RuntimeService,
        clock: Clock,
        executors: Executors,
        *,
        own_address: Callable[[], str],
        changed: Callable[[], None],
        apply_rules: Callable[[str], Awaitable[None]] = rules.apply,
        plugins: Runner | None = None,
    ) -> None:
        self._settings = settings
        self._client = client
        self._runtime = runtime
        self._clock = clock
        self._executors = executors
        self._own_address = own_address
        self._changed = changed
        self._apply_rules = apply_rules
        self._plugins = plugins or Programs(settings.plugin_directories)
        self._ranges: tuple[str, ...] = ()
        self._wanted = asyncio.Event()
        self._began_at = clock.wall()

    def set_ranges(self, pod_cidrs: tuple[str, ...]) -> None:
        """The node's spec.podCIDRs, as often as they are heard of."""
        if pod_cidrs and pod_cidrs != self._ranges:
            self._ranges = pod_cidrs
            self._wanted.set()

    async def run(self) -> NoReturn:
        """Keep configuration and rules as the ranges want them, for ever."""
        await self._free_addresses()
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            retry = RETRY
            while not await self._settle():
                retry, delay = retry.next(self._clock.monotonic())
                await self._clock.sleep(delay)

    async def _settle(self) -> bool:
        """False when it must be tried again."""
        network = self._network()
        try:
            # A pod must not start before its way to the API server is there.
            await self._apply_rules(ruleset(await self._rules(network)))
            is_new = await self._executors.run("fsync", node_network.write, network, self._settings.conflist)
        except ValueError as error:
            log.error("The node's pod range cannot be used", ranges=list(self._ranges), err=error)
            return True  # until there is another one
        except (Retry, StatusError, OSError) as error:
            log.warning("Cannot set up the pod network", ranges=list(self._ranges), err=error)
            return False
        log.info("The pod network is set up", ranges=list(self._ranges), bridge=network.bridge, new=is_new)
        self._changed()
        return True

    def _network(self) -> NodeNetwork:
        where = self._settings.plugin_directories
        return NodeNetwork(
            name=self._settings.bridge,
            bridge=self._settings.bridge,
            pod_cidrs=self._ranges,
            leases=str(self._settings.leases),
            has_portmap=any(Path(directory, PORTMAP).exists() for directory in where),
        )

    async def _rules(self, network: NodeNetwork) -> NodeRules:
        ipv4 = next((cidr for cidr in self._ranges if ":" not in cidr), "")
        base = NodeRules(network.bridge, network.bridge, ipv4)
        namespace, name = API_SERVICE
        try:
            service = await self._client.get(resources.SERVICES, name, namespace=namespace)
        except status.NotFound:
            return base
        spec = service.get("spec") or {}
        address, ports = str(spec.get("clusterIP") or ""), spec.get("ports") or ()
        server = urlsplit(self._settings.server)
        is_away = server.hostname not in ("localhost", "127.0.0.1", "::1", None)
        host = str(server.hostname) if is_away else self._own_address()
        if not _is_ipv4(address) or not ports:
            return base
        if not _is_ipv4(host):
            # Rules know numbers alone, and what a name stands for may change.
            log.warning("Pods have no way to the API server's ClusterIP: it is known by no IPv4", server=host)
            return base
        return NodeRules(
            network.bridge, network.bridge, ipv4, address, ports[0]["port"], host, server.port or 443
        )

    async def _free_addresses(self) -> None:
        """A failure here costs addresses, not pods: it is said, and left for the next start."""
        try:
            settings = self._settings
            read = partial(leases.read, before=self._began_at)
            found = await self._executors.run("walk", read, settings.leases, settings.bridge)
            boxes = await self._runtime.list_pod_sandboxes()
            live = {box.id for box in boxes}
            stale = leases.stale(found, live)
            if not stale:
                return
            conflist = await self._executors.run("walk", settings.conflist.read_bytes)
            known = parse(conflist, str(settings.conflist))
            network = await Network.open(known, self._plugins, Results(settings.results))
            freed = await network.collect(live, [lease.attachment for lease in stale])
            log.info("Gave addresses back whose pods are gone", count=len(freed))
        except (CriError, Retry, InvalidObject, OSError) as error:
            log.warning("Cannot give addresses back", err=error)


def _is_ipv4(text: str) -> bool:
    try:
        IPv4Address(text)
    except AddressValueError:
        return False
    return True
