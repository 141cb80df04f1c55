"""Pods that seem to want another node: the Node is read again before they are refused."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from aio.clock import VirtualClock
from aio.virtual import run
from kube.objects.core_v1 import Pod
from kubelet.admission import Place, Room
from kubelet.sources.merge import Changes
from tests.builders import make_pod
from tests.simnode import ALLOCATABLE, SimNode

pytestmark = pytest.mark.sim


class World:
    """A node whose labels take a while to be read."""

    def __init__(self, host: SimNode) -> None:
        self.host = host
        self.looks = 0
        self.labels_then = {"zone": "a"}
        host.workers.look_at_node = self._look
        host.workers.set_room(self._room({}))

    def _room(self, labels: dict[str, str]) -> Room:
        return Room(ALLOCATABLE, place=Place("n1", labels))

    async def _look(self) -> None:
        await asyncio.sleep(0.5)
        self.looks += 1
        self.host.workers.set_room(self._room(self.labels_then))

    def deliver(self, **changes: tuple[Pod, ...]) -> None:
        self.host.workers.apply(Changes(**changes), self.host.desired.state)  # type: ignore[arg-type]

    def refusal(self, uid: str) -> str | None:
        worker = self.host.workers.get(uid)
        assert worker is not None
        rejected = worker.state.rejected
        return rejected.reason if rejected is not None else None


def play(tmp_path: Path, scenario: Callable[[World], Awaitable[None]]) -> None:
    async def main(clock: VirtualClock) -> None:
        host = SimNode(clock, tmp_path)
        await host.start()
        try:
            await scenario(World(host))
        finally:
            await host.stop()

    run(main)


def wanting(zone: str, uid: str) -> Pod:
    return make_pod("app", uid=uid, name=f"pod-{uid}", node_selector={"zone": zone})


def test_a_label_that_was_still_on_its_way_lets_the_pod_in(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        world.deliver(added=(wanting("a", "u1"), make_pod("app", uid="u2", name="other")))
        assert world.host.workers.get("u1") is None
        assert world.refusal("u2") is None
        await world.host.run(1)
        assert world.refusal("u1") is None

    play(tmp_path, scenario)


def test_a_label_that_is_not_there_refuses_the_pods_after_one_look(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        world.deliver(added=(wanting("b", "u1"), wanting("c", "u2"), wanting("a", "u3")))
        await world.host.run(1)
        assert [world.refusal(uid) for uid in ("u1", "u2", "u3")] == ["NodeAffinity", "NodeAffinity", None]
        assert world.looks == 1

    play(tmp_path, scenario)


def test_a_pod_that_goes_away_meanwhile_is_never_begun(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        pod = wanting("a", "u1")
        world.deliver(added=(pod,))
        await world.host.run(0.1)
        world.deliver(removed=(pod,))
        await world.host.run(1)
        assert world.host.workers.get("u1") is None

    play(tmp_path, scenario)


def test_a_pod_that_is_deleted_meanwhile_ends_and_nothing_waits_for_its_name(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        world.deliver(added=(wanting("a", "u1"),))
        await world.host.run(0.1)
        going = make_pod(
            "app", uid="u1", name="pod-u1", node_selector={"zone": "a"},
            metadata={"deletion_timestamp": "2026-01-01T00:00:30Z", "deletion_grace_period_seconds": 30},
        )  # fmt: skip
        world.deliver(deleted=(going,))
        await world.host.run(5)
        assert world.host.workers.held() == []
        assert await world.host.runtime.list_containers() == []

    play(tmp_path, scenario)


def test_a_stop_does_not_wait_for_the_look(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        world.deliver(added=(wanting("a", "u1"),))
        await world.host.run(0.1)

    play(tmp_path, scenario)
