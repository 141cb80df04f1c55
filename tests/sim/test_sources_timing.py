"""When the file and URL sources look again, under virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aio.clock import VirtualClock
from aio.errors import Retry
from aio.virtual import run
from kube.errors import FieldError, InvalidObject
from kube.objects.core_v1 import Pod
from kube.objects.meta_v1 import ObjectMeta
from kubelet.sources.file import FileSource
from kubelet.sources.http import HttpSource
from kubelet.sources.model import Delivery, Problem
from kubelet.sources.watch import News

pytestmark = pytest.mark.sim


def decode(data: bytes, location: str) -> tuple[Pod, ...]:
    if data.isupper():
        raise InvalidObject([FieldError("spec", "is bad", line=1)])
    return tuple(Pod(metadata=ObjectMeta(name=word)) for word in data.decode().split())


class ScriptedWatch:
    """Says what it is told to say."""

    def __init__(self, path: str, wake: Callable[[], None]) -> None:
        self.news = News()
        self.wake = wake

    def tell(self, *names: str) -> None:
        self.news = News(names=frozenset(names))
        self.wake()

    def take(self) -> News:
        news, self.news = self.news, News()
        return news

    def refresh(self) -> None:
        return

    def close(self) -> None:
        return


class Scene:
    """A file source under virtual time, with what it said and when."""

    def __init__(self, clock: VirtualClock, path: Path) -> None:
        self.clock = clock
        self.deliveries: list[tuple[float, list[str]]] = []
        self.problems: list[tuple[float, str]] = []
        self.watches: list[ScriptedWatch] = []
        self.reads = 0
        self.source = FileSource(
            str(path), decode, deliver=self.deliver, report=self.report, relist_seconds=20.0,
            run_in_thread=self.count, watcher=self.watch,
        )  # fmt: skip

    async def count(self, function: Callable[..., Any], *arguments: Any) -> Any:
        self.reads += 1
        return function(*arguments)

    def watch(self, path: str, wake: Callable[[], None]) -> ScriptedWatch:
        self.watches.append(ScriptedWatch(path, wake))
        return self.watches[-1]

    def deliver(self, delivery: Delivery) -> None:
        self.deliveries.append((self.clock.monotonic(), [pod.metadata.name for pod in delivery.pods]))

    def report(self, problem: Problem) -> None:
        self.problems.append((self.clock.monotonic(), str(problem)))


def play(tmp_path: Path, script: Callable[[Scene, VirtualClock, float], Any]) -> None:
    async def scenario(clock: VirtualClock) -> None:
        scene = Scene(clock, tmp_path)
        task = asyncio.create_task(scene.source.run())
        await clock.sleep(0.001)
        await script(scene, clock, clock.monotonic())
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    run(scenario)


def test_idle_source_only_looks_at_every_relist(tmp_path: Path) -> None:
    async def script(scene: Scene, clock: VirtualClock, _: float) -> None:
        (tmp_path / "a").write_text("one")
        before = scene.reads
        await clock.sleep(19.9)
        assert scene.reads == before
        await clock.sleep(0.2)
        assert scene.deliveries[-1][1] == ["one"]
        await clock.sleep(600.0)
        assert scene.reads - before == 2 * 31  # the place and the listing, each 20 s
        assert len(scene.deliveries) == 2

    play(tmp_path, script)


def test_event_is_delivered_without_delay_and_removal_after_it_settled(tmp_path: Path) -> None:
    async def script(scene: Scene, clock: VirtualClock, _: float) -> None:
        (watch,) = scene.watches
        (tmp_path / "a").write_text("one")
        told = clock.monotonic()
        watch.tell("a")
        await clock.sleep(0.001)
        assert scene.deliveries[-1] == (told, ["one"])
        (tmp_path / "a").unlink()
        told = clock.monotonic()
        watch.tell("a")
        await clock.sleep(0.049)
        assert scene.deliveries[-1][1] == ["one"]
        await clock.sleep(0.01)
        when, names = scene.deliveries[-1]
        assert names == []
        assert when - told == pytest.approx(0.05)

    play(tmp_path, script)


def test_fault_is_reported_after_it_settled_and_not_again_at_relists(tmp_path: Path) -> None:
    async def script(scene: Scene, clock: VirtualClock, _: float) -> None:
        (tmp_path / "a").write_text("BAD")
        told = clock.monotonic()
        scene.watches[0].tell("a")
        await clock.sleep(300.0)
        assert len(scene.problems) == 1
        assert scene.problems[0][0] - told == pytest.approx(0.05)

    play(tmp_path, script)


def test_url_is_asked_at_its_frequency_and_errors_do_not_change_it() -> None:
    async def scenario(clock: VirtualClock) -> None:
        asked: list[float] = []
        deliveries: list[Delivery] = []
        problems: list[Problem] = []

        async def fetch() -> bytes:
            asked.append(clock.monotonic())
            if len(asked) in (2, 3):
                raise Retry("down")
            return b"one"

        source = HttpSource(
            "http://x", decode, fetch, deliver=deliveries.append, report=problems.append, poll_seconds=20.0
        )
        task = asyncio.create_task(source.run())
        await clock.sleep(70.0)
        assert [when - asked[0] for when in asked] == pytest.approx([0.0, 20.0, 40.0, 60.0])
        assert len(problems) == 1
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    run(scenario)
