"""The image collector against the fake runtime."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest

from aio import virtual
from aio.clock import VirtualClock
from cri.errors import CriError
from cri.fake import FakeRuntime
from cri.types import ContainerConfig, ContainerMetadata, ImageSpec, PodSandboxConfig, PodSandboxMetadata
from kubelet.events import RingEvents, node_ref
from kubelet.images.collect import ImageGcPolicy
from kubelet.images.collector import DiskUse, ImageCollector, ImageGcFailed

pytestmark = pytest.mark.sim

MIB = 1 << 20
CAPACITY = 1000 * MIB


@dataclass
class Disk:
    available: int = 900 * MIB
    capacity: int = CAPACITY

    async def use(self) -> DiskUse:
        return DiskUse("/images", self.capacity, self.available)


@dataclass
class World:
    clock: VirtualClock
    runtime: FakeRuntime
    events: RingEvents
    disk: Disk
    collector: ImageCollector

    async def names(self) -> set[str]:
        return {tag for image in await self.runtime.images.list_images() for tag in image.repo_tags}


def in_world(scenario: Callable[[World], Awaitable[None]], policy: ImageGcPolicy | None = None) -> None:
    async def run(clock: VirtualClock) -> None:
        runtime, events, disk = FakeRuntime(clock), RingEvents(clock), Disk()
        runtime.images.add("example.com/sandbox:1", size=MIB)
        for number in range(3):
            runtime.images.add(f"app:{number}", size=50 * MIB)
        collector = ImageCollector(
            runtime=runtime,
            images=runtime.images,
            clock=clock,
            sink=events,
            node=node_ref("n1"),
            disk=disk.use,
            protected=lambda: ("example.com/sandbox:1", "docker.io/library/busybox:1.35"),
            policy=policy or ImageGcPolicy(),
        )
        await collector.observe_safely()
        await clock.sleep(200)
        await scenario(World(clock, runtime, events, disk, collector))

    virtual.run(run)


async def use(world: World, image: str) -> None:
    config = PodSandboxConfig(metadata=PodSandboxMetadata("web", "u1", "shop", 0))
    sandbox = await world.runtime.run_pod_sandbox(config)
    container = ContainerConfig(metadata=ContainerMetadata("a", 0), image=ImageSpec(image))
    await world.runtime.create_container(sandbox, container, config)


def test_below_the_threshold_nothing_is_removed() -> None:
    async def scenario(world: World) -> None:
        before = await world.names()
        assert await world.collector.collect_once() == 0
        assert await world.names() == before

    in_world(scenario)


def test_unused_images_go_until_the_low_threshold_is_reached() -> None:
    async def scenario(world: World) -> None:
        await use(world, "docker.io/library/app:0")
        world.disk.available = 150 * MIB
        assert await world.collector.collect_once() == 50 * MIB
        left = await world.names()
        assert "docker.io/library/app:0" in left
        assert len({"docker.io/library/app:1", "docker.io/library/app:2"} & left) == 1

    in_world(scenario)


def test_each_image_that_goes_is_told() -> None:
    async def scenario(world: World) -> None:
        told: list[str] = []
        world.collector.changed = lambda: told.append("changed")
        await world.collector.collect_once()
        assert told == []
        world.disk.available = 100 * MIB
        assert await world.collector.free(100 * MIB) == 100 * MIB
        assert told == ["changed", "changed"]

    in_world(scenario)


def test_sandbox_image_and_images_in_use_outlast_a_full_disk_and_the_event_says_so() -> None:
    async def scenario(world: World) -> None:
        await use(world, "docker.io/library/app:0")
        world.disk.available = 0
        with pytest.raises(ImageGcFailed, match=r"1 \(\d+ bytes\) are in use"):
            await world.collector.collect_once()
        left = await world.names()
        assert "example.com/sandbox:1" in left
        assert "docker.io/library/app:0" in left
        assert not {"docker.io/library/app:1", "docker.io/library/app:2"} & left
        [entry] = world.events.recorded()
        assert entry.event.reason == "FreeDiskSpaceFailed"

    in_world(scenario)


def test_image_that_cannot_be_removed_is_not_counted_as_freed() -> None:
    async def scenario(world: World) -> None:
        world.runtime.fail("remove_image", CriError("busy", call="RemoveImage"))
        assert await world.collector.free(50 * MIB) == 0

    in_world(scenario)


def test_images_unused_for_too_long_go_without_any_pressure() -> None:
    async def scenario(world: World) -> None:
        await world.collector.collect_once()
        assert "docker.io/library/app:0" in await world.names()
        await world.clock.sleep(3600)
        await world.collector.collect_once()
        left = await world.names()
        assert "docker.io/library/app:0" not in left
        assert "example.com/sandbox:1" in left

    in_world(scenario, ImageGcPolicy(max_age_seconds=1800))


def test_disk_without_a_capacity_is_told() -> None:
    async def scenario(world: World) -> None:
        world.disk.capacity = 0
        with pytest.raises(ImageGcFailed, match="invalid capacity 0 on image filesystem /images"):
            await world.collector.collect_once()
        [entry] = world.events.recorded()
        assert entry.event.reason == "InvalidDiskCapacity"

    in_world(scenario)
