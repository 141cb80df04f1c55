"""Kubernetes Events as values, made by named functions, and where they go.

An `Event` says what happened to which object in upstream's words; it carries no time, so the
functions stay pure. An `EventSink` takes it: `RingEvents` here keeps the newest ones, stamps them,
counts repeats and logs them. Deduplication towards an API server is the business of another sink.
Texts: Kubernetes 1.36, pkg/kubelet/events/event.go and the places that record them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from aio import log as aio_log
from kubelet import reasons

if TYPE_CHECKING:
    from aio.clock import Clock

NORMAL = "Normal"
WARNING = "Warning"
RING_SIZE = 1000

log = aio_log.get(__name__)


@dataclass(frozen=True, slots=True)
class ObjectRef:
    """What an event is about: a v1 ObjectReference without what nobody fills in."""

    kind: str
    namespace: str
    name: str
    uid: str
    field_path: str = ""
    api_version: str = "v1"
    resource_version: str = field(default="", compare=False)  # of the object when it happened

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened. `type` is Normal or Warning, `reason` one CamelCase word."""

    type: str
    reason: str
    message: str
    about: ObjectRef


@dataclass(frozen=True, slots=True)
class RecordedEvent:
    """An event with its times; `count` rises while the very same event repeats."""

    event: Event
    first_at: datetime
    last_at: datetime
    count: int = 1


class EventSink(Protocol):
    """Takes events. `record` returns at once and never raises."""

    def record(self, event: Event) -> None: ...


class RingEvents:
    """The newest `size` distinct events in memory, each logged when it comes."""

    def __init__(self, clock: Clock, size: int = RING_SIZE) -> None:
        self._clock = clock
        self._size = size
        self._events: OrderedDict[Event, RecordedEvent] = OrderedDict()

    def record(self, event: Event) -> None:
        now = self._clock.now()
        known = self._events.pop(event, None)
        if known is None:
            self._events[event] = RecordedEvent(event, first_at=now, last_at=now)
            while len(self._events) > self._size:
                self._events.popitem(last=False)
        else:
            self._events[event] = replace(known, last_at=now, count=known.count + 1)
        log.info(
            "Event occurred",
            object=str(event.about),
            fieldPath=event.about.field_path,
            kind=event.about.kind,
            type=event.type,
            reason=event.reason,
            message=event.message,
        )

    def recorded(self, uid: str | None = None) -> list[RecordedEvent]:
        """Oldest last occurrence first; only those about the object `uid` when it is given."""
        return [entry for entry in self._events.values() if uid in (None, entry.event.about.uid)]

    def __iter__(self) -> Iterator[RecordedEvent]:
        return iter(self._events.values())


def pod_ref(namespace: str, name: str, uid: str, resource_version: str = "") -> ObjectRef:
    return ObjectRef("Pod", namespace, name, uid, resource_version=resource_version)


def node_ref(name: str) -> ObjectRef:
    """The node, whose uid in events is its name (upstream does the same)."""
    return ObjectRef("Node", "", name, name)


def container_ref(pod: ObjectRef, container: str, *, group: str = "containers") -> ObjectRef:
    """`pod` narrowed to one container; `group` is containers, initContainers or ephemeralContainers."""
    return replace(pod, field_path=f"spec.{group}{{{container}}}")


# Images (pkg/kubelet/images/image_manager.go)


def pulling(about: ObjectRef, image: str) -> Event:
    return Event(NORMAL, reasons.EVENT_PULLING, f'Pulling image "{image}"', about)


def pulled(about: ObjectRef, message: str) -> Event:
    return Event(NORMAL, reasons.EVENT_PULLED, message, about)


def failed_to_pull(about: ObjectRef, image: str, error: str) -> Event:
    return Event(WARNING, reasons.EVENT_FAILED, f'Failed to pull image "{image}": {error}', about)


def backing_off_pull(about: ObjectRef, image: str) -> Event:
    return Event(NORMAL, reasons.EVENT_BACK_OFF, f'Back-off pulling image "{image}"', about)


