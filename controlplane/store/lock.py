"""One process per store: an flock on a file beside it, freed by the kernel when the holder dies.

Beside it, because closing any descriptor of the database itself would drop SQLite's own locks on it. The file
stays; it names the holder for whoever is refused.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from aio.errors import cannot
from controlplane.store.errors import InUse


def lock_path(store: Path) -> Path:
    return store.with_name(store.name + ".lock")


class StoreLock:
    """Held from construction to `release`. Raises `InUse`, or OSError when the file cannot be made."""

    def __init__(self, store: Path) -> None:
        self._descriptor = os.open(lock_path(store), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)
        except BlockingIOError:
            holder = os.pread(self._descriptor, 20, 0).decode(errors="replace").strip() or "unknown"
            self.release()
            raise InUse(cannot(f'open "{store}"', f"the process {holder} has it open")) from None
        except OSError:
            self.release()
            raise

    def release(self) -> None:
        """Free it; again does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
