"""A container's log as the body of an answer: read in threads, sent as it comes, followed to its end.

Mechanism: `cri.logfollow` reads and follows the file. That the container has ended, so that nothing more will
come, is told by `PodChanges`: whoever makes statuses reports every change, and those who follow look at the
pod again. A slow look beside it makes up for a change that nobody reported.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from aio import log as aio_log
from aio.clock import Clock
from aio.executors import Executors
from cri.errors import CriError
from cri.logfollow import stream_log
from cri.logs import LogOptions
from cri.service import RuntimeService
from kube.http_server.model import Request, Response
from kubelet.model import NANOSECONDS_PER_SECOND, Phase
from kubelet.server.answers import error_text
from kubelet.server.log_request import BadLogRequest, container_to_read, read_log_request
from kubelet.server.served_pods import Pods, ServedPod

T = TypeVar("T")
log = aio_log.get(__name__)

TEXT = "text/plain"
LOOK_AGAIN_SECONDS = 10.0


@dataclass(slots=True)
class PodChanges:
    """Who waits for changes of which pod."""

    _waiting: dict[str, set[asyncio.Event]] = field(default_factory=dict)

    def report(self, uid: str) -> None:
        """The pod's status has changed."""
        for event in self._waiting.get(uid, ()):
            event.set()

    @contextmanager
    def of(self, uid: str) -> Iterator[asyncio.Event]:
        """An event that is set at each change; clear it before looking."""
        event = asyncio.Event()
        self._waiting.setdefault(uid, set()).add(event)
        try:
            yield event
        finally:
            waiting = self._waiting[uid]
            waiting.discard(event)
            if not waiting:
                del self._waiting[uid]


@dataclass(frozen=True, slots=True)
class _Run:
    """One run of one container, and its log."""

    uid: str
    container_id: str
    path: Path


@dataclass(frozen=True, slots=True)
class ContainerLogs:
    """Answers `/containerLogs/NAMESPACE/POD/CONTAINER`."""

    pods: Pods
    runtime: RuntimeService
    executors: Executors
    clock: Clock
    changes: PodChanges

    async def answer(self, request: Request, namespace: str, name: str, container: str) -> Response:
        pod = self.pods.find(namespace, name)
        if pod is None:
            return error_text(404, f'pod "{name}" does not exist\n')
        if container not in pod.containers:
            return error_text(404, f'container "{container}" not found in pod "{name}"\n')
        try:
            wanted = read_log_request(request.query, int(self.clock.wall() * NANOSECONDS_PER_SECOND))
            container_id = container_to_read(pod.status, name, container, previous=wanted.previous)
            path = await self._path(pod, container_id)
        except BadLogRequest as error:
            return error_text(error.code, error.message)
        lines = self._lines(_Run(pod.uid, container_id, path), wanted.options)
        return Response(200, content_type=TEXT, stream=lines)

    async def _path(self, pod: ServedPod, container_id: str) -> Path:
        """Where the log is. BadLogRequest when the container or its log is gone."""
        seen = pod.observed.by_id(container_id) if pod.observed is not None else None
        try:
            found = seen.log_path if seen is not None else ""
            path = Path(found or (await self.runtime.container_status(container_id)).status.log_path)
            await self.executors.run("log", path.stat, key=pod.uid)
        except (CriError, FileNotFoundError) as error:
            log.warning("A log that is wanted is gone", container_id=container_id, err=error)
            said = f"unable to retrieve container logs for containerd://{container_id}"
            raise BadLogRequest(400, said) from error
        return path

    async def _lines(self, run: _Run, options: LogOptions) -> AsyncIterator[bytes]:
        async def blocking(call: Callable[[], T], /) -> T:
            return await self.executors.run("log", call, key=run.uid)

        finished = asyncio.Event()
        watching = asyncio.create_task(self._watch(run, finished), name="log-container")
        try:
            async with aclosing(stream_log(run.path, options, blocking, finished)) as blocks:
                async for block in blocks:
                    yield b"".join(chunk.data for chunk in block)
        finally:
            watching.cancel()
            (fault,) = await asyncio.gather(watching, return_exceptions=True)
        if isinstance(fault, Exception):
            raise fault  # the client is to see a log that was cut, not one that is whole

    async def _watch(self, run: _Run, finished: asyncio.Event) -> None:
        try:
            with self.changes.of(run.uid) as changed:
                while not self._has_ended(run):
                    with suppress(TimeoutError):
                        async with asyncio.timeout(LOOK_AGAIN_SECONDS):
                            await changed.wait()
                    changed.clear()
        finally:
            finished.set()  # also by a fault, or whoever follows would wait for ever

    def _has_ended(self, run: _Run) -> bool:
        pod = self.pods.by_uid(run.uid)
        observed = pod.observed if pod is not None else None
        seen = observed.by_id(run.container_id) if observed is not None else None
        return seen is None or seen.phase is Phase.EXITED
