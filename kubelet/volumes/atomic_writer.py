"""Files that change all at once: the layout of configMap, secret, downwardAPI and projected volumes.

    name -> ..data/name          what containers open
    ..data -> ..2026_01_31_...   exchanged by one rename
    ..2026_01_31_23_59_59.123    the files themselves

A reader sees all of the old or all of the new. An unchanged payload writes nothing. An interrupted write
leaves at most a directory that the next one removes (pkg/volume/util/atomic_writer.go).
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from kubelet.volumes.plugin import VolumeError
from kubelet.volumes.trees import remove_tree

DATA_LINK = "..data"
NEW_DATA_LINK = "..data_tmp"
MAX_NAME_CHARS = 255
MAX_PATH_CHARS = 4096


@dataclass(frozen=True, slots=True)
class FileProjection:
    """One file: its bytes, its mode, and its owner if that is not root."""

    data: bytes
    mode: int
    uid: int | None = None
    gid: int | None = None


def check_payload(payload: Mapping[str, FileProjection]) -> None:
    """VolumeError for a path that could leave the volume or take the writer's own names. Pure."""
    for path in payload:
        fault = _path_fault(path)
        if fault:
            raise VolumeError(f'invalid path "{path}": {fault}')


def _path_fault(path: str) -> str:
    parts = path.split("/")
    if not path:
        return "must not be empty"
    if path.startswith("/"):
        return "must be relative"
    if len(path) > MAX_PATH_CHARS:
        return f"must be no more than {MAX_PATH_CHARS} characters"
    if ".." in parts:
        return "must not contain '..'"
    meant = os.path.normpath(path)  # "./..data" is the writer's own "..data"
    if meant.startswith(".."):
        return "must not start with '..'"
    if meant == ".":
        return "must name a file"
    if any(len(part) > MAX_NAME_CHARS for part in parts):
        return f"no name may be longer than {MAX_NAME_CHARS} characters"
    return ""


def write_payload(directory: str, payload: Mapping[str, FileProjection], now: datetime) -> bool:
    """Make `directory` show exactly `payload`; True when anything had to change. Raises OSError."""
    check_payload(payload)
    clean = {os.path.normpath(path): file for path, file in payload.items()}
    top = Path(directory)
    link = top / DATA_LINK
    old = link.readlink().name if link.is_symlink() else ""
    _remove_unfinished(top, keep=old)
    if old and _is_same(top / old, clean):
        _show_names(top, clean)
        return False
    fresh = Path(tempfile.mkdtemp(prefix=now.strftime("..%Y_%m_%d_%H_%M_%S."), dir=directory))
    # Root's alone until every file has its mode: nobody in a container can read a secret too early.
    for path, file in clean.items():
        _write_file(fresh, path, file)
    fresh.chmod(0o755)
    new_link = top / NEW_DATA_LINK
    new_link.symlink_to(fresh.name)
    new_link.rename(link)
    _show_names(top, clean)
    if old:
        remove_tree(f"{directory}/{old}")
    return True


def _write_file(base: Path, path: str, file: FileProjection) -> None:
    target = base / path
    target.parent.mkdir(parents=True, exist_ok=True)
    for parent in target.relative_to(base).parents[:-1]:
        (base / parent).chmod(0o755)  # the umask is not ours to trust
    target.write_bytes(file.data)
    target.chmod(file.mode)
    if file.uid is not None or file.gid is not None:
        os.chown(target, -1 if file.uid is None else file.uid, -1 if file.gid is None else file.gid)


def _is_same(base: Path, payload: Mapping[str, FileProjection]) -> bool:
    found = {str(path.relative_to(base)) for path in base.rglob("*") if not path.is_dir()}
    if found != set(payload):
        return False
    return all(_is_same_file(base / path, file) for path, file in payload.items())


def _is_same_file(path: Path, file: FileProjection) -> bool:
    state = path.lstat()
    wanted_gid = state.st_gid if file.gid is None else file.gid
    wanted_uid = state.st_uid if file.uid is None else file.uid
    if (state.st_mode & 0o7777, state.st_uid, state.st_gid) != (file.mode, wanted_uid, wanted_gid):
        return False
    return state.st_size == len(file.data) and path.read_bytes() == file.data


def _show_names(top: Path, payload: Mapping[str, FileProjection]) -> None:
    """One symlink per top name of the payload; names that are no longer in it go."""
    wanted = {path.split("/", 1)[0] for path in payload}
    present = {entry.name for entry in top.iterdir() if not entry.name.startswith("..")}
    for name in sorted(wanted - present):
        (top / name).symlink_to(f"{DATA_LINK}/{name}")
    for name in present - wanted:
        if (top / name).is_symlink():
            (top / name).unlink()


def _remove_unfinished(top: Path, *, keep: str) -> None:
    """What a write that was cut short has left."""
    for entry in list(top.iterdir()):
        if entry.name.startswith("..") and entry.name not in (DATA_LINK, keep):
            remove_tree(str(entry))
