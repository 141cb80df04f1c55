"""The values the pod core thinks in: what was seen, what is remembered, what is under way.

Everything here is frozen and compared by value; nothing here acts. Monotonic seconds
(`mono`) order observations against actions, wall seconds (`wall`, unix) are what users see
and what survives a restart of the agent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, IntEnum

from kube.objects.core_v1 import Pod

NANOSECONDS_PER_SECOND = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Instant:
    """One moment on both clocks, in seconds."""

    mono: float
    wall: float


class Stage(IntEnum):
    """The stages of a pod on the node; a pod never moves to a smaller one."""

    SYNCING = 0  # wanted: containers are started, restarted, kept
    TERMINATING = 1  # containers may still run, none is started
    TERMINATED = 2  # nothing runs: volumes, sandbox and data are released
    FORGOTTEN = 3  # nothing is left; the worker is dropped


class Phase(Enum):
    """State of one container as the runtime tells it (CRI ContainerState)."""

    CREATED = "created"
    RUNNING = "running"
    EXITED = "exited"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class ObservedSandbox:
    """One pod sandbox of the pod. `created_at` in ns since the epoch."""

    id: str
    attempt: int
    ready: bool
    created_at: int
    ips: tuple[str, ...] = ()
    host_network: bool = False


@dataclass(frozen=True, slots=True)
class LinuxUser:
    """Identity of a process: user, group, and the groups beside it."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class ObservedContainer:
    """One container of the pod, running or dead. Times in ns since the epoch, 0 = not yet."""

    id: str
    name: str
    sandbox_id: str
    restart_count: int
    phase: Phase
    created_at: int
    started_at: int = 0
    finished_at: int = 0
    exit_code: int = 0
    reason: str = ""
    message: str = ""  # termination message as users see it, already cut to size
    image: str = ""
    image_ref: str = ""  # the digest reference users see as imageID
    image_id: str = ""
    spec_hash: str = ""  # io.kubernetes.container.hash, "" when the label is missing
    log_path: str = ""
    grace_period_seconds: int | None = None  # from annotations: all that is left when the Pod is gone
    pre_stop: str = ""  # JSON of the preStop handler, from annotations
    user: LinuxUser | None = None  # what its first process runs as, where the runtime tells


def sandbox_age(box: ObservedSandbox) -> tuple[int, int]:
    """Sorts sandboxes of one pod, oldest first. Attempts only grow; the clock may step back."""
    return box.attempt, box.created_at


def container_age(seen: ObservedContainer) -> tuple[int, int]:
    """Sorts containers of one name, oldest first, by the same reasoning."""
    return seen.restart_count, seen.created_at


@dataclass(frozen=True, slots=True)
class Observed:
    """What the runtime said of one pod. `as_of` is taken before the first call that made it.

    Both tuples are ordered newest first, containers among those of their name.
    """

    as_of: float
    sandboxes: tuple[ObservedSandbox, ...] = ()
    containers: tuple[ObservedContainer, ...] = ()

    def sandbox(self) -> ObservedSandbox | None:
        """The newest sandbox, ready or not."""
        return self.sandboxes[0] if self.sandboxes else None

    def latest(self, name: str, sandbox_id: str | None = None) -> ObservedContainer | None:
        """The newest container of that name, in that sandbox when one is given."""
        for container in self.containers:
            if container.name == name and sandbox_id in (None, container.sandbox_id):
                return container
        return None

    def history(self, name: str) -> tuple[ObservedContainer, ...]:
        """Every container of that name, newest first."""
        return tuple(container for container in self.containers if container.name == name)

    def by_id(self, container_id: str) -> ObservedContainer | None:
        for container in self.containers:
            if container.id == container_id:
                return container
        return None


@dataclass(frozen=True, slots=True)
class Waiting:
    """Why a container does not run: `reason` is one of Kubernetes' waiting reasons."""

    reason: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class CrashBackoff:
    """Delay before the next restart; `updated_at` is the wall time of the restart that set it."""

    delay_seconds: float
    updated_at: float


@dataclass(frozen=True, slots=True)
class MustStop:
    """An order to stop one container that the pod keeps: a failed probe, a changed definition."""

    container_id: str
    message: str
    grace_seconds: int | None = None  # probe-level grace; None = the pod's
    since: float = 0.0  # wall: when the stop began, 0 = not yet
    brings_back: bool = False  # it runs again whatever code it ends with


