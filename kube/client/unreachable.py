"""The one error of a client that is not the server's word: no answer came."""

from __future__ import annotations

from aio.errors import Retry, cannot


class Unreachable(Retry):
    """No connection, it broke, or time ran out; whether a write happened is unknown."""

    def __init__(self, server: str, because: object) -> None:
        super().__init__(cannot(f'reach API server "{server}"', f"because {because}"), reason="Unreachable")
        self.server = server
