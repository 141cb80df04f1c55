"""What the agent remembers of a pod beyond its own life: one small JSON file per pod.

A restarted agent rebuilds a pod from the runtime, its source and this file: the definition (its
source may be gone), when it began, whether and by when it must be gone, what hooks and probes had
come to, the crash back-off and the last status. Files are replaced whole, by rename; a stop is on
disk before the first action it causes. A file that cannot be read is set aside, said, and the pod
is rebuilt from the runtime alone.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from aio import log as aio_log
from kube.objects.core_v1 import Pod
from kubelet.model import (
    ContainerMemory,
    CrashBackoff,
    MustStop,
    ObservedContainer,
    PodState,
    RestartAll,
    Stage,
    StopRequest,
    Volumes,
    Waiting,
)

FORMAT = 1
DIRECTORY = "pykubelet/pods"  # below the root directory, apart from what other tools read there

log = aio_log.get(__name__)


class KeptContainer(msgspec.Struct, frozen=True, omit_defaults=True):
    """The part of ContainerMemory that outlives the agent."""

    restart_count: int = -1
    backoff: CrashBackoff | None = None
    ready_id: str = ""
    started_id: str = ""
    post_start_id: str = ""
    pre_stop_id: str = ""
    last_exit: ObservedContainer | None = None
    must_stop: MustStop | None = None


class Kept(msgspec.Struct, frozen=True, omit_defaults=True):
    """One checkpoint. Times are wall seconds."""

    uid: str
    format: int = FORMAT
    pod: Pod | None = None
    origin: str = ""  # where the pod came from: a file's path, a URL, "api"
    stage: int = 0
    wanted: bool = True
    start_time: float = 0.0
    stop: StopRequest | None = None
    rejected: Waiting | None = None
    volumes_released: bool = False
    initialized_in: str = ""
    restart_all: RestartAll | None = None
    sandbox_attempts: int = 0
    ips: tuple[str, ...] = ()
    containers: dict[str, KeptContainer] = {}
    status: dict[str, Any] = {}


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Kept)


def keep(state: PodState, status: Mapping[str, Any], origin: str) -> Kept:
    """What of `state` is worth a file."""
    return Kept(
        uid=state.uid,
        pod=state.pod,
        origin=origin,
        stage=int(state.stage),
        wanted=state.wanted,
        start_time=state.start_time,
        stop=state.stop,
        rejected=state.rejected,
        volumes_released=state.volumes is Volumes.RELEASED,
        initialized_in=state.initialized_in,
        restart_all=state.restart_all,
        sandbox_attempts=state.sandbox_attempts,
        ips=state.ips,
        containers={
            name: KeptContainer(
                memory.restart_count,
                memory.backoff,
                memory.ready_id,
                memory.started_id,
                memory.post_start_id,
                memory.pre_stop_id,
                memory.last_exit,
                memory.must_stop,
            )
            for name, memory in state.containers.items()
        },
        status=dict(status),
    )


def restore(kept: Kept) -> PodState:
    """The state to go on from; what the runtime has is not in it yet."""
    return PodState(
        uid=kept.uid,
        pod=kept.pod,
        stage=Stage(kept.stage),
        wanted=kept.wanted,
        start_time=kept.start_time,
        stop=kept.stop,
        rejected=kept.rejected,
        # Mounts are made again unless they were given up: setting up is idempotent.
        volumes=Volumes.RELEASED if kept.volumes_released else Volumes.NONE,
        initialized_in=kept.initialized_in,
        restart_all=kept.restart_all,
        sandbox_attempts=kept.sandbox_attempts,
        ips=kept.ips,
        containers={
            name: ContainerMemory(
                restart_count=one.restart_count,
                backoff=one.backoff,
                ready_id=one.ready_id,
                started_id=one.started_id,
                post_start_id=one.post_start_id,
                pre_stop_id=one.pre_stop_id,
                last_exit=one.last_exit,
                must_stop=one.must_stop,
            )
            for name, one in kept.containers.items()
        },
    )


@dataclass(slots=True)
class CheckpointFiles:
    """The directory of checkpoints; every method blocks and belongs in the "fsync" executor."""

    directory: Path
    _last: dict[str, bytes] = field(default_factory=dict)
    _versions: dict[str, int] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def write(self, kept: Kept, version: int, *, sync: bool) -> None:
        """Replace the file of the pod; `sync` makes it survive a power cut. Raises OSError.

        Writes may overtake each other on their way here: one older than the file is dropped.
        """
        data = _encoder.encode(kept)
        with self._lock:
            if version < self._versions.get(kept.uid, 0):
                return
            self._versions[kept.uid] = version
            if self._last.get(kept.uid) != data or sync:
                self._replace(kept, data, sync=sync)

    def _replace(self, kept: Kept, data: bytes, *, sync: bool) -> None:
        path = self._path(kept.uid)
        temporary = path.with_suffix(".tmp")
        with open(temporary, "wb") as file:
            file.write(data)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
        if sync:
            self._sync_directory()
        self._last[kept.uid] = data

    def remove(self, uid: str, version: int) -> None:
        with self._lock:
            self._versions[uid] = version
            self._last.pop(uid, None)
            self._path(uid).unlink(missing_ok=True)

    def read_all(self) -> list[Kept]:
        """Every checkpoint there is. Creates the directory when it is missing."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        found: list[Kept] = []
        for path in sorted(self.directory.iterdir()):
            if path.suffix == ".tmp":
                path.unlink(missing_ok=True)  # a write that the last agent did not finish
            elif path.suffix == ".json":
                kept = self._read(path)
                if kept is not None:
                    found.append(kept)
        return found

    def _read(self, path: Path) -> Kept | None:
        try:
            kept = _decoder.decode(path.read_bytes())
        except (msgspec.MsgspecError, OSError) as error:
            aside = path.with_suffix(".corrupt")
            log.error("Set aside a checkpoint that cannot be read", err=error, path=str(aside))
            with contextlib.suppress(FileNotFoundError):
                path.replace(aside)
            return None
        if kept.format != FORMAT:
            log.error("Set aside a checkpoint of another format", path=str(path), format=kept.format)
            path.replace(path.with_suffix(".corrupt"))
            return None
        return kept

    def _path(self, uid: str) -> Path:
        return self.directory / f"{uid}.json"

    def _sync_directory(self) -> None:
        handle = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
