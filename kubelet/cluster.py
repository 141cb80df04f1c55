"""The agent in a cluster: its clients, and the parts that exist only where there is an API server.

    clients = connect(flags, config, clock)          # None without --kubeconfig
    member = Member(clients, host, agent)            # after the workers are made
    member.add_to(supervisor)

Everything here retries for ever: an agent whose API server is away starts, runs its static pods, and joins
when it can. As upstream there are three clients: one for everything, one for events, one for the lease.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from aio.clock import Clock
from aio.executors import Executors
from aio.supervise import Supervisor
from kube import kubeconfig
from kube.client.model import Client
from kubelet import events
from kubelet.admission import Place, Room
from kubelet.api_pods import SOURCE, ApiPods
from kubelet.configuration import KubeletConfiguration
from kubelet.desired import DesiredPods
from kubelet.events_api.writer import EventWriter
from kubelet.flags import Flags
from kubelet.node.agent import Inputs, NodeAgent, NodeClients
from kubelet.node.facts import detect_ips
from kubelet.node.limits import api_limits, event_limits, lease_limits
from kubelet.node.machine import read_machine
from kubelet.node.model import node_settings
from kubelet.node.own import NodeView
from kubelet.node.pod_range import PodRange
from kubelet.objects import joining
from kubelet.objects.pod_inputs import ApiPodInputs
from kubelet.plan_mirror import NodeOwner
from kubelet.pod_network import PodNetwork, PodNetworkSettings
from kubelet.podspec.context import NodeFacts
from kubelet.record import PodRecord
from kubelet.runtime_loops import RuntimeLoops
from kubelet.volumes.service import PodVolumes
from kubelet.workers import Workers

if TYPE_CHECKING:
    from cri.wire import Runtime

LAST_EVENTS_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Clients:
    """Of one agent; `server` is the API server's URL."""

    server: str
    api: Client
    events: Client
    lease: Client

    async def close(self) -> None:
        for client in (self.api, self.events, self.lease):
            await client.close()


def connect(flags: Flags, config: KubeletConfiguration, clock: Clock) -> Clients | None:
    """None for an agent that was given no API server. BadSettings (Rejected) names file and field. Nothing is
    asked of the server yet."""
    if not flags.kubeconfig:
        return None
    # Imported here: the HTTP library costs an agent without a cluster 12 MiB for nothing.
    from kube.client.http import HttpClient

    settings = kubeconfig.load(flags.kubeconfig, user_agent="kubelet")
    return Clients(
        settings.server,
        HttpClient(settings, limits=api_limits(config), clock=clock),
        HttpClient(settings, limits=event_limits(config), clock=clock),
        HttpClient(settings, limits=lease_limits(config), clock=clock),
    )


@dataclass(frozen=True, slots=True)
class Host:
    """Where the agent runs and what it was asked to be."""

    flags: Flags
    config: KubeletConfiguration
    facts: NodeFacts
    runtime: Runtime
    clock: Clock
    executors: Executors


@dataclass(frozen=True, slots=True)
class AgentParts:
    """What of the agent is there with or without a cluster."""

    workers: Workers
    record: PodRecord
    volumes: PodVolumes
    desired: DesiredPods
    loops: RuntimeLoops
    inputs: ApiPodInputs
    sink: events.EventSink


class Member:
    """`node`, `pods`, `network`: the agent as a Node, its pods in the API, and the network it keeps."""

    def __init__(self, clients: Clients, host: Host, agent: AgentParts, writer: EventWriter) -> None:
        self._clients = clients
        self._writer = writer
        self._inputs = agent.inputs
        clock, facts = host.clock, host.facts
        agent.record.redefined = agent.inputs.redefined
        self._object_loops = joining.join(agent.inputs, agent.volumes, agent.workers.get, clock, agent.sink)
        self.node = _make_node(clients, host, agent)
        agent.loops.told = self.node.take_runtime
        self.pods = ApiPods(clients.api, clock, facts.node_name, agent.desired, agent.record, self._owner)
        self.network = _make_network(clients, host, agent.loops) if host.flags.pod_network_bridge else None
        self._ranges = PodRange(host.runtime.runtime, clock)
        self._workers, self._record = agent.workers, agent.record
        self._room = Room(facts.allocatable, tuple(host.config.allowed_unsafe_sysctls))
        agent.workers.look_at_node = self.node.look_again
        self.node.own.add_handler(self._node_changed)

    def add_to(self, supervisor: Supervisor) -> None:
        """Every loop and stop, in the stages of the agent."""
        for name, loop in self.pods.loops().items():
            supervisor.add(name, loop, stage="sources" if name == SOURCE else "records")
        for name, loop in {**self.node.loops(), **self._object_loops}.items():
            supervisor.add(name, loop, stage="records")
        supervisor.add("pod range", self._ranges.run, stage="records")
        if self.network is not None:
            supervisor.add("pod network", self.network.run, stage="records")
        supervisor.add("events to the API", self._writer.run, stage="records")
        supervisor.add_stop("last statuses", self._last_statuses, stage="records")
        supervisor.add_stop("last events", self._last_events, stage="records")
        supervisor.add_stop("close objects", self._inputs.close, stage="runtime")
        supervisor.add_stop("close clients", self._clients.close, stage="runtime")

    async def _last_statuses(self) -> None:
        self._record.flush_statuses()
        await self.pods.writer.drain()

    async def _last_events(self) -> None:
        """What was told is worth a moment, and no more: the server may be what was stopped."""
        try:
            async with asyncio.timeout(LAST_EVENTS_SECONDS):
                await self._writer.drain()
        except TimeoutError:
            return

    def _owner(self) -> NodeOwner | None:
        node = self.node.own.latest
        return NodeOwner(node["metadata"]["name"], node["metadata"]["uid"]) if node is not None else None

    def _node_changed(self, view: NodeView) -> None:
        self.pods.mirrors.poke()
        self._ranges.set(view.pod_cidrs)
        place = Place(self.node.name, view.labels, view.taints)
        self._workers.set_room(replace(self._room, place=place))
        if self.network is not None:
            self.network.set_ranges(view.pod_cidrs)


def _make_node(clients: Clients, host: Host, agent: AgentParts) -> NodeAgent:
    version = host.runtime.version
    settings = node_settings(
        host.flags, host.config, host.facts.node_name,
        f"{version.runtime_name}://{version.runtime_version}",
    )  # fmt: skip
    inputs = Inputs(
        addresses=lambda: detect_ips(host.flags) or host.facts.node_ips,
        images=host.runtime.images.list_images,
        problems=agent.loops.problems,
    )
    machine = read_machine(host.facts.root_dir)
    own_clients = NodeClients(clients.api, clients.lease)
    return NodeAgent(own_clients, host.clock, settings, machine, inputs, agent.sink)


def _make_network(clients: Clients, host: Host, loops: RuntimeLoops) -> PodNetwork:
    flags, root = host.flags, Path(host.facts.root_dir)
    settings = PodNetworkSettings(
        bridge=flags.pod_network_bridge,
        conflist=Path(flags.pod_network_conflist),
        leases=Path(flags.pod_network_leases) if flags.pod_network_leases else root / "network",
        results=root / "network-results",
        plugin_directories=tuple(part for part in flags.cni_bin_dir.split(",") if part),
        server=clients.server,
    )
    return PodNetwork(
        settings, clients.api, host.runtime.runtime, host.clock, host.executors,
        own_address=lambda: (detect_ips(flags) or host.facts.node_ips)[0], changed=loops.hurry,
    )  # fmt: skip
