"""Garbage collection carried out against the fake runtime and a real directory tree."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from aio import virtual
from aio.clock import VirtualClock
from aio.executors import Executors
from cri.errors import CriError, Unavailable
from cri.fake import FakeRuntime
from cri.types import ContainerConfig, ContainerMetadata, ImageSpec, PodSandboxConfig, PodSandboxMetadata
from kubelet import gc
from kubelet.events import RingEvents, node_ref
from kubelet.gc_run import INTERVAL_SECONDS, GarbageCollector, GcPaths

pytestmark = pytest.mark.sim

LABELS = {
    "io.kubernetes.pod.name": "web",
    "io.kubernetes.pod.namespace": "shop",
    "io.kubernetes.pod.uid": "u1",
}


@dataclass
class World:
    clock: VirtualClock
    runtime: FakeRuntime
    root: Path
    events: RingEvents
    known: set[str] = field(default_factory=lambda: {"u1"})
    is_complete: bool = True
    collector: GarbageCollector = field(init=False)

    def __post_init__(self) -> None:
        self.collector = GarbageCollector(
            runtime=self.runtime,
            executors=Executors(),
            clock=self.clock,
            sink=self.events,
            node=node_ref("n1"),
            pods=lambda: gc.PodsKnown(frozenset(self.known), self.is_complete),
            paths=GcPaths(str(self.root / "lib"), str(self.root / "pods"), str(self.root / "containers")),
        )

    async def sandbox(self, attempt: int = 0) -> str:
        config = PodSandboxConfig(
            metadata=PodSandboxMetadata("web", "u1", "shop", attempt),
            log_directory=str(self.root / "pods/shop_web_u1"),
            labels=LABELS,
        )
        return await self.runtime.run_pod_sandbox(config)

    async def dead_container(self, sandbox: str, count: int) -> str:
        """A container that ran and ended, with its log, a rotated one, its link and termination file."""
        config = ContainerConfig(
            metadata=ContainerMetadata("a", count),
            image=ImageSpec("docker.io/library/busybox:1.35"),
            command=("sh", "-c", "echo hi; exit 1"),
            labels={**LABELS, "io.kubernetes.container.name": "a"},
            annotations={"io.kubernetes.container.restartCount": str(count)},
            log_path=f"a/{count}.log",
        )
        pod = PodSandboxConfig(
            metadata=PodSandboxMetadata("web", "u1", "shop", 0),
            log_directory=str(self.root / "pods/shop_web_u1"),
        )
        container = await self.runtime.create_container(sandbox, config, pod)
        await self.runtime.start_container(container)
        await self.clock.sleep(1)
        (self.root / f"pods/shop_web_u1/a/{count}.log.20260101-000000.gz").touch()
        links = self.root / "containers"
        links.mkdir(exist_ok=True)
        (links / f"web_shop_a-{container}.log").symlink_to(self.root / f"pods/shop_web_u1/a/{count}.log")
        return container


def in_world(tmp_path: Path, scenario: Callable[[World], Awaitable[None]]) -> None:
    async def run(clock: VirtualClock) -> None:
        await scenario(World(clock, FakeRuntime(clock), tmp_path, RingEvents(clock)))

    virtual.run(run)


def test_older_dead_container_goes_with_its_logs_and_link(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        sandbox = await world.sandbox()
        old, new = [await world.dead_container(sandbox, count) for count in (0, 1)]
        report = await world.collector.collect_once()
        assert report.failures == ()
        assert [container.id for container in await world.runtime.list_containers()] == [new]
        logs = sorted(path.name for path in (tmp_path / "pods/shop_web_u1/a").iterdir())
        assert logs == ["1.log", "1.log.20260101-000000.gz"]
        assert [path.name for path in (tmp_path / "containers").iterdir()] == [f"web_shop_a-{new}.log"]
        assert old != new

    in_world(tmp_path, scenario)


def test_everything_of_a_pod_that_is_gone_is_removed_in_two_passes(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        sandbox = await world.sandbox()
        await world.dead_container(sandbox, 0)
        await world.runtime.stop_pod_sandbox(sandbox)
        (tmp_path / "lib/pods/u1/volumes").mkdir(parents=True)
        (tmp_path / "lib/pods/u1/etc-hosts").touch()
        world.known.clear()
        for _ in range(3):
            assert (await world.collector.collect_once()).failures == ()
        assert await world.runtime.list_containers() == []
        assert await world.runtime.list_pod_sandboxes() == []
        assert list((tmp_path / "lib/pods").iterdir()) == []
        assert list((tmp_path / "pods").iterdir()) == []
        assert list((tmp_path / "containers").iterdir()) == []

    in_world(tmp_path, scenario)


def test_nothing_is_removed_before_the_sources_delivered(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        sandbox = await world.sandbox()
        await world.dead_container(sandbox, 0)
        (tmp_path / "lib/pods/u1").mkdir(parents=True)
        world.known.clear()
        world.is_complete = False
        assert (await world.collector.collect_once()).removed == ()
        assert (tmp_path / "lib/pods/u1").exists()

    in_world(tmp_path, scenario)


def test_pod_that_comes_back_between_plan_and_removal_is_spared(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        (tmp_path / "lib/pods/u1").mkdir(parents=True)
        answers = iter([gc.PodsKnown(is_complete=True)])
        back = gc.PodsKnown(frozenset({"u1"}), is_complete=True)
        world.collector.pods = lambda: next(answers, back)
        assert (await world.collector.collect_once()).removed == ()
        assert (tmp_path / "lib/pods/u1").exists()

    in_world(tmp_path, scenario)


def test_one_refused_removal_does_not_stop_the_others(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        sandbox = await world.sandbox()
        for count in range(3):
            await world.dead_container(sandbox, count)
        world.runtime.fail("remove_container", CriError("device busy", call="RemoveContainer"), times=1)
        report = await world.collector.collect_once()
        assert len(report.removed) == 1
        assert len(report.failures) == 1
        assert "device busy" in report.failures[0]
        assert len(await world.runtime.list_containers()) == 2

    in_world(tmp_path, scenario)


def test_event_tells_from_the_second_failing_pass_on(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        world.runtime.fail("list_pod_sandboxes", Unavailable("no socket", call="ListPodSandbox"))
        task = asyncio.create_task(world.collector.run())
        await world.clock.sleep(INTERVAL_SECONDS + 1)
        assert world.events.recorded() == []
        await world.clock.sleep(INTERVAL_SECONDS)
        task.cancel()
        await asyncio.wait([task])
        [entry] = world.events.recorded()
        assert entry.event.reason == "ContainerGCFailed"
        assert "no socket" in entry.event.message

    in_world(tmp_path, scenario)
