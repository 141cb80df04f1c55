"""SPDY frames: their bytes, and that a reader takes them in pieces of any size."""

from __future__ import annotations

import struct
import zlib
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aio.spdy_frames import (
    MAX_CONTROL,
    Data,
    Frame,
    FrameReader,
    FrameWriter,
    GoAway,
    MoreHeaders,
    Ping,
    RstStream,
    Settings,
    SpdyError,
    SynReply,
    SynStream,
    WindowUpdate,
)
from aio.spdy_headers import (
    DICTIONARY,
    DICTIONARY_ADLER,
    MAX_BLOCK,
    BadBlock,
    HeaderReader,
    Headers,
    HeaderWriter,
)

pytestmark = pytest.mark.pure

IDS = st.integers(1, 0x7FFFFFFF)
NAMES = st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1, max_size=12)
VALUES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30)
BLOCKS = st.dictionaries(NAMES, VALUES, max_size=4).map(lambda pairs: tuple(pairs.items()))
FRAMES: st.SearchStrategy[Frame] = st.one_of(
    st.builds(SynStream, IDS, BLOCKS, st.booleans(), st.booleans(), st.integers(0, 5), st.integers(0, 7)),
    st.builds(SynReply, IDS, BLOCKS, st.booleans()),
    st.builds(MoreHeaders, IDS, BLOCKS, st.booleans()),
    st.builds(Data, IDS, st.binary(max_size=60), st.booleans()),
    st.builds(RstStream, IDS, st.integers(1, 11)),
    st.builds(Settings, st.lists(st.tuples(st.integers(1, 9), st.integers(0, 2**32 - 1))).map(tuple)),
    st.builds(Ping, st.integers(1, 2**32 - 1)),
    st.builds(GoAway, IDS, st.integers(0, 2)),
    st.builds(WindowUpdate, st.integers(0, 9), IDS),
)


def joined(frames: list[Frame]) -> list[Frame]:
    """Pieces of one DATA frame put together again."""
    whole: list[Frame] = []
    for frame in frames:
        last = whole[-1] if whole else None
        match last, frame:
            case Data(same, first, False), Data(stream_id, more, fin) if stream_id == same:
                whole[-1] = Data(same, first + more, fin)
            case _:
                whole.append(frame)
    return whole


@settings(max_examples=150, deadline=None)
@given(st.lists(FRAMES, max_size=8), st.data())
def test_frames_survive_any_splitting_of_their_bytes(frames: list[Frame], data: st.DataObject) -> None:
    writer, reader = FrameWriter(), FrameReader()
    wire = b"".join(writer.encode(frame) for frame in frames)
    cuts = data.draw(st.lists(st.integers(0, len(wire)), max_size=20))
    edges = sorted({0, len(wire), *cuts})
    read = [frame for start, end in pairwise(edges) for frame in reader.feed(wire[start:end])]
    assert joined(read) == joined(frames)


def test_every_single_byte_may_come_alone() -> None:
    writer, reader = FrameWriter(), FrameReader()
    frames: list[Frame] = [SynStream(1, (("streamtype", "error"),)), Data(1, b"abc", True), GoAway(0)]
    wire = b"".join(writer.encode(frame) for frame in frames)
    assert joined([frame for byte in wire for frame in reader.feed(bytes((byte,)))]) == frames


@pytest.mark.parametrize(
    ("frame", "wire"),
    [
        (Data(3, b"hi", True), "00000003 01000002 6869"),
        (Ping(1), "80030006 00000004 00000001"),
        (RstStream(5, 3), "80030003 00000008 00000005 00000003"),
        (GoAway(7, 1), "80030007 00000008 00000007 00000001"),
        (WindowUpdate(1, 65536), "80030009 00000008 00000001 00010000"),
        (Settings(((7, 1000),)), "80030004 0000000c 00000001 00000007 000003e8"),
    ],
)
def test_frames_have_the_bytes_of_the_draft(frame: Frame, wire: str) -> None:
    assert FrameWriter().encode(frame) == bytes.fromhex(wire)


def test_a_header_block_is_deflated_with_the_drafts_dictionary() -> None:
    assert (len(DICTIONARY), zlib.adler32(DICTIONARY)) == (1423, DICTIONARY_ADLER)
    block = HeaderWriter().block([("StreamType", "error")])
    assert block[2:6] == struct.pack(">I", DICTIONARY_ADLER)
    plain = zlib.decompressobj(zdict=DICTIONARY).decompress(block)
    assert plain == b"\0\0\0\1" + b"\0\0\0\x0astreamtype" + b"\0\0\0\5error"


def test_values_of_one_name_travel_together() -> None:
    headers: Headers = (("accept", "a"), ("port", "80"), ("accept", "b"))
    read = HeaderReader().headers(HeaderWriter().block(headers))
    assert read == (("accept", "a"), ("accept", "b"), ("port", "80"))


def deflated(plain: bytes) -> bytes:
    deflate = zlib.compressobj(zdict=DICTIONARY)
    return deflate.compress(plain) + deflate.flush(zlib.Z_SYNC_FLUSH)


@pytest.mark.parametrize(
    ("block", "text"),
    [
        (b"nonsense", "does not inflate"),
        (deflated(b"\0" * (MAX_BLOCK + 1)), "larger than"),
        (deflated(b"\0"), "number of pairs"),
        (deflated(b"\0\0\0\1\0\0"), "within a length"),
        (deflated(b"\0\0\0\1\0\0\0\x09abc"), "within a text"),
        (deflated(b"\0\0\0\1\0\0\0\1A\0\0\0\0"), "not in lower case"),
        (deflated(b"\0\0\0\2" + 2 * b"\0\0\0\1a\0\0\0\0"), "twice there"),
        (deflated(b"\0\0\0\1\0\0\0\1a\0\0\0\1\xff"), "not UTF-8"),
        (deflated(b"\0\0\0\0more"), "follow the last pair"),
    ],
)
def test_a_bad_header_block_is_refused(block: bytes, text: str) -> None:
    with pytest.raises(BadBlock, match=text):
        HeaderReader().headers(block)


@pytest.mark.parametrize(
    ("wire", "text"),
    [
        (bytes.fromhex("80020006 00000004 00000001"), "version 2"),
        (bytes.fromhex("80030006 00000002 0000"), "too short"),
        (bytes.fromhex("00000000 00000000"), "stream 0"),
        (bytes.fromhex("80030009 00000008 00000001 00000000"), "by nothing"),
        (bytes.fromhex("80030004 00000004 00000002"), "tells 2 settings"),
        (bytes.fromhex("80030002 00000006 00000001 6161"), "header block"),
        (struct.pack(">II", 0x80030001, MAX_CONTROL + 1), "longer than"),
    ],
)
def test_a_broken_frame_ends_the_reader(wire: bytes, text: str) -> None:
    with pytest.raises(SpdyError, match=text):
        list(FrameReader().feed(wire))


def test_a_frame_of_an_unknown_type_is_skipped() -> None:
    wire = bytes.fromhex("8003000a 00000003 616263") + FrameWriter().encode(Ping(1))
    assert list(FrameReader().feed(wire)) == [Ping(1)]
