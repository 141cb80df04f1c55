"""The client's side of a translation whose client speaks WebSocket (pure)."""

from __future__ import annotations

from kube.websocket import Closed, Part, WebSocket, WebSocketError


class WebSocketSide:
    """Takes the client's bytes apart; a translation inherits it and says what a part means in `_on_part`."""

    def __init__(self) -> None:
        self.is_over = False
        self._socket = WebSocket(in_parts=True)

    @property
    def awaits_client(self) -> bool:
        return self._socket.is_close_sent and not self._socket.is_close_received

    def from_client(self, data: bytes) -> None:
        try:
            events = self._socket.receive(data)
        except WebSocketError:
            self.is_over = True
            return
        for event in events:
            if isinstance(event, Closed):
                self.is_over = True
            elif isinstance(event, Part):
                self._on_part(event)

    def _on_part(self, part: Part) -> None:
        raise NotImplementedError
