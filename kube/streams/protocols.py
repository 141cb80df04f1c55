"""The names of the streaming protocols of Kubernetes and what each of them can (pure).

Remote commands (exec, attach) over WebSocket put a channel number before each message; over SPDY/3.1 each
channel is a stream with the header `streamtype`. Sources: k8s.io/apimachinery remotecommand constants,
httpstream/wsstream; KEP-4006.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

SPDY = "SPDY/3.1"
V4 = "v4.channel.k8s.io"
V5 = "v5.channel.k8s.io"
VERSION_HEADER = "X-Stream-Protocol-Version"
TYPE_HEADER = "streamtype"
PORT_HEADER = "port"
REQUEST_ID_HEADER = "requestID"
PORT_FORWARD = "portforward.k8s.io"
"""Port-forwarding over SPDY: a pair of streams (error, data) per connection."""

PORT_FORWARD_TUNNEL = "SPDY/3.1+portforward.k8s.io"
"""The same SPDY bytes inside binary WebSocket messages (KEP-4006, phase 2)."""

# The SPDY versions of remote commands that a runtime may speak, the newest first.
SPDY_VERSIONS = (V4, "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io")


class Channel(IntEnum):
    """The streams of a remote command; the numbers are those of the WebSocket channels."""

    STDIN = 0
    STDOUT = 1
    STDERR = 2
    ERROR = 3
    RESIZE = 4


CLOSE_CHANNEL = 255
"""v5: a message [255, N] from the client ends channel N."""


@dataclass(frozen=True, slots=True)
class RemoteProtocol:
    """One subprotocol. Only v5 can end the input without ending the session: with the others a command that
    reads to the end of its input waits until the client leaves."""

    name: str
    version: int
    is_base64: bool = False

    @property
    def has_close(self) -> bool:
        return self.version >= 5

    @property
    def has_status(self) -> bool:
        """Whether the error channel ends with a Status as JSON; before v4 it has a failure's text or
        nothing."""
        return self.version >= 4


REMOTE_COMMANDS = tuple(
    RemoteProtocol(name, version, is_base64)
    for name, version, is_base64 in (
        (V5, 5, False),
        (V4, 4, False),
        ("v3.channel.k8s.io", 3, False),
        ("v2.channel.k8s.io", 2, False),
        ("channel.k8s.io", 1, False),
        ("v4.base64.channel.k8s.io", 4, True),
        ("base64.channel.k8s.io", 1, True),
    )
)
UNNAMED = RemoteProtocol("", 1)
"""What a client speaks that asks for no subprotocol."""


def choose_remote_command(offered: Iterable[str]) -> RemoteProtocol | None:
    """The client's favourite that is known; one that offers nothing gets the first version."""
    names = tuple(offered)
    if not names:
        return UNNAMED
    known = {protocol.name: protocol for protocol in REMOTE_COMMANDS}
    return next((known[name] for name in names if name in known), None)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which channels a session has, from the request's query; a tty has no stderr of its own."""

    stdin: bool = False
    stdout: bool = False
    stderr: bool = False
    tty: bool = False

    def channels(self) -> tuple[Channel, ...]:
        """In the order in which Kubernetes' clients open their streams."""
        wanted = {
            Channel.ERROR: True,
            Channel.STDIN: self.stdin,
            Channel.STDOUT: self.stdout,
            Channel.STDERR: self.stderr and not self.tty,
            Channel.RESIZE: self.tty,
        }
        return tuple(channel for channel, is_wanted in wanted.items() if is_wanted)
