"""The CRI log format, and reading logs from disk: what is given out for which options."""

from __future__ import annotations

import gzip
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cri.logfiles import read_log, read_tail, rotated_parts, tail_start
from cri.logs import (
    PIECE_LIMIT_BYTES,
    Decoder,
    LogChunk,
    LogEntry,
    LogOptions,
    Renderer,
    parse_head,
    time_ns,
)

pytestmark = pytest.mark.pure

EVERYTHING = LogOptions()
SECOND = 1_000_000_000
BASE_NS = 1_475_712_000 * SECOND  # 2016-10-06T00:00:00Z


def line(second: int, text: str, *, stream: str = "stdout", tag: str = "F") -> bytes:
    return f"2016-10-06T00:00:{second:02}.5Z {stream} {tag} {text}\n".encode()


def text_of(path: Path, options: LogOptions = EVERYTHING) -> bytes:
    return b"".join(chunk.data for chunk in read_log(path, options))


@pytest.fixture
def log(tmp_path: Path) -> Callable[..., Path]:
    def write(*lines: bytes, suffix: str = "") -> Path:
        path = tmp_path / f"0.log{suffix}"
        content = b"".join(lines)
        path.write_bytes(gzip.compress(content) if suffix.endswith(".gz") else content)
        return path

    return write


# The format


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (
            b"2016-10-06T00:17:09.669794202Z stdout F a b",
            (b"2016-10-06T00:17:09.669794202Z", "stdout", True, b"a b"),
        ),
        (b"2016-10-06T00:17:09Z stderr P part", (b"2016-10-06T00:17:09Z", "stderr", False, b"part")),
        (b"2016-10-06T00:17:09+02:00 stdout P:x:y t", (b"2016-10-06T00:17:09+02:00", "stdout", False, b"t")),
        (b"2016-10-06T00:17:09Z stdout F ", (b"2016-10-06T00:17:09Z", "stdout", True, b"")),
        (b"2016-10-06T00:17:09Z stdout F", (b"2016-10-06T00:17:09Z", "stdout", True, b"")),
        (
            b"2016-10-06T00:17:09Z stdout F  two blanks",
            (b"2016-10-06T00:17:09Z", "stdout", True, b" two blanks"),
        ),
    ],
)
def test_an_entry_is_read(raw: bytes, expected: tuple[bytes, str, bool, bytes]) -> None:
    assert list(Decoder().feed(raw + b"\n")) == [LogEntry(*expected)]


@pytest.mark.parametrize(
    "raw",
    [b"", b"hello", b"2016-10-06T00:17:09Z", b"2016-10-06T00:17:09Z out F x", b"x stdout F y", b"\0" * 300],
)
def test_a_line_that_is_no_entry_is_counted_and_left_out(raw: bytes) -> None:
    decoder = Decoder()
    assert parse_head(raw) is None
    assert list(decoder.feed(raw + b"\n")) == []
    assert decoder.skipped == 1


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (b"2016-10-06T00:00:00Z", BASE_NS),
        (b"2016-10-06T00:00:00.5Z", BASE_NS + SECOND // 2),
        (b"2016-10-06T00:00:01.000000001Z", BASE_NS + SECOND + 1),
        (b"2016-10-06T02:00:00.25+02:00", BASE_NS + SECOND // 4),
        (b"2016-10-05T19:30:00-04:30", BASE_NS),
        (b"2016-13-06T00:00:00Z", None),
        (b"yesterday, at ten o'clock", None),
        (b"2016-10-06T00:00:00.xZ", None),
    ],
)
def test_a_time_is_read_to_the_nanosecond(written: bytes, expected: int | None) -> None:
    assert time_ns(written) == expected


@given(st.lists(st.binary(max_size=40).map(lambda b: b.replace(b"\n", b"")), max_size=8), st.data())
def test_entries_do_not_depend_on_how_the_bytes_arrive(texts: list[bytes], data: st.DataObject) -> None:
    content = b"".join(b"2016-10-06T00:17:09Z stdout F " + text + b"\n" for text in texts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(content)), max_size=5)))
    decoder, seen = Decoder(), []
    for begin, end in zip([0, *cuts], [*cuts, len(content)], strict=True):
        seen += [entry.text for entry in decoder.feed(content[begin:end])]
    assert seen == texts


def test_an_entry_beyond_the_limit_comes_in_pieces_and_the_next_one_whole() -> None:
    long = b"x" * (3 * PIECE_LIMIT_BYTES)
    decoder = Decoder()
    data = b"2016-10-06T00:17:09Z stderr F " + long + b"\n" + line(1, "next")
    entries = [
        entry for begin in range(0, len(data), 1000) for entry in decoder.feed(data[begin : begin + 1000])
    ]
    assert b"".join(entry.text for entry in entries[:-1]) == long
    assert [entry.is_whole for entry in entries] == [False] * (len(entries) - 2) + [True, True]
    assert {entry.stream for entry in entries[:-1]} == {"stderr"}
    assert entries[-1].text == b"next"


