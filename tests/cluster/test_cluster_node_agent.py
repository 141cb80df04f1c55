"""The agent's node part against a whole control plane in a process of its own: the node's certificate, the
Node authorizer and NodeRestriction, real watches. The runtime's answers are the test's.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from aio.clock import SystemClock
from controlplane.credentials import read_pki, write_admin_kubeconfig, write_node_kubeconfig
from cri.types import RuntimeCondition, RuntimeStatus, StatusResponse
from kube import kubeconfig, status
from kube.client import resources as r
from kube.client.http import HttpClient
from kube.client.settings import Limits
from kubelet import events
from kubelet.configuration import KubeletConfiguration
from kubelet.events_api.writer import EventWriter, TeeEvents
from kubelet.node.agent import Inputs, NodeAgent, NodeClients
from kubelet.node.limits import api_limits, event_limits, lease_limits
from kubelet.node.machine import read_machine
from kubelet.node.model import NodeSettings

pytestmark = pytest.mark.cluster

PATIENCE_SECONDS = 30.0
CONFIG = KubeletConfiguration()


def answer(*, network: bool) -> StatusResponse:
    return StatusResponse(
        RuntimeStatus((RuntimeCondition("RuntimeReady", True), RuntimeCondition("NetworkReady", network)))
    )


@dataclass
class Plane:
    """A control plane that listens, and a client of its administrator."""

    url: str
    directory: Path
    admin: HttpClient

    def node_kubeconfig(self, name: str) -> Path:
        pki = read_pki(self.directory / "pki")
        assert pki is not None
        file = self.directory / f"{name}.kubeconfig"
        write_node_kubeconfig(pki, file, name, self.url, datetime.now(UTC))
        return file

    async def node(self, name: str) -> dict[str, Any]:
        return await self.admin.get(r.NODES, name)

    async def is_ready(self, name: str) -> bool:
        return any(
            one["type"] == "Ready" and one["status"] == "True"
            for one in (await self.node(name))["status"]["conditions"]
        )

    async def event_reasons(self) -> list[str]:
        listed = await self.admin.list(r.EVENTS, namespace="default")
        found = [msgspec.json.decode(raw) for raw in listed.items]
        return [one["reason"] for one in found if one["source"].get("component") == "kubelet"]


@asynccontextmanager
async def control_plane(directory: Path) -> AsyncIterator[Plane]:
    address = directory / "address"
    argv = [
        sys.executable, "-m", "controlplane", "--data-dir", str(directory), "--bind-address", "127.0.0.1",
        "--secure-port", "0", "--address-file", str(address),
    ]  # fmt: skip
    process = subprocess.Popen(argv)
    try:
        await until(lambda: answered(address.exists() or process.poll() is not None), "it listens")
        url = f"https://{address.read_text().strip()}"
        pki = read_pki(directory / "pki")
        assert pki is not None
        write_admin_kubeconfig(pki, directory / "admin", url, datetime.now(UTC))
        admin = HttpClient(kubeconfig.load(directory / "admin"))
        try:
            yield Plane(url, directory, admin)
        finally:
            await admin.close()
    finally:
        process.terminate()
        process.wait(20)


async def answered(value: bool) -> bool:
    return value


async def until(is_so: Callable[[], Awaitable[bool]], what: str) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await is_so():
            await asyncio.sleep(0.05)


@dataclass
class Agent:
    """One node agent with clients of its own."""

    node: NodeAgent
    writer: EventWriter
    clients: list[HttpClient]
    tasks: list[asyncio.Task[Any]] = field(default_factory=list)


@asynccontextmanager
async def agent(plane: Plane, kubeconfig_of: str, settings: NodeSettings) -> AsyncIterator[Agent]:
    clock = SystemClock()
    where = kubeconfig.load(plane.node_kubeconfig(kubeconfig_of))
    limits: list[Limits] = [api_limits(CONFIG), lease_limits(CONFIG), event_limits(CONFIG)]
    api, lease, telling = clients = [HttpClient(where, limits=one) for one in limits]
    writer = EventWriter(telling, clock, settings.name)
    sink = TeeEvents(events.RingEvents(clock), writer)
    node = NodeAgent(
        NodeClients(api, lease), clock, settings, read_machine("/"), Inputs(lambda: ("192.0.2.7",)), sink
    )
    made = Agent(node, writer, clients)
    made.tasks = [asyncio.ensure_future(loop()) for loop in (*node.loops().values(), writer.run)]
    try:
        yield made
    finally:
        for task in made.tasks:
            task.cancel()
        ends = await asyncio.gather(*made.tasks, return_exceptions=True)
        for client in clients:
            await client.close()
        assert all(isinstance(end, asyncio.CancelledError) for end in ends), ends


@pytest.mark.asyncio
async def test_a_node_joins_is_given_its_range_and_turns_ready_with_its_network(tmp_path: Path) -> None:
    settings = NodeSettings("n1", labels={"zone": "a", "node.kubernetes.io/instance-type": "box"})
    async with control_plane(tmp_path) as plane, agent(plane, "n1", settings) as mine:
        mine.node.take_runtime(answer(network=False))
        known: asyncio.Future[tuple[str, ...]] = asyncio.get_running_loop().create_future()
        mine.node.own.add_handler(
            lambda view: known.set_result(view.pod_cidrs) if view.pod_cidrs and not known.done() else None
        )
        assert (await asyncio.wait_for(known, PATIENCE_SECONDS))[0].startswith("10.244.")
        assert not await plane.is_ready("n1")
        mine.node.take_runtime(answer(network=True))
        await until(lambda: plane.is_ready("n1"), "the node is ready")
        found = await plane.node("n1")
        assert found["metadata"]["labels"]["zone"] == "a"
        assert found["status"]["addresses"][0] == {"type": "InternalIP", "address": "192.0.2.7"}
        lease = await plane.admin.get(r.LEASES, "n1", namespace="kube-node-lease")
        assert lease["spec"]["holderIdentity"] == "n1"
        assert lease["metadata"]["ownerReferences"][0]["uid"] == found["metadata"]["uid"]
        await asyncio.wait_for(mine.writer.drain(), PATIENCE_SECONDS)
        assert {"Starting", "NodeReady", "NodeHasSufficientMemory"} <= set(await plane.event_reasons())


@pytest.mark.asyncio
async def test_an_agent_that_starts_again_corrects_its_node_and_keeps_what_others_wrote(
    tmp_path: Path,
) -> None:
    async with control_plane(tmp_path) as plane:
        async with agent(plane, "n1", NodeSettings("n1")) as first:
            first.node.take_runtime(answer(network=True))
            await until(first_ready(plane), "the node is ready")
        others = {
            "metadata": {"labels": {"team": "shop", "kubernetes.io/os": "windows"}},
            "spec": {"unschedulable": True},
        }
        await plane.admin.patch(r.NODES, "n1", others)
        async with agent(plane, "n1", NodeSettings("n1")) as second:
            second.node.take_runtime(answer(network=True))
            await asyncio.wait_for(second.node.is_registered.wait(), PATIENCE_SECONDS)
            found = await plane.node("n1")
            assert found["metadata"]["labels"]["team"] == "shop"
            assert found["metadata"]["labels"]["kubernetes.io/os"] == "linux"
            assert found["spec"]["unschedulable"] is True
            assert await plane.is_ready("n1")


def first_ready(plane: Plane) -> Callable[[], Awaitable[bool]]:
    async def is_so() -> bool:
        try:
            return await plane.is_ready("n1")
        except status.NotFound:
            return False

    return is_so


@pytest.mark.asyncio
async def test_with_the_certificate_of_another_node_nothing_is_registered(tmp_path: Path) -> None:
    async with control_plane(tmp_path) as plane, agent(plane, "n2", NodeSettings("n1")) as mine:
        mine.node.take_runtime(answer(network=True))
        own = HttpClient(kubeconfig.load(plane.node_kubeconfig("n2")))
        try:
            with pytest.raises(status.Forbidden, match='node "n2" is not allowed to modify node "n1"'):
                await own.create(r.NODES, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}})
        finally:
            await own.close()
        assert not mine.node.is_registered.is_set()
        with pytest.raises(status.NotFound):
            await plane.node("n1")
