"""Statuses to the API: the newest of each pod, written once, retried until it is there, never waited for.

    writer.publish(worker)          # the worker's status changed (kubelet.record)
    writer.released(worker)         # nothing of the pod runs, its volumes are released
    writer.observe(pod)             # the API's newest copy, its own echo included (kubelet.sources.api)
    supervisor.add("pod statuses to the API", writer.run, stage="records")

One key per pod uid in a queue with a few senders. What somebody waits for (ready, not ready, over) goes out
at once; the rest waits a moment for company. A patch is made from what the API has when it is sent, so newest
wins and nothing is written that is there already. A copy that another writer changed is put right. A pod
whose deletion was asked for is deleted for good once the API has taken its terminal status and the worker has
let go of containers, network and volumes. A static pod's status goes to its mirror pod (`show_mirror`).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from aio import log as aio_log
from aio.backoff import Backoff
from aio.clock import Clock
from aio.queue import KeyedQueue
from kube import objects, status
from kube.client import resources
from kube.client.model import Client, DeleteOptions, PatchKind
from kube.client.unreachable import Unreachable
from kube.errors import StatusError
from kube.meta import display_name
from kube.objects.core_v1 import Pod
from kubelet.model import Stage, Volumes
from kubelet.status.patch import may_delete, patience_seconds, status_patch
from kubelet.worker import PodWorker

log = aio_log.get(__name__)

SENDERS = 8
ECHO_SECONDS = 60.0  # how late an event may be that our own write has overtaken
LAST_SECONDS = 1.0
REPAIR_SECONDS = 10.0  # a status that somebody else overwrites is put right at most so often
RETRY = Backoff(initial=0.25, maximum=10.0, reset_after=60.0)  # kubelet 1.36 looks again every 10 s


@dataclass(slots=True)
class _Copy:
    """The API's object: `pod` as last seen, `theirs` its status in JSON, as newly as it is known."""

    pod: Pod
    version: str
    theirs: Mapping[str, Any]
    answered_at: float = float("-inf")  # mono: when an answer to our own write said so

    @property
    def uid(self) -> str:
        return self.pod.metadata.uid


@dataclass(slots=True)
class _Entry:
    """One pod uid of this node. `ours` None = there is no status of it yet."""

    worker: PodWorker | None = None
    ours: Mapping[str, Any] | None = None
    copy: _Copy | None = None
    retry: Backoff = RETRY
    not_before: float = 0.0  # mono: after a failure
    repair_at: float = float("-inf")  # mono: when an overwritten status was, or will be, put right
    delete_sent: bool = False


