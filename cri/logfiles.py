"""Reading container log files from disk, in bounded blocking steps for an executor's thread.

A log is `<path>` and its rotated forerunners `<path>.<YYYYMMDD-HHMMSS>[.gz]`, oldest first by name. The last
N lines are found from the end, block by block, so their cost does not depend on the size of the log; only
compressed forerunners have to be read from their start. Nothing is held beyond one block.
"""

from __future__ import annotations

import gzip
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, cast

from cri.logs import HEAD_LIMIT_BYTES, Decoder, LogChunk, LogOptions, Renderer, parse_head

BLOCK_BYTES = 256 << 10
# Termination messages: kubelet's own limits (pkg/kubelet/container/runtime.go).
TERMINATION_LINES = 80
TERMINATION_BYTES = 2048
# How far back a termination message is looked for: eighty pieces of a runtime's 16 KiB, with their heads.
TERMINATION_SCAN_BYTES = 2 << 20
_ROTATED = re.compile(r"\.(?P<stamp>\d{8}-\d{6})(?P<gz>\.gz)?$")


@dataclass(frozen=True, slots=True)
class Part:
    """One file of a log, and from which byte of its (uncompressed) text to read."""

    path: Path
    is_compressed: bool = False
    start: int = 0
    inode: int = 0  # of the log itself, so that a rotation after the search is noticed


def rotated_parts(path: Path) -> list[Part]:
    """The rotated forerunners of the log at `path`, oldest first; a half-written `.gz.tmp` is none."""
    found: dict[str, Part] = {}
    try:
        names = sorted(entry.name for entry in path.parent.iterdir())
    except FileNotFoundError:
        return []
    for name in names:
        match = _ROTATED.match(name[len(path.name) :]) if name.startswith(path.name) else None
        if match is None:
            continue
        # While a file is being compressed both forms are there; the plain one is whole.
        is_compressed = match["gz"] is not None
        if match["stamp"] not in found or not is_compressed:
            found[match["stamp"]] = Part(path.parent / name, is_compressed)
    return [found[stamp] for stamp in sorted(found)]


def open_part(part: Part) -> IO[bytes]:
    """Open at `part.start`. FileNotFoundError when it has been removed or compressed meanwhile."""
    opened = gzip.open(part.path) if part.is_compressed else open(part.path, "rb")  # noqa: SIM115
    file = cast(IO[bytes], opened)
    if part.start:
        file.seek(part.start)
    return file


def parts_to_read(path: Path, options: LogOptions) -> list[Part]:
    """Which files to read, from where, to give what `options` ask for; the log itself comes last.

    Raises FileNotFoundError when there is no log at `path`.
    """
    current = Part(path, inode=path.stat().st_ino)
    parts = [*rotated_parts(path), current] if options.reaches_back else [current]
    if options.since_ns is not None:
        parts = [part for part in parts if part is current or _may_hold(part, options.since_ns)]
    return parts if options.tail_lines is None else _last_lines(parts, options.tail_lines)


def _may_hold(part: Part, since_ns: int) -> bool:
    """A file last written before that moment holds nothing from after it (gzip keeps the time)."""
    try:
        return part.path.stat().st_mtime_ns >= since_ns
    except FileNotFoundError:
        return False


def _last_lines(parts: list[Part], lines: int) -> list[Part]:
    wanted: list[Part] = []
    for part in reversed(parts):
        if lines <= 0 and wanted:
            break
        with suppress(FileNotFoundError), open_part(part) as file:
            start, found = _tail_of_stream(file, lines) if part.is_compressed else tail_start(file, lines)
            wanted.append(replace(part, start=start))
            lines -= found
    return wanted[::-1]


