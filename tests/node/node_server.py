"""The agent's server in the test's own process, before a real runtime, with pods of the test's making.

A pod is made straight over CRI with the labels that the agent gives it; what the server asks about pods is
read from the runtime by the agent's own `Observer`, anew with every `look`.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aio.clock import SystemClock
from aio.executors import Executors
from cri.types import ContainerConfig, ContainerMetadata, ImageSpec, PodSandboxConfig, PodSandboxMetadata
from cri.wire import Runtime, connect
from kube import pki
from kube.client import resources
from kube.fake import FakeApi
from kube.pki import Pair, Subject, Usage
from kubelet.configuration import KubeletConfiguration
from kubelet.configuration.types import Authentication, X509Authentication
from kubelet.model import ObservedContainer, Phase
from kubelet.observe import Observer
from kubelet.server.node_server import NodeServer, ServerParts
from kubelet.server.served_pods import ServedPod
from kubelet.server.serving import Host
from tests.runtimes import PrivateContainerd
from tests.session_clients import Server

BUSYBOX = ImageSpec(image="docker.io/library/busybox:1.35")
UID, NAMESPACE, POD, NODE = "uid-talker", "shop", "talker", "n1"
WAIT_SECONDS = 20.0


@dataclass
class OnePod:
    """`Pods` with one pod, as the runtime had it at the last `look`."""

    observer: Observer
    status: dict[str, Any] = field(default_factory=dict)
    served: ServedPod = field(default_factory=lambda: ServedPod(UID, NAMESPACE, POD))

    async def look(self) -> ServedPod:
        observed = await self.observer.read(UID, None)
        names = tuple(dict.fromkeys(one.name for one in observed.containers))
        statuses = [_status(name, list(observed.history(name))) for name in names]
        self.status = {"phase": "Running", "containerStatuses": statuses}
        self.served = ServedPod(UID, NAMESPACE, POD, (*names, "late"), self.status, observed)
        return self.served

    def documents(self) -> Sequence[Any]:
        meta = {"name": POD, "namespace": NAMESPACE, "uid": UID}
        return [{"apiVersion": "v1", "kind": "Pod", "metadata": meta, "status": self.status}]

    def find(self, namespace: str, name: str, uid: str = "") -> ServedPod | None:
        return self.served if (namespace, name) == (NAMESPACE, POD) and uid in ("", UID) else None

    def by_uid(self, uid: str) -> ServedPod | None:
        return self.served if uid == UID else None

    def all(self) -> Iterator[ServedPod]:
        yield self.served


def _status(name: str, runs: list[ObservedContainer]) -> dict[str, Any]:
    newest, *older = runs
    status = {"name": name, "containerID": f"containerd://{newest.id}", "state": _state(newest)}
    if older:
        status["lastState"] = _state(older[0])
    return status


def _state(seen: ObservedContainer) -> dict[str, Any]:
    if seen.phase is Phase.RUNNING:
        return {"running": {}}
    return {"terminated": {"containerID": f"containerd://{seen.id}", "exitCode": seen.exit_code}}


@dataclass
class Scene:
    """A running server, its pod, and whom its API server knows."""

    node: Runtime
    server: NodeServer
    pods: OnePod
    api: FakeApi
    ca: Pair
    root: Path
    box: str = ""
    config: PodSandboxConfig = field(default_factory=PodSandboxConfig)

    async def start(self, name: str, script: str, *, attempt: int = 0, **settings: Any) -> str:
        """Start a container of the pod; its id."""
        labels = {**_labels(), "io.kubernetes.container.name": name}
        annotations = {"io.kubernetes.container.restartCount": str(attempt)}
        config = ContainerConfig(
            metadata=ContainerMetadata(name=name, attempt=attempt),
            image=BUSYBOX,
            command=("sh", "-c", script),
            log_path=f"{name}/{attempt}.log",
            labels=labels,
            annotations=annotations,
            **settings,
        )
        (self.root / name).mkdir(exist_ok=True)
        started = await self.node.runtime.create_container(self.box, config, self.config)
        await self.node.runtime.start_container(started)
        await self.pods.look()
        return started

    async def start_echo(self) -> None:
        """Container "main", which says on port 8080 what it hears; it listens when this returns."""
        started = await self.start("main", "nc -ll -p 8080 -e cat")
        script = f"until grep -q ':{8080:04X} ' /proc/net/tcp /proc/net/tcp6; do sleep 0.05; done"
        await self.node.runtime.exec_sync(started, ["sh", "-c", script], int(WAIT_SECONDS))

    async def wait_ended(self, name: str) -> None:
        async with asyncio.timeout(WAIT_SECONDS):
            while (await self.pods.look()).running_id(name) is not None:
                await asyncio.sleep(0.05)

    def client(self, user: str = "admin", *, token: str = "", anonymous: bool = False) -> Server:
        """Whoever asks: a certificate's user, a token's, or nobody."""
        context = ssl.create_default_context(cadata=(self.root / "pki" / "kubelet.crt").read_text())
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        if not token and not anonymous:
            pair = pki.issue(self.ca, Subject(user, ("testers",)), Usage.CLIENT, datetime.now(UTC))
            path = self.root / f"{user}.pem"
            path.write_bytes(pair.certificate + pair.key)
            context.load_cert_chain(path)
        host, port = self.server.address
        return Server(host, port, context, headers)


def _labels() -> dict[str, str]:
    return {
        "io.kubernetes.pod.name": POD,
        "io.kubernetes.pod.namespace": NAMESPACE,
        "io.kubernetes.pod.uid": UID,
    }


def cluster(clock: SystemClock) -> FakeApi:
    """An API server that knows the token "good" of bob, lets admin do all, bob read metrics and logs."""
    api = FakeApi(clock)

    def review_token(body: dict[str, Any], _: object) -> dict[str, Any]:
        if body["spec"]["token"] != "good":
            return {**body, "status": {"authenticated": False}}
        user = {"username": "bob", "uid": "7", "groups": ["testers"]}
        return {**body, "status": {"authenticated": True, "user": user}}

    def review_access(body: dict[str, Any], _: object) -> dict[str, Any]:
        wanted = body["spec"]["resourceAttributes"]
        assert (wanted["resource"], wanted["name"]) == ("nodes", NODE)
        may = body["spec"]["user"] == "admin" or (wanted["verb"], wanted["subresource"]) in (
            ("get", "metrics"),
            ("get", "proxy"),
        )
        return {**body, "status": {"allowed": may}}

    api.answer(resources.TOKEN_REVIEWS, review_token)
    api.answer(resources.SUBJECT_ACCESS_REVIEWS, review_access)
    return api


@asynccontextmanager
async def scene(runtime: PrivateContainerd, root: Path) -> AsyncIterator[Scene]:
    """A server before `runtime` with an empty pod; all of it is gone afterwards."""
    clock = SystemClock()
    ca = pki.make_ca("test-ca", datetime.now(UTC))
    (root / "ca.crt").write_bytes(ca.certificate)
    config = KubeletConfiguration(
        address="127.0.0.1",
        port=0,
        authentication=Authentication(x509=X509Authentication(client_ca_file=str(root / "ca.crt"))),
    )
    api = cluster(clock)
    node = await connect(runtime.endpoint)

    async def no_message(*_: object) -> str:
        return ""

    pods = OnePod(Observer(node.runtime, clock, no_message))
    parts = ServerParts(
        host=Host(NODE, ("127.0.0.1",)),
        config=config,
        cert_dir=root / "pki",
        client=api.client("kubelet"),
        clock=clock,
        executors=Executors(),
        runtime=node.runtime,
        pods=pods,
    )
    server = NodeServer(parts)
    metadata = PodSandboxMetadata(name=POD, uid=UID, namespace=NAMESPACE)
    box_config = PodSandboxConfig(metadata=metadata, log_directory=str(root), labels=_labels())
    box = ""
    try:
        box = await node.runtime.run_pod_sandbox(box_config)
        await server.start()
        made = Scene(node, server, pods, api, ca, root, box, box_config)
        await pods.look()
        yield made
    finally:
        await server.stop()
        if box:
            await node.runtime.stop_pod_sandbox(box)
            await node.runtime.remove_pod_sandbox(box)
        await node.close()