@dataclass(slots=True)
class StatusWriter:
    """Belongs to one loop. `jitter()` is in [0, 1)."""

    client: Client
    clock: Clock
    jitter: Callable[[], float] = random.random
    _entries: dict[str, _Entry] = field(default_factory=dict)
    _queue: KeyedQueue[str] = field(default_factory=KeyedQueue)
    _is_away: bool = False  # the last request did not reach the server

    # From the agent. All return at once.

    def publish(self, worker: PodWorker) -> None:
        """The worker has a new status."""
        entry = self._entries.setdefault(worker.uid, _Entry())
        before, entry.worker, entry.ours = entry.ours, worker, worker.status
        if entry.copy is not None:
            is_leaving = entry.copy.pod.metadata.deletion_timestamp is not None
            known = before if before is not None else entry.copy.theirs
            self._due(worker.uid, entry, patience_seconds(known, worker.status, is_leaving=is_leaving))

    def released(self, worker: PodWorker) -> None:
        """Containers, network and volumes of the pod are gone: nothing holds its deletion up any more."""
        entry = self._entries.setdefault(worker.uid, _Entry())
        entry.worker = worker
        if entry.copy is not None:
            self._due(worker.uid, entry)

    def forget(self, worker: PodWorker) -> None:
        """The worker is gone. What it said last stays due for as long as the API has the pod."""
        entry = self._entries.get(worker.uid)
        if entry is not None and entry.copy is None:
            del self._entries[worker.uid]

    # From the API source

    def observe(self, pod: Pod) -> None:
        """The API's copy of a pod of the API."""
        self._observe(pod.metadata.uid, pod)

    def gone(self, pod: Pod) -> None:
        """The API has the pod no more."""
        self._drop(pod.metadata.uid)

    def show_mirror(self, uid: str, mirror: Pod | None) -> None:
        """The status of the static pod `uid` belongs to this mirror pod; None = it has none now."""
        if mirror is None:
            self._drop(uid)
        else:
            self._observe(uid, mirror)

    def _observe(self, uid: str, pod: Pod) -> None:
        entry = self._entries.setdefault(uid, _Entry())
        copy, version = entry.copy, pod.metadata.resource_version
        if copy is not None and copy.uid == pod.metadata.uid and version == copy.version:
            copy.pod = pod  # the echo of our own write
            if entry.ours is not None and may_delete(pod, copy.theirs):
                self._due(uid, entry)
            return
        if copy is not None and self._is_overtaken(pod, copy):
            return
        is_first = copy is None or copy.uid != pod.metadata.uid
        if is_first:
            entry.delete_sent = False
        if pod.metadata.deletion_grace_period_seconds:
            entry.delete_sent = False  # our delete would have made it zero: the store was set back
        entry.copy = _Copy(pod, version, objects.to_json(pod.status))
        if entry.ours is None:
            return
        if is_first or may_delete(pod, entry.copy.theirs):
            self._due(uid, entry)
        elif status_patch(entry.copy.uid, entry.copy.theirs, entry.ours) is not None:
            self._repair(uid, entry)

    def _is_overtaken(self, pod: Pod, copy: _Copy) -> bool:
        """An event from before our last write, late. Versions that are still smaller long after it are those
        of a store that was set back, and count."""
        if copy.uid != pod.metadata.uid or _is_newer(pod.metadata.resource_version, copy.version):
            return False
        return self.clock.monotonic() - copy.answered_at < ECHO_SECONDS

    def _drop(self, uid: str) -> None:
        entry = self._entries.get(uid)
        if entry is None:
            return
        entry.copy = None
        if entry.worker is None or entry.worker.state.stage is Stage.FORGOTTEN:
            del self._entries[uid]

    def _repair(self, uid: str, entry: _Entry) -> None:
        """Somebody overwrote what we said: at once, but a quarrel is kept slow."""
        now = self.clock.monotonic()
        if entry.repair_at <= now:  # none is planned
            entry.repair_at = max(now, entry.repair_at + REPAIR_SECONDS)
        self._queue.add_after(uid, max(entry.repair_at, entry.not_before) - now)

    def _due(self, uid: str, entry: _Entry, patience: float = 0.0) -> None:
        held = entry.not_before - self.clock.monotonic()
        self._queue.add_after(uid, max(held, patience))

    # The senders

    async def run(self) -> None:
        """Send for ever."""
        async with asyncio.TaskGroup() as group:
            for number in range(SENDERS):
                group.create_task(self._send_all(), name=f"status sender {number}")

    async def drain(self) -> None:
        """Send now what still waits for company, for an orderly stop. It takes LAST_SECONDS at most: the next
        agent sends what was left. A server that did not answer last is not waited for at all."""
        if self._is_away:
            log.info("Statuses are left for the next agent: the API server is away")
            return
        try:
            async with asyncio.timeout(LAST_SECONDS):
                await asyncio.gather(*(self._settle(uid) for uid in list(self._entries)))
        except TimeoutError:
            log.info("Statuses are left for the next agent")

    async def _send_all(self) -> NoReturn:
        while True:
            uid = await self._queue.get()
            try:
                await self._settle(uid)
            finally:
                self._queue.done(uid)

    async def _settle(self, uid: str) -> None:
        """Write what differs, then delete the object if that is what is left to do."""
        entry = self._entries.get(uid)
        if entry is None or entry.copy is None or entry.ours is None:
            return
        copy = entry.copy
        try:
            patch = status_patch(copy.uid, copy.theirs, entry.ours)
            if patch is not None:
                await self._write(entry, copy, patch)
            if entry.copy is copy and self._may_delete(entry, copy):
                await self._delete(entry, copy)
        except (Unreachable, StatusError) as error:
            self._is_away = isinstance(error, Unreachable)
            entry.retry, delay = entry.retry.next(self.clock.monotonic())
            delay *= 1.0 + self.jitter() / 4
            entry.not_before = self.clock.monotonic() + delay
            log.warning("Could not write a pod's status", pod=display_name(copy.pod), uid=uid, err=error)
            self._queue.add_after(uid, delay)
        else:
            entry.retry, entry.not_before = RETRY, 0.0

    async def _write(self, entry: _Entry, copy: _Copy, patch: dict[str, Any]) -> None:
        meta = copy.pod.metadata
        log.v(3).info("Writing a pod's status", pod=display_name(copy.pod), uid=copy.uid)
        try:
            answer = await self.client.patch(
                resources.PODS, meta.name, patch,
                kind=PatchKind.STRATEGIC, namespace=meta.namespace, subresource="status",
            )  # fmt: skip
        except (status.NotFound, status.Conflict) as error:
            # It is gone, or another pod has its name: the watch tells which.
            log.v(2).info("Pod is not there any more", pod=display_name(copy.pod), uid=copy.uid, err=error)
            if entry.copy is copy:
                entry.copy = None
            return
        self._is_away = False
        version, newest = str(answer["metadata"].get("resourceVersion", "")), entry.copy
        if newest is None or newest.uid != copy.uid:
            return
        if newest is copy or _is_newer(version, newest.version):
            newest.version, newest.theirs = version, answer.get("status") or {}
            newest.answered_at = self.clock.monotonic()

    def _may_delete(self, entry: _Entry, copy: _Copy) -> bool:
        if entry.delete_sent or entry.worker is None or not may_delete(copy.pod, copy.theirs):
            return False
        state = entry.worker.state
        is_over = state.stage is Stage.TERMINATED and state.volumes is Volumes.RELEASED
        if not (is_over or state.stage is Stage.FORGOTTEN):
            return False
        return entry.ours is not None and status_patch(copy.uid, copy.theirs, entry.ours) is None

    async def _delete(self, entry: _Entry, copy: _Copy) -> None:
        meta = copy.pod.metadata
        log.info("Deleting a pod that has ended", pod=display_name(copy.pod), uid=copy.uid)
        options = DeleteOptions(grace_period_seconds=0, uid=copy.uid)
        try:
            await self.client.delete(resources.PODS, meta.name, namespace=meta.namespace, options=options)
        except (status.NotFound, status.Conflict):
            log.v(2).info("Pod was gone already", pod=display_name(copy.pod), uid=copy.uid)
        entry.delete_sent = True  # finalizers may keep it; they end by themselves


def _is_newer(version: str, than: str) -> bool:
    """Versions of one resource are numbers that grow (KEP-5504, stable in 1.35); others are taken as they
    come."""
    if version.isdecimal() and than.isdecimal():
        return int(version) > int(than)
    return version != than
