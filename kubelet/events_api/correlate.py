"""What becomes of an event on its way to the API (pure): a new object, one more on a count, or nothing.

The rules and numbers are client-go's (tools/record/events_cache.go). In this order: ten events that differ
only in their message within ten minutes become one "(combined from similar events)"; an event that says the
same as one before it counts up; and one object may have 25 events at once and one more every five minutes,
what is over is dropped. Times are those at which the events happened.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, TypeVar

from kube import meta
from kube.validation import names
from kubelet.events import Event, ObjectRef

MOST_KEPT = 4096
COMBINED_AFTER = 10
COMBINED_WITHIN_SECONDS = 600.0
COMBINED_PREFIX = "(combined from similar events): "
SPAM_BURST = 25
SPAM_SECONDS_PER_EVENT = 300.0
# metav1.NamespaceDefault: where the events of what has no namespace go
DEFAULT_NAMESPACE = "default"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Source:
    """Who tells: "kubelet" and the node's name."""

    component: str
    host: str


@dataclass(frozen=True, slots=True)
class Entry:
    """What is to be written: a new Event object when `count` is 1, else a new count on the one named."""

    name: str
    event: Event
    first_at: str
    last_at: str
    count: int = 1

    @property
    def namespace(self) -> str:
        return self.event.about.namespace or DEFAULT_NAMESPACE


@dataclass(frozen=True, slots=True)
class _Seen:
    """An Event object, as it was written last."""

    name: str
    first_at: str
    count: int


@dataclass(slots=True)
class _Similar:
    """The different messages of one kind of event, newest last, and when the last came."""

    last_at: datetime
    messages: dict[str, None] = field(default_factory=dict)


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: datetime


class _Recent(Generic[K, V]):
    """A map that forgets what was not used for the longest time."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._items: OrderedDict[K, V] = OrderedDict()

    def get(self, key: K) -> V | None:
        if key in self._items:
            self._items.move_to_end(key)
        return self._items.get(key)

    def put(self, key: K, value: V) -> None:
        self._items[key] = value
        self._items.move_to_end(key)
        while len(self._items) > self._size:
            self._items.popitem(last=False)


class Correlator:
    """Remembers what was told. `size` bounds each of its memories."""

    def __init__(self, size: int = MOST_KEPT) -> None:
        self._similar: _Recent[Hashable, _Similar] = _Recent(size)
        self._seen: _Recent[Hashable, _Seen] = _Recent(size)
        self._buckets: _Recent[Hashable, _Bucket] = _Recent(size)
        self._last_nanos = 0

    def take(self, event: Event, at: datetime) -> Entry | None:
        """What to write of an event that happened at `at`; None when its object has had too many."""
        event, key = self._combined(event, at)
        entry = self._counted(event, key, at)
        return entry if self._may_tell(event.about, at) else None

    def _combined(self, event: Event, at: datetime) -> tuple[Event, Hashable]:
        kind = (_object_key(event.about), event.type, event.reason)
        similar = self._similar.get(kind)
        if similar is None or (at - similar.last_at).total_seconds() > COMBINED_WITHIN_SECONDS:
            similar = _Similar(at)
        similar.messages[event.message] = None
        similar.last_at = at
        self._similar.put(kind, similar)
        if len(similar.messages) < COMBINED_AFTER:
            return event, (*kind, event.about.field_path, event.message)
        # It stays at the limit: what else is similar goes to the same object, and memory does not grow.
        del similar.messages[next(iter(similar.messages))]
        return replace(event, message=f"{COMBINED_PREFIX}{event.message}"), kind

    def _counted(self, event: Event, key: Hashable, at: datetime) -> Entry:
        now = meta.format_time(at)
        seen = self._seen.get(key)
        if seen is None:
            entry = Entry(self._name(event.about, at), event, now, now)
        else:
            entry = Entry(seen.name, event, seen.first_at, now, seen.count + 1)
        self._seen.put(key, _Seen(entry.name, entry.first_at, entry.count))
        return entry

    def _name(self, about: ObjectRef, at: datetime) -> str:
        """NAME.NANOSECONDS in hexadecimal, never the same twice."""
        nanos = (at - _EPOCH) // timedelta(microseconds=1) * 1000
        self._last_nanos = max(nanos, self._last_nanos + 1)
        name = f"{about.name}.{self._last_nanos:x}"
        if names.dns_subdomain(name):  # an object whose own name leaves no room for the number
            return f"event.{self._last_nanos:x}"
        return name

    def _may_tell(self, about: ObjectRef, at: datetime) -> bool:
        key = _object_key(about)
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = _Bucket(float(SPAM_BURST), at)
        passed = max(0.0, (at - bucket.at).total_seconds())
        bucket.tokens = min(float(SPAM_BURST), bucket.tokens + passed / SPAM_SECONDS_PER_EVENT)
        bucket.at = at
        self._buckets.put(key, bucket)
        if bucket.tokens < 1.0:
            return False
        bucket.tokens -= 1.0
        return True


def _object_key(about: ObjectRef) -> Hashable:
    return about.kind, about.namespace, about.name, about.uid, about.api_version


def body_of(entry: Entry, source: Source) -> dict[str, Any]:
    """The whole Event object."""
    event, about = entry.event, entry.event.about
    involved = {
        "kind": about.kind, "namespace": about.namespace, "name": about.name, "uid": about.uid,
        "apiVersion": about.api_version, "resourceVersion": about.resource_version,
        "fieldPath": about.field_path,
    }  # fmt: skip
    return {
        "apiVersion": "v1", "kind": "Event",
        "metadata": {"name": entry.name, "namespace": entry.namespace},
        "involvedObject": {name: value for name, value in involved.items() if value},
        "reason": event.reason, "message": event.message, "type": event.type, "count": entry.count,
        "firstTimestamp": entry.first_at, "lastTimestamp": entry.last_at,
        "source": {"component": source.component, "host": source.host},
        "reportingComponent": source.component, "reportingInstance": source.host,
    }  # fmt: skip


def count_of(entry: Entry) -> dict[str, Any]:
    """The patch of an Event object that is told again."""
    return {"count": entry.count, "message": entry.event.message, "lastTimestamp": entry.last_at}
