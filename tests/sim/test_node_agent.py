"""The agent as a Node of a cluster, against an API server in memory: registration, status, lease."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aio.clock import VirtualClock
from aio.virtual import run
from cri.errors import Unavailable
from cri.types import Image, RuntimeCondition, RuntimeStatus, StatusResponse
from kube import status
from kube.client import resources as r
from kube.client.unreachable import Unreachable
from kube.errors import Status
from kube.fake import FakeApi, Pattern
from kube.fake.faults import SERVER
from kubelet import events
from kubelet.node.agent import Inputs, NodeAgent, NodeClients
from kubelet.node.model import Machine, NodeSettings, Pressure
from kubelet.runtime_loops import RuntimeLoops
from tests.simnode import SimNode

pytestmark = pytest.mark.sim

MACHINE = Machine(cpus=2, memory_bytes=4 * 1024**3, disk_bytes=1024**3, boot_id="boot-1")
SETTINGS = NodeSettings("n1", runtime_version="containerd://1.7.0")
STATUS_PATCH = Pattern(verb="patch", resource=r.NODES, subresource="status")
LEASE_NAMESPACE = "kube-node-lease"


def answer(*, network: bool = True) -> StatusResponse:
    return StatusResponse(
        RuntimeStatus((RuntimeCondition("RuntimeReady", True), RuntimeCondition("NetworkReady", network)))
    )


class World:
    """One node; the test is the rest of the agent and the rest of the cluster."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.api = FakeApi(clock, check_namespaces=True)
        self.ring = events.RingEvents(clock)
        self.addresses: tuple[str, ...] = ("192.0.2.7",)
        self.images: list[Image] = []
        self.is_runtime_away = False
        self.pressures: frozenset[Pressure] = frozenset()
        self.resets = 0
        self.tasks: list[asyncio.Task[Any]] = []

    def start(self, settings: NodeSettings = SETTINGS, machine: Machine = MACHINE) -> NodeAgent:
        clients = NodeClients(self.api.client("agent"), self.api.client("lease"), self._reset)
        inputs = Inputs(
            addresses=lambda: self.addresses, images=self._list_images, pressures=lambda: self.pressures
        )
        node = NodeAgent(clients, self.clock, settings, machine, inputs, self.ring, jitter=lambda: 0.5)
        self.tasks = [asyncio.ensure_future(loop()) for loop in node.loops().values()]
        return node

    async def stop(self) -> None:
        for task in self.tasks:
            task.cancel()
        for task in self.tasks:
            with suppress(asyncio.CancelledError):
                await task
        self.tasks = []

    def _reset(self) -> None:
        self.resets += 1

    async def _list_images(self) -> Sequence[Image]:
        await asyncio.sleep(0)
        if self.is_runtime_away:
            raise Unavailable("connection refused")
        return self.images

    # --- looking ---

    @property
    def node(self) -> dict[str, Any]:
        return self.api.object(r.NODES, "n1")

    @property
    def ready(self) -> tuple[str, str]:
        last = self.node["status"]["conditions"][-1]
        return last["status"], last["reason"]

    @property
    def lease(self) -> dict[str, Any]:
        return self.api.object(r.LEASES, "n1", LEASE_NAMESPACE)

    def reports(self) -> int:
        return sum(STATUS_PATCH.matches(request) for request in self.api.requests)

    def told(self) -> list[str]:
        return [entry.event.reason for entry in self.ring for _ in range(entry.count)]

    async def settle(self, seconds: float = 0.1) -> None:
        await self.clock.sleep(seconds)


def play(scenario: Callable[[World], Awaitable[None]]) -> None:
    async def main(clock: VirtualClock) -> None:
        world = World(clock)
        try:
            await scenario(world)
        finally:
            await world.stop()

    run(main)


def test_a_node_registers_at_once_and_is_ready_as_soon_as_its_network_is() -> None:
    async def scenario(world: World) -> None:
        node = world.start()
        await world.settle()
        assert world.node["metadata"]["labels"]["kubernetes.io/hostname"] == "n1"
        assert world.node["status"]["allocatable"]["cpu"] == "2"
        assert world.ready == ("False", "KubeletNotReady")
        node.take_runtime(answer(network=False))
        await world.settle()
        assert world.ready == ("False", "KubeletNotReady")
        node.take_runtime(answer())
        await world.settle(0.01)
        assert world.ready == ("True", "KubeletReady")
        assert node.not_ready_because == []
        assert world.told() == [
            "Starting",
            "NodeHasSufficientMemory",
            "NodeHasNoDiskPressure",
            "NodeHasSufficientPID",
            "NodeReady",
        ]

    play(scenario)


