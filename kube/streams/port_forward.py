"""Port-forwarding of newer clients: the bytes of SPDY/3.1 inside binary WebSocket messages (pure).

Mechanism: messages are unwrapped for the backend and its bytes wrapped for the client, nothing else; where a
message begins or ends means nothing (KEP-4006, tunnelling).
"""

from __future__ import annotations

from kube.streams.websocket_side import WebSocketSide
from kube.websocket import CloseCode, Part


class Unwrapped(WebSocketSide):
    """A client with subprotocol `SPDY/3.1+portforward.k8s.io`, a backend with plain SPDY/3.1."""

    is_ready = True

    def __init__(self) -> None:
        super().__init__()
        self._for_backend = bytearray()

    def _on_part(self, part: Part) -> None:
        self._for_backend += part.data

    def from_backend(self, data: bytes) -> None:
        self._socket.send(data)

    def client_ended(self) -> None:
        self.is_over = True

    def backend_ended(self, reason: str = "") -> None:
        self._socket.close(CloseCode.INTERNAL_ERROR if reason else CloseCode.NORMAL, reason)
        self.is_over = True

    def for_client(self) -> bytes:
        return self._socket.take()

    def for_backend(self) -> bytes:
        out = bytes(self._for_backend)
        self._for_backend.clear()
        return out

    def keep_alive(self) -> None:
        self._socket.ping()