def never_pull(about: ObjectRef, message: str) -> Event:
    return Event(WARNING, reasons.EVENT_ERR_IMAGE_NEVER_PULL, message, about)


def inspect_failed(about: ObjectRef, message: str) -> Event:
    return Event(WARNING, reasons.EVENT_INSPECT_FAILED, message, about)


# Containers (pkg/kubelet/kuberuntime/kuberuntime_container.go)


def created(about: ObjectRef) -> Event:
    return Event(NORMAL, reasons.EVENT_CREATED, "Container created", about)


def started(about: ObjectRef) -> Event:
    return Event(NORMAL, reasons.EVENT_STARTED, "Container started", about)


def failed(about: ObjectRef, error: str) -> Event:
    """A container could not be created or started, or its image is not to be had."""
    return Event(WARNING, reasons.EVENT_FAILED, f"Error: {error}", about)


def killing(about: ObjectRef, message: str) -> Event:
    """`message` names the cause: "Stopping container X", "Container X failed liveness probe, …"."""
    return Event(NORMAL, reasons.EVENT_KILLING, message, about)


def crash_back_off(about: ObjectRef, container: str, pod: str) -> Event:
    """`pod` in upstream's form NAME_NAMESPACE(UID)."""
    text = f"Back-off restarting failed container {container} in pod {pod}"
    return Event(WARNING, reasons.EVENT_BACK_OFF, text, about)


def unhealthy(about: ObjectRef, message: str) -> Event:
    """`message`: "Liveness probe failed: …", "Readiness probe errored: …"."""
    return Event(WARNING, reasons.EVENT_UNHEALTHY, message, about)


def post_start_failed(about: ObjectRef) -> Event:
    return Event(WARNING, reasons.EVENT_FAILED_POST_START_HOOK, "PostStartHook failed", about)


def pre_stop_failed(about: ObjectRef) -> Event:
    return Event(WARNING, reasons.EVENT_FAILED_PRE_STOP_HOOK, "PreStopHook failed", about)


# Pods


def sandbox_changed(about: ObjectRef) -> Event:
    text = "Pod sandbox changed, it will be killed and re-created."
    return Event(NORMAL, reasons.EVENT_SANDBOX_CHANGED, text, about)


def failed_create_sandbox(about: ObjectRef, error: str) -> Event:
    text = f"Failed to create pod sandbox: {error}"
    return Event(WARNING, reasons.EVENT_FAILED_CREATE_POD_SANDBOX, text, about)


def exceeded_grace_period(about: ObjectRef) -> Event:
    text = "Container runtime did not kill the pod within specified grace period."
    return Event(WARNING, reasons.EVENT_EXCEEDED_GRACE_PERIOD, text, about)


def failed_mount(about: ObjectRef, message: str) -> Event:
    return Event(WARNING, reasons.EVENT_FAILED_MOUNT, message, about)


def network_not_ready(about: ObjectRef, error: str) -> Event:
    return Event(WARNING, reasons.EVENT_NETWORK_NOT_READY, f"network is not ready: {error}", about)


def failed_validation(about: ObjectRef, message: str) -> Event:
    return Event(WARNING, reasons.EVENT_FAILED_VALIDATION, message, about)


# Node


def free_disk_space_failed(about: ObjectRef, message: str) -> Event:
    return Event(WARNING, reasons.EVENT_FREE_DISK_SPACE_FAILED, message, about)


def invalid_disk_capacity(about: ObjectRef, message: str) -> Event:
    return Event(WARNING, reasons.EVENT_INVALID_DISK_CAPACITY, message, about)


def image_gc_failed(about: ObjectRef, error: str) -> Event:
    return Event(WARNING, reasons.EVENT_IMAGE_GC_FAILED, error, about)


def container_gc_failed(about: ObjectRef, error: str) -> Event:
    return Event(WARNING, reasons.EVENT_CONTAINER_GC_FAILED, error, about)


def cgroup_v1(about: ObjectRef, message: str) -> Event:
    return Event(WARNING, reasons.EVENT_CGROUP_V1, message, about)
