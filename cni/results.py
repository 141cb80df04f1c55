"""What ADD said, kept on disk until DEL: CHECK and DEL are given it back, also after a restart.

One JSON file per attachment, in a directory of this network alone. A file that cannot be read is treated as
missing, as a plugin must cope with a DEL without a previous result, and is said.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from aio import log as aio_log
from cni.invocation import Attachment, Json
from kube.files import write_atomically

log = aio_log.get(__name__)


@dataclass(frozen=True, slots=True)
class Kept:
    """An attachment and the result of its ADD."""

    attachment: Attachment
    version: str
    result: Json


class Results:
    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def put(self, kept: Kept) -> None:
        """Raises OSError."""
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_atomically(self._file(kept.attachment), json.dumps(msgspec.to_builtins(kept)).encode())

    def get(self, attachment: Attachment) -> Kept | None:
        return _read(self._file(attachment))

    def forget(self, attachment: Attachment) -> None:
        self._file(attachment).unlink(missing_ok=True)

    def all(self) -> Iterator[Kept]:
        """Every attachment that was added and not deleted."""
        if self._directory.is_dir():
            found = (_read(path) for path in sorted(self._directory.glob("*.json")))
            yield from (one for one in found if one is not None)

    def _file(self, attachment: Attachment) -> Path:
        # Neither part can hold a slash (Attachment.check), nor an interface name a colon.
        return self._directory / f"{attachment.container_id}:{attachment.interface}.json"


def _read(path: Path) -> Kept | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Kept)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError) as error:
        log.warning("Cannot read a kept network result", file=str(path), err=error)
        return None
