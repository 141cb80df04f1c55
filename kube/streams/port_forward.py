"""Port-forwarding of newer clients: the bytes of SPDY/3.1 inside binary WebSocket messages (pure).

Mechanism: messages are unwrapped for the backend and its bytes wrapped for the client, nothing else; where a
message begins or ends means nothing (KEP-4006, tunnelling).
"""

from __future__ import annotations

from kube.websocket import CloseCode, Closed, Part, WebSocket, WebSocketError


class Unwrapped:
    """A client with subprotocol `SPDY/3.1+portforward.k8s.io`, a backend with plain SPDY/3.1."""

    is_ready = True

    def __init__(self) -> None:
        self._socket = WebSocket(in_parts=True)
        self._for_backend = bytearray()
        self._is_left = False

    @property
    def is_over(self) -> bool:
        return self._is_left

    @property
    def awaits_client(self) -> bool:
        return self._socket.is_close_sent and not self._socket.is_close_received

    def from_client(self, data: bytes) -> None:
        try:
            events = self._socket.receive(data)
        except WebSocketError:
            self._is_left = True
            return
        for event in events:
            if isinstance(event, Part):
                self._for_backend += event.data
            elif isinstance(event, Closed):
                self._is_left = True

    def from_backend(self, data: bytes) -> None:
        self._socket.send(data)

    def client_ended(self) -> None:
        self._is_left = True

    def backend_ended(self, reason: str = "") -> None:
        self._socket.close(CloseCode.INTERNAL_ERROR if reason else CloseCode.NORMAL, reason)
        self._is_left = True

    def for_client(self) -> bytes:
        return self._socket.take()

    def for_backend(self) -> bytes:
        out = bytes(self._for_backend)
        self._for_backend.clear()
        return out

    def keep_alive(self) -> None:
        self._socket.ping()
