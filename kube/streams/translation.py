"""What stands between a client and a backend whose bytes differ: the interface, and the case where they do
not (pure).
"""

from __future__ import annotations

from typing import Protocol


class Translation(Protocol):
    """Bytes of either side in, bytes for either side out. After each call take both `for_client` and
    `for_backend`. A translation raises nothing for what a peer sends: it says it to the sides, and `is_over`.
    """

    @property
    def is_ready(self) -> bool:
        """Whether the client's bytes may be read: until then they wait at the client."""
        ...

    @property
    def is_over(self) -> bool:
        """Nothing more will come out for either side: write what is there, then close both."""
        ...

    @property
    def awaits_client(self) -> bool:
        """Whether the client has been told of the end and has still to answer: it is read until it does. A
        connection closed before that, with input on its way, may take what was told last with it."""
        ...

    def from_client(self, data: bytes) -> None: ...

    def from_backend(self, data: bytes) -> None: ...

    def client_ended(self) -> None:
        """The client sends no more."""
        ...

    def backend_ended(self, reason: str = "") -> None:
        """The backend sends no more; `reason` says why when that was no orderly end."""
        ...

    def for_client(self) -> bytes:
        """What to write to the client now; each byte is given once."""
        ...

    def for_backend(self) -> bytes:
        """What to write to the backend now; each byte is given once."""
        ...

    def keep_alive(self) -> None:
        """Called now and then: a chance to say something to a client that may have gone."""
        ...


class PassThrough:
    """Both sides speak the same protocol."""

    is_ready = True
    awaits_client = False

    def __init__(self) -> None:
        self._for_client = bytearray()
        self._for_backend = bytearray()
        self.is_over = False

    def from_client(self, data: bytes) -> None:
        self._for_backend += data

    def from_backend(self, data: bytes) -> None:
        self._for_client += data

    def client_ended(self) -> None:
        self.is_over = True

    def backend_ended(self, reason: str = "") -> None:
        self.is_over = True

    def for_client(self) -> bytes:
        out = bytes(self._for_client)
        self._for_client.clear()
        return out

    def for_backend(self) -> bytes:
        out = bytes(self._for_backend)
        self._for_backend.clear()
        return out

    def keep_alive(self) -> None:
        return
