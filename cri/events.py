"""What a runtime reports by itself: the values, the protocol, and what to make of one event.

An event is only a reason to look at that one pod again, never a fact to act on: a runtime may say that a task
has exited before its own CRI answers agree. `disagrees` compares an event with what CRI said, and `settle`
reads again after growing delays until both tell the same. A source never stays silent about a gap: after
every (re)subscription it yields `Resync`, and the agent lists everything once.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Protocol, TypeVar

from aio.clock import Clock
from cri.enums import ContainerState, PodSandboxState
from cri.service import RuntimeService
from cri.types import ContainerFilter, PodSandboxFilter, VersionResponse

# Written on every container and sandbox by the agent (pkg/kubelet/types/labels.go).
POD_UID_LABEL = "io.kubernetes.pod.uid"


class EventKind(Enum):
    CREATED = "created"
    STARTED = "started"
    STOPPED = "stopped"
    DELETED = "deleted"
    OOM = "oom"


# What an agent that starts and removes containers itself must be told: the rest is its own doing.
ENDINGS = frozenset({EventKind.STOPPED, EventKind.OOM})
ALL_KINDS = frozenset(EventKind)


@dataclass(frozen=True, slots=True)
class RuntimeEvent:
    """Something happened to one container or sandbox.

    `container_id` is a sandbox's id when the event concerns the sandbox itself. `sandbox_id` and `pod_uid`
    are empty where the runtime does not tell. `at` is nanoseconds since the epoch by the runtime's clock;
    `exit_code` only with STOPPED, where told.
    """

    kind: EventKind
    container_id: str
    at: int
    sandbox_id: str = ""
    pod_uid: str = ""
    exit_code: int | None = None


@dataclass(frozen=True, slots=True)
class Resync:
    """Events may have been missed up to now: list everything. `reason` is a sentence for the log."""

    reason: str


class EventSource(Protocol):
    """Where runtime events come from."""

    def events(self) -> AsyncIterator[RuntimeEvent | Resync]:
        """Events from now on, the first one a `Resync`; never ends and never raises for a lost runtime.

        Close it (`aclose`, or cancel the task that iterates) to unsubscribe.
        """
        ...


class EventApi(Enum):
    """Which interface of a runtime to hear events from."""

    CRI = "runtime.v1.RuntimeService/GetContainerEvents"
    CONTAINERD = "containerd.services.events.v1.Events/Subscribe"


def choose_event_api(version: VersionResponse) -> EventApi:
    """GetContainerEvents where it is served soundly, else containerd's own events.

    containerd has it since 1.7 but hands every event to only one of its subscribers and drops events that
    nobody reads in time; 2.0 queues them per subscriber. Other runtimes have no second interface.
    """
    if version.runtime_name != "containerd":
        return EventApi.CRI
    major = re.match(r"v?(\d+)\.", version.runtime_version)
    return EventApi.CRI if major is not None and int(major[1]) >= 2 else EventApi.CONTAINERD


def known_pod(event: RuntimeEvent, pods: Mapping[str, str]) -> str | None:
    """The pod uid of an event; `pods` maps container and sandbox ids to pod uids, as the agent knows them."""
    return event.pod_uid or pods.get(event.container_id) or pods.get(event.sandbox_id)


async def find_pod(event: RuntimeEvent, pods: Mapping[str, str], runtime: RuntimeService) -> str | None:
    """As `known_pod`; an id that the agent does not know is asked for at the runtime, by way of its sandbox.

    None when the runtime does not know it either, or as nobody's. Errors of the runtime pass through.
    """
    uid = known_pod(event, pods)
    if uid:
        return uid
    sandbox_id = event.sandbox_id or event.container_id
    for container in await runtime.list_containers(ContainerFilter(id=event.container_id)):
        sandbox_id = container.pod_sandbox_id
        uid = container.labels.get(POD_UID_LABEL) or pods.get(sandbox_id)
        if uid:
            return uid
    for sandbox in await runtime.list_pod_sandboxes(PodSandboxFilter(id=sandbox_id)):
        return sandbox.metadata.uid or None
    return None


class HasContainerState(Protocol):
    """A `Container` or `ContainerStatus`."""

    @property
    def id(self) -> str: ...

    @property
    def state(self) -> ContainerState: ...


class HasSandboxState(Protocol):
    """A `PodSandbox` or `PodSandboxStatus`."""

    @property
    def id(self) -> str: ...

    @property
    def state(self) -> PodSandboxState: ...


@dataclass(frozen=True, slots=True)
class Seen:
    """What CRI said of the pod that an event concerns."""

    containers: tuple[HasContainerState, ...] = ()
    sandboxes: tuple[HasSandboxState, ...] = ()


# States in which CRI has not caught up with the event; a sandbox has only the two.
_BEHIND: dict[EventKind, frozenset[ContainerState]] = {
    EventKind.STARTED: frozenset({ContainerState.CONTAINER_CREATED}),
    EventKind.STOPPED: frozenset({ContainerState.CONTAINER_CREATED, ContainerState.CONTAINER_RUNNING}),
    EventKind.DELETED: frozenset(ContainerState),
}


def disagrees(event: RuntimeEvent, seen: Seen) -> bool:
    """Whether `seen` still shows the time before the event, so that another look is worth while.

    An id that CRI does not list agrees with everything but a start: it may be long removed.
    """
    behind = _BEHIND.get(event.kind, frozenset())
    for container in seen.containers:
        if container.id == event.container_id:
            return container.state in behind
    for sandbox in seen.sandboxes:
        if sandbox.id == event.container_id:
            is_ready = sandbox.state == PodSandboxState.SANDBOX_READY
            return event.kind is EventKind.DELETED or (event.kind is EventKind.STOPPED and is_ready)
    return event.kind is EventKind.STARTED


# 5, 10, 20 … 320 ms: 635 ms in all, far beyond what a runtime was seen to need, and cheap when it is quick.
SETTLE_DELAYS_SECONDS = tuple(0.005 * 2**step for step in range(7))

SeenT = TypeVar("SeenT")


async def settle(
    event: RuntimeEvent,
    read: Callable[[], Awaitable[SeenT]],
    view: Callable[[SeenT], Seen],
    clock: Clock,
    delays: Iterable[float] = SETTLE_DELAYS_SECONDS,
) -> SeenT:
    """Read the pod now, and again after each delay while the reading lags behind the event; the last reading.

    `read` returns the agent's own form of an observation, `view` says what it shows of containers and
    sandboxes. Errors of `read` pass through.
    """
    reading = await read()
    for delay in delays:
        if not disagrees(event, view(reading)):
            return reading
        await clock.sleep(delay)
        reading = await read()
    return reading
