"""Events of the control plane's parts: told at once, written beside the work, one after the other.

A fact told again counts up instead of filling the store: the Event that says the same of the same object
(reason, message, type) is patched in its count and last time. What cannot be written is logged and forgotten:
an Event is never worth a retry that delays the work it tells of.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import Any, NoReturn

from aio import log as logs
from aio.clock import Clock
from kube import meta, status
from kube.client import Client, JsonObject, Unreachable
from kube.client.resources import EVENTS
from kube.errors import StatusError

log = logs.get(__name__)

NORMAL = "Normal"
WARNING = "Warning"
# client-go's EventCorrelator keeps this many.
_MOST_KEPT = 4096
MOST_WAITING = 1000
"""Told and not yet written; what comes beyond that is dropped and said (client-go's broadcaster)."""


@dataclass(frozen=True, slots=True)
class Subject:
    """Whom an event is about."""

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str

    @classmethod
    def of(cls, value: JsonObject) -> Subject:
        found = value["metadata"]
        return cls(
            value["apiVersion"],
            value["kind"],
            found.get("namespace", ""),
            found["name"],
            found.get("uid", ""),
        )


@dataclass(frozen=True, slots=True)
class Note:
    reason: str
    message: str
    type: str = NORMAL


@dataclass(frozen=True, slots=True)
class _Told:
    """`at` is RFC 3339, `nanos` the same moment since the epoch, which makes the name (client-go does)."""

    subject: Subject
    note: Note
    at: str
    nanos: int


class Recorder:
    """`component` is what `kubectl describe` shows as the source."""

    def __init__(self, client: Client, clock: Clock, component: str) -> None:
        self._client = client
        self._clock = clock
        self._component = component
        self._told: OrderedDict[tuple[Subject, Note], tuple[str, int]] = OrderedDict()
        self._waiting: deque[_Told] = deque()
        self._last_nanos = 0
        self._wanted = asyncio.Event()

    def record(self, subject: Subject, note: Note) -> None:
        """Returns at once; `run` writes it."""
        if len(self._waiting) >= MOST_WAITING:
            log.warning("Dropped an event", reason=note.reason, object=subject.name)
            return
        # Never the same twice, so that names are unique and in the order things happened.
        self._last_nanos = max(int(self._clock.wall() * 1e9), self._last_nanos + 1)
        self._waiting.append(_Told(subject, note, meta.format_time(self._clock.now()), self._last_nanos))
        self._wanted.set()

    async def run(self) -> NoReturn:
        """Write what was told, for ever; cancel to stop. What waits then is lost."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            while self._waiting:
                await self._try(self._waiting.popleft())

    async def _try(self, told: _Told) -> None:
        try:
            await self._write(told)
        except (StatusError, Unreachable) as error:
            about = told.subject.name
            log.warning("Cannot write an event", reason=told.note.reason, object=about, err=error)

    async def _write(self, told: _Told) -> None:
        subject, note, now = told.subject, told.note, told.at
        key = (subject, note)
        namespace = subject.namespace or "default"
        if key in self._told:
            name, count = self._told[key]
            change = {"count": count + 1, "lastTimestamp": now}
            try:
                await self._client.patch(EVENTS, name, change, namespace=namespace)
            except status.NotFound:
                del self._told[key]
            else:
                self._keep(key, name, count + 1)
                return
        body = self._body(told)
        await self._client.create(EVENTS, body, namespace=namespace)
        self._keep(key, body["metadata"]["name"], 1)

    def _body(self, told: _Told) -> dict[str, Any]:
        subject, note, now = told.subject, told.note, told.at
        name = f"{subject.name}.{told.nanos:x}"
        about = {
            "apiVersion": subject.api_version, "kind": subject.kind, "namespace": subject.namespace,
            "name": subject.name, "uid": subject.uid,
        }  # fmt: skip
        return {
            "apiVersion": "v1", "kind": "Event",
            "metadata": {"name": name, "namespace": subject.namespace or "default"},
            "involvedObject": {field: value for field, value in about.items() if value},
            "reason": note.reason, "message": note.message, "type": note.type, "count": 1,
            "firstTimestamp": now, "lastTimestamp": now,
            "source": {"component": self._component}, "reportingComponent": self._component,
            "reportingInstance": "",
        }  # fmt: skip

    def _keep(self, key: tuple[Subject, Note], name: str, count: int) -> None:
        self._told[key] = (name, count)
        self._told.move_to_end(key)
        while len(self._told) > _MOST_KEPT:
            self._told.popitem(last=False)
