"""Remote commands and port-forwards between WebSocket clients and SPDY backends, without connections."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aio.spdy import Session
from aio.spdy_frames import Data, SynStream
from kube.streams.port_channels import PortChannels, read_ports
from kube.streams.port_forward import Unwrapped
from kube.streams.protocols import (
    REMOTE_COMMANDS,
    UNNAMED,
    V4,
    V5,
    Channel,
    RemoteProtocol,
    Wanted,
    choose_remote_command,
)
from kube.streams.remote_command import RemoteCommand
from kube.streams.translation import PassThrough
from kube.websocket import Closed, Message, WebSocket

pytestmark = pytest.mark.pure

NAMED = {protocol.name: protocol for protocol in REMOTE_COMMANDS}
SUCCESS = b'{"metadata":{},"status":"Success"}'
EXITED = json.dumps(
    {
        "metadata": {},
        "status": "Failure",
        "message": "command terminated with non-zero exit code: 3",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": "3"}]},
    }
).encode()


class World:
    """A translation with a client and a backend at its ends."""

    def __init__(self, protocol: str = V5, *, accept: bool = True, **wanted: bool) -> None:
        self.protocol = NAMED.get(protocol, UNNAMED)
        streams = Wanted(**(wanted or {"stdin": True, "stdout": True, "stderr": True}))
        self.translation = RemoteCommand(self.protocol, streams)
        self.client = WebSocket(mask=lambda: b"abcd")
        self.backend = Session(is_server=True, flow_control=False)
        self.ids: dict[str, int] = {}
        self.messages: list[Message] = []
        self.closed: Closed | None = None
        self.input: dict[str, bytes] = {}
        self.ended: list[str] = []
        self.to_backend()
        if accept:
            self.accept()

    def accept(self) -> None:
        for stream_id in self.ids.values():
            self.backend.reply(stream_id)
        self.to_client()

    def to_backend(self) -> None:
        """What the client has said reaches the backend."""
        if data := self.client.take():
            self.translation.from_client(data)
        for event in self.backend.receive(self.translation.for_backend()):
            if isinstance(event, SynStream):
                self.ids[dict(event.headers)["streamtype"]] = event.stream_id
            elif isinstance(event, Data):
                name = next(name for name, one in self.ids.items() if one == event.stream_id)
                self.input[name] = self.input.get(name, b"") + event.data
                if event.fin:
                    self.ended.append(name)

    def to_client(self) -> None:
        """What the backend has said reaches the client."""
        if data := self.backend.take():
            self.translation.from_backend(data)
        for event in self.client.receive(self.translation.for_client()):
            if isinstance(event, Message):
                self.messages.append(event)
            elif isinstance(event, Closed):
                self.closed = event

    def say(self, message: bytes) -> None:
        self.client.send(message)
        self.to_backend()

    def tell(self, stream: str, data: bytes, *, fin: bool = False) -> None:
        self.backend.send(self.ids[stream], data, fin=fin)
        self.to_client()

    def finish(self, status: bytes = SUCCESS) -> None:
        for stream in ("stdout", "stderr"):
            if stream in self.ids:
                self.tell(stream, b"", fin=True)
        self.tell("error", status, fin=True)

    def heard(self, channel: int) -> bytes:
        return b"".join(one.data[1:] for one in self.messages if one.data[:1] == bytes((channel,)))


def test_streams_are_opened_for_what_is_wanted_error_first() -> None:
    assert list(World().ids) == ["error", "stdin", "stdout", "stderr"]
    assert list(World(stdin=True, stdout=True, stderr=True, tty=True).ids) == [
        "error",
        "stdin",
        "stdout",
        "resize",
    ]
    assert list(World(stdout=True).ids) == ["error", "stdout"]


def test_the_client_waits_until_every_stream_is_accepted() -> None:
    world = World(accept=False)
    seen = []
    for stream_id in world.ids.values():
        world.backend.reply(stream_id)
        world.to_client()
        seen.append(world.translation.is_ready)
    assert seen == [False, False, False, True]
    assert world.messages == [Message(b"\x01")]


@given(st.lists(st.binary(min_size=1, max_size=100_000), max_size=4))
def test_input_and_output_arrive_as_they_are(pieces: list[bytes]) -> None:
    world = World()
    for piece in pieces:
        world.say(b"\x00" + piece)
        world.tell("stdout", piece)
        world.tell("stderr", piece[::-1])
    assert world.input.get("stdin", b"") == b"".join(pieces)
    assert world.heard(Channel.STDOUT) == b"".join(pieces)
    assert world.heard(Channel.STDERR) == b"".join(piece[::-1] for piece in pieces)
    assert all(len(one.data) <= (32 << 10) + 1 for one in world.messages)


@pytest.mark.parametrize("size", [1, 3, 64])
@pytest.mark.parametrize("protocol", [V5, "v4.base64.channel.k8s.io"])
def test_a_message_of_any_length_is_passed_on_as_it_comes(protocol: str, size: int) -> None:
    world = World(protocol)
    sent = bytes(range(256))
    if world.protocol.is_base64:
        world.client.send(b"0" + base64.b64encode(sent), is_text=True)
    else:
        world.client.send(b"\x00" + sent)
    data = world.client.take()
    halfway = b""
    for at in range(0, len(data), size):
        world.translation.from_client(data[at : at + size])
        world.to_backend()
        halfway = halfway or world.input.get("stdin", b"")
    assert world.input["stdin"] == sent
    assert len(halfway) <= max(size, 3)


def test_v5_closing_the_input_ends_its_stream_and_nothing_else() -> None:
    world = World()
    world.say(b"\x00x")
    world.say(b"\xff\x00")
    world.say(b"\x00dropped")
    assert (world.input["stdin"], world.ended, world.closed) == (b"x", ["stdin"], None)
    world.tell("stdout", b"x")
    world.finish()
    assert world.heard(Channel.STDOUT) == b"x"
    assert world.translation.is_over


@pytest.mark.parametrize("message", [b"\xff", b"\xff\x01", b"\xff\x00\x00", b"\x05x", b"\x09"])
def test_what_means_nothing_closes_the_connection(message: bytes) -> None:
    world = World()
    world.say(message)
    world.to_client()
    assert world.translation.is_over
    assert world.closed is not None
    assert world.closed.code == 1002


def test_v4_has_no_close() -> None:
    world = World(V4)
    world.say(b"\xff\x00")
    assert world.translation.is_over
    assert world.ended == []


def test_channels_that_the_session_has_not_are_dropped() -> None:
    world = World(stdout=True)
    world.say(b"\x00x")
    world.say(b"\x01x")
    world.say(b"\x04{}")
    world.say(b"")
    assert world.input == {}
    assert not world.translation.is_over


def test_sizes_of_the_terminal_pass_as_they_are() -> None:
    world = World(stdin=True, stdout=True, tty=True)
    world.say(b'\x04{"Width":1,"Height":2}')
    assert world.input["resize"] == b'{"Width":1,"Height":2}'


@pytest.mark.parametrize("protocol", [V4, V5])
@pytest.mark.parametrize("status", [SUCCESS, EXITED])
def test_the_status_passes_and_the_connection_closes_normally(protocol: str, status: bytes) -> None:
    world = World(protocol)
    world.tell("error", status, fin=True)
    assert world.closed is None  # output is still to come
    world.tell("stderr", b"", fin=True)
    world.tell("stdout", b"last", fin=True)
    assert world.translation.is_over
    assert (world.heard(Channel.ERROR), world.heard(Channel.STDOUT)) == (status, b"last")
    assert world.closed == Closed(1000)


@pytest.mark.parametrize("protocol", ["", "channel.k8s.io", "v2.channel.k8s.io", "v3.channel.k8s.io"])
def test_older_protocols_have_words_for_failure_and_silence_for_success(protocol: str) -> None:
    world = World(protocol)
    world.finish(EXITED)
    assert world.heard(Channel.ERROR) == b"command terminated with non-zero exit code: 3"
    good = World(protocol)
    good.finish()
    assert good.heard(Channel.ERROR) == b""
    assert good.closed == Closed(1000)


@pytest.mark.parametrize("reason", ["", "it was reset"])
def test_a_backend_that_goes_without_a_word_is_a_failure(reason: str) -> None:
    world = World()
    world.tell("stdout", b"half", fin=True)
    world.translation.backend_ended(reason)
    world.to_client()
    told = json.loads(world.heard(Channel.ERROR))
    assert (told["status"], told["code"]) == ("Failure", 500)
    assert reason in told["message"]
    assert world.closed == Closed(1000)


def test_a_backend_that_resets_its_streams_ends_the_session() -> None:
    world = World()
    for stream_id in world.ids.values():
        world.backend.reset(stream_id)
    world.to_client()
    assert json.loads(world.heard(Channel.ERROR))["status"] == "Failure"
    assert world.translation.is_over


def test_a_backend_that_ends_after_its_status_adds_nothing() -> None:
    world = World()
    world.tell("error", EXITED)
    world.translation.backend_ended("it was reset")
    world.to_client()
    assert world.heard(Channel.ERROR) == EXITED


def test_a_backend_that_speaks_something_else_ends_the_session() -> None:
    world = World()
    world.translation.from_backend(b"\x80\x02\x00\x01\x00\x00\x00\x00")
    world.to_client()
    assert world.translation.is_over
    assert "version 2" in json.loads(world.heard(Channel.ERROR))["message"]


def test_input_closed_by_the_command_is_no_error() -> None:
    world = World()
    world.backend.reset(world.ids["stdin"])
    world.to_client()
    world.say(b"\x00nobody reads this")
    assert not world.translation.is_over


@pytest.mark.parametrize("how", ["close", "end", "nonsense"])
def test_a_client_that_leaves_ends_the_session(how: str) -> None:
    world = World()
    if how == "close":
        world.client.close()
        world.to_backend()
    elif how == "end":
        world.translation.client_ended()
    else:
        world.translation.from_client(b"\xff\xff")
    assert world.translation.is_over


def test_base64_protocols_have_digits_and_text() -> None:
    world = World("v4.base64.channel.k8s.io")
    world.client.send(b"0" + base64.b64encode(b"in"), is_text=True)
    world.to_backend()
    world.tell("stdout", b"out")
    world.finish(EXITED)
    assert world.input["stdin"] == b"in"
    texts = [one.data.decode() for one in world.messages if one.is_text]
    decoded = [(text[0], base64.b64decode(text[1:])) for text in texts]
    assert decoded == [("1", b""), ("1", b"out"), ("3", EXITED)]
    world = World("base64.channel.k8s.io")
    world.say(b"0*")
    assert world.translation.is_over


def test_a_backend_that_leaves_lets_open_streams_go_on() -> None:
    world = World()
    world.backend.go_away()
    world.tell("stdout", b"still")
    assert world.heard(Channel.STDOUT) == b"still"
    assert not world.translation.is_over


def test_the_clients_favourite_protocol_is_taken() -> None:
    assert choose_remote_command((V5, V4)) == NAMED[V5]
    assert choose_remote_command(("v9.channel.k8s.io", V4)) == NAMED[V4]
    assert choose_remote_command(("v9.channel.k8s.io",)) is None
    assert choose_remote_command(()) == UNNAMED


@pytest.mark.parametrize("protocol", REMOTE_COMMANDS, ids=lambda one: one.name)
def test_what_each_version_can(protocol: RemoteProtocol) -> None:
    version = int(protocol.name[1]) if protocol.name[0] == "v" else 1
    assert protocol.version == version
    assert (protocol.has_status, protocol.has_close) == (version >= 4, version >= 5)


def test_keep_alive_is_a_ping_whose_answer_means_nothing_to_the_backend() -> None:
    world = World()
    world.translation.keep_alive()
    assert world.client.receive(world.translation.for_client()) == []
    world.to_backend()
    assert world.input == {}


def test_port_forwards_are_unwrapped_and_wrapped() -> None:
    translation, client = Unwrapped(), WebSocket(mask=lambda: b"abcd")
    client.send(b"one")
    client.send(b"two")
    translation.from_client(client.take())
    assert translation.for_backend() == b"onetwo"
    translation.from_backend(b"three")
    assert client.receive(translation.for_client()) == [Message(b"three")]
    assert not translation.is_over
    translation.backend_ended()
    assert client.receive(translation.for_client()) == [Closed(1000)]
    assert translation.is_over


def test_port_forwards_end_with_either_side() -> None:
    client = WebSocket(mask=lambda: b"abcd")
    closed, left, lost, broken = (Unwrapped() for _ in range(4))
    client.close()
    closed.from_client(client.take())
    left.client_ended()
    lost.backend_ended("it was reset")
    broken.from_client(b"\xff\xff")
    assert all(one.is_over for one in (closed, left, lost, broken))
    (told,) = WebSocket(mask=lambda: b"abcd").receive(lost.for_client())
    assert told == Closed(1011, "it was reset")


def test_passing_through_changes_nothing() -> None:
    translation = PassThrough()
    translation.from_client(b"a")
    translation.from_client(b"b")
    translation.from_backend(b"c")
    assert (translation.for_backend(), translation.for_backend()) == (b"ab", b"")
    assert (translation.for_client(), translation.for_client()) == (b"c", b"")
    translation.backend_ended()
    assert translation.is_over


def test_frames_of_the_backend_that_concern_nobody_are_dropped() -> None:
    world = World()
    other = Session(is_server=True, flow_control=False)
    other.ping()
    world.translation.from_backend(other.take())
    world.to_client()
    assert not world.translation.is_over


class Forward:
    """An older port-forward to two ports, with a client and a backend at its ends."""

    def __init__(self, *, is_base64: bool = False) -> None:
        self.translation = PortChannels((80, 8080), is_base64=is_base64)
        self.client = WebSocket(mask=lambda: b"abcd")
        self.backend = Session(is_server=True, flow_control=False)
        self.opened: dict[int, dict[str, str]] = {}
        self.heard: list[bytes] = []
        self.closed: Closed | None = None
        self.received: dict[int, bytes] = {}
        self.ended: list[int] = []
        self.to_backend()

    def to_backend(self) -> None:
        if data := self.client.take():
            self.translation.from_client(data)
        for event in self.backend.receive(self.translation.for_backend()):
            if isinstance(event, SynStream):
                self.opened[event.stream_id] = dict(event.headers)
                self.ended += [event.stream_id] if event.fin else []
            elif isinstance(event, Data):
                self.received[event.stream_id] = self.received.get(event.stream_id, b"") + event.data
                self.ended += [event.stream_id] if event.fin else []

    def to_client(self) -> None:
        if data := self.backend.take():
            self.translation.from_backend(data)
        for event in self.client.receive(self.translation.for_client()):
            if isinstance(event, Message):
                self.heard.append(event.data)
            elif isinstance(event, Closed):
                self.closed = event

    def accept(self) -> None:
        for stream_id in self.opened:
            self.backend.reply(stream_id)
        self.to_client()
        self.to_backend()


def test_older_port_forwards_have_a_pair_of_channels_per_port() -> None:
    forward = Forward()
    error, data, other_error, other_data = forward.opened
    assert forward.ended == [error, other_error]
    kinds = [(one["streamtype"], one["port"], one["requestid"]) for one in forward.opened.values()]
    assert kinds == [("error", "80", "0"), ("data", "80", "0"), ("error", "8080", "1"), ("data", "8080", "1")]
    assert not forward.translation.is_ready
    forward.accept()
    assert forward.heard == [b"\x00\x50\x00", b"\x01\x50\x00", b"\x02\x90\x1f", b"\x03\x90\x1f"]
    for message in (b"\x00to 80", b"\x02to 8080", b"\x01to nobody", b"\x07nowhere", b"", b"\x02"):
        forward.client.send(message)
    forward.to_backend()
    assert {key: value for key, value in forward.received.items() if value} == {
        data: b"to 80",
        other_data: b"to 8080",
    }
    forward.heard.clear()
    forward.backend.send(other_data, b"from 8080")
    forward.backend.send(error, b"refused")
    forward.to_client()
    assert forward.heard == [b"\x02from 8080", b"\x01refused"]


def test_an_older_port_forward_is_over_when_every_connection_is() -> None:
    forward = Forward()
    forward.accept()
    _, data, _, other_data = forward.opened
    forward.backend.send(data, b"", fin=True)
    forward.to_client()
    forward.client.send(b"\x00too late")
    forward.to_backend()
    states = [(forward.closed, forward.translation.is_over, forward.translation.awaits_client)]
    forward.backend.reset(other_data)
    forward.to_client()
    states.append((forward.closed, forward.translation.is_over, forward.translation.awaits_client))
    forward.to_backend()
    states.append((forward.closed, forward.translation.is_over, forward.translation.awaits_client))
    assert states == [(None, False, False), (Closed(1000), True, True), (Closed(1000), True, False)]


def test_older_port_forwards_may_be_text() -> None:
    forward = Forward(is_base64=True)
    forward.accept()
    assert forward.heard[3] == b"3" + base64.b64encode(b"\x90\x1f")
    forward.client.send(b"2" + base64.b64encode(b"to 8080"), is_text=True)
    data = forward.client.take()
    for at in range(len(data)):
        forward.translation.from_client(data[at : at + 1])
    forward.to_backend()
    assert forward.received[list(forward.opened)[3]] == b"to 8080"
    forward.client.send(b"0*", is_text=True)
    forward.to_backend()
    forward.to_client()
    assert forward.closed is not None
    assert forward.closed.code == 1002


def test_an_older_port_forward_ends_with_either_side() -> None:
    left, lost, broken, strange, closed = (Forward() for _ in range(5))
    left.translation.client_ended()
    lost.translation.backend_ended("it was reset")
    lost.to_client()
    assert lost.closed == Closed(1011, "it was reset")
    broken.translation.from_client(b"\xff\xff")
    strange.translation.from_backend(b"\x80\x02\x00\x01\x00\x00\x00\x00")
    closed.client.close()
    closed.to_backend()
    assert all(one.translation.is_over for one in (left, lost, broken, strange, closed))


def test_ports_are_lists_of_lists() -> None:
    assert read_ports(("80,8080", "1")) == (80, 8080, 1)
    for wrong in ((), ("",), ("0",), ("65536",), ("x",), ("80,",), ("1",) * 40):
        with pytest.raises(ValueError, match="port"):
            read_ports(wrong)
