"""Pods from the API server: those bound to this node, by list and watch.

The first complete list goes out as one whole set, oldest pod first; every change after it as one `PodChange`,
in the same turn of the loop in which the event arrived. Promises: before the first complete list nothing is
said; a server that cannot be reached says nothing; a relist tells only what differs. A pod that cannot be
decoded goes on as it was last, until it is deleted: that can always be read. Mirror pods, the API's
copies of this node's static pods, are not pods to run: they go to `MirrorSink` instead. Every version of any
other pod is shown to `observe` first, so that the status writer knows what the API holds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

import msgspec

from aio import log as aio_log
from aio.clock import Clock
from kube import objects
from kube.cache import Cache, Change, ChangeKind, Scope
from kube.client import resources
from kube.client.model import Client, identify
from kube.errors import ErrorKind, FieldError
from kube.meta import is_deleting, is_mirror
from kube.objects.base import Object
from kube.objects.core_v1 import Pod
from kube.objects.meta_v1 import ObjectMeta
from kubelet.sources.model import API, Deliver, Delivery, PodChange, Problem, Report

log = aio_log.get(__name__)

SILENT_SECONDS = 10.0  # an API server that is up answers sooner, and then nothing must be guessed


class MirrorSink(Protocol):
    """Who cares for mirror pods. Both calls return at once."""

    def mirrors(self, pods: Iterable[Pod]) -> None:
        """Every mirror pod there is: the first complete list."""
        ...

    def mirror_changed(self, pod: Pod, *, is_gone: bool) -> None:
        """One that is new or changed, or the last state of one that is gone."""
        ...


@dataclass(frozen=True, slots=True)
class ApiOutlet:
    """Where what the API says goes. `observe` gets every pod's newest version, `gone` a pod's last one;
    `silent` is called when the first complete list is long in coming."""

    deliver: Deliver
    change: Callable[[PodChange], None]
    report: Report
    mirrors: MirrorSink
    observe: Callable[[Pod], None]
    gone: Callable[[Pod], None]
    silent: Callable[[], None]


class ApiSource:
    """`run` is the loop. `has_delivered` once the first complete list went out."""

    def __init__(self, client: Client, node_name: str, clock: Clock, outlet: ApiOutlet) -> None:
        self.has_delivered = False
        self._outlet = outlet
        self._undecodable: dict[str, str] = {}  # uid -> name of what is there and cannot be decoded
        self._unread: set[str] = set()  # uids of which the copy has nothing but the metadata
        self.cache: Cache[Pod] = Cache(
            client,
            resources.PODS,
            self._decode,
            clock=clock,
            scope=Scope(field_selector=f"spec.nodeName={node_name}"),
        )
        self.cache.add_handler(self._take)

    async def run(self) -> None:
        """Follow the API for ever; an outage is waited out."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.cache.run(), name="pods of the API server")
            try:
                async with asyncio.timeout(SILENT_SECONDS):
                    await self.cache.wait_synced()
            except TimeoutError:
                log.warning("API server does not answer, going on with what is known", err=self.cache.problem)
                self._outlet.silent()
                await self.cache.wait_synced()
            self._deliver_first()

    def _decode(self, raw: bytes) -> Pod:
        try:
            pod = objects.decode(raw, Pod)
        except ValueError as error:
            self._report(raw, str(error))
            readable = self._readable(raw)
            if readable is None:
                raise
            return readable
        self._undecodable.pop(pod.metadata.uid, None)
        self._unread.discard(pod.metadata.uid)
        return pod

    def _readable(self, raw: bytes) -> Pod | None:
        """What can be said of a pod that cannot be decoded; None = it is as it was last."""
        identity = identify(raw)
        known = self.cache.get(identity.key)
        is_known = known is not None and known.metadata.uid == identity.uid
        try:
            metadata = objects.decode(raw, _OnlyMetadata).metadata
        except ValueError:
            metadata = ObjectMeta(name=identity.name, namespace=identity.namespace, uid=identity.uid)
        if known is not None and is_known and identity.uid not in self._unread:
            if metadata.deletion_timestamp is None:
                return None
            return msgspec.structs.replace(known, metadata=metadata)
        self._unread.add(identity.uid)
        return Pod(metadata=metadata)

    def _report(self, raw: bytes, error: str) -> None:
        """Say once that a pod cannot be read; it is not stopped for that, and no other one is affected."""
        identity = identify(raw)
        if self._undecodable.get(identity.uid) == identity.key:
            return
        self._undecodable[identity.uid] = identity.key
        metadata = ObjectMeta(name=identity.name, namespace=identity.namespace, uid=identity.uid)
        fault = FieldError("", f"the pod cannot be decoded: {error}", ErrorKind.DECODE)
        self._outlet.report(Problem(API, identity.key, (fault,), pod=Pod(metadata=metadata)))

    def _deliver_first(self) -> None:
        if self.has_delivered:
            return
        self.has_delivered = True
        pods = sorted(self.cache.values(), key=lambda pod: pod.metadata.creation_timestamp or "")
        read = [pod for pod in pods if pod.metadata.uid not in self._unread]
        leaving = [pod for pod in pods if pod.metadata.uid in self._unread and is_deleting(pod)]
        self._outlet.mirrors.mirrors([pod for pod in read if is_mirror(pod)])
        wanted = tuple(pod for pod in read if not is_mirror(pod))
        for pod in (*wanted, *leaving):
            self._outlet.observe(pod)
        kept = frozenset(self._undecodable) - {pod.metadata.uid for pod in leaving}
        self._outlet.deliver(Delivery(API, wanted, kept))

    def _take(self, change: Change[Pod]) -> None:
        if not self.has_delivered:
            if self.cache.has_synced:
                self._deliver_first()  # the copy has this change already
            return
        pod = change.value
        is_gone = change.kind is ChangeKind.DELETED
        if is_gone:
            self._undecodable.pop(pod.metadata.uid, None)
            self._unread.discard(pod.metadata.uid)
        if pod.metadata.uid in self._unread:
            self._take_unread(pod)
        elif is_mirror(pod):
            self._outlet.mirrors.mirror_changed(pod, is_gone=is_gone)
        elif is_gone:
            self._outlet.gone(pod)
            self._outlet.change(PodChange(API, pod.metadata.uid, None))
        else:
            self._outlet.observe(pod)
            self._outlet.change(PodChange(API, pod.metadata.uid, pod))

    def _take_unread(self, pod: Pod) -> None:
        """Nobody knows what it should run. One that an earlier agent began goes on, until it is to go."""
        if is_deleting(pod) and not is_mirror(pod):
            self._outlet.observe(pod)
            self._outlet.change(PodChange(API, pod.metadata.uid, None))


class _OnlyMetadata(Object, frozen=True, kw_only=True):
    metadata: ObjectMeta
