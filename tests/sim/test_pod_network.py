"""The agent's keeping of its node's pod network, with a fake API server and runtime and recorded rules."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from aio import virtual
from aio.clock import VirtualClock
from aio.executors import Executors
from cni.fake import FakePlugins
from cni.node_network import NodeNetwork, write
from cni.rules import RulesError
from cri.fake import FakeRuntime
from kube.fake import FakeApi
from kubelet.pod_network import PodNetwork, PodNetworkSettings

pytestmark = pytest.mark.sim

SERVICE: dict[str, Any] = {
    "apiVersion": "v1", "kind": "Service", "metadata": {"name": "kubernetes", "namespace": "default"},
    "spec": {"clusterIP": "10.96.0.1", "ports": [{"name": "https", "port": 443, "targetPort": 6443}]},
}  # fmt: skip


class World:
    def __init__(self, clock: VirtualClock, root: Path, server: str) -> None:
        self.api = FakeApi(clock)
        self.rules: list[str] = []
        self.refusals = 0
        self.changes = 0
        self.conflist = root / "net.d" / "10-pods.conflist"
        self.leases = root / "leases"
        self.plugins = FakePlugins()
        settings = PodNetworkSettings(
            "pk-0a1b2c", self.conflist, self.leases, root / "results", (str(root / "bin"),), server
        )
        self.network = PodNetwork(
            settings, self.api.client("node"), FakeRuntime(clock), clock, Executors(),
            own_address=lambda: "192.0.2.9", changed=self._changed, apply_rules=self._apply,
            plugins=self.plugins,
        )  # fmt: skip

    def _changed(self) -> None:
        self.changes += 1

    async def _apply(self, text: str) -> None:
        if self.refusals:
            self.refusals -= 1
            raise RulesError("cannot write packet rules: busy")
        assert not self.conflist.exists() or self.rules, "a pod could start before its way was there"
        self.rules.append(text)

    @property
    def subnets(self) -> list[str]:
        value = json.loads(self.conflist.read_bytes())
        return [group[0]["subnet"] for group in value["plugins"][0]["ipam"]["ranges"]]


def scenario(
    tmp_path: Path, body: Callable[[World], Awaitable[None]], server: str = "https://127.0.0.1:6443"
) -> None:
    async def main(clock: VirtualClock) -> None:
        world = World(clock, tmp_path, server)
        task = asyncio.create_task(world.network.run())
        try:
            await body(world)
            assert not task.done(), task
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    virtual.run(main)


def test_the_network_is_written_from_the_nodes_range_and_again_when_it_changes(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        world.api.put(SERVICE)
        await asyncio.sleep(1)
        assert world.changes == 0
        world.network.set_ranges(("10.244.0.0/24",))
        world.network.set_ranges(("10.244.0.0/24",))
        await asyncio.sleep(1)
        assert (world.subnets, world.changes, len(world.rules)) == (["10.244.0.0/24"], 1, 1)
        assert "ip daddr 10.96.0.1 tcp dport 443 dnat to 192.0.2.9:6443" in world.rules[0]
        world.network.set_ranges(("10.244.7.0/24",))
        await asyncio.sleep(1)
        assert (world.subnets, world.changes, len(world.rules)) == (["10.244.7.0/24"], 2, 2)

    scenario(tmp_path, body)


def test_a_server_that_is_elsewhere_is_reached_where_it_is(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        world.api.put(SERVICE)
        world.network.set_ranges(("10.244.0.0/24",))
        await asyncio.sleep(1)
        assert "dnat to 198.51.100.4:8443" in world.rules[0]

    scenario(tmp_path, body, server="https://198.51.100.4:8443")


@pytest.mark.parametrize(
    ("server", "spec"),
    [
        ("https://api.example:6443", SERVICE["spec"]),
        ("https://127.0.0.1:6443", {"clusterIP": "None"}),
        ("https://127.0.0.1:6443", {"clusterIP": "fd00::1", "ports": [{"port": 443}]}),
        ("https://127.0.0.1:6443", {"clusterIP": "10.96.0.1"}),
    ],
    ids=["a server known by name", "headless", "another family", "no ports"],
)
def test_without_a_way_to_the_api_servers_address_pods_have_a_network_all_the_same(
    tmp_path: Path, server: str, spec: dict[str, Any]
) -> None:
    async def body(world: World) -> None:
        world.api.put({**SERVICE, "spec": spec})
        world.network.set_ranges(("10.244.0.0/24",))
        await asyncio.sleep(1)
        assert (world.subnets, world.changes) == (["10.244.0.0/24"], 1)
        assert "dnat to" not in world.rules[0]

    scenario(tmp_path, body, server=server)


def test_addresses_of_pods_that_are_gone_are_given_back_but_none_that_was_just_given(tmp_path: Path) -> None:
    node = NodeNetwork("pk-0a1b2c", "pk-0a1b2c", ("10.244.0.0/24",), str(tmp_path / "leases"))
    write(node, tmp_path / "net.d" / "10-pods.conflist")
    place = tmp_path / "leases" / "pk-0a1b2c"
    place.mkdir(parents=True)
    for address, container, given_at in (("10.244.0.2", "gone", 1), ("10.244.0.3", "in-the-making", 1 << 33)):
        lease = place / address
        lease.write_text(f"{container}\r\neth0")
        os.utime(lease, (given_at, given_at))

    async def body(world: World) -> None:
        held = world.plugins.held
        held.update({(node.name, name, "eth0"): name for name in ("gone", "in-the-making")})
        while "gone" in held.values():
            await asyncio.sleep(1)
        await asyncio.sleep(10)
        assert list(held.values()) == ["in-the-making"]

    scenario(tmp_path, body)


def test_what_fails_is_tried_again_and_nothing_is_written_before(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        world.refusals = 3
        world.network.set_ranges(("10.244.0.0/24",))
        await asyncio.sleep(0.1)
        assert not world.conflist.exists()
        await asyncio.sleep(10)
        assert (world.subnets, world.changes) == (["10.244.0.0/24"], 1)

    scenario(tmp_path, body)


def test_a_range_that_is_none_waits_for_a_better_one(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        world.network.set_ranges(("10.244.0.1/24",))
        await asyncio.sleep(100)
        assert (world.conflist.exists(), world.changes) == (False, 0)
        world.network.set_ranges(("10.244.1.0/24",))
        await asyncio.sleep(1)
        assert world.subnets == ["10.244.1.0/24"]

    scenario(tmp_path, body)
