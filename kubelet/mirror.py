"""Mirror pods: the API's copies of this node's static pods, kept as they should be.

One key per pod name and namespace; a queue hands out the keys whose static pod or copy changed,
`plan_mirror` says what to do, one request is made, and what comes of it is heard from the API source. A copy
that a user deletes comes back; the static pod never notices. Nothing is called an orphan before every source
has delivered.

`show(uid, mirror)` tells the status writer under which API object the status of a static pod is to be kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NoReturn

from aio import log as aio_log
from aio.backoff import Backoff
from aio.clock import Clock
from aio.queue import KeyedQueue
from kube import status
from kube.client import resources
from kube.client.model import Client, DeleteOptions
from kube.client.unreachable import Unreachable
from kube.errors import StatusError
from kube.meta import display_name, is_static
from kube.objects.core_v1 import Pod
from kubelet.plan_mirror import MirrorStep, NodeOwner, is_copy_of, mirror_body, plan_mirror

log = aio_log.get(__name__)

RETRY = Backoff(initial=0.5, maximum=10.0, reset_after=60.0)
NO_NODE_SECONDS = 1.0  # the node is not registered yet: `poke` makes it shorter

Show = Callable[[str, Pod | None], None]


@dataclass(slots=True)
class _Name:
    """All that is known under one name. `static` None = there is no static pod of it."""

    static: Pod | None = None
    mirror: Pod | None = None
    retry: Backoff = RETRY


@dataclass(slots=True)
class MirrorPods:
    """Implements `kubelet.sources.api.MirrorSink`. `node` gives the registered node, None before that.

    `may_orphan`: whether every source has delivered once.
    """

    client: Client
    clock: Clock
    node: Callable[[], NodeOwner | None]
    may_orphan: Callable[[], bool]
    show: Show
    _names: dict[str, _Name] = field(default_factory=dict)
    _queue: KeyedQueue[str] = field(default_factory=KeyedQueue)
    _is_api_known: bool = False

    # From the sources. All return at once.

    def static_changed(self, pod: Pod) -> None:
        """A static pod is wanted, or was changed."""
        key = display_name(pod)
        name = self._names.setdefault(key, _Name())
        name.static = pod
        if name.mirror is not None:
            self._show(pod, name.mirror)
        self._due(key)

    def static_gone(self, pod: Pod) -> None:
        """No source has the static pod any more."""
        key = display_name(pod)
        name = self._names.get(key)
        if name is None or name.static is None or name.static.metadata.uid != pod.metadata.uid:
            return  # its successor of the same name is there already
        name.static = None
        self.show(pod.metadata.uid, None)
        self._due(key)

    def mirrors(self, pods: Iterable[Pod]) -> None:
        self._is_api_known = True
        for pod in pods:
            self.mirror_changed(pod, is_gone=False)
        self.poke()

    def mirror_changed(self, pod: Pod, *, is_gone: bool) -> None:
        key = display_name(pod)
        name = self._names.setdefault(key, _Name())
        if is_gone and (name.mirror is None or name.mirror.metadata.uid != pod.metadata.uid):
            return
        name.mirror = None if is_gone else pod
        if name.static is not None:
            self._show(name.static, name.mirror)
        self._due(key)

    def poke(self) -> None:
        """The node was registered, or every source has delivered: look at every name again."""
        for key in self._names:
            self._due(key)

    def _due(self, key: str) -> None:
        if self._is_api_known:  # else a copy that is there already would be made again
            self._queue.add(key)

    def _show(self, static: Pod, mirror: Pod | None) -> None:
        if not is_static(static):
            return
        is_own = mirror is not None and is_copy_of(mirror, static)
        self.show(static.metadata.uid, mirror if is_own else None)

    # The loop

    async def run(self) -> NoReturn:
        """Keep the copies, one request at a time: there are few of them."""
        while True:
            key = await self._queue.get()
            try:
                await self._settle(key)
            finally:
                self._queue.done(key)

    async def _settle(self, key: str) -> None:
        name = self._names.get(key)
        if name is None:
            return
        step = plan_mirror(name.static, name.mirror, may_orphan=self.may_orphan())
        if step is MirrorStep.NOTHING:
            if name.static is None and name.mirror is None:
                del self._names[key]
            return
        try:
            if step is MirrorStep.CREATE:
                await self._create(key, name)
            else:
                await self._delete(key, name, step)
        except (Unreachable, StatusError) as error:
            name.retry, delay = name.retry.next(self.clock.monotonic())
            log.warning("Could not settle a mirror pod", pod=key, step=step.name, err=error)
            self._queue.add_after(key, delay)

    async def _create(self, key: str, name: _Name) -> None:
        static, node = name.static, self.node()
        assert static is not None, "a mirror pod of nothing"
        if node is None:
            self._queue.add_after(key, NO_NODE_SECONDS)
            return
        log.info("Creating a mirror pod", pod=key, uid=static.metadata.uid)
        try:
            await self.client.create(
                resources.PODS, mirror_body(static, node), namespace=static.metadata.namespace
            )
        except status.AlreadyExists:
            # The watch will bring it. What is no mirror pod of ours keeps the name; say so and wait.
            if name.mirror is None:
                raise

    async def _delete(self, key: str, name: _Name, step: MirrorStep) -> None:
        mirror = name.mirror
        assert mirror is not None, "no mirror pod to delete"
        meta = mirror.metadata
        log.info("Deleting a mirror pod", pod=key, uid=meta.uid, reason=step.value)
        options = DeleteOptions(grace_period_seconds=0, uid=meta.uid)
        try:
            await self.client.delete(resources.PODS, meta.name, namespace=meta.namespace, options=options)
        except (status.NotFound, status.Conflict):
            log.v(2).info("Mirror pod is gone already", pod=key, uid=meta.uid)
        # The next step begins when the watch says that it is gone.
