"""A simulated node that is part of a cluster: `tests.simnode` joined to `kube.fake.FakeApi`.

    async def scenario(node: ClusterNode) -> None:
        node.bind(manifest("web"))                     # as a scheduler leaves it
        await node.until(lambda: node.is_ready("web"))

The API server outlives the agent and may go away; a test acts on it directly, as other clients do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

from aio import virtual
from aio.clock import VirtualClock
from cri.types import ContainerState
from kube.client import resources
from kube.client.model import DeleteOptions
from kube.fake import FakeApi
from kube.fake.faults import Request
from kubelet.api_pods import ApiPods
from kubelet.plan_mirror import NodeOwner
from kubelet.sources.merge import expecting
from kubelet.sources.model import API, FILE
from kubelet.worker import PodWorker
from tests.simnode import NODE_NAME, SimNode

T = TypeVar("T")
N = TypeVar("N", bound=SimNode)
NAMESPACE = "default"


class ClusterNode(SimNode):
    """A node with a cluster, and with a directory of manifests when `with_files`."""

    def __init__(self, clock: VirtualClock, root: Path, *, with_files: bool = False, **options: Any) -> None:
        super().__init__(clock, root, **options)
        self.api = FakeApi(clock)
        self.with_files = with_files
        node = self.api.put({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE_NAME}})
        self.owner: NodeOwner | None = NodeOwner(NODE_NAME, node["metadata"]["uid"])

    async def start(self) -> None:
        await super().start()
        self.desired.state = expecting([FILE, API] if self.with_files else [API])
        client = self.api.client("node")
        self.joined = ApiPods(client, self.clock, NODE_NAME, self.desired, self.record, lambda: self.owner)
        self._tasks += [asyncio.ensure_future(loop()) for loop in self.joined.loops().values()]

    # What other clients do

    def create(self, manifest: dict[str, Any]) -> dict[str, Any]:
        """A pod that is bound to this node from the start."""
        spec = {"terminationGracePeriodSeconds": 30, **manifest["spec"], "nodeName": NODE_NAME}
        metadata = {"namespace": NAMESPACE, **manifest["metadata"]}
        return self.api.put({**manifest, "metadata": metadata, "spec": spec})

    def change(self, name: str, **fields: Any) -> dict[str, Any]:
        """Change top-level parts of a pod (`metadata`, `spec`, `status`), each merged one level deep."""
        pod = self.pod(name)
        for part, values in fields.items():
            pod[part] = {**pod.get(part, {}), **values}
        return self.api.put(pod)

    def delete(self, name: str, grace: int | None = None) -> None:
        """`kubectl delete pod NAME --grace-period=grace`."""
        place = (NAMESPACE, name)
        self.api.delete(resources.PODS, place, DeleteOptions(grace_period_seconds=grace))

    # Questions

    def pod(self, name: str) -> dict[str, Any]:
        """As the API has it. NotFound when it has none."""
        return self.api.object(resources.PODS, name, NAMESPACE)

    def has(self, name: str) -> bool:
        return self.api.find(resources.PODS, name, NAMESPACE) is not None

    def shown(self, name: str) -> dict[str, Any]:
        """The status in the API."""
        found: dict[str, Any] = self.pod(name).get("status", {})
        return found

    def phase(self, name: str) -> str:
        return str(self.shown(name).get("phase", ""))

    def condition(self, name: str, kind: str) -> str:
        """Status of a condition in the API, "" when there is none."""
        for one in self.shown(name).get("conditions", ()):
            if one["type"] == kind:
                return str(one["status"])
        return ""

    def is_ready(self, name: str) -> bool:
        return self.condition(name, "Ready") == "True"

    def writes(self) -> list[Request]:
        """What the node asked the API to change."""
        return [one for one in self.api.requests if one.user == "node" and one.verb not in ("watch", "list")]

    def find(self, name: str) -> PodWorker | None:
        """By the pod's own name, or a manifest's."""
        for worker in self.workers.all():
            pod = worker.state.pod
            if pod is not None and pod.metadata.name in (name, f"{name}-{NODE_NAME}"):
                return worker
        return None

    def running(self, name: str = "") -> dict[str, str]:
        owners = (name, f"{name}-{NODE_NAME}")
        return {
            record.config.metadata.name: key
            for key, record in self.runtime.world.containers.items()
            if record.state is ContainerState.CONTAINER_RUNNING
            and (not name or record.sandbox.config.metadata.name in owners)
        }


def simulate_node(make: Callable[[VirtualClock], N], scenario: Callable[[N], Awaitable[T]]) -> T:
    """Run a scenario on the node that `make` gives; its agent is stopped at the end."""

    async def run(clock: VirtualClock) -> T:
        node = make(clock)
        try:
            await node.start()
            result = await scenario(node)
            await node.stop()
            return result
        finally:
            if node._tasks:
                await node.kill()
            node.runtime.close()

    return virtual.run(run)


def simulate_cluster(root: Path, scenario: Callable[[ClusterNode], Awaitable[T]], **options: Any) -> T:
    """Run a scenario on a fresh node of a fresh cluster."""
    return simulate_node(lambda clock: ClusterNode(clock, root, **options), scenario)
