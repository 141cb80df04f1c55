"""The pods that are measured, and the very CRI requests that the agent makes for them.

The floor must do the same work as the agent, so its requests come from the agent's own builders
(`kubelet.podspec`, `kubelet.volumes`): the same image, command, mounts, hosts file, labels, annotations.
They are made and encoded before any clock starts.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msgspec import structs

from aio.executors import Executors
from cri import wire
from cri._pb import api_pb2 as pb
from cri._pb import convert
from kube.objects.core_v1 import Pod
from kubelet.configuration import KubeletConfiguration
from kubelet.flags import Flags
from kubelet.node.facts import read_node
from kubelet.podspec.container_config import container_config
from kubelet.podspec.context import ContainerContext, ImageUser, NodeFacts, SandboxContext
from kubelet.podspec.downward import DownwardFacts
from kubelet.podspec.env import NoObjects, container_env
from kubelet.podspec.sandbox_config import sandbox_config
from kubelet.sources.manifest import decoder
from kubelet.sources.model import FILE
from kubelet.volumes.empty_dir import EmptyDirPlugin
from kubelet.volumes.mounting import LinuxMounter
from kubelet.volumes.service import MountWishes, PodVolumes
from probes.spec import ProbeSpec, build_spec

PORT = 8080
IMAGE = "docker.io/library/busybox:1.35"
CONTAINER = "web"
# A web server whose main process ends on SIGTERM: process 1 of a namespace needs a handler for that.
COMMAND = ("sh", "-c", f"trap 'exit 0' TERM; httpd -p {PORT} -h /etc; sleep 1000000 & wait")

PROBES: dict[str, dict[str, Any]] = {
    "http": {"httpGet": {"path": "/passwd", "port": PORT}},
    "tcp": {"tcpSocket": {"port": PORT}},
    "exec": {"exec": {"command": ["true"]}},
}


def manifest(name: str, *, readiness: str = "http", liveness: str = "", period: int = 10) -> dict[str, Any]:
    """One pod: a container with a web server, an emptyDir, and probes of these kinds ("" = none)."""
    container: dict[str, Any] = {
        "name": CONTAINER,
        "image": IMAGE,
        "command": list(COMMAND),
        "ports": [{"containerPort": PORT}],
        "volumeMounts": [{"name": "scratch", "mountPath": "/scratch"}],
    }
    for field, kind in (("readinessProbe", readiness), ("livenessProbe", liveness)):
        if kind:
            container[field] = {**PROBES[kind], "periodSeconds": period}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "bench", "labels": {"app": name}},
        "spec": {"containers": [container], "volumes": [{"name": "scratch", "emptyDir": {}}]},
    }


@dataclass(frozen=True, slots=True)
class BarePod:
    """A pod of the floor: its requests, encoded but for the ids that only the runtime knows."""

    name: str
    sandbox: bytes  # RunPodSandboxRequest
    containers: tuple[bytes, ...]  # CreateContainerRequest without pod_sandbox_id, by restart count
    probe: ProbeSpec


class BarePods:
    """Makes pods of the floor below `root`, as an agent with that root directory would."""

    def __init__(self, root: Path, image_id: str, *, are_hidden: bool = False) -> None:
        """Hidden ones bear labels of the same size that no agent knows pods by: it lets them be."""
        self._are_hidden = are_hidden
        flags = Flags(root_dir=str(root / "state"), hostname_override="n1")
        logs = str(root / "logs" / "pods")
        config = structs.replace(KubeletConfiguration(), pod_logs_dir=logs)
        self._node: NodeFacts = read_node(flags, config)
        self._image_id = image_id
        self._executors = Executors()
        mounter = LinuxMounter()
        plugins = (EmptyDirPlugin(mounter, lambda: self._node),)
        self._volumes = PodVolumes(plugins, mounter, self._executors, lambda: self._node)
        self._decode = decoder(FILE, self._node.node_name)

    async def make(self, document: dict[str, Any], attempts: int = 1) -> BarePod:
        """The pod's directories on disk, and its requests for the first `attempts` starts."""
        name = document["metadata"]["name"]
        (pod,) = self._decode(json.dumps(document).encode(), f"/manifests/{name}.yaml")
        await self._volumes.mount_all(pod)
        box = sandbox_config(pod, 0, SandboxContext(self._node))
        box = dataclasses.replace(box, labels=self._labels(box.labels))
        request = pb.RunPodSandboxRequest(config=convert.to_PodSandboxConfig(box))
        containers = [await self._container(pod, attempt) for attempt in range(attempts)]
        probe = pod.spec.containers[0].readiness_probe
        assert probe is not None
        spec = build_spec(probe, (), path="readinessProbe", expand=str)
        return BarePod(name, request.SerializeToString(), tuple(containers), spec)

    async def _container(self, pod: Pod, attempt: int) -> bytes:
        (container,) = pod.spec.containers
        ips = ("10.0.0.1",)  # only the text of the hosts file depends on it
        facts = DownwardFacts(self._node.node_name, self._node.node_ips, ips, self._node.allocatable)
        envs = container_env(pod, container, facts, NoObjects())
        mounts = await self._volumes.container_mounts(pod, container, MountWishes(attempt, ips, envs))
        context = ContainerContext(
            node=self._node,
            image_ref=self._image_id,
            image_user=ImageUser(),
            envs=tuple(envs.items()),
            mounts=mounts,
            static_pod=True,
        )
        config = container_config(pod, container, attempt, context)
        config = dataclasses.replace(config, labels=self._labels(config.labels))
        box = sandbox_config(pod, 0, SandboxContext(self._node))
        box = dataclasses.replace(box, labels=self._labels(box.labels))
        request = pb.CreateContainerRequest(
            config=convert.to_ContainerConfig(config), sandbox_config=convert.to_PodSandboxConfig(box)
        )
        return bytes(request.SerializeToString())

    def _labels(self, labels: Mapping[str, str]) -> dict[str, str]:
        hidden = {f"io.benchmark{name.removeprefix('io.kubernetes')}": text for name, text in labels.items()}
        return hidden if self._are_hidden else dict(labels)


async def image_id(runtime: wire.Runtime) -> str:
    """The runtime's id of the image that the pods use."""
    from cri.types import ImageSpec

    image = (await runtime.images.image_status(ImageSpec(image=IMAGE))).image
    assert image is not None, f"image {IMAGE!r} is not there"
    return image.id