def tail_start(file: IO[bytes], lines: int, *, scan_limit: int | None = None) -> tuple[int, int]:
    """Where the last `lines` lines of output begin in a plain file, and how many of them there are.

    Read backwards by blocks. `scan_limit` bounds how far; the start may then be in the middle of a line.
    """
    size = end = file.seek(0, os.SEEK_END)
    if lines <= 0:
        return size, 0
    is_open = False  # the pieces seen last, further on, belong to a line whose beginning was not yet seen
    found, start = 0, size
    stop = 0 if scan_limit is None else max(0, size - scan_limit)
    for begin in _line_starts_backwards(file, end, stop):
        file.seek(begin)
        parsed = parse_head(file.read(HEAD_LIMIT_BYTES).partition(b"\n")[0])
        if parsed is None:
            continue
        if parsed[0].is_whole or not is_open:
            if found == lines:
                break
            found += 1
            is_open = True
        start = begin
    return start, found


def _line_starts_backwards(file: IO[bytes], end: int, stop: int) -> Iterator[int]:
    """Offsets at which physical lines begin, last first; a start at `stop` itself only when it is 0."""
    position = end
    is_last = True
    while position > stop:
        begin = max(stop, position - BLOCK_BYTES)
        file.seek(begin)
        block = file.read(position - begin)
        at = len(block)
        while (at := block.rfind(b"\n", 0, at)) >= 0:
            # The newline at the very end begins nothing.
            if not (is_last and begin + at + 1 == end):
                yield begin + at + 1
            is_last = False
        position = begin
    if stop == 0 and end > 0:
        yield 0


def _tail_of_stream(file: IO[bytes], lines: int) -> tuple[int, int]:
    """As `tail_start` for a file that can only be read forwards: count first, then go through again."""
    total = sum(1 for _ in _logical_starts(file))
    if total <= lines:
        return 0, total
    file.seek(0)
    for index, start in enumerate(_logical_starts(file)):
        if index == total - lines:
            return start, lines
    raise OSError("the log changed while it was read")


def _logical_starts(file: IO[bytes]) -> Iterator[int]:
    """Offsets at which lines of output begin, first to last."""
    offset = 0
    is_line_start, is_new = True, True
    while line := file.readline(BLOCK_BYTES):
        parsed = parse_head(line) if is_line_start else None
        if parsed is not None:
            if is_new:
                yield offset
            is_new = parsed[0].is_whole
        is_line_start = line.endswith(b"\n")
        offset += len(line)


def read_block(file: IO[bytes]) -> bytes:
    """The next block, empty at the end of what has been written."""
    return file.read(BLOCK_BYTES)


def chunks_of_part(part: Part, renderer: Renderer) -> Iterator[list[LogChunk]]:
    """The rendered text of one file that will not grow, one block a step; nothing when it has gone."""
    decoder = Decoder()
    with suppress(FileNotFoundError), open_part(part) as file:
        while not renderer.is_done and (block := read_block(file)):
            yield renderer.render(decoder.feed(block))
        yield renderer.render(decoder.finish())


def read_log(path: Path, options: LogOptions) -> Iterator[LogChunk]:
    """The text that `options` ask for, read one block a step. Does not follow (`cri.logfollow`)."""
    renderer = Renderer(options)
    for part in parts_to_read(path, options):
        for chunks in chunks_of_part(part, renderer):
            yield from chunks


def read_tail(path: Path, max_lines: int = TERMINATION_LINES, max_bytes: int = TERMINATION_BYTES) -> str:
    """The end of a log as a termination message: the last `max_lines` lines, of these the last `max_bytes`.

    Only the current file counts. Empty when there is none; bytes that are not UTF-8 are replaced.
    """
    try:
        file = open(path, "rb")  # noqa: SIM115
    except FileNotFoundError:
        return ""
    with file:
        start, found = tail_start(file, max_lines, scan_limit=TERMINATION_SCAN_BYTES)
        if not found:
            # Inside one line larger than a runtime writes unless told to: its end is better than none.
            file.seek(max(0, file.seek(0, os.SEEK_END) - max_bytes))
            return file.read(max_bytes).decode("utf-8", errors="replace")
        file.seek(start)
        decoder, renderer, kept = Decoder(), Renderer(LogOptions()), b""
        while block := read_block(file):
            for chunk in renderer.render(decoder.feed(block)):
                kept = (kept + chunk.data)[-max_bytes:]
        for chunk in renderer.render(decoder.finish()):
            kept = (kept + chunk.data)[-max_bytes:]
    return kept.decode("utf-8", errors="replace")
