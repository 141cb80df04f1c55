"""A container's log as a stream that goes on across rotation: `stream_log`.

Mechanism: inotify on the log's directory says when to read; the open file is followed by its inode, so a
rename changes nothing. Once another file stands at the path the old one is read to its end, given a moment
for what its writer still held, read again, and left for its successor. Reading happens block by block in the
caller's executor; the event loop only passes blocks on.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import IO, Protocol, TypeVar

from asyncinotify import Inotify, Mask

from cri.logfiles import Part, chunks_of_part, open_part, parts_to_read, read_block, rotated_parts
from cri.logs import Decoder, LogChunk, LogOptions, Renderer

T = TypeVar("T")

# A runtime opens the new file first and swaps its writer a moment later.
ROTATION_DRAIN_SECONDS = 0.05
_WATCHED = Mask.MODIFY | Mask.CREATE | Mask.MOVED_TO | Mask.MOVED_FROM | Mask.DELETE


class Blocking(Protocol):
    """Runs a bounded blocking call in a thread: `asyncio.to_thread`, or an executor's kind."""

    async def __call__(self, call: Callable[[], T], /) -> T: ...


async def stream_log(
    path: Path, options: LogOptions, blocking: Blocking, finished: asyncio.Event | None = None
) -> AsyncGenerator[list[LogChunk], None]:
    """What `options` ask for, a list per block read; with `follow`, what is written later as well.

    Following ends when `finished` is set (the container will write no more) and the end is reached, or at the
    byte limit; without `finished` only with the task. FileNotFoundError when there is no log at `path`.
    """
    renderer = Renderer(options)
    async with _Changes(path, finished) as changes:
        parts = await blocking(lambda: parts_to_read(path, options))
        for part in parts[:-1]:
            steps = chunks_of_part(part, renderer)
            while (chunks := await blocking(partial(_next, steps))) is not None:
                if chunks:
                    yield chunks
        current = await _held(blocking, partial(_Followed.open, path, parts[-1]))
        try:
            is_drained = False
            while not renderer.is_done:
                # Both taken before the reading: what changes during it is seen next time round.
                changes.clear()
                is_finished = finished is not None and finished.is_set()
                if chunks := await blocking(partial(current.read, renderer)):
                    yield chunks
                if current.has_more:
                    continue
                if not options.follow:
                    break
                if await blocking(current.is_replaced):
                    if not is_drained:
                        is_drained = True
                        await asyncio.sleep(ROTATION_DRAIN_SECONDS)
                        continue
                    if chunks := renderer.render(current.decoder.finish()):
                        yield chunks
                    current, is_drained = await _held(blocking, current.successor), False
                elif is_finished:
                    break
                else:
                    await changes.wait()
            if chunks := renderer.render(current.decoder.finish()):
                yield chunks
        finally:
            current.close()


def _next(steps: Iterator[list[LogChunk]]) -> list[LogChunk] | None:
    return next(steps, None)


class _Followed:
    """The open file being followed; every method but `close` blocks for one block at most."""

    def __init__(self, path: Path, file: IO[bytes]) -> None:
        self._path = path
        self._file = file
        self._inode = os.fstat(file.fileno()).st_ino
        self.decoder = Decoder()
        self.has_more = False

    @classmethod
    def open(cls, path: Path, part: Part) -> _Followed:
        """Open what the search meant by `part`, wherever a rotation since then has moved it."""
        file = open_part(part)
        if part.inode in (0, os.fstat(file.fileno()).st_ino):
            return cls(path, file)
        file.close()
        for rotated in rotated_parts(path):
            if not rotated.is_compressed and rotated.path.stat().st_ino == part.inode:
                return cls(path, open_part(Part(rotated.path, start=part.start)))
        return cls(path, open_part(Part(path)))

    def read(self, renderer: Renderer) -> list[LogChunk]:
        """The text of the next block. `has_more` when there was one, even if all of it was left out."""
        block = read_block(self._file)
        if not block and os.fstat(self._file.fileno()).st_size < self._file.tell():
            self._file.seek(0)  # truncated in place
            block = read_block(self._file)
        self.has_more = bool(block)
        return renderer.render(self.decoder.feed(block))

    def is_replaced(self) -> bool:
        """Whether another file stands at the path; a missing one is only on its way."""
        try:
            return self._path.stat().st_ino != self._inode
        except FileNotFoundError:
            return False

    def successor(self) -> _Followed:
        """The file that came after this one, which is closed: the next rotated one, or the log itself."""
        rotated = [part for part in rotated_parts(self._path) if not part.is_compressed]
        inodes = [part.path.stat().st_ino for part in rotated]
        after = inodes.index(self._inode) + 1 if self._inode in inodes else len(rotated)
        following = rotated[after] if after < len(rotated) else Part(self._path)
        opened = _Followed(self._path, open_part(following))
        self.close()
        return opened

    def close(self) -> None:
        self._file.close()


async def _held(blocking: Blocking, make: Callable[[], _Followed]) -> _Followed:
    """What `make` opens in its thread: closed there, or here, when nobody waits for it any more."""
    opening = _Opening(make)
    try:
        return await blocking(opening.run)
    except BaseException:
        opening.give_up()
        raise


class _Opening:
    def __init__(self, make: Callable[[], _Followed]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._opened: _Followed | None = None
        self._is_given_up = False

    def run(self) -> _Followed:
        opened = self._make()
        with self._lock:
            self._opened = opened
            if self._is_given_up:
                opened.close()
        return opened

    def give_up(self) -> None:
        with self._lock:
            self._is_given_up = True
            if self._opened is not None:
                self._opened.close()


class _Changes:
    """Wakes on changes in the log's directory that concern the log, and when the container has finished."""

    def __init__(self, path: Path, finished: asyncio.Event | None) -> None:
        self._path = path
        self._finished = finished
        self._inotify = Inotify()
        self._woken = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> _Changes:
        try:
            self._inotify.add_watch(self._path.parent, _WATCHED)
        except BaseException:
            self._inotify.close()
            raise
        self._tasks.append(asyncio.create_task(self._hear(), name="log-changes"))
        if self._finished is not None:
            self._tasks.append(asyncio.create_task(self._hear_end(self._finished), name="log-finished"))
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._inotify.close()

    def clear(self) -> None:
        self._woken.clear()

    async def wait(self) -> None:
        """Until something changed since `clear`, or raises what ended the watching."""
        await self._woken.wait()
        if self._tasks[0].done():
            self._tasks[0].result()

    async def _hear(self) -> None:
        try:
            async for event in self._inotify:
                # An overflow has no name and may hide anything.
                if event.name is None or str(event.name).startswith(self._path.name):
                    self._woken.set()
        finally:
            self._woken.set()

    async def _hear_end(self, finished: asyncio.Event) -> None:
        await finished.wait()
        self._woken.set()