def test_nothing_new_is_not_sent_until_the_report_is_due() -> None:
    async def scenario(world: World) -> None:
        node = world.start()
        node.take_runtime(answer())
        await world.settle()
        before = world.reports()
        for _ in range(29):
            await world.settle(10)
            node.take_runtime(answer())
        assert world.reports() == before
        heartbeat = world.node["status"]["conditions"][-1]["lastHeartbeatTime"]
        await world.settle(20)
        assert world.reports() == before + 1
        assert world.node["status"]["conditions"][-1]["lastHeartbeatTime"] > heartbeat

    play(scenario)


def test_a_change_goes_out_at_once() -> None:
    async def scenario(world: World) -> None:
        node = world.start()
        node.take_runtime(answer())
        await world.settle()
        world.pressures = frozenset({Pressure.MEMORY})
        node.poke()
        await world.settle(0.01)
        assert world.node["status"]["conditions"][0]["status"] == "True"
        assert world.told()[-1] == "NodeHasInsufficientMemory"
        node.take_runtime(answer(network=False))
        await world.settle(0.01)
        assert world.ready == ("False", "KubeletNotReady")
        assert world.told()[-1] == "NodeNotReady"

    play(scenario)


def test_a_runtime_that_says_nothing_for_half_a_minute_makes_the_node_not_ready() -> None:
    async def scenario(world: World) -> None:
        node = world.start()
        node.take_runtime(answer())
        await world.settle(25)
        assert world.ready == ("True", "KubeletReady")
        await world.settle(20)
        assert world.node["status"]["conditions"][-1]["message"] == "container runtime is down"
        node.take_runtime(answer())
        await world.settle(10)
        assert world.ready == ("True", "KubeletReady")

    play(scenario)


def test_images_are_told_and_kept_while_the_runtime_is_away() -> None:
    async def scenario(world: World) -> None:
        world.images = [Image("1", ("web:1",), (), 10)]
        node = world.start()
        node.take_runtime(answer())
        await world.settle()
        assert world.node["status"]["images"] == [{"names": ["web:1"], "sizeBytes": 10}]
        world.images = [Image("2", ("web:2",), (), 20)]
        node.images_changed()
        await world.settle(10)
        assert world.node["status"]["images"] == [{"names": ["web:2"], "sizeBytes": 20}]
        world.is_runtime_away = True
        await world.settle(60)
        assert world.node["status"]["images"] == [{"names": ["web:2"], "sizeBytes": 20}]

    play(scenario)


def test_an_address_that_is_lost_for_a_while_stays() -> None:
    async def scenario(world: World) -> None:
        world.start().take_runtime(answer())
        await world.settle()
        world.addresses = ()
        await world.settle(20)
        assert world.node["status"]["addresses"][0] == {"type": "InternalIP", "address": "192.0.2.7"}
        world.addresses = ("192.0.2.8",)
        await world.settle(20)
        assert world.node["status"]["addresses"][0] == {"type": "InternalIP", "address": "192.0.2.8"}

    play(scenario)


def test_registration_waits_for_the_server_with_a_growing_delay() -> None:
    async def scenario(world: World) -> None:
        world.api.go_away()
        node = world.start()
        await world.settle(30)
        creates = [request for request in world.api.requests if request.verb == "create"]
        # after 0, 0.1, 0.3, 0.7, 1.5, 3.1, 6.3, 12.7, 19.7, 26.7 s
        assert len(creates) == 10
        assert not node.is_registered.is_set()
        world.api.come_back()
        await world.settle(7)
        assert node.is_registered.is_set()
        assert world.node["metadata"]["name"] == "n1"

    play(scenario)


def test_a_lost_answer_to_the_registration_is_no_harm() -> None:
    async def scenario(world: World) -> None:
        world.api.fail(Unreachable(SERVER, "reset"), Pattern(verb="create", resource=r.NODES), after=True)
        node = world.start()
        node.take_runtime(answer())
        await world.settle(1)
        assert world.ready == ("True", "KubeletReady")

    play(scenario)


