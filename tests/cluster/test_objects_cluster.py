"""What pods read of the API, from a whole control plane with the node's own certificate.

The Node authorizer lets a node read only what its pods refer to, by name; tokens are real and bound to the
pod; the root CA comes from its controller. Mounts are kept in a table, files are real.
"""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from aio.clock import SystemClock
from aio.executors import Executors
from controlplane.credentials import write_node_kubeconfig
from kube import kubeconfig, objects, status
from kube.client import resources as r
from kube.client.http import HttpClient
from kube.objects.core_v1 import Pod
from kubelet.events import RingEvents
from kubelet.objects.joining import join, make_inputs
from kubelet.objects.model import Kind, ObjectKey, ObjectUnread
from kubelet.objects.store import ObjectStore
from kubelet.podspec.context import NodeFacts
from kubelet.volumes.fake import FakeMounter
from kubelet.volumes.plugin import VolumeError
from kubelet.volumes.registry import builtin_plugins
from kubelet.volumes.service import PodVolumes
from tests.cluster.planes import Plane, now

pytestmark = pytest.mark.cluster

NODE = "n1"
PATIENCE_SECONDS = 30.0


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[Plane]:
    made = Plane(tmp_path)
    made.start("--components", "api,controllers")
    yield made
    made.close()


class Agent:
    """The part of an agent that reads for pods, as the node NODE."""

    def __init__(self, plane: Plane, root: Path) -> None:
        file = plane.root / "node.kubeconfig"
        write_node_kubeconfig(plane.pki, file, NODE, plane.url, now())
        self.client = HttpClient(kubeconfig.load(file))
        self.admin = HttpClient(kubeconfig.load(plane.kubeconfig()))
        facts = NodeFacts(NODE, root_dir=str(root / "kubelet"), pod_logs_dir=str(root / "logs"))
        clock, mounter = SystemClock(), FakeMounter()
        sink = RingEvents(clock)
        self.inputs = make_inputs(self.client, clock, sink)
        self.volumes = PodVolumes(
            builtin_plugins(mounter, lambda: facts), mounter, Executors(), lambda: facts, inputs=self.inputs
        )
        self.loops = join(self.inputs, self.volumes, lambda _uid: None, clock, sink)

    async def mount(self, pod: Pod) -> dict[str, Path]:
        """With the pauses that the core makes; the authorizer hears of the pod a moment after we do."""
        self.inputs.register(pod)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                ready = await self.volumes.mount_all(pod)
            except VolumeError as fault:
                assert time.monotonic() < deadline, fault
                await asyncio.sleep(fault.after_seconds or 0.25)
            else:
                return {name: Path(volume.host_path) for name, volume in ready.items()}

    async def put(self, kind: str, resource: r.Resource, name: str, **fields: Any) -> None:
        metadata = {"name": name, "namespace": "default"}
        body = {"apiVersion": "v1", "kind": kind, "metadata": metadata, **fields}
        try:
            await self.admin.create(resource, body)
        except status.AlreadyExists:
            await self.admin.update(resource, body)

    async def create_pod(self, name: str, **spec: Any) -> Pod:
        """As soon as the namespace has its service account."""
        containers = [{"name": "app", "image": "busybox", **spec.pop("container", {})}]
        body = {"nodeName": NODE, "containers": containers, **spec}
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": "default"},
            "spec": body,
        }
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return objects.convert(await self.admin.create(r.PODS, pod), Pod)
            except status.Forbidden as refused:
                assert time.monotonic() < deadline, refused
                await asyncio.sleep(0.05)


@asynccontextmanager
async def agent_of(plane: Plane) -> AsyncIterator[Agent]:
    before = sockets()
    agent = Agent(plane, plane.root)
    tasks = [asyncio.ensure_future(loop()) for loop in agent.loops.values()]
    try:
        yield agent
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await agent.inputs.close()
        await agent.client.close()
        await agent.admin.close()
        # A watch that is ended says goodbye to TLS in the background.
        await until(lambda: sockets() <= before)


def sockets() -> set[str]:
    """The sockets of this process."""
    found = set()
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):
            found.add(str(entry.readlink()))
    return {name for name in found if name.startswith("socket:")}


async def until(condition: Callable[[], bool | Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            found = condition()
            if found if isinstance(found, bool) else await found:
                return
            await asyncio.sleep(0.02)


@pytest.mark.asyncio
async def test_pod_gets_token_root_ca_and_maps_with_the_nodes_certificate(plane: Plane) -> None:
    async with agent_of(plane) as agent:
        await agent.put("ConfigMap", r.CONFIG_MAPS, "settings", data={"color": "red"})
        await agent.put("Secret", r.SECRETS, "keys", data={"k": base64.b64encode(b"s3cret").decode()})
        reference = {"secretKeyRef": {"name": "keys", "key": "k"}}
        pod = await agent.create_pod(
            "web",
            volumes=[{"name": "config", "configMap": {"name": "settings"}}],
            container={"env": [{"name": "K", "valueFrom": reference}]},
        )
        places = await agent.mount(pod)
        (access,) = (place for name, place in places.items() if name.startswith("kube-api-access"))
        assert (access / "namespace").read_text() == "default"
        assert (access / "ca.crt").read_bytes() == plane.pki.ca_file.read_bytes()
        token = (access / "token").read_text()
        review = await agent.admin.create(
            r.TOKEN_REVIEWS,
            {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}},
        )
        user = review["status"]["user"]
        assert user["username"] == "system:serviceaccount:default:default"
        assert user["extra"]["authentication.kubernetes.io/pod-uid"] == [pod.metadata.uid]

        environment = await agent.inputs.environment(pod, pod.spec.containers[0])
        assert environment.lookup.secret("default", "keys") == {"k": b"s3cret"}
        host, _, port = plane.address.rpartition(":")
        assert environment.services["KUBERNETES_SERVICE_PORT"] == "443" and host and port

        config = places["config"]
        assert (config / "color").read_text() == "red"
        await agent.put("ConfigMap", r.CONFIG_MAPS, "settings", data={"color": "blue"})
        await until(lambda: (config / "color").read_text() == "blue")


@pytest.mark.asyncio
async def test_object_that_no_pod_of_the_node_names_is_refused(plane: Plane) -> None:
    async with agent_of(plane) as agent:
        await agent.put("Secret", r.SECRETS, "others", data={})
        mine = await agent.create_pod("mine")
        await agent.mount(mine)
        store = ObjectStore(agent.client, SystemClock())
        volume = {"name": "v", "secret": {"secretName": "others"}}
        metadata = {"name": "forged", "namespace": "default", "uid": "x"}
        forged = {"metadata": metadata, "spec": {"containers": [], "volumes": [volume]}}
        store.register(objects.convert(forged, Pod))
        with pytest.raises(ObjectUnread, match='secrets "others" is forbidden'):
            await store.get(ObjectKey(Kind.SECRET, "default", "others"))
        await store.close()


@pytest.mark.asyncio
async def test_55_pods_mount_with_one_watch_and_one_request_each(plane: Plane) -> None:
    async with agent_of(plane) as agent:
        pods = [await agent.create_pod(f"p{number}") for number in range(55)]
        began = time.monotonic()
        places = await asyncio.gather(*(agent.mount(pod) for pod in pods))
        took = time.monotonic() - began
        tokens = {(next(iter(one.values())) / "token").read_text() for one in places}
        assert len(tokens) == 55
        assert took < PATIENCE_SECONDS
