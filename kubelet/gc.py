"""Garbage collection as a plan: what of dead containers, sandboxes and directories may go (pure).

Three promises. Nothing of a pod that is known is taken except what it has outlived: dead containers
beyond the newest of a name, sandboxes beyond the newest. Nothing of an unknown pod is taken before every
source has delivered. No directory is taken while anything is mounted below it or the runtime still has
something of its pod. Rules: pkg/kubelet/kuberuntime/kuberuntime_gc.go (Kubernetes 1.36).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from cri.types import Container, ContainerState, PodSandbox, PodSandboxState
from kubelet.model import NANOSECONDS_PER_SECOND
from kubelet.podspec.names import CONTAINER_NAME, POD_UID, parse_pod_log_dir

POD_GONE = "its pod is gone"
NEWER_DEAD = "a newer dead container of that name is kept"
OVER_TOTAL = "more dead containers than the node keeps"
SANDBOX_OUTLIVED = "the pod has a newer sandbox"
LINK_DANGLES = "the log it points to is gone"
STILL_MOUNTED = "volumes are still mounted"
STILL_IN_RUNTIME = "the runtime still has containers or sandboxes of it"


@dataclass(frozen=True, slots=True)
class GcPolicy:
    """minimum-container-ttl-duration, maximum-dead-containers-per-container, maximum-dead-containers.

    A negative `per_container` or `in_total` means no limit.
    """

    min_age_seconds: float = 0.0
    per_container: int = 1
    in_total: int = -1


@dataclass(frozen=True, slots=True)
class PodsKnown:
    """`uids`: every pod wanted or being ended. `is_complete`: all sources have delivered once."""

    uids: frozenset[str] = frozenset()
    is_complete: bool = False

    def is_gone(self, uid: str) -> bool:
        return self.is_complete and uid not in self.uids


@dataclass(frozen=True, slots=True)
class PodDirectory:
    uid: str
    has_mounts: bool


@dataclass(frozen=True, slots=True)
class LogLink:
    """A symlink in the containers' log directory; `container_id` may be cut short, as its name is."""

    path: str
    container_id: str
    is_dangling: bool


@dataclass(frozen=True, slots=True)
class Found:
    """What there is. Containers and sandboxes as the runtime lists them, all states."""

    containers: tuple[Container, ...] = ()
    sandboxes: tuple[PodSandbox, ...] = ()
    pod_directories: tuple[PodDirectory, ...] = ()
    log_directories: tuple[str, ...] = ()  # names below the pod logs directory
    log_links: tuple[LogLink, ...] = ()


@dataclass(frozen=True, slots=True)
class RemoveContainer:
    container: Container
    why: str


@dataclass(frozen=True, slots=True)
class RemoveSandbox:
    sandbox: PodSandbox
    why: str


@dataclass(frozen=True, slots=True)
class RemovePodDirectory:
    uid: str
    why: str


@dataclass(frozen=True, slots=True)
class RemoveLogDirectory:
    name: str
    uid: str
    why: str


@dataclass(frozen=True, slots=True)
class RemoveLogLink:
    path: str
    why: str


GcAction = RemoveContainer | RemoveSandbox | RemovePodDirectory | RemoveLogDirectory | RemoveLogLink


@dataclass(frozen=True, slots=True)
class Held:
    """A directory of a pod that is gone, and why it stays for now."""

    uid: str
    why: str


@dataclass(frozen=True, slots=True)
class GcPlan:
    """`actions` in an order in which they can be done: containers, sandboxes, directories, links."""

    actions: tuple[GcAction, ...] = ()
    held: tuple[Held, ...] = field(default=())


def plan(found: Found, pods: PodsKnown, now: float, policy: GcPolicy) -> GcPlan:
    """`now` in unix seconds."""
    in_runtime = {uid_of(container) for container in found.containers}
    in_runtime.update(uid_of(sandbox) for sandbox in found.sandboxes)
    held: list[Held] = []
    actions: list[GcAction] = [
        *surplus_containers(found.containers, pods, now, policy),
        *surplus_sandboxes(found.sandboxes, found.containers, pods),
    ]
    for directory in found.pod_directories:
        if pods.is_gone(directory.uid):
            why = STILL_IN_RUNTIME if directory.uid in in_runtime else ""
            why = STILL_MOUNTED if directory.has_mounts else why
            if why:
                held.append(Held(directory.uid, why))
            else:
                actions.append(RemovePodDirectory(directory.uid, POD_GONE))
    for name in found.log_directories:
        pod = parse_pod_log_dir(name)
        if pod is not None and pods.is_gone(pod.uid) and pod.uid not in in_runtime:
            actions.append(RemoveLogDirectory(name, pod.uid, POD_GONE))
    actions.extend(_dangling_links(found))
    return GcPlan(tuple(actions), tuple(held))


