"""One ConfigMap or Secret, listed once by its name and then followed for as long as anybody wants it.

A read of its own answers whoever must not miss an object that was made a moment ago: the watch may not have
told of it yet, so an absence is believed only if it was seen after the question. What is there is answered
from the copy, also while the server is away. An immutable object is not watched any more once it is here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from math import inf

import msgspec

from aio import log as aio_log
from kube import status
from kube.client.follow import Failure, Pacer, follow, hint_of
from kube.client.model import Client, EventType, Identity, ListOptions, WatchEvent, WatchOptions, identify
from kubelet.objects.model import ApiObject, ObjectKey, ObjectMissing, ObjectUnread, read_object

log = aio_log.get(__name__)

SYNC_SECONDS = 1.0  # watch_based_manager.go: how long a read waits for the first answer
# A pod that is deleted waits for what is under way, so that must not last: it is tried again soon enough.
ANSWER_SECONDS = 20.0
_SOON_SECONDS = 10.0  # a version that expires sooner than this is not listed again at once


class ObjectWatch:
    """`changed()` is called after the copy is another one: it came, changed or went."""

    def __init__(self, client: Client, key: ObjectKey, pacer: Pacer, changed: Callable[[], None]) -> None:
        self.key = key
        self.value: ApiObject | None = None
        self._client = client
        self._pacer = pacer
        self._clock = pacer.clock
        self._changed = changed
        self._selector = f"metadata.name={key.name}"
        self._problem = ""
        self._as_of = -inf  # when the last question was asked whose answer was the whole truth
        self._settled = asyncio.Event()  # there was an answer, or a refusal
        self._looking = asyncio.Lock()

    async def get(self) -> ApiObject:
        """The object. ObjectMissing when there is none now, ObjectUnread when nobody can say."""
        began = self._clock.monotonic()
        try:
            async with asyncio.timeout(SYNC_SECONDS):
                await self._settled.wait()
        except TimeoutError:
            raise ObjectUnread(self.key) from None
        if self.value is None and self._as_of < began:
            async with self._looking:
                if self.value is None and self._as_of < began:
                    await self._look()
        if self.value is not None:
            return self.value
        if self._problem:
            raise ObjectUnread(self.key, self._problem)
        raise ObjectMissing(self.key)

    async def run(self) -> None:
        """Keep the copy until cancelled; returns only for an immutable object."""
        while not self._is_final():
            began = self._clock.monotonic()
            hint = None
            try:
                await self._load_and_follow(began)
            except status.Expired:
                if self._clock.monotonic() - began >= _SOON_SECONDS:
                    continue
            except Failure as error:
                log.warning("Cannot read an object", object=str(self.key), err=error)
                self._fail(str(error))
                hint = hint_of(error)
            if not self._is_final():
                await self._pacer.wait(hint)

    def _is_final(self) -> bool:
        return self.value is not None and self.value.is_immutable

    async def _load_and_follow(self, began: float) -> None:
        resource, namespace = self.key.kind.resource, self.key.namespace
        page = await self._client.list(
            resource, namespace=namespace, options=ListOptions(field_selector=self._selector)
        )
        named = [item for item in page.items if identify(item).name == self.key.name]
        self._learn(named[0] if named else None, began)
        if self._is_final():
            return
        options = WatchOptions(field_selector=self._selector, resource_version=page.resource_version)
        stream = follow(self._client, resource, pacer=self._pacer, namespace=namespace, options=options)
        async with aclosing(stream) as events:
            async for event in events:
                self._apply(event)
                if self._is_final():
                    return

    def _apply(self, event: WatchEvent) -> None:
        identity = event.identity
        if event.type is EventType.BOOKMARK or identity.name != self.key.name:
            return
        if event.type is not EventType.DELETED and _is_older(identity, self.value):
            return  # a read of our own was quicker than the watch
        self._learn(None if event.type is EventType.DELETED else event.raw, self._as_of)

    async def _look(self) -> None:
        """Ask for the object itself; what the watch has brought meanwhile is newer."""
        began = self._clock.monotonic()
        resource, namespace = self.key.kind.resource, self.key.namespace
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                body = await self._client.get(resource, self.key.name, namespace=namespace)
        except TimeoutError:
            self._fail(f"no answer within {ANSWER_SECONDS:.0f} s")
        except status.NotFound:
            if self.value is None:
                self._learn(None, began)
        except Failure as error:
            self._fail(str(error))
        else:
            if self.value is None:
                self._learn(msgspec.json.encode(body), began)

    def _fail(self, problem: str) -> None:
        self._problem = problem
        self._settled.set()

    def _learn(self, raw: bytes | None, as_of: float) -> None:
        try:
            value = read_object(raw, self.key.kind) if raw is not None else None
        except ValueError as error:
            log.error("Cannot decode an object", object=str(self.key), err=error)
            self._fail(f"cannot decode {self.key}: because {error}")
            return
        before, self.value = self.value, value
        self._problem, self._as_of = "", as_of
        self._settled.set()
        if _identity(before) != _identity(value):
            self._changed()


def _is_older(identity: Identity, known: ApiObject | None) -> bool:
    if known is None or known.uid != identity.uid:
        return False
    versions = known.version, identity.resource_version
    return all(map(str.isdigit, versions)) and int(identity.resource_version) < int(known.version)


def _identity(value: ApiObject | None) -> tuple[str, str] | None:
    return (value.uid, value.version) if value is not None else None
