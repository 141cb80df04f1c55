"""A node's pods in the cluster, joined: the API source, the status writer, the mirror pods.

    pods = ApiPods(client, clock, node_name, desired, record, node)
    for name, loop in pods.loops().items():
        supervisor.add(name, loop, stage="sources" if name == SOURCE else "records")

`desired` must have been made with the API among its sources (`source_names(config, with_api=True)`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from aio.clock import Clock
from kube.client.model import Client
from kubelet.desired import DesiredPods
from kubelet.mirror import MirrorPods
from kubelet.plan_mirror import NodeOwner
from kubelet.record import PodRecord
from kubelet.sources.api import ApiOutlet, ApiSource
from kubelet.status_writer import StatusWriter

SOURCE = "source api"
STATUSES = "pod statuses to the API"
MIRRORS = "mirror pods"

Loop = Callable[[], Awaitable[None]]


@dataclass(slots=True)
class ApiPods:
    """`node` gives the node as registered (mirror pods belong to it), None before that; call
    `mirrors.poke()` when it is."""

    client: Client
    clock: Clock
    node_name: str
    desired: DesiredPods
    record: PodRecord
    node: Callable[[], NodeOwner | None]
    source: ApiSource = field(init=False)
    writer: StatusWriter = field(init=False)
    mirrors: MirrorPods = field(init=False)

    def __post_init__(self) -> None:
        desired = self.desired
        self.writer = StatusWriter(self.client, self.clock)
        self.mirrors = MirrorPods(
            self.client, self.clock, self.node, desired.all_delivered, self.writer.show_mirror
        )
        outlet = ApiOutlet(
            desired.deliver, desired.change, desired.report, self.mirrors,
            self.writer.observe, self.writer.gone, desired.workers.presume,
        )  # fmt: skip
        self.source = ApiSource(self.client, self.node_name, self.clock, outlet)
        self.record.statuses = self.writer
        desired.static_pods = self.mirrors

    def loops(self) -> dict[str, Loop]:
        """Loop by name, all of them eternal."""
        return {SOURCE: self.source.run, STATUSES: self.writer.run, MIRRORS: self.mirrors.run}
