"""The reader of requests with bytes alone: however they are cut, the same requests come out."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kube.http_server.compressing import takes_gzip
from kube.http_server.limits import Limits
from kube.http_server.model import Request
from kube.http_server.reading import Phase, RequestReader

pytestmark = pytest.mark.pure

GET = b"GET /a?b=c HTTP/1.1\r\nHost: s\r\n\r\n"
POST = b"POST /p HTTP/1.1\r\nHost: s\r\nContent-Length: 5\r\n\r\nhello"
CHUNKS = b"2\r\nab\r\n3;x=y\r\ncde\r\n0\r\nT: t\r\n\r\n"
CHUNKED = b"PUT /c HTTP/1.1\r\nHost: s\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKS
UPGRADE = b"GET /u HTTP/1.1\r\nHost: s\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
EACH = {GET: ("GET", "/a", b""), POST: ("POST", "/p", b"hello"), CHUNKED: ("PUT", "/c", b"abcde")}


def taken(reader: RequestReader) -> list[Request]:
    found = [arrived.request for arrived in reader.arrived]
    reader.arrived.clear()
    return found


def cut(raw: bytes, places: list[int]) -> list[bytes]:
    at = [0, *sorted(place % (len(raw) + 1) for place in places), len(raw)]
    return [raw[start:end] for start, end in pairwise(at)]


@given(st.lists(st.sampled_from(list(EACH)), max_size=6), st.lists(st.integers(0, 10_000), max_size=12))
def test_requests_come_whole_and_in_order_however_they_are_cut(raws: list[bytes], places: list[int]) -> None:
    reader = RequestReader(Limits())
    for piece in cut(b"".join(raws), places):
        reader.feed(piece)
    assert [(r.method, r.path, r.body) for r in taken(reader)] == [EACH[raw] for raw in raws]
    assert (reader.phase, reader.refusal) == (Phase.IDLE, None)


@given(st.lists(st.integers(0, 10_000), max_size=12))
def test_nothing_behind_an_upgrade_is_read_as_a_request_until_it_is_not_made(places: list[int]) -> None:
    reader = RequestReader(Limits())
    for piece in cut(GET + UPGRADE + POST, places):
        reader.feed(piece)
    assert [request.path for request in taken(reader)] == ["/a", "/u"]
    assert (reader.is_upgrade_pending, bytes(reader.rest)) == (True, POST)
    reader.go_on()
    assert [request.body for request in taken(reader)] == [b"hello"]


@given(st.binary(max_size=300), st.lists(st.integers(0, 10_000), max_size=5))
def test_no_bytes_at_all_break_the_reader(raw: bytes, places: list[int]) -> None:
    reader = RequestReader(Limits(header_bytes=200, body_bytes=50))
    for piece in cut(GET + raw, places):
        reader.feed(piece)
    reader.end()
    assert taken(reader)[0].path == "/a"
    assert reader.refusal is None or reader.refusal.code in (400, 413, 417, 431)


@given(st.integers(0, 60), st.booleans())
def test_bound_of_the_body_is_exact(size: int, is_chunked: bool) -> None:
    head = b"POST / HTTP/1.1\r\nHost: s\r\n"
    if is_chunked:
        raw = head + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * size + b"0\r\n\r\n"
    else:
        raw = head + b"Content-Length: %d\r\n\r\n" % size + b"x" * size
    reader = RequestReader(Limits(body_bytes=30))
    reader.feed(raw)
    if size <= 30:
        assert [request.body for request in taken(reader)] == [b"x" * size]
    else:
        assert reader.refusal is not None and reader.refusal.code == 413 and not reader.arrived


def test_what_follows_a_request_that_closes_is_passed_over() -> None:
    reader = RequestReader(Limits())
    reader.feed(b"GET / HTTP/1.1\r\nHost: s\r\nConnection: close\r\n\r\n" + GET)
    reader.feed(GET)
    assert len(taken(reader)) == 1 and reader.is_last and reader.refusal is None


@pytest.mark.parametrize(
    ("accepted", "wanted"),
    [("gzip", True), ("br, gzip;q=0.1", True), ("GZIP", True), ("gzip;q=0", False), ("gzip;q=0.0", False),
     ("", False), ("identity", False), ("gzip; q=1", True)],
)  # fmt: skip
def test_gzip_is_taken_when_it_is_named_and_not_refused(accepted: str, wanted: bool) -> None:
    assert takes_gzip(accepted) is wanted


def test_what_is_no_body_has_a_bound_after_the_head_too() -> None:
    """A trailer, or the size of a chunk, that never ends."""
    head = b"POST / HTTP/1.1\r\nHost: s\r\nTransfer-Encoding: chunked\r\n\r\n"
    for begun in (b"1\r\nx\r\n0\r\nT: ", b"1;"):
        reader = RequestReader(Limits(header_bytes=1000))
        reader.feed(head + begun)
        codes = []
        for _ in range(12):
            reader.feed(b"x" * 100)
            codes.append(reader.refusal.code if reader.refusal else 0)
        assert set(codes[:9]) == {0} and codes[-1] == 431


def test_long_body_in_small_pieces_is_within_the_bound() -> None:
    reader = RequestReader(Limits(header_bytes=200))
    reader.feed(b"POST / HTTP/1.1\r\nHost: s\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(500):
        reader.feed(b"1\r\nx")
        reader.feed(b"\r\n")
    reader.feed(b"0\r\n\r\n")
    assert [request.body for request in taken(reader)] == [b"x" * 500]


@pytest.mark.parametrize(
    ("raw", "is_full"), [(POST * 2, False), (POST * 3, True), (GET * 3, False), (GET * 4, True)]
)
def test_requests_that_wait_are_bounded_by_number_and_by_size(raw: bytes, is_full: bool) -> None:
    reader = RequestReader(Limits(pipelined=4, body_bytes=12))
    reader.feed(raw)
    assert reader.is_full is is_full
    taken(reader)
    assert not reader.is_full
