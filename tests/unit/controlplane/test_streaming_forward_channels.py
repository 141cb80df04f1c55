"""Port-forwards of older WebSocket clients: against an SPDY peer with bytes alone; through the server."""

from __future__ import annotations

import base64
import itertools
from pathlib import Path

import pytest

from aio.spdy import Session
from aio.spdy_frames import Data, SynStream
from controlplane.api.streaming.forward_channels import ForwardChannels
from kube.websocket import Closed, Event, Message, WebSocket
from tests.unit.controlplane.streaming_world import cat, streaming
from tests.unit.controlplane.test_streaming_handlers import FORWARD, web_socket

pytestmark = pytest.mark.pure


class Ends:
    """A translation between a client and a node, both with their framers."""

    def __init__(self, *ports: int, is_base64: bool = False) -> None:
        self.between = ForwardChannels(ports, is_base64=is_base64)
        self.client = WebSocket(mask=lambda: b"mask")
        self.node = Session(is_server=True, flow_control=False)
        self.streams: dict[tuple[str, str], int] = {}
        self.said: list[Event] = []

    def accept(self) -> None:
        for event in self.node.receive(self.between.for_backend()):
            assert isinstance(event, SynStream)
            headers = dict(event.headers)
            self.streams[headers["streamtype"], headers["port"]] = event.stream_id
            self.node.reply(event.stream_id)
        self.told()

    def told(self) -> list[Event]:
        """What the client gets of what the node has said."""
        self.between.from_backend(self.node.take())
        self.said = self.client.receive(self.between.for_client())
        return self.said

    def send(self, message: bytes) -> bytes:
        """What the node gets of a client's message."""
        self.client.send(message)
        self.between.from_client(self.client.take())
        events = self.node.receive(self.between.for_backend())
        return b"".join(event.data for event in events if isinstance(event, Data))


def test_each_channel_begins_with_its_port_once_the_node_has_accepted_all() -> None:
    ends = Ends(80, 8080)
    assert not ends.between.is_ready and not ends.between.for_client()
    ends.accept()
    assert ends.said == [
        Message(b"\x00P\x00"), Message(b"\x01P\x00"), Message(b"\x02\x90\x1f"), Message(b"\x03\x90\x1f"),
    ]  # fmt: skip
    assert sorted(ends.streams) == [("data", "80"), ("data", "8080"), ("error", "80"), ("error", "8080")]


def test_bytes_pass_by_their_channel_and_the_end_of_all_ports_is_the_end() -> None:
    ends = Ends(80, 81)
    ends.accept()
    assert ends.send(b"\x02to 81") == b"to 81"
    assert ends.send(b"\x01to an error channel") == b""
    assert ends.send(b"\x09to nobody") == b""
    ends.node.send(ends.streams["data", "80"], b"from 80", fin=True)
    ends.node.send(ends.streams["error", "81"], b"no such port", fin=True)
    assert ends.told() == [Message(b"\x00from 80"), Message(b"\x03no such port")]
    assert not ends.between.is_over
    ends.node.send(ends.streams["data", "81"], b"", fin=True)
    assert isinstance(ends.told()[-1], Closed) and ends.between.is_over


def test_base64_is_of_text_messages_with_a_digit() -> None:
    ends = Ends(80, is_base64=True)
    ends.accept()
    assert ends.said[0] == Message(b"0" + base64.b64encode(b"P\x00"), is_text=True)
    assert ends.send(b"0" + base64.b64encode(b"hi")) == b"hi"
    assert ends.send(b"0***") == b"" and ends.between.is_over


def test_node_that_goes_is_told_with_its_reason() -> None:
    ends = Ends(80)
    ends.accept()
    ends.between.backend_ended("the node is gone")
    (closed,) = ends.client.receive(ends.between.for_client())
    assert isinstance(closed, Closed) and closed.reason == "the node is gone"


@pytest.mark.parametrize("pod", ["web", "new"])
@pytest.mark.asyncio
async def test_old_client_forwards_a_port_to_either_kind_of_node(tmp_path: Path, pod: str) -> None:
    async with streaming(tmp_path, cat) as world:
        async with world.client() as client:
            target = FORWARD.format(pod)
            found = await client.ask(web_socket(target, "v4.channel.k8s.io"))
            assert found.code == 400 and b"is required" in found.body
            found = await client.ask(web_socket(f"{target}?ports=80000", "v4.channel.k8s.io"))
            assert found.code == 400
            found = await client.ask(web_socket(f"{target}?ports=80", "v4.channel.k8s.io"))
            assert (found.code, found.headers["sec-websocket-protocol"]) == (101, "v4.channel.k8s.io")
            assert world.kubelet.asked[-1].upgrade == "spdy/3.1"
            socket = WebSocket(mask=lambda: b"mask")
            socket.send(b"\x00GET /")
            await client.send(socket.take())
            said: list[bytes] = []
            while b"\x00GET /" not in said:
                events = socket.receive(await client.reader.read(65536))
                said += [event.data for event in events if isinstance(event, Message)]
            assert said == [b"\x00P\x00", b"\x01P\x00", b"\x00GET /"]


def test_many_ports_have_channels_of_their_own() -> None:
    ends = Ends(*range(1000, 1020))
    ends.accept()
    channels = [message.data[0] for message in ends.said if isinstance(message, Message)]
    assert channels == list(itertools.islice(itertools.count(), 40))
