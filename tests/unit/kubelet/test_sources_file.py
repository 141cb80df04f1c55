"""The file source on a real directory: inotify, relist, editors, faults."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from kube.errors import FieldError, InvalidObject
from kube.objects.core_v1 import Pod
from kube.objects.meta_v1 import ObjectMeta
from kubelet.sources.file import FileSource
from kubelet.sources.model import Delivery, Problem

pytestmark = pytest.mark.pure

PATIENCE_SECONDS = 5.0


def decode(data: bytes, location: str) -> tuple[Pod, ...]:
    """One pod per word; a word in capitals is a fault. What manifests mean is tested elsewhere."""
    words = data.decode().split()
    if not words or any(word.isupper() for word in words):
        raise InvalidObject([FieldError("spec", f"is {data.decode()!r}", line=1)])
    return tuple(Pod(metadata=ObjectMeta(name=word, uid=f"{word}@{Path(location).name}")) for word in words)


class Watched:
    """A running source and what it said."""

    def __init__(self) -> None:
        self.deliveries: list[Delivery] = []
        self.problems: list[str] = []
        self.changed = asyncio.Event()

    def deliver(self, delivery: Delivery) -> None:
        self.deliveries.append(delivery)
        self.changed.set()

    def report(self, problem: Problem) -> None:
        self.problems += problem.lines()
        self.changed.set()

    @property
    def uids(self) -> list[str]:
        return [pod.metadata.uid for pod in self.deliveries[-1].pods] if self.deliveries else ["nothing yet"]

    async def until(self, reached: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not reached():
                self.changed.clear()
                await self.changed.wait()


@asynccontextmanager
async def watching(path: Path, *, relist_seconds: float = 3600.0) -> AsyncIterator[Watched]:
    seen = Watched()
    source = FileSource(
        str(path), decode, deliver=seen.deliver, report=seen.report, relist_seconds=relist_seconds
    )
    task = asyncio.create_task(source.run())
    try:
        await seen.until(lambda: bool(seen.deliveries or seen.problems))
        yield seen
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.asyncio
async def test_what_is_there_at_start_comes_in_one_sorted_delivery(tmp_path: Path) -> None:
    for name, text in (("b.yaml", "b"), ("a.yaml", "a1 a2"), (".hidden", "h"), ("c.yaml~", "c")):
        (tmp_path / name).write_text(text)
    (tmp_path / "sub").mkdir()
    os.mkfifo(tmp_path / "fifo")
    async with watching(tmp_path) as seen:
        assert len(seen.deliveries) == 1
        assert seen.uids == ["a1@a.yaml", "a2@a.yaml", "b@b.yaml"]


@pytest.mark.asyncio
async def test_written_changed_and_removed_manifests_are_seen_without_a_relist(tmp_path: Path) -> None:
    async with watching(tmp_path) as seen:
        assert seen.uids == []
        (tmp_path / "a.yaml").write_text("one")
        await seen.until(lambda: seen.uids == ["one@a.yaml"])
        (tmp_path / "a.yaml").write_text("two")
        await seen.until(lambda: seen.uids == ["two@a.yaml"])
        (tmp_path / "a.yaml").unlink()
        await seen.until(lambda: seen.uids == [])
        assert seen.problems == []


@pytest.mark.asyncio
async def test_editors_rename_dance_changes_the_pod_once_and_never_removes_it(tmp_path: Path) -> None:
    manifest = tmp_path / "a.yaml"
    manifest.write_text("one")
    async with watching(tmp_path) as seen:
        manifest.rename(tmp_path / "a.yaml~")
        manifest.write_text("two")
        (tmp_path / "a.yaml~").unlink()
        await seen.until(lambda: seen.uids == ["two@a.yaml"])
        (tmp_path / ".a.new").write_text("three")
        (tmp_path / ".a.new").rename(manifest)
        await seen.until(lambda: seen.uids == ["three@a.yaml"])
        assert all(len(delivery.pods) == 1 for delivery in seen.deliveries)
        assert seen.problems == []


@pytest.mark.asyncio
async def test_link_that_appears_is_read_at_once(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "web").write_text("one")
    manifests = tmp_path / "m"
    manifests.mkdir()
    async with watching(manifests) as seen:
        (manifests / "a.yaml").symlink_to(tmp_path / "target" / "web")
        await seen.until(lambda: seen.uids == ["one@a.yaml"])


@pytest.mark.asyncio
async def test_broken_manifest_is_reported_once_keeps_its_pod_and_leaves_others_alone(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("one")
    (tmp_path / "b.yaml").write_text("BAD")
    async with watching(tmp_path, relist_seconds=0.03) as seen:
        assert seen.uids == ["one@a.yaml"]
        assert seen.deliveries[-1].undecodable == {f"{tmp_path}/b.yaml"}
        await seen.until(lambda: len(seen.problems) == 1)
        (tmp_path / "a.yaml").write_text("WORSE")
        await seen.until(lambda: len(seen.problems) == 2)
        assert seen.problems == [
            f"{tmp_path}/b.yaml:1: spec: is 'BAD'",
            f"{tmp_path}/a.yaml:1: spec: is 'WORSE'",
        ]
        assert seen.uids == ["one@a.yaml"]
        (tmp_path / "a.yaml").write_text("two")
        await seen.until(lambda: seen.uids == ["two@a.yaml"])
        assert seen.deliveries[-1].undecodable == {f"{tmp_path}/b.yaml"}
        assert len(seen.problems) == 2


@pytest.mark.asyncio
async def test_missing_directory_is_an_empty_set_and_is_found_when_it_appears(tmp_path: Path) -> None:
    path = tmp_path / "etc" / "manifests"
    async with watching(path) as seen:
        assert seen.uids == []
        path.mkdir(parents=True)
        (path / "a.yaml").write_text("one")
        await seen.until(lambda: seen.uids == ["one@a.yaml"])
        shutil.rmtree(tmp_path / "etc")
        await seen.until(lambda: seen.uids == [])
        path.mkdir(parents=True)
        (path / "a.yaml").write_text("two")
        await seen.until(lambda: seen.uids == ["two@a.yaml"])


@pytest.mark.asyncio
async def test_directory_that_is_swapped_whole_is_read_anew(tmp_path: Path) -> None:
    for name, text in (("v1", "one"), ("v2", "two")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.yaml").write_text(text)
    link = tmp_path / "current"
    link.symlink_to("v1")
    async with watching(link) as seen:
        assert seen.uids == ["one@a.yaml"]
        (tmp_path / "next").symlink_to("v2")
        (tmp_path / "next").rename(link)
        await seen.until(lambda: seen.uids == ["two@a.yaml"])
        (tmp_path / "v2" / "b.yaml").write_text("more")
        await seen.until(lambda: seen.uids == ["two@a.yaml", "more@b.yaml"])


@pytest.mark.asyncio
async def test_single_file_path_reads_that_file_alone(tmp_path: Path) -> None:
    manifest = tmp_path / "pod.yaml"
    manifest.write_text("one")
    (tmp_path / "other.yaml").write_text("other")
    async with watching(manifest) as seen:
        assert seen.uids == ["one@pod.yaml"]
        (tmp_path / "other.yaml").write_text("changed")
        manifest.write_text("two")
        await seen.until(lambda: seen.uids == ["two@pod.yaml"])
        manifest.unlink()
        await seen.until(lambda: seen.uids == [])


@pytest.mark.asyncio
async def test_relist_finds_what_no_event_told(tmp_path: Path) -> None:
    class Deaf:
        """A watch that misses everything."""

        def __init__(self, path: str, wake: Callable[[], None]) -> None:
            self.refreshed = 0

        def take(self):  # type: ignore[no-untyped-def]
            from kubelet.sources.watch import News

            return News()

        def refresh(self) -> None:
            self.refreshed += 1

        def close(self) -> None:
            self.refreshed = 0

    seen = Watched()
    source = FileSource(
        str(tmp_path), decode, deliver=seen.deliver, report=seen.report, relist_seconds=0.02, watcher=Deaf
    )
    task = asyncio.create_task(source.run())
    await seen.until(lambda: seen.uids == [])
    (tmp_path / "a.yaml").write_text("one")
    await seen.until(lambda: seen.uids == ["one@a.yaml"])
    (tmp_path / "a.yaml").unlink()
    await seen.until(lambda: seen.uids == [])
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.asyncio
async def test_directory_that_cannot_be_listed_delivers_nothing(tmp_path: Path) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to("loop")
    async with watching(loop, relist_seconds=0.02) as seen:
        assert seen.deliveries == []
        assert len(seen.problems) == 1
        assert f'cannot list "{loop}": because' in seen.problems[0]
        loop.unlink()
        loop.mkdir()
        (loop / "a.yaml").write_text("one")
        await seen.until(lambda: seen.uids == ["one@a.yaml"])


@pytest.mark.asyncio
async def test_file_over_ten_mebibytes_is_refused_unread(tmp_path: Path) -> None:
    with open(tmp_path / "big.yaml", "wb") as file:
        file.truncate((10 << 20) + 1)
    async with watching(tmp_path) as seen:
        await seen.until(lambda: bool(seen.problems))
        assert seen.problems == [
            f"{tmp_path}/big.yaml: is 10485761 bytes long, and a manifest may have 10485760"
        ]


@pytest.mark.asyncio
async def test_hundred_manifests_written_at_once_all_arrive(tmp_path: Path) -> None:
    async with watching(tmp_path) as seen:
        for number in range(100):
            (tmp_path / f"{number:03}.yaml").write_text(f"pod{number}")
        await seen.until(lambda: len(seen.uids) == 100)
        for number in range(0, 100, 2):
            (tmp_path / f"{number:03}.yaml").unlink()
        await seen.until(lambda: len(seen.uids) == 50)