def test_a_line_of_100_mb_is_read_within_a_few_mb(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    with path.open("wb") as file:
        file.write(b"2016-10-06T00:17:09Z stdout F ")
        for _ in range(100):
            file.write(b"x" * 1_000_000)
        file.write(b"\n" + line(1, "after"))
    tracemalloc.start()
    try:
        total, last = 0, b""
        for chunk in read_log(path, LogOptions()):
            total, last = total + len(chunk.data), chunk.data
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert total == 100_000_001 + len(b"after\n")
    assert last.endswith(b"x\nafter\n")
    assert peak < 4_000_000
    assert text_of(path, LogOptions(tail_lines=1)) == b"after\n"
    assert read_tail(path) == "after\n"
    os.truncate(path, 100_000_000)
    assert read_tail(path) == "x" * 2048


# What is given out


def test_pieces_are_joined_and_stamped_once(log: Callable[..., Path]) -> None:
    path = log(line(1, "one ", tag="P"), line(2, "err", stream="stderr"), line(3, "line"), line(4, ""))
    chunks = list(read_log(path, LogOptions()))
    assert chunks == [
        LogChunk("stdout", b"one "),
        LogChunk("stderr", b"err\n"),
        LogChunk("stdout", b"line\n\n"),
    ]
    assert text_of(path, LogOptions(timestamps=True)) == (
        b"2016-10-06T00:00:01.5Z one 2016-10-06T00:00:02.5Z err\nline\n2016-10-06T00:00:04.5Z \n"
    )


def test_one_stream_alone_can_be_asked_for(log: Callable[..., Path]) -> None:
    path = log(line(1, "out"), line(2, "err", stream="stderr"))
    assert text_of(path, LogOptions(streams=frozenset({"stderr"}))) == b"err\n"


def test_since_includes_its_own_moment(log: Callable[..., Path]) -> None:
    path = log(*(line(second, f"l{second}") for second in range(5)))
    at = BASE_NS + 2 * SECOND + SECOND // 2
    assert text_of(path, LogOptions(since_ns=at)) == b"l2\nl3\nl4\n"
    assert text_of(path, LogOptions(since_ns=at + 1)) == b"l3\nl4\n"


def test_the_byte_limit_counts_stamps_and_may_cut_a_line(log: Callable[..., Path]) -> None:
    path = log(line(1, "abcdef"), line(2, "x"))
    assert text_of(path, LogOptions(limit_bytes=3)) == b"abc"
    assert text_of(path, LogOptions(limit_bytes=8)) == b"abcdef\nx"
    assert text_of(path, LogOptions(limit_bytes=5, timestamps=True)) == b"2016-"
    assert text_of(path, LogOptions(limit_bytes=0)) == b""


@pytest.mark.parametrize("lines", [0, 1, 2, 3, 7, 50, 51, 1000])
def test_the_last_lines_count_whole_lines_and_not_pieces(log: Callable[..., Path], lines: int) -> None:
    written = [
        part for n in range(50) for part in (line(n, f"{n}:", tag="P"), line(n, "b", tag="P"), line(n, "c"))
    ]
    path = log(*written)
    expected = b"".join(b"%d:bc\n" % n for n in range(50)[max(0, 50 - lines) :])
    assert text_of(path, LogOptions(tail_lines=lines)) == expected


def test_an_unfinished_last_line_is_a_line(log: Callable[..., Path]) -> None:
    path = log(line(1, "a"), line(2, "b"), line(3, "going on", tag="P"))
    assert text_of(path, LogOptions(tail_lines=1)) == b"going on"
    assert text_of(path, LogOptions(tail_lines=2)) == b"b\ngoing on"
    cut = log(line(1, "a"), b"2016-10-06T00:00:02Z stdout F cut sho")
    assert text_of(cut, LogOptions(tail_lines=1)) == b"cut sho\n"


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 300)), max_size=12), st.integers(0, 15))
def test_the_tail_is_what_the_end_of_the_whole_is(
    tmp_path_factory: pytest.TempPathFactory, shapes: list[tuple[int, int]], lines: int
) -> None:
    path = tmp_path_factory.mktemp("tail") / "0.log"
    written = [
        b"".join([line(1, "p" * size, tag="P")] * pieces) + line(2, "f" * size) for pieces, size in shapes
    ]
    path.write_bytes(b"".join(written))
    whole = text_of(path).splitlines(keepends=True)
    assert text_of(path, LogOptions(tail_lines=lines)) == b"".join(whole[max(0, len(whole) - lines) :])


