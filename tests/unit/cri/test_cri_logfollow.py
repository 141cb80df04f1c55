"""Following a log: all that is written, once and in order, through rotation, until the container is done."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from cri.logfollow import stream_log
from cri.logs import LogChunk, LogOptions

pytestmark = pytest.mark.pure

FOLLOW = LogOptions(follow=True)


def line(text: str) -> bytes:
    return f"2016-10-06T00:00:01.5Z stdout F {text}\n".encode()


class Reader:
    """Collects what a stream gives, and waits for what is expected of it."""

    def __init__(self, path: Path, options: LogOptions, finished: asyncio.Event | None = None) -> None:
        self.text = b""
        self._grown = asyncio.Condition()
        stream = stream_log(path, options, asyncio.to_thread, finished)
        self.task = asyncio.create_task(self._read(stream))

    async def _read(self, stream: AsyncIterator[list[LogChunk]]) -> None:
        async with aclosing(stream) as chunks:  # type: ignore[type-var]
            async for some in chunks:
                async with self._grown:
                    self.text += b"".join(chunk.data for chunk in some)
                    self._grown.notify_all()

    async def until(self, ending: bytes) -> bytes:
        async with asyncio.timeout(5), self._grown:
            await self._grown.wait_for(lambda: self.text.endswith(ending))
        return self.text

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "0.log"
    path.write_bytes(line("a") + line("b"))
    return path


def append(path: Path, *lines: bytes) -> None:
    with path.open("ab") as file:
        file.write(b"".join(lines))


@pytest.mark.asyncio
async def test_without_follow_the_stream_ends_at_the_end(path: Path) -> None:
    reader = Reader(path, LogOptions(tail_lines=1))
    await asyncio.wait_for(reader.task, 5)
    assert reader.text == b"b\n"


@pytest.mark.asyncio
async def test_what_is_written_later_is_given_out(path: Path) -> None:
    reader = Reader(path, LogOptions(follow=True, tail_lines=0))
    await asyncio.sleep(0.05)
    append(path, line("c"))
    assert await reader.until(b"c\n") == b"c\n"
    append(path, line("d")[:10])
    append(path, line("d")[10:], line("e"))
    assert await reader.until(b"e\n") == b"c\nd\ne\n"
    await reader.stop()


@pytest.mark.asyncio
async def test_following_ends_when_the_container_has_finished_and_all_is_read(path: Path) -> None:
    finished = asyncio.Event()
    reader = Reader(path, FOLLOW, finished)
    await reader.until(b"b\n")
    append(path, line("last"))
    finished.set()
    await asyncio.wait_for(reader.task, 5)
    assert reader.text == b"a\nb\nlast\n"


@pytest.mark.asyncio
async def test_following_a_finished_container_reads_it_all_and_ends(path: Path) -> None:
    finished = asyncio.Event()
    finished.set()
    reader = Reader(path, FOLLOW, finished)
    await asyncio.wait_for(reader.task, 5)
    assert reader.text == b"a\nb\n"


@pytest.mark.asyncio
async def test_rotation_loses_and_repeats_nothing(path: Path) -> None:
    """As agent and runtime do it: rename, write on, open anew, one last write to the old one, compress."""
    reader = Reader(path, FOLLOW)
    expected = b"a\nb\n"
    await reader.until(expected)
    for turn in range(3):
        rotated = path.with_name(f"0.log.20161006-00000{turn}")
        path.rename(rotated)
        append(rotated, line(f"renamed {turn}"))
        path.touch()
        append(rotated, line(f"swapped {turn}"))
        await asyncio.sleep(0.02)
        append(path, line(f"new {turn}"))
        expected += b"renamed %d\nswapped %d\nnew %d\n" % (turn, turn, turn)
        assert await reader.until(b"new %d\n" % turn) == expected
        rotated.with_name(rotated.name + ".gz").write_bytes(gzip.compress(rotated.read_bytes()))
        rotated.unlink()
    await reader.stop()


@pytest.mark.asyncio
async def test_two_rotations_at_once_are_both_read(path: Path) -> None:
    reader = Reader(path, FOLLOW)
    await reader.until(b"b\n")
    for turn in range(2):
        path.rename(path.with_name(f"0.log.20161006-00000{turn}"))
        path.write_bytes(line(f"n{turn}"))
    assert await reader.until(b"n1\n") == b"a\nb\nn0\nn1\n"
    await reader.stop()


@pytest.mark.asyncio
async def test_a_truncated_log_is_read_from_its_beginning(path: Path) -> None:
    reader = Reader(path, FOLLOW)
    await reader.until(b"b\n")
    path.write_bytes(line("z"))
    assert (await reader.until(b"z\n")).endswith(b"z\n")
    await reader.stop()


@pytest.mark.asyncio
async def test_the_byte_limit_ends_following(path: Path) -> None:
    reader = Reader(path, LogOptions(follow=True, limit_bytes=7))
    await reader.until(b"b\n")
    append(path, line("cdefgh"))
    await asyncio.wait_for(reader.task, 5)
    assert reader.text == b"a\nb\ncde"


@pytest.mark.asyncio
async def test_a_log_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    reader = Reader(tmp_path / "0.log", FOLLOW)
    with pytest.raises(FileNotFoundError):
        await asyncio.wait_for(reader.task, 5)


@pytest.mark.asyncio
async def test_other_containers_logs_do_not_wake_the_reader(path: Path) -> None:
    reads = 0

    async def counted(call, /):  # type: ignore[no-untyped-def]
        nonlocal reads
        reads += 1
        return await asyncio.to_thread(call)

    async def read() -> None:
        async with aclosing(stream_log(path, FOLLOW, counted)) as chunks:
            async for _ in chunks:
                pass

    task = asyncio.create_task(read())
    await asyncio.sleep(0.1)
    before = reads
    for _ in range(20):
        append(path.with_name("1.log"), line("x"))
        await asyncio.sleep(0.002)
    assert reads == before
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("is_late", [False, True], ids=["after", "before"])
@pytest.mark.asyncio
async def test_a_log_that_nobody_waits_for_any_more_is_closed(
    path: Path,
    is_late: bool,
) -> None:
    """Given up after the thread has opened it, or before."""
    calls: list[Callable[[], object]] = []

    async def given_up(call: Callable[[], Any], /) -> Any:
        calls.append(call)
        if len(calls) == 1:
            return call()  # which files there are
        if not is_late:
            call()
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        async for _ in stream_log(path, FOLLOW, given_up):
            pytest.fail("nothing was read")
    if is_late:
        calls[-1]()
    open_files = [str(link.readlink()) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    assert str(path) not in open_files