def test_an_existing_node_keeps_what_others_wrote() -> None:
    async def scenario(world: World) -> None:
        world.api.put(
            {
                "apiVersion": "v1",
                "kind": "Node",
                "metadata": {"name": "n1", "labels": {"team": "shop", "kubernetes.io/arch": "old"}},
                "spec": {"taints": [{"key": "k", "effect": "NoSchedule"}], "podCIDR": "10.244.3.0/24"},
            }
        )
        node = world.start()
        node.take_runtime(answer())
        await world.settle()
        found = world.node
        labels = found["metadata"]["labels"]
        assert (labels["team"], labels["kubernetes.io/arch"]) == ("shop", "amd64")
        assert found["spec"]["taints"] == [{"key": "k", "effect": "NoSchedule"}]
        assert node.own.view is not None
        assert node.own.view.pod_cidrs == ("10.244.3.0/24",)

    play(scenario)


def test_a_restarted_agent_never_calls_a_good_node_bad() -> None:
    async def scenario(world: World) -> None:
        world.start().take_runtime(answer())
        await world.settle()
        await world.stop()
        watched = world.api.client("test").watch(r.NODES)
        assert (await anext(watched)).json()["status"]["conditions"][-1]["status"] == "True"
        node = world.start()
        await world.settle(0.5)
        node.take_runtime(answer())
        await world.settle(600)
        await world.stop()
        world.api.end_watches()
        async for event in watched:
            found = event.json()
            if found["metadata"]["name"]:
                assert found["status"]["conditions"][-1]["status"] == "True"
        assert world.told().count("NodeReady") == 1

    play(scenario)


def test_a_reboot_is_told_once() -> None:
    async def scenario(world: World) -> None:
        world.start().take_runtime(answer())
        await world.settle()
        await world.stop()
        node = world.start(machine=replace(MACHINE, boot_id="boot-2"))
        world.api.fail(Unreachable(SERVER, "reset"), STATUS_PATCH, times=2)
        node.take_runtime(answer())
        await world.settle(5)
        assert world.node["status"]["nodeInfo"]["bootID"] == "boot-2"
        assert world.told().count("Rebooted") == 1

    play(scenario)


def test_without_registration_the_agent_waits_for_its_node() -> None:
    async def scenario(world: World) -> None:
        node = world.start(replace(SETTINGS, register=False))
        node.take_runtime(answer())
        await world.settle(60)
        assert world.api.find(r.NODES, "n1") is None
        assert world.api.objects(r.LEASES) == []
        node.take_runtime(answer())
        world.api.put({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}})
        await world.settle(10)
        assert world.ready == ("True", "KubeletReady")
        assert world.lease["spec"]["holderIdentity"] == "n1"

    play(scenario)


def test_a_status_that_was_refused_is_sent_again_soon() -> None:
    async def scenario(world: World) -> None:
        node = world.start()
        await world.settle()
        world.api.fail(status.error_of(Status(500, "InternalError", "no")), STATUS_PATCH, times=3)
        node.take_runtime(answer())
        await world.settle(1)
        assert world.ready == ("True", "KubeletReady")

    play(scenario)


def test_what_others_did_to_the_status_is_put_right() -> None:
    async def scenario(world: World) -> None:
        node = world.start()
        node.take_runtime(answer())
        await world.settle()
        found = world.node
        found["status"]["conditions"][-1]["status"] = "Unknown"
        world.api.put(found)
        await world.settle(11)
        assert world.ready == ("True", "KubeletReady")

    play(scenario)


def test_a_node_that_was_deleted_and_made_again_has_a_status_at_once() -> None:
    async def scenario(world: World) -> None:
        node = world.start()
        node.take_runtime(answer())
        await world.settle()
        world.api.remove(r.NODES, "n1")
        await world.settle(60)
        node.take_runtime(answer())
        assert world.api.find(r.NODES, "n1") is None  # as with Kubernetes' own: until the agent starts anew
        world.api.put({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}})
        await world.settle()
        assert world.ready == ("True", "KubeletReady")

    play(scenario)


def test_cordoning_is_told_and_handlers_see_it() -> None:
    async def scenario(world: World) -> None:
        node = world.start()
        seen: list[tuple[bool, tuple[str, ...]]] = []
        await world.settle()
        node.own.add_handler(lambda view: seen.append((view.is_unschedulable, view.pod_cidrs)))
        found = world.node
        found["spec"] = {"unschedulable": True, "podCIDR": "10.244.0.0/24", "podCIDRs": ["10.244.0.0/24"]}
        world.api.put(found)
        await world.settle()
        found = world.node
        del found["spec"]["unschedulable"]
        world.api.put(found)
        await world.settle()
        assert seen == [(False, ()), (True, ("10.244.0.0/24",)), (False, ("10.244.0.0/24",))]
        assert world.told()[-2:] == ["NodeNotSchedulable", "NodeSchedulable"]

    play(scenario)