def test_a_tail_costs_the_same_whatever_the_size(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    path.write_bytes(line(1, "x" * 100) * 200_000)
    reads: list[int] = []
    with path.open("rb", buffering=0) as raw:
        size = path.stat().st_size
        start, found = tail_start(_Counting(raw, reads), 10)  # type: ignore[arg-type]
    assert found == 10
    assert size - start == 10 * len(line(1, "x" * 100))
    assert sum(reads) < 300_000


class _Counting:
    """A file that notes how much is read from it."""

    def __init__(self, file: object, reads: list[int]) -> None:
        self._file = file
        self._reads = reads

    def seek(self, *args: int) -> int:
        return int(self._file.seek(*args))  # type: ignore[attr-defined]

    def read(self, size: int) -> bytes:
        data = bytes(self._file.read(size))  # type: ignore[attr-defined]
        self._reads.append(len(data))
        return data


# Rotation


def test_rotated_files_count_for_tail_and_since_but_not_for_a_plain_read(log: Callable[..., Path]) -> None:
    log(line(1, "a"), line(2, "b"), suffix=".20161006-000002.gz")
    log(line(3, "c"), line(4, "d"), suffix=".20161006-000004")
    path = log(line(5, "e"))
    assert text_of(path) == b"e\n"
    assert text_of(path, LogOptions(tail_lines=1)) == b"e\n"
    assert text_of(path, LogOptions(tail_lines=2)) == b"d\ne\n"
    assert text_of(path, LogOptions(tail_lines=4)) == b"b\nc\nd\ne\n"
    assert text_of(path, LogOptions(tail_lines=99)) == b"a\nb\nc\nd\ne\n"
    assert text_of(path, LogOptions(since_ns=BASE_NS + 2 * SECOND)) == b"b\nc\nd\ne\n"
    assert text_of(path, LogOptions(since_ns=BASE_NS + 2 * SECOND, tail_lines=3)) == b"c\nd\ne\n"


def test_a_file_last_written_before_since_is_not_opened(log: Callable[..., Path]) -> None:
    old = log(b"not even gzip", suffix=".20161006-000002")
    old = old.rename(old.with_name(old.name + ".gz"))
    os.utime(old, ns=(BASE_NS, BASE_NS))
    path = log(line(5, "e"))
    assert text_of(path, LogOptions(since_ns=BASE_NS + 1)) == b"e\n"


def test_a_file_being_compressed_is_read_once_and_plain(log: Callable[..., Path]) -> None:
    plain = log(line(1, "a"), suffix=".20161006-000002")
    log(line(1, "a"), suffix=".20161006-000002.gz")
    path = log(line(5, "e"))
    plain.with_name("0.log.20161006-000002.gz.tmp").write_bytes(b"half")
    plain.with_name("10.log.20161006-000002").write_bytes(line(9, "another container's"))
    assert [part.path for part in rotated_parts(path)] == [plain]
    assert text_of(path, LogOptions(tail_lines=9)) == b"a\ne\n"


def test_a_log_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        text_of(tmp_path / "none" / "0.log")
    with pytest.raises(FileNotFoundError):
        text_of(tmp_path / "0.log", LogOptions(tail_lines=1))


# Termination messages


def test_a_termination_message_is_80_lines_and_2048_bytes_at_most(log: Callable[..., Path]) -> None:
    path = log(*(line(1, f"{n}") for n in range(200)))
    assert read_tail(path).splitlines() == [str(n) for n in range(120, 200)]
    assert read_tail(path, max_lines=2) == "198\n199\n"
    long = log(*(line(1, "é" * 40) for _ in range(80)))
    assert len(read_tail(long).encode()) <= 2048 + 2  # a cut character becomes a three-byte mark
    assert read_tail(long).endswith("é" * 40 + "\n")


def test_a_termination_message_of_no_log_is_empty(tmp_path: Path) -> None:
    assert read_tail(tmp_path / "0.log") == ""
    (tmp_path / "0.log").write_bytes(b"")
    assert read_tail(tmp_path / "0.log") == ""


def test_the_renderer_says_when_the_limit_is_reached() -> None:
    renderer = Renderer(LogOptions(limit_bytes=2))
    assert not renderer.is_done
    entry = LogEntry(b"2016-10-06T00:00:00Z", "stdout", True, b"abc")
    assert renderer.render(iter((entry, entry))) == [LogChunk("stdout", b"ab")]
    assert renderer.is_done
