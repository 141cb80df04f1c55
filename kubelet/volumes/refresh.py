"""Brings the files of running pods up to date: whoever hears of a change says `want(uid)`, the rest is here.

A change is written at once; changes that come while a pod is being written are written together afterwards.
What fails is said in a FailedMount event and tried again after 0.5 s, then less and less often, like any
mount. A pod without mounted volumes has nothing to bring up to date: its first mount will show what is new.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aio import log as aio_log
from aio.backoff import Backoff
from aio.clock import Clock
from aio.errors import Retry
from aio.queue import KeyedQueue
from kube.objects.core_v1 import Pod
from kubelet import events
from kubelet.volumes.service import OBJECT_BACKOFF, PodVolumes

log = aio_log.get(__name__)

AT_ONCE = 4  # pods that are written together; the executor has as many threads for mounts


class VolumeRefresher:
    """`pod_of` gives the newest definition of a pod that is to run here."""

    def __init__(
        self,
        volumes: PodVolumes,
        pod_of: Callable[[str], Pod | None],
        clock: Clock,
        sink: events.EventSink,
    ) -> None:
        self._volumes = volumes
        self._pod_of = pod_of
        self._clock = clock
        self._sink = sink
        self._queue: KeyedQueue[str] = KeyedQueue()
        self._backoffs: dict[str, Backoff] = {}

    def want(self, uid: str) -> None:
        """Something that the pod's files show has changed."""
        if self._volumes.mounted(uid) is not None:
            self._queue.cancel_delay(uid)
            self._queue.add(uid)

    async def run(self) -> None:
        """The loop; for ever."""
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(self._work())

    async def _work(self) -> None:
        while True:
            uid = await self._queue.get()
            try:
                await self._refresh(uid)
            finally:
                self._queue.done(uid)

    async def _refresh(self, uid: str) -> None:
        pod = self._pod_of(uid)
        if pod is None or self._volumes.mounted(uid) is None:
            self._backoffs.pop(uid, None)
            return
        try:
            await self._volumes.refresh(pod)
        except (Retry, OSError, TimeoutError) as error:
            self._retry_later(pod, str(error) or "timed out")
        else:
            self._backoffs.pop(uid, None)

    def _retry_later(self, pod: Pod, fault: str) -> None:
        meta = pod.metadata
        known = self._backoffs.get(meta.uid, OBJECT_BACKOFF)
        self._backoffs[meta.uid], pause = known.next(self._clock.monotonic())
        log.warning("Cannot bring volumes up to date", pod=f"{meta.namespace}/{meta.name}", err=fault)
        self._sink.record(events.failed_mount(events.pod_ref(meta.namespace, meta.name, meta.uid), fault))
        self._queue.add_after(meta.uid, pause)
