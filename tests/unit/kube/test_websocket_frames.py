"""The WebSocket framer: what goes out comes in, whatever the pieces; RFC 6455's rules and its examples."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kube.websocket import (
    MAX_MESSAGE_BYTES,
    CloseCode,
    Closed,
    Event,
    HandshakeError,
    Message,
    Part,
    Pong,
    WebSocket,
    WebSocketError,
    accept_key,
    answer_headers,
    apply_mask,
    choose_subprotocol,
    request_headers,
    subprotocols,
)

pytestmark = pytest.mark.pure

MASK = b"\x37\xfa\x21\x3d"


def client(max_message_bytes: int = MAX_MESSAGE_BYTES) -> WebSocket:
    return WebSocket(mask=lambda: MASK, max_message_bytes=max_message_bytes)


def fed(socket: WebSocket, data: bytes, sizes: list[int] | None = None) -> list[Event]:
    events: list[Event] = []
    steps = itertools.cycle(sizes or [len(data) or 1])
    at = 0
    while at < len(data):
        step = next(steps)
        events += socket.receive(data[at : at + step])
        at += step
    return events


def test_the_examples_of_the_rfc() -> None:
    # RFC 6455 5.7
    assert fed(client(), bytes.fromhex("810548656c6c6f")) == [Message(b"Hello", is_text=True)]
    assert fed(WebSocket(), bytes.fromhex("818537fa213d7f9f4d5158")) == [Message(b"Hello", is_text=True)]
    assert fed(client(), bytes.fromhex("010348656c80026c6f")) == [Message(b"Hello", is_text=True)]
    socket = client()
    assert fed(socket, bytes.fromhex("890548656c6c6f")) == []
    assert socket.take() == bytes.fromhex("8a8537fa213d7f9f4d5158")
    assert fed(client(), b"\x82\x7e\x01\x00" + b"x" * 256) == [Message(b"x" * 256)]
    assert fed(client(), b"\x82\x7f" + (65536).to_bytes(8, "big") + b"x" * 65536) == [Message(b"x" * 65536)]
    server = WebSocket()
    server.send(b"Hello", is_text=True)
    assert server.take() == bytes.fromhex("810548656c6c6f")


@given(
    st.lists(st.binary(max_size=70_000), max_size=4),
    st.lists(st.integers(1, 40_000), min_size=1, max_size=5),
    st.binary(min_size=4, max_size=4),
)
def test_messages_come_whole_from_any_pieces(messages: list[bytes], sizes: list[int], mask: bytes) -> None:
    one, other = WebSocket(mask=lambda: mask), WebSocket()
    for sender, receiver in ((one, other), (other, one)):
        for message in messages:
            sender.send(message)
        assert fed(receiver, sender.take(), sizes) == [Message(message) for message in messages]


@given(
    st.lists(st.binary(max_size=300), min_size=1, max_size=4),
    st.lists(st.integers(1, 70), min_size=1, max_size=5),
    st.booleans(),
)
def test_parts_of_messages_come_as_they_arrive(
    messages: list[bytes],
    sizes: list[int],
    in_fragments: bool,
) -> None:
    socket, data = WebSocket(in_parts=True, max_message_bytes=1), b""
    for message in messages:
        whole = client()
        whole.send(message)
        data += whole.take()
        if in_fragments:
            # The same as a fragment, a ping, and an empty end.
            data = data[: len(data) - len(message) - 4 - head_size(message)]
            one = client()
            one.send(message)
            frame = bytearray(one.take())
            frame[0] &= 0x7F
            data += bytes(frame) + b"\x89\x80" + MASK + b"\x80\x80" + MASK
    found, current = [], b""
    for event in fed(socket, data, sizes):
        assert isinstance(event, Part)
        current += event.data
        if event.is_last:
            found.append(current)
            current = b""
    assert found == messages


def head_size(message: bytes) -> int:
    return 2 if len(message) < 126 else 4


def test_a_part_comes_before_its_frame_is_whole() -> None:
    socket = WebSocket(in_parts=True)
    one = client()
    one.send(b"x" * 1000)
    data = one.take()
    (part,) = fed(socket, data[:500])
    assert isinstance(part, Part)
    assert (part.data, part.is_last) == (b"x" * (500 - 8), False)
    assert fed(socket, data[500:]) == [Part(b"x" * (1000 - 492))]


@given(st.binary(max_size=100), st.binary(min_size=4, max_size=4))
def test_masking_is_an_xor_with_the_key_repeated(data: bytes, key: bytes) -> None:
    assert apply_mask(data, key) == bytes(byte ^ key[at % 4] for at, byte in enumerate(data))


def test_control_frames_come_between_fragments() -> None:
    socket = client()
    assert fed(socket, b"\x02\x01a" + b"\x8a\x01p" + b"\x00\x01b" + b"\x80\x01c") == [
        Pong(b"p"),
        Message(b"abc"),
    ]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\xc2\x00", CloseCode.PROTOCOL_ERROR),  # a reserved bit
        (b"\x83\x00", CloseCode.PROTOCOL_ERROR),  # an unknown type
        (b"\x82\x81\x00\x00\x00\x00x", CloseCode.PROTOCOL_ERROR),  # a server masks nothing
        (b"\x80\x01x", CloseCode.PROTOCOL_ERROR),  # nothing to go on with
        (b"\x02\x01x\x82\x01y", CloseCode.PROTOCOL_ERROR),  # a new message inside another
        (b"\x09\x00", CloseCode.PROTOCOL_ERROR),  # a ping in fragments
        (b"\x89\x7e\x00\x80" + b"x" * 128, CloseCode.PROTOCOL_ERROR),  # a ping too long
        (b"\x88\x01x", CloseCode.PROTOCOL_ERROR),  # half a close code
        (b"\x88\x02\x03\xed", CloseCode.PROTOCOL_ERROR),  # 1005 is never sent
        (b"\x81\x02\xff\xff", CloseCode.INVALID_DATA),  # text that is no UTF-8
        (b"\x82\x7f" + (1 << 40).to_bytes(8, "big"), CloseCode.TOO_BIG),
        (b"\x02\x40" + b"x" * 64 + b"\x80\x40", CloseCode.TOO_BIG),  # too long in sum
    ],
)
def test_what_breaks_the_protocol_closes_with_its_code(data: bytes, code: CloseCode) -> None:
    socket = client(max_message_bytes=100)
    with pytest.raises(WebSocketError) as error:
        fed(socket, data)
    assert error.value.code == code
    assert socket.is_closed
    (told,) = fed(WebSocket(), socket.take())
    assert isinstance(told, Closed)
    assert told.code == code
    assert socket.receive(b"\x82\x01x") == []


def test_a_server_takes_only_what_is_masked() -> None:
    with pytest.raises(WebSocketError, match="not masked"):
        fed(WebSocket(), b"\x82\x01x")


def test_a_close_is_echoed_once_and_ends_both_directions() -> None:
    one, other = client(), WebSocket()
    one.close(CloseCode.GOING_AWAY, "é" * 200)
    one.send(b"too late")
    (told,) = fed(other, one.take())
    assert told == Closed(CloseCode.GOING_AWAY, "é" * 61)
    assert (one.is_closed, other.is_closed) == (False, True)
    assert fed(one, other.take()) == [Closed(CloseCode.GOING_AWAY)]
    assert (one.is_closed, one.take()) == (True, b"")


def test_a_close_without_a_code_is_answered_with_none() -> None:
    socket = client()
    assert fed(socket, b"\x88\x00") == [Closed(CloseCode.NO_STATUS)]
    assert socket.take() == b"\x88\x80" + MASK


def test_what_the_other_end_still_says_after_our_close_is_heard() -> None:
    socket = client()
    socket.close()
    assert fed(socket, b"\x82\x01x\x88\x02\x03\xe8") == [Message(b"x"), Closed(CloseCode.NORMAL)]
    assert socket.is_closed


def test_handshake_of_the_rfc() -> None:
    # RFC 6455 1.3
    assert accept_key("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    sent = {name.lower(): value for name, value in request_headers(b"k" * 16, ("b", "a")).items()}
    assert subprotocols(sent) == ("b", "a")
    chosen = choose_subprotocol(subprotocols(sent), ("a", "b"))
    answer = answer_headers(sent, chosen)
    assert answer["Sec-WebSocket-Protocol"] == "b"
    assert answer["Sec-WebSocket-Accept"] == accept_key(sent["sec-websocket-key"])
    assert "Sec-WebSocket-Protocol" not in answer_headers(sent, None)
    assert choose_subprotocol(("x",), ("a",)) is None


@pytest.mark.parametrize(
    ("header", "value"),
    [("sec-websocket-key", ""), ("sec-websocket-key", "c2hvcnQ="), ("sec-websocket-version", "8")],
)
def test_a_request_that_is_no_handshake_is_refused(header: str, value: str) -> None:
    sent = {name.lower(): text for name, text in request_headers(b"k" * 16, ()).items()}
    with pytest.raises(HandshakeError):
        answer_headers({**sent, header: value}, None)
