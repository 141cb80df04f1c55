"""The agent's own Node as the cluster has it: kept by a watch, and by the answers to the agent's own writes.

Whoever needs labels, podCIDRs or taints adds a handler; it is called at once when the Node is known already,
and then for every change of what it can see. The last view stays when the Node is deleted: nothing that runs
depends on it being there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import msgspec

from aio.clock import Clock
from kube import objects
from kube.cache import Cache, Change, ChangeKind, Scope
from kube.client import Client, JsonObject
from kube.client.resources import NODES
from kube.objects.cluster_v1 import Node, Taint


@dataclass(frozen=True, slots=True)
class NodeView:
    """What of a Node matters to the agent."""

    uid: str
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[Taint, ...] = ()
    is_unschedulable: bool = False
    pod_cidrs: tuple[str, ...] = ()
    allocatable: Mapping[str, str] = field(default_factory=dict)


Handler = Callable[[NodeView], None]


class OwnNode:
    """`run` is an eternal loop. `latest` is the whole object, None while there is none; do not change it."""

    def __init__(self, client: Client, name: str, clock: Clock) -> None:
        scope = Scope(field_selector=f"metadata.name={name}")
        self.latest: JsonObject | None = None
        self.view: NodeView | None = None
        self._name = name
        self._known = asyncio.Event()
        self._handlers: list[Handler] = []
        self._cache: Cache[JsonObject] = Cache(client, NODES, _decode, clock=clock, scope=scope)
        self._cache.add_handler(self._changed)
        self.run = self._cache.run

    def add_handler(self, handler: Handler) -> None:
        """It must not block; one that raises ends the agent."""
        self._handlers.append(handler)
        if self.view is not None:
            handler(self.view)

    async def wait_known(self) -> JsonObject:
        """Until there is a Node; the object."""
        while self.latest is None:
            self._known.clear()
            await self._known.wait()
        return self.latest

    def saw(self, node: JsonObject) -> None:
        """The answer to a write of ours: newer than what the watch has brought, unless that overtook it."""
        if self.latest is not None and _is_older(node, self.latest):
            return
        self.latest = node
        self._known.set()
        view = view_of(node)
        if view != self.view:
            self.view = view
            for handler in self._handlers:
                handler(view)

    def _changed(self, change: Change[JsonObject]) -> None:
        if change.kind is ChangeKind.DELETED:
            self.latest = None
        elif change.new is not None and change.key == self._name:
            self.saw(change.new)


def view_of(node: JsonObject) -> NodeView:
    """ValueError (msgspec's) when it is no Node."""
    read = objects.convert(node, Node)
    cidrs = read.spec.pod_cidrs or ((read.spec.pod_cidr,) if read.spec.pod_cidr else ())
    return NodeView(
        uid=read.metadata.uid,
        labels=read.metadata.labels,
        taints=read.spec.taints,
        is_unschedulable=bool(read.spec.unschedulable),
        pod_cidrs=cidrs,
        allocatable=read.status.allocatable,
    )


def _decode(raw: bytes) -> JsonObject:
    found: JsonObject = msgspec.json.decode(raw)
    return found


def _is_older(one: JsonObject, other: JsonObject) -> bool:
    """By resourceVersion, where both are of one object and can be compared (they are numbers in order)."""
    first, second = one["metadata"], other["metadata"]
    if first.get("uid") != second.get("uid"):
        return False
    versions = first.get("resourceVersion", ""), second.get("resourceVersion", "")
    return all(text.isdigit() for text in versions) and int(versions[0]) < int(versions[1])
