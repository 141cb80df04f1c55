"""Two ends of a SPDY connection: streams, their ends, flow control and what a wrong peer gets."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aio.spdy import INITIAL_WINDOW, Event, Session, StreamClosed
from aio.spdy_frames import (
    Data,
    FrameReader,
    FrameWriter,
    GoAway,
    GoAwayStatus,
    MoreHeaders,
    Ping,
    ResetStatus,
    RstStream,
    Settings,
    SpdyError,
    SynReply,
    SynStream,
    WindowUpdate,
)

pytestmark = pytest.mark.pure


class Ends(NamedTuple):
    client: Session
    server: Session

    def to_server(self) -> list[Event]:
        return self.server.receive(self.client.take())

    def to_client(self) -> list[Event]:
        return self.client.receive(self.server.take())


def pair(*, flow_control: bool = True, window: int = INITIAL_WINDOW) -> Ends:
    return Ends(
        Session(is_server=False, flow_control=flow_control),
        Session(is_server=True, flow_control=flow_control, window=window),
    )


def opened(ends: Ends) -> int:
    stream_id = ends.client.open_stream(())
    ends.to_server()
    ends.server.reply(stream_id)
    ends.to_client()
    return stream_id


def test_a_stream_opens_carries_both_ways_and_closes() -> None:
    ends = pair()
    stream_id = ends.client.open_stream((("streamType", "stdin"),))
    assert ends.to_server() == [SynStream(1, (("streamtype", "stdin"),))]
    ends.server.reply(stream_id, (("a", "b"),))
    ends.server.send(stream_id, b"down", fin=True)
    assert ends.to_client() == [SynReply(1, (("a", "b"),)), Data(1, b"down", True)]
    ends.client.send(stream_id, b"up", fin=True)
    assert ends.to_server() == [Data(1, b"up", True)]
    assert not ends.client.is_open(stream_id)
    assert not ends.server.is_open(stream_id)


def test_each_end_numbers_its_own_streams() -> None:
    ends = pair()
    assert [ends.client.open_stream(()) for _ in range(3)] == [1, 3, 5]
    assert [ends.server.open_stream(()) for _ in range(3)] == [2, 4, 6]
    assert len(ends.to_server()) == len(ends.to_client()) == 3


def test_a_closed_direction_refuses_more() -> None:
    ends = pair()
    stream_id = opened(ends)
    ends.client.send(stream_id, b"", fin=True)
    with pytest.raises(StreamClosed, match="closed"):
        ends.client.send(stream_id, b"more")
    with pytest.raises(StreamClosed, match="accepted or our own"):
        ends.server.reply(stream_id)
    listening = ends.client.open_stream((), fin=True)
    with pytest.raises(StreamClosed):
        ends.client.send(listening, b"x")
    ends.to_server()
    with pytest.raises(StreamClosed, match="not accepted yet"):
        ends.server.send(listening, b"x")


def test_a_reset_ends_both_directions_and_drops_what_is_on_its_way() -> None:
    ends = pair()
    stream_id = opened(ends)
    ends.server.send(stream_id, b"too late")
    ends.client.reset(stream_id, ResetStatus.CANCEL)
    assert ends.to_client() == []
    assert ends.to_server() == [RstStream(stream_id, ResetStatus.CANCEL)]
    assert not ends.server.is_open(stream_id)
    assert ends.client.take() == b""


def test_pings_are_answered_and_leaving_lets_open_streams_go_on() -> None:
    ends = pair()
    ping_id = ends.client.ping()
    assert ends.to_server() == []
    assert ends.to_client() == [Ping(ping_id)]
    stream_id = opened(ends)
    ends.server.go_away()
    assert ends.to_client() == [GoAway(stream_id, GoAwayStatus.OK)]
    with pytest.raises(StreamClosed, match="being left"):
        ends.client.open_stream(())
    ends.client.send(stream_id, b"last words")
    assert ends.to_server() == [Data(stream_id, b"last words")]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.binary(max_size=40_000), max_size=8),
    st.integers(1, 200_000),
    st.integers(1, 100_000),
)
def test_flow_control_delivers_all_and_never_more_than_the_window(
    parts: list[bytes], window: int, step: int
) -> None:
    ends = pair(window=window)
    ends.to_client()
    stream_id = opened(ends)
    for part in parts:
        ends.client.send(stream_id, part)
    ends.client.send(stream_id, b"", fin=True)
    got, unread, is_over = b"", 0, False
    while not is_over:
        wire = ends.client.take()
        assert wire or unread, "both ends wait for each other"
        for at in range(0, len(wire), step):
            for event in ends.server.receive(wire[at : at + step]):
                assert isinstance(event, Data)
                got, unread, is_over = got + event.data, unread + len(event.data), event.fin
        assert unread <= min(window, INITIAL_WINDOW)
        ends.server.consumed(stream_id, unread)
        unread = 0
        ends.to_client()
    assert got == b"".join(parts)
    assert ends.client.waiting(stream_id) == 0


def test_streams_share_the_connections_window() -> None:
    ends = pair()
    first, second = opened(ends), opened(ends)
    ends.client.send(first, b"a" * 50_000)
    ends.client.send(second, b"b" * 50_000)
    assert sum(len(event.data) for event in ends.to_server() if isinstance(event, Data)) == INITIAL_WINDOW
    assert ends.client.waiting(second) == 100_000 - INITIAL_WINDOW
    ends.server.consumed(first, 50_000)
    ends.to_client()
    assert ends.client.waiting(second) == 0


def test_without_flow_control_nothing_waits() -> None:
    ends = pair(flow_control=False)
    stream_id = opened(ends)
    ends.client.send(stream_id, b"x" * (1 << 20), fin=True)
    assert ends.client.waiting(stream_id) == 0
    assert sum(len(event.data) for event in ends.to_server() if isinstance(event, Data)) == 1 << 20
    ends.server.consumed(stream_id, 1 << 20)
    assert ends.server.take() == b""


class Peer:
    """The other end by hand: frames in, frames out."""

    def __init__(self, *, is_server: bool) -> None:
        self.session = Session(is_server=is_server, flow_control=True)
        self.writer, self.reader = FrameWriter(), FrameReader()

    def say(
        self, *frames: SynStream | SynReply | Data | Settings | WindowUpdate | MoreHeaders
    ) -> list[Event]:
        return self.session.receive(b"".join(self.writer.encode(frame) for frame in frames))

    def heard(self) -> list[object]:
        return list(self.reader.feed(self.session.take()))


@pytest.mark.parametrize(
    ("frames", "status"),
    [
        ((Data(1, b"x"),), ResetStatus.INVALID_STREAM),
        ((SynStream(1, fin=True), Data(1, b"x")), ResetStatus.STREAM_ALREADY_CLOSED),
        ((SynStream(1), SynReply(1)), ResetStatus.STREAM_IN_USE),
        ((SynStream(1), WindowUpdate(1, 0x7FFFFFFF)), ResetStatus.FLOW_CONTROL_ERROR),
    ],
)
def test_a_mistake_on_a_stream_resets_that_stream(
    frames: tuple[SynStream | SynReply | Data | WindowUpdate, ...], status: ResetStatus
) -> None:
    peer = Peer(is_server=True)
    peer.say(*frames)
    assert peer.heard() == [RstStream(1, status)]
    assert peer.say(SynStream(3)) == [SynStream(3)]


def test_data_before_the_reply_resets_the_stream() -> None:
    peer = Peer(is_server=False)
    stream_id = peer.session.open_stream(())
    peer.heard()
    assert peer.say(Data(stream_id, b"x")) == [RstStream(stream_id, ResetStatus.PROTOCOL_ERROR)]
    assert peer.heard() == [RstStream(stream_id, ResetStatus.PROTOCOL_ERROR)]


def test_more_than_a_streams_window_resets_the_stream() -> None:
    peer = Peer(is_server=True)
    peer.session = Session(is_server=True, flow_control=True, window=10)
    assert peer.heard() == [Settings(((7, 10),))]
    got = peer.say(SynStream(1), Data(1, b"x" * 11))
    assert got[1:] == [RstStream(1, ResetStatus.FLOW_CONTROL_ERROR)]


@pytest.mark.parametrize(
    "frames",
    [
        (SynStream(2),),
        (SynStream(3), SynStream(1)),
        (SynStream(1), SynStream(1)),
        (WindowUpdate(0, 0x7FFFFFFF),),
        (Settings(((7, 0x80000000),)),),
        (SynStream(1), Data(1, b"x" * (INITIAL_WINDOW + 1))),
    ],
)
def test_a_mistake_about_the_connection_ends_it(
    frames: tuple[SynStream | Data | Settings | WindowUpdate, ...],
) -> None:
    peer = Peer(is_server=True)
    with pytest.raises(SpdyError):
        peer.say(*frames)
    said = peer.heard()
    assert isinstance(said[-1], GoAway)
    assert said[-1].status == GoAwayStatus.PROTOCOL_ERROR
    with pytest.raises(SpdyError, match="failed before"):
        peer.session.receive(b"")


def test_settings_move_the_windows_of_open_streams_below_zero_if_need_be() -> None:
    peer = Peer(is_server=False)
    stream_id = peer.session.open_stream(())
    peer.say(SynReply(stream_id))
    peer.session.send(stream_id, b"x" * 1000)
    peer.say(Settings(((4, 7), (7, 500))))
    peer.session.send(stream_id, b"y" * 10)
    assert (peer.session.max_streams, peer.session.waiting(stream_id)) == (7, 10)
    peer.say(WindowUpdate(stream_id, 505))
    assert peer.session.waiting(stream_id) == 5


def test_further_headers_are_told_and_may_end_the_stream() -> None:
    peer = Peer(is_server=True)
    last = MoreHeaders(1, (("trailer", "x"),), True)
    assert peer.say(SynStream(1), last) == [SynStream(1), last]
    peer.session.reply(1, fin=True)
    assert not peer.session.is_open(1)


def test_a_one_way_stream_is_not_answered() -> None:
    peer = Peer(is_server=True)
    assert peer.say(SynStream(1, unidirectional=True), Data(1, b"x", True))[1] == Data(1, b"x", True)
    assert not peer.session.is_open(1)
    with pytest.raises(StreamClosed):
        peer.session.reply(1)