def surplus_containers(
    containers: Iterable[Container], pods: PodsKnown, now: float, policy: GcPolicy
) -> list[RemoveContainer]:
    """Dead containers that may go, oldest first. Also right for the containers of one pod alone.

    Anything that does not run counts as dead, but the newest of a name is kept, so that a container
    about to be started is never taken.
    """
    newest_allowed = (now - policy.min_age_seconds) * NANOSECONDS_PER_SECOND
    units: dict[tuple[str, str], list[Container]] = {}
    for container in containers:
        uid = uid_of(container)
        is_dead = container.state is not ContainerState.CONTAINER_RUNNING
        if uid and is_dead and container.created_at <= newest_allowed:
            units.setdefault((uid, container.labels.get(CONTAINER_NAME, "")), []).append(container)
    removals: list[RemoveContainer] = []
    kept: list[list[Container]] = []
    for (uid, _), unit in units.items():
        unit.sort(key=_turn)
        if pods.is_gone(uid):
            removals.extend(RemoveContainer(container, POD_GONE) for container in unit)
            continue
        extra = max(0, len(unit) - policy.per_container) if policy.per_container >= 0 else 0
        removals.extend(RemoveContainer(container, NEWER_DEAD) for container in unit[:extra])
        kept.append(unit[extra:])
    removals.extend(_over_total(kept, policy.in_total))
    return removals


def _over_total(units: list[list[Container]], limit: int) -> list[RemoveContainer]:
    """Beyond the node's limit first the older ones of each name go, then the oldest of all."""
    total = sum(map(len, units))
    if limit < 0 or total <= limit:
        return []
    older = sorted((container for unit in units for container in unit[:-1]), key=_age)
    newest = sorted((unit[-1] for unit in units if unit), key=_age)
    return [RemoveContainer(container, OVER_TOTAL) for container in [*older, *newest][: total - limit]]


def surplus_sandboxes(
    sandboxes: Iterable[PodSandbox], containers: Iterable[Container], pods: PodsKnown
) -> list[RemoveSandbox]:
    """Sandboxes that are not ready and empty: all of a pod that is gone, all but the newest of others."""
    used = {container.pod_sandbox_id for container in containers}
    by_pod: dict[str, list[PodSandbox]] = {}
    for sandbox in sandboxes:
        uid = uid_of(sandbox)
        if uid:
            by_pod.setdefault(uid, []).append(sandbox)
    removals: list[RemoveSandbox] = []
    for uid, group in by_pod.items():
        group.sort(key=lambda sandbox: (sandbox.metadata.attempt, sandbox.created_at))
        is_gone = pods.is_gone(uid)
        for sandbox in group if is_gone else group[:-1]:
            is_dead = sandbox.state is PodSandboxState.SANDBOX_NOTREADY
            if is_dead and sandbox.id not in used:
                removals.append(RemoveSandbox(sandbox, POD_GONE if is_gone else SANDBOX_OUTLIVED))
    return removals


def _dangling_links(found: Found) -> list[RemoveLogLink]:
    """Not those of running containers: their log is just being rotated."""
    running = [
        container.id for container in found.containers if container.state is ContainerState.CONTAINER_RUNNING
    ]
    return [
        RemoveLogLink(link.path, LINK_DANGLES)
        for link in found.log_links
        if link.is_dangling
        and not (link.container_id and any(id_.startswith(link.container_id) for id_ in running))
    ]


def uid_of(entry: Container | PodSandbox) -> str:
    """The pod's uid, "" for what is not ours."""
    return entry.labels.get(POD_UID, "")


def _turn(container: Container) -> tuple[int, int]:
    """Sorts the containers of one name: attempts only grow, the clock may step back."""
    return container.metadata.attempt, container.created_at


def _age(container: Container) -> int:
    return container.created_at
