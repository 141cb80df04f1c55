"""Version 4 UUIDs for objects, from the system's randomness in portions: asking it for each one costs more
than making the object where system calls are slow.
"""

from __future__ import annotations

import os

_AT_ONCE = 256
_SIZE = 16


class Uids:
    """Calling it gives the next one. Not for use after a fork: both processes would give the same."""

    def __init__(self) -> None:
        self._pool = b""
        self._at = 0

    def __call__(self) -> str:
        if self._at >= len(self._pool):
            self._pool, self._at = os.urandom(_SIZE * _AT_ONCE), 0
        number = int.from_bytes(self._pool[self._at : self._at + _SIZE], "big")
        self._at += _SIZE
        # RFC 9562 5.4: the version in the third group's first digit, the variant in the fourth's.
        number = number & ~(0xF000 << 64) & ~(0xC000 << 48) | 0x4000 << 64 | 0x8000 << 48
        text = f"{number:032x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
