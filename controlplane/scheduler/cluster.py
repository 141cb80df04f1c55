"""The cluster as the scheduler counts it: nodes with the pods they carry, kept up to date pod by pod (pure).

A pod that was chosen a node is counted there at once (`assume`), long before the API server says so; a
binding that fails takes it back (`forget`). Sums are kept, never recounted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from controlplane.scheduler.requests import Amounts, Request, amounts, request_of
from kube.objects.cluster_v1 import Node
from kube.objects.core_v1 import Pod, PodAffinityTerm, WeightedPodAffinityTerm

ANY_ADDRESS = "0.0.0.0"
NO_NODE = Node()


@dataclass(frozen=True, slots=True)
class PodInfo:
    """A pod with what decisions read of it, worked out once."""

    pod: Pod
    request: Request
    ports: frozenset[tuple[str, str, int]]
    affinity: tuple[PodAffinityTerm, ...] = ()
    anti_affinity: tuple[PodAffinityTerm, ...] = ()
    likes: tuple[WeightedPodAffinityTerm, ...] = ()
    dislikes: tuple[WeightedPodAffinityTerm, ...] = ()

    @property
    def key(self) -> str:
        return f"{self.pod.metadata.namespace}/{self.pod.metadata.name}"

    @property
    def labels(self) -> Mapping[str, str]:
        return self.pod.metadata.labels

    @property
    def namespace(self) -> str:
        return self.pod.metadata.namespace

    @property
    def has_terms(self) -> bool:
        return bool(self.affinity or self.anti_affinity or self.likes or self.dislikes)


def read_pod(pod: Pod) -> PodInfo:
    """QuantityError when a request cannot be read."""
    affinity = pod.spec.affinity
    near = affinity.pod_affinity if affinity is not None else None
    far = affinity.pod_anti_affinity if affinity is not None else None
    return PodInfo(
        pod,
        request_of(pod),
        frozenset(host_ports(pod)),
        near.required_during_scheduling_ignored_during_execution if near else (),
        far.required_during_scheduling_ignored_during_execution if far else (),
        near.preferred_during_scheduling_ignored_during_execution if near else (),
        far.preferred_during_scheduling_ignored_during_execution if far else (),
    )


def host_ports(pod: Pod) -> Iterator[tuple[str, str, int]]:
    """(address, protocol, port) of every port of the node that a container or a sidecar takes."""
    sidecars = [item for item in pod.spec.init_containers if item.restart_policy == "Always"]
    for container in (*pod.spec.containers, *sidecars):
        for port in container.ports:
            if port.host_port:
                yield port.host_ip or ANY_ADDRESS, port.protocol or "TCP", port.host_port


def is_finished(pod: Pod) -> bool:
    """Its containers are over for good: it holds nothing of the node."""
    return pod.status.phase in ("Succeeded", "Failed")


@dataclass(slots=True)
class NodeInfo:
    """One node; `node` is None while only its pods are known."""

    name: str
    node: Node | None = None
    allocatable: Amounts = field(default_factory=dict)
    pods: dict[str, PodInfo] = field(default_factory=dict)
    requested: Amounts = field(default_factory=dict)
    cpu: int = 0
    memory: int = 0
    with_terms: set[str] = field(default_factory=set)

    @property
    def labels(self) -> Mapping[str, str]:
        return (self.node or NO_NODE).metadata.labels

    def add(self, info: PodInfo) -> None:
        self.pods[info.key] = info
        if info.has_terms:
            self.with_terms.add(info.key)
        self._count(info, 1)

    def drop(self, key: str) -> None:
        info = self.pods.pop(key)
        self.with_terms.discard(key)
        self._count(info, -1)

    def _count(self, info: PodInfo, sign: int) -> None:
        for name, value in info.request.exact.items():
            self.requested[name] = self.requested.get(name, 0) + sign * value
        self.cpu += sign * info.request.cpu
        self.memory += sign * info.request.memory


class Cluster:
    """Nodes, the pods on them, the labels of namespaces."""

    def __init__(self, nodes: Iterable[Node] = (), pods: Iterable[Pod] = ()) -> None:
        self._infos: dict[str, NodeInfo] = {}
        self._place_of: dict[str, str] = {}
        self._assumed: dict[str, str] = {}
        self.namespaces: dict[str, Mapping[str, str]] = {}
        for node in nodes:
            self.set_node(node)
        for pod in pods:
            self.set_pod(read_pod(pod))

    def nodes(self) -> list[NodeInfo]:
        """Nodes that exist, in the order they came."""
        return [info for info in self._infos.values() if info.node is not None]

    def node(self, name: str) -> NodeInfo | None:
        return self._infos.get(name)

    def is_assumed(self, key: str) -> bool:
        """Chosen a node, not yet seen bound."""
        return key in self._assumed

    def set_node(self, node: Node) -> None:
        info = self._infos.setdefault(node.metadata.name, NodeInfo(node.metadata.name))
        info.node = node
        info.allocatable = amounts(node.status.allocatable or node.status.capacity)

    def drop_node(self, name: str) -> None:
        info = self._infos.get(name)
        if info is not None:
            info.node = None
            self._tidy(name)

    def set_pod(self, info: PodInfo) -> None:
        """A pod as the API server has it now; one without a node, or that is over, is not counted (but
        stays where it was assumed to be until its binding has failed or shown)."""
        key, node = info.key, info.pod.spec.node_name
        if node and not is_finished(info.pod):
            self._move(info, node)
            self._assumed.pop(key, None)
        elif self._assumed.get(key) != info.pod.metadata.uid or is_finished(info.pod):
            self.drop_pod(key)

    def assume(self, info: PodInfo, node: str) -> None:
        self._move(info, node)
        self._assumed[info.key] = info.pod.metadata.uid

    def forget(self, key: str, uid: str) -> None:
        """The binding failed. No effect when the pod was seen bound meanwhile, or is another one now."""
        if self._assumed.get(key) == uid:
            self.drop_pod(key)

    def drop_pod(self, key: str) -> bool:
        """Whether it was counted somewhere."""
        self._assumed.pop(key, None)
        name = self._place_of.pop(key, None)
        if name is not None:
            self._infos[name].drop(key)
            self._tidy(name)
        return name is not None

    def _move(self, info: PodInfo, node: str) -> None:
        assumed = self._assumed.get(info.key)
        self.drop_pod(info.key)
        if assumed is not None:
            self._assumed[info.key] = assumed
        self._infos.setdefault(node, NodeInfo(node)).add(info)
        self._place_of[info.key] = node

    def _tidy(self, name: str) -> None:
        info = self._infos[name]
        if info.node is None and not info.pods:
            del self._infos[name]
