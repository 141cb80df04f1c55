"""The log file of a simulated container, in CRI's format: `TIME STREAM TAG TEXT`, TAG is F(ull) or P(artial).

A file that was renamed keeps receiving lines until `reopen()`, as with a real runtime.
"""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

# containerd pkg/cri/io/logger.go: a longer line is written in parts of this size.
MAX_LINE_BYTES = 16 * 1024


class LogFile:
    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._fd = self._open()

    def write(self, stream: str, text: bytes, at: datetime) -> None:
        stamp = f"{at:%Y-%m-%dT%H:%M:%S.%f}000Z".encode()
        lines = text.split(b"\n")
        out = bytearray()
        for index, line in enumerate(lines):
            is_last = index == len(lines) - 1
            if is_last and not line:
                break
            while len(line) > MAX_LINE_BYTES:
                out += b"%b %b P %b\n" % (stamp, stream.encode(), line[:MAX_LINE_BYTES])
                line = line[MAX_LINE_BYTES:]
            out += b"%b %b %b %b\n" % (stamp, stream.encode(), b"P" if is_last else b"F", line)
        os.write(self._fd, out)

    def reopen(self) -> None:
        os.close(self._fd)
        self._fd = self._open()

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _open(self) -> int:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