@dataclass(frozen=True, slots=True)
class ContainerMemory:
    """What the worker remembers of one container beyond what the runtime can tell."""

    restart_count: int = -1  # highest seen or used; -1 = never created
    waiting: Waiting | None = None
    backoff: CrashBackoff | None = None
    created_id: str = ""  # container id whose creation was seen to its end by this process
    image_id: str = ""  # resolved image for the next create; "" = ask again
    image_retry_at: float = 0.0  # mono: no image work before
    ready_id: str = ""  # container id whose readiness probe succeeded
    started_id: str = ""  # container id whose startup probe succeeded (or has none)
    post_start_id: str = ""  # container id whose postStart hook is done (or has none)
    pre_stop_id: str = ""  # container id whose preStop hook is done
    killing_id: str = ""  # container id whose Killing event is out
    must_stop: MustStop | None = None
    failure: str = ""  # last create or start error, kept until a start succeeds
    last_exit: ObservedContainer | None = None  # newest exited one seen, kept after its removal


@dataclass(frozen=True, slots=True)
class StopRequest:
    """Why and by when the pod must be gone. `since` and `deadline` are wall seconds.

    `phase` is the phase to report ("Failed") when the stop decides it, else "".
    """

    since: float
    deadline: float
    reason: str = ""
    message: str = ""
    phase: str = ""


@dataclass(frozen=True, slots=True)
class RestartAll:
    """The whole pod begins anew in its sandbox, because this run of a container asked for it."""

    container: str
    container_id: str
    is_paced: bool = False  # its back-off is over: nothing is waited for but the removal of the dead


class Volumes(IntEnum):
    NONE = 0
    MOUNTED = 1
    RELEASED = 2


@dataclass(frozen=True, slots=True)
class Key:
    """Identity of an action under way: nothing is started twice under one key."""

    kind: str
    target: str = ""


@dataclass(frozen=True, slots=True)
class InFlight:
    """An action under way since `since` (mono). `deadline` (wall) only for stops."""

    since: float
    deadline: float = 0.0
    cancelled: bool = False
    overtaken: bool = False  # what it looks at, or reads, has changed meanwhile


@dataclass(frozen=True, slots=True)
class RetryEntry:
    """Failures in a row under one key, and the mono time before which it is not tried again."""

    failures: int
    not_before: float
    message: str = ""  # of the last failure
    is_news: bool = True  # worth an event: the first of its message, or the last event is long ago
    said_at: float = 0.0  # mono: of the last one that was news


@dataclass(frozen=True, slots=True)
class PodState:
    """Everything the worker of one pod knows. `pod` is None for a pod known only to the runtime."""

    uid: str
    pod: Pod | None
    stage: Stage = Stage.SYNCING
    wanted: bool = True  # still in a source; False lets TERMINATED go on to FORGOTTEN
    observed: Observed | None = None
    floor: float = 0.0  # mono: an observation with an older as_of is stale
    look_wanted: bool = False
    expected_exits: frozenset[str] = frozenset()  # container ids an event called dead, not yet seen so
    in_flight: Mapping[Key, InFlight] = field(default_factory=dict)
    retry: Mapping[Key, RetryEntry] = field(default_factory=dict)
    uncertain: frozenset[Key] = frozenset()  # failed, perhaps with effect; nobody has looked since
    containers: Mapping[str, ContainerMemory] = field(default_factory=dict)
    volumes: Volumes = Volumes.NONE
    initialized_in: str = ""  # sandbox id in which every init container has completed
    restart_all: RestartAll | None = None
    replacing_since: float = 0.0  # wall: when the containers of a bad sandbox began to be stopped
    sandbox_attempts: int = 0  # sandboxes ever tried, the next RunSandbox's attempt
    stopped_sandboxes: frozenset[str] = frozenset()  # StopPodSandbox succeeded: network released
    ips: tuple[str, ...] = ()  # last known pod addresses, kept after termination
    start_time: float = 0.0  # wall: status.startTime
    stop: StopRequest | None = None
    rejected: Waiting | None = None  # admission refused the pod: reason, message
    network_error: str = ""  # why no new sandbox may be made; "" = network is ready
    data_released: bool = False  # sandboxes, containers and directories are gone

    def memory(self, name: str) -> ContainerMemory:
        return self.containers.get(name, _NO_MEMORY)


_NO_MEMORY = ContainerMemory()
