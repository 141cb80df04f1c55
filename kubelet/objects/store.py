"""The ConfigMaps and Secrets of the pods on this node: one watch per object, shared by all that name it.

A node may read an object only while a pod of its own refers to it, and only by its name. So the first pod
that is registered begins the watch of each of its objects, and the last one that goes ends it. Listeners hear
of every change, once for each pod that refers to the object.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from functools import partial

from aio import log as aio_log
from aio.clock import Clock
from kube.client.follow import Pacer
from kube.client.model import Client
from kube.objects.core_v1 import Pod
from kubelet.objects import references
from kubelet.objects.model import ApiObject, NotRegistered, ObjectError, ObjectKey
from kubelet.objects.watch import ObjectWatch

log = aio_log.get(__name__)

# Called with the uid of a pod and the object of its that changed; must not block.
Listener = Callable[[str, ObjectKey], None]


class _Watched:
    __slots__ = ("task", "users", "watch")

    def __init__(self, watch: ObjectWatch, task: asyncio.Task[None]) -> None:
        self.watch = watch
        self.task = task
        self.users: dict[str, None] = {}  # uids, in the order they came


class ObjectStore:
    """Made on the running loop. `run` ends only with a fault of ours."""

    def __init__(self, client: Client, clock: Clock, *, jitter: Callable[[], float] = random.random) -> None:
        self._client = client
        self._clock = clock
        self._jitter = jitter
        self._watched: dict[ObjectKey, _Watched] = {}
        self._pods: dict[str, frozenset[ObjectKey]] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._listeners: list[Listener] = []
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def add_listener(self, listener: Listener) -> None:
        self._listeners.append(listener)

    def register(self, pod: Pod) -> None:
        """From now on the pod's objects are kept; again: the references of its newest definition count."""
        uid = pod.metadata.uid
        before, after = self._pods.get(uid, frozenset()), references.of_pod(pod)
        self._pods[uid] = after
        for key in after - before:
            self._use(key, uid)
        for key in before - after:
            self._release(key, uid)

    def forget(self, uid: str) -> None:
        """The pod reads nothing any more; idempotent."""
        for key in self._pods.pop(uid, frozenset()):
            self._release(key, uid)

    async def get(self, key: ObjectKey) -> ApiObject:
        """The object as it is now. ObjectMissing, ObjectUnread, NotRegistered."""
        watched = self._watched.get(key)
        if watched is None:
            raise NotRegistered(key)
        return await watched.watch.get()

    async def get_each(self, keys: frozenset[ObjectKey]) -> dict[ObjectKey, ApiObject | ObjectError]:
        """Each object, or why it cannot be had; all are waited for together."""
        ordered = sorted(keys, key=str)
        found = await asyncio.gather(*(self._outcome(key) for key in ordered))
        return dict(zip(ordered, found, strict=True))

    async def _outcome(self, key: ObjectKey) -> ApiObject | ObjectError:
        try:
            return await self.get(key)
        except ObjectError as error:
            return error

    def watched(self) -> tuple[ObjectKey, ...]:
        """The objects that are kept."""
        return tuple(self._watched)

    async def run(self) -> None:
        """The named loop of all watches."""
        await asyncio.shield(self._failed)

    async def close(self) -> None:
        """End every watch."""
        for uid in list(self._pods):
            self.forget(uid)
        await asyncio.gather(*self._ending, return_exceptions=True)

    def _use(self, key: ObjectKey, uid: str) -> None:
        watched = self._watched.get(key)
        if watched is None:
            pacer = Pacer(self._clock, self._jitter)
            watch = ObjectWatch(self._client, key, pacer, partial(self._tell, key))
            task = asyncio.create_task(watch.run(), name=f"watch {key}")
            task.add_done_callback(self._ended)
            watched = self._watched[key] = _Watched(watch, task)
        watched.users[uid] = None

    def _release(self, key: ObjectKey, uid: str) -> None:
        watched = self._watched[key]
        watched.users.pop(uid, None)
        if not watched.users:
            del self._watched[key]
            if not watched.task.done():
                self._ending.add(watched.task)
                watched.task.cancel()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._ending.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None and not self._failed.done():
            self._failed.set_exception(error)

    def _tell(self, key: ObjectKey) -> None:
        watched = self._watched.get(key)
        for uid in tuple(watched.users) if watched is not None else ():
            for listener in self._listeners:
                listener(uid, key)