# The lease


def test_the_lease_is_renewed_every_ten_seconds_and_belongs_to_the_node() -> None:
    async def scenario(world: World) -> None:
        world.start()
        await world.settle(1)
        assert world.lease["spec"] == {
            "holderIdentity": "n1", "leaseDurationSeconds": 40, "renewTime": "2026-01-01T00:00:00.000000Z",
        }  # fmt: skip
        owner = {"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": world.node["metadata"]["uid"]}
        assert world.lease["metadata"]["ownerReferences"] == [owner]
        await world.settle(60)
        renewals = [q for q in world.api.requests if q.verb == "update" and q.resource == r.LEASES]
        assert len(renewals) == 5  # every 10.2 s
        assert {request.user for request in renewals} == {"lease"}
        assert world.lease["spec"]["renewTime"] == "2026-01-01T00:00:51.000000Z"

    play(scenario)


def test_the_lease_goes_on_while_the_status_cannot_be_sent() -> None:
    async def scenario(world: World) -> None:
        world.start()
        await world.settle(1)
        world.api.delay(3600, Pattern(user="agent"))
        await world.settle(60)
        assert world.lease["spec"]["renewTime"] >= "2026-01-01T00:00:50"

    play(scenario)


def test_a_lease_that_somebody_changed_or_deleted_is_held_again() -> None:
    async def scenario(world: World) -> None:
        world.start()
        await world.settle(1)
        changed = world.lease
        changed["spec"]["holderIdentity"] = "other"
        world.api.put(changed)
        await world.settle(11)
        assert world.lease["spec"]["holderIdentity"] == "n1"
        world.api.remove(r.LEASES, "n1", LEASE_NAMESPACE)
        await world.settle(11)
        assert world.lease["spec"]["holderIdentity"] == "n1"

    play(scenario)


def test_connections_are_reset_when_renewals_fail_again_and_again() -> None:
    async def scenario(world: World) -> None:
        world.start()
        await world.settle(1)
        world.api.go_away()
        await world.settle(30)
        assert world.resets >= 4
        world.api.come_back()
        await world.settle(8)
        assert world.lease["spec"]["renewTime"] >= "2026-01-01T00:00:31"

    play(scenario)


# With the loops that ask the runtime


def test_a_runtime_whose_network_comes_up_makes_the_node_ready_within_a_moment(tmp_path: Path) -> None:
    async def main(clock: VirtualClock) -> None:
        world, host = World(clock), SimNode(clock, tmp_path)
        host.runtime.is_network_ready = False
        await host.start()
        try:
            node = world.start()
            loops = RuntimeLoops(
                host.runtime, host.runtime.event_source(), host.workers, clock, 300.0, node.take_runtime
            )
            world.tasks.append(asyncio.ensure_future(loops.run_status()))
            await clock.sleep(7)
            assert world.ready == ("False", "KubeletNotReady")
            assert "NetworkReady=false reason:NetworkPluginNotReady" in node.not_ready_because[0]
            asked = sum(call.name == "status" for call in host.runtime.calls)
            host.runtime.is_network_ready = True
            await clock.sleep(0.2)
            assert world.ready == ("True", "KubeletReady")
            await clock.sleep(100)
            assert sum(call.name == "status" for call in host.runtime.calls) - asked < 30
            host.runtime.is_network_ready = False
            loops.hurry()
            await clock.sleep(0.01)
            assert world.ready == ("False", "KubeletNotReady")
            host.runtime.is_network_ready = True
            await clock.sleep(0.2)
            assert world.ready == ("True", "KubeletReady")
        finally:
            await world.stop()
            await host.stop()

    run(main)


def test_a_relist_that_is_overdue_is_known(tmp_path: Path) -> None:
    async def main(clock: VirtualClock) -> None:
        host = SimNode(clock, tmp_path)
        await host.start()
        loops = RuntimeLoops(host.runtime, host.runtime.event_source(), host.workers, clock, 300.0)
        task = asyncio.ensure_future(loops.run_relist())
        await clock.sleep(301)
        assert loops.problems() == ()
        assert loops.last_relist == pytest.approx(clock.monotonic() - 1)
        host.runtime.go_down()
        await clock.sleep(600)
        assert loops.problems() == (
            "PLEG is not healthy: pleg was last seen active 601s ago; threshold is 600s",
        )
        host.runtime.come_up()
        await clock.sleep(300)
        assert loops.problems() == ()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await host.stop()

    run(main)
