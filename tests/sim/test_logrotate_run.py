"""Log rotation against the fake runtime, whose containers write real files."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from aio import virtual
from aio.clock import VirtualClock
from aio.executors import Executors
from cri.errors import CriError
from cri.fake import FakeRuntime
from cri.types import ContainerConfig, ContainerMetadata, ImageSpec, PodSandboxConfig, PodSandboxMetadata
from kubelet.logrotate import LogRotator, RotationPolicy, RunningLog

pytestmark = pytest.mark.sim


@dataclass
class World:
    clock: VirtualClock
    runtime: FakeRuntime
    rotator: LogRotator
    container: str
    log: Path

    def names(self) -> list[str]:
        return sorted(path.name for path in self.log.parent.iterdir())

    def grow(self, text: str = "x") -> None:
        """As the container would: through the descriptor the runtime holds."""
        record = self.runtime.world.container(self.container, "test")
        assert record.log is not None
        record.log.write("stdout", text.encode() * 200 + b"\n", self.clock.now())


def in_world(
    tmp_path: Path, scenario: Callable[[World], Awaitable[None]], *, max_bytes: int = 150, max_files: int = 3
) -> None:
    async def run(clock: VirtualClock) -> None:
        runtime = FakeRuntime(clock)
        sandbox_config = PodSandboxConfig(
            metadata=PodSandboxMetadata("web", "u1", "shop", 0), log_directory=str(tmp_path)
        )
        sandbox = await runtime.run_pod_sandbox(sandbox_config)
        config = ContainerConfig(
            metadata=ContainerMetadata("a", 0),
            image=ImageSpec("docker.io/library/busybox:1.35"),
            command=("sleep", "1000000"),
            log_path="a/0.log",
        )
        container = await runtime.create_container(sandbox, config, sandbox_config)
        await runtime.start_container(container)
        log = tmp_path / "a/0.log"
        rotator = LogRotator(
            runtime=runtime,
            executors=Executors(),
            clock=clock,
            running=lambda: [RunningLog(container, str(log))],
            policy=RotationPolicy(max_bytes=max_bytes, max_files=max_files),
        )
        try:
            await scenario(World(clock, runtime, rotator, container, log))
        finally:
            await runtime.stop_container(container, 0)

    virtual.run(run)


def reopened(world: World) -> int:
    return sum(call.name == "reopen_container_log" for call in world.runtime.calls)


def test_log_that_grew_is_renamed_and_the_runtime_writes_to_a_new_one(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        world.grow("first")
        assert await world.rotator.rotate_once() == 1
        world.grow("second")
        [_, rotated] = world.names()
        assert "first" in (world.log.parent / rotated).read_text()
        assert "second" in world.log.read_text()
        assert "first" not in world.log.read_text()

    in_world(tmp_path, scenario)


def test_log_that_did_not_grow_costs_the_runtime_nothing(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        before = len(world.runtime.calls)
        for _ in range(5):
            assert await world.rotator.rotate_once() == 0
        assert len(world.runtime.calls) == before

    in_world(tmp_path, scenario)


def test_loop_rotates_on_its_interval_and_keeps_at_most_so_many_files(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        task = asyncio.create_task(world.rotator.run())
        for i in range(6):
            world.grow(str(i))
            await world.clock.sleep(10.1)
        task.cancel()
        await asyncio.wait([task])
        names = world.names()
        assert len(names) == 3
        assert names[1].endswith(".gz")
        packed = gzip.decompress((world.log.parent / names[1]).read_bytes())
        assert b"4" * 200 in packed
        assert "5" * 200 in (world.log.parent / names[2]).read_text()

    in_world(tmp_path, scenario)


def test_log_gets_its_name_back_when_the_runtime_does_not_reopen(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        world.grow("kept")
        world.runtime.fail("reopen_container_log", CriError("boom", call="ReopenContainerLog"), times=1)
        assert await world.rotator.rotate_once() == 0
        assert world.names() == ["0.log"]
        world.grow("more")
        assert "kept" in world.log.read_text()
        assert "more" in world.log.read_text()
        assert await world.rotator.rotate_once() == 1

    in_world(tmp_path, scenario)


def test_agent_killed_between_rename_and_reopen_is_made_good(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        world.grow("before")
        world.log.rename(world.log.with_name("0.log.20260101-000000"))
        await world.rotator.rotate_once()
        assert reopened(world) == 1
        world.grow("after")
        assert "after" in world.log.read_text()

    in_world(tmp_path, scenario)


def test_leftovers_are_tidied_when_a_container_is_first_seen(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        unfinished = world.log.with_name("0.log.20260101-000000.tmp")
        unfinished.touch()
        await world.rotator.rotate_once()
        assert world.names() == ["0.log"]
        unfinished.touch()
        await world.rotator.rotate_once()
        assert unfinished.exists(), "an idle log's directory is not listed again"
        unfinished.unlink()

    in_world(tmp_path, scenario)


def test_negative_size_switches_rotation_off(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        world.grow()
        assert await world.rotator.rotate_once() == 0
        assert world.names() == ["0.log"]

    in_world(tmp_path, scenario, max_bytes=-1)


def test_directory_that_vanished_does_not_end_the_loop(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        world.rotator.running = lambda: [RunningLog("nobody", str(tmp_path / "gone/0.log"))]
        assert await world.rotator.rotate_once() == 0
        assert reopened(world) == 1

    in_world(tmp_path, scenario)
