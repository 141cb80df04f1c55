"""Carries out the garbage collection plan once a minute: over CRI, and on disk in the "walk" executor.

The world may change between looking and acting: the pods known are read after the listings were made,
and again before every removal that relies on a pod being gone. One thing that cannot be removed is
logged and left for the next pass; from the second failing pass in a row an event tells (as upstream).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from aio import log as aio_log
from aio.clock import Clock
from aio.errors import Retry
from aio.executors import Executors
from cri.errors import CriError, NotFound
from cri.service import RuntimeService
from cri.types import Container, ContainerState
from kubelet import events, gc
from kubelet.podspec.names import (
    container_facts,
    container_log_path,
    container_log_symlink,
    pod_dir,
    pod_log_dir,
    pods_dir,
    termination_file,
)
from kubelet.volumes.mountinfo import mounts_below, parse_mountinfo
from kubelet.volumes.plugin import VolumeError
from kubelet.volumes.trees import remove_tree

INTERVAL_SECONDS = 60.0  # ContainerGCPeriod, pkg/kubelet/kubelet.go
UNKNOWN_STATE_GRACE_SECONDS = 2  # minimumGracePeriodInSeconds, pkg/kubelet/kuberuntime

log = aio_log.get(__name__)


@dataclass(frozen=True, slots=True)
class GcPaths:
    root_dir: str = "/var/lib/kubelet"
    pod_logs_dir: str = "/var/log/pods"
    container_logs_dir: str = "/var/log/containers"


@dataclass(frozen=True, slots=True)
class GcReport:
    """What one pass did: removals by kind of action, and what went wrong."""

    removed: tuple[gc.GcAction, ...] = ()
    failures: tuple[str, ...] = ()


@dataclass(eq=False, slots=True)
class GarbageCollector:
    """`pods` tells which pods are known at the moment of the call, every pod with a worker among them."""

    runtime: RuntimeService
    executors: Executors
    clock: Clock
    sink: events.EventSink
    node: events.ObjectRef
    pods: Callable[[], gc.PodsKnown]
    paths: GcPaths = field(default_factory=GcPaths)
    policy: gc.GcPolicy = field(default_factory=gc.GcPolicy)
    _held: frozenset[gc.Held] = frozenset()
    _failing_passes: int = 0

    async def run(self) -> None:
        while True:
            await self.clock.sleep(INTERVAL_SECONDS)
            report = await self.collect_once()
            self._failing_passes = self._failing_passes + 1 if report.failures else 0
            if self._failing_passes > 1:
                self.sink.record(events.container_gc_failed(self.node, "; ".join(report.failures)))

    async def collect_once(self) -> GcReport:
        """One pass; never raises for a runtime or a filesystem that refuses."""
        try:
            found = await self._look()
        except (CriError, OSError, Retry) as error:
            log.error("Cannot list what could be collected", err=error)
            return GcReport(failures=(str(error),))
        plan = gc.plan(found, self.pods(), self.clock.wall(), self.policy)
        self._tell_held(plan.held)
        removed: list[gc.GcAction] = []
        failures: list[str] = []
        for action in plan.actions:
            try:
                if await self._remove(action):
                    removed.append(action)
            except (CriError, OSError, Retry, VolumeError) as error:
                log.error("Cannot remove garbage", action=_describe(action), why=action.why, err=error)
                failures.append(f"{_describe(action)}: {error}")
        return GcReport(tuple(removed), tuple(failures))

    async def _look(self) -> gc.Found:
        sandboxes = await self.runtime.list_pod_sandboxes()
        containers = await self.runtime.list_containers()
        disk = await self.executors.run("walk", _look_at_disk, self.paths, key="gc")
        return gc.Found(
            containers=tuple(containers),
            sandboxes=tuple(sandboxes),
            pod_directories=disk.pod_directories,
            log_directories=disk.log_directories,
            log_links=disk.log_links,
        )

    def _tell_held(self, held: tuple[gc.Held, ...]) -> None:
        """Say once why a directory stays."""
        for entry in held:
            if entry not in self._held:
                log.warning("Orphaned pod directory is kept", podUID=entry.uid, why=entry.why)
        self._held = frozenset(held)

    async def _remove(self, action: gc.GcAction) -> bool:
        """False when the pod has come back since the plan was made."""
        if not self._is_still_due(action):
            return False
        log.v(2).info("Removing garbage", action=_describe(action), why=action.why)
        match action:
            case gc.RemoveContainer(container=container):
                await self._remove_container(container)
            case gc.RemoveSandbox(sandbox=sandbox):
                await _unless_gone(self.runtime.stop_pod_sandbox, sandbox.id)
                await _unless_gone(self.runtime.remove_pod_sandbox, sandbox.id)
            case gc.RemovePodDirectory(uid=uid):
                path = pod_dir(self.paths.root_dir, uid)
                await self.executors.run("walk", remove_tree, path, key=uid)
            case gc.RemoveLogDirectory(name=name, uid=uid):
                path = f"{self.paths.pod_logs_dir}/{name}"
                await self.executors.run("walk", remove_tree, path, key=uid)
            case gc.RemoveLogLink(path=path):
                await self.executors.run("walk", _unlink_dangling, path)
        return True

    def _is_still_due(self, action: gc.GcAction) -> bool:
        if action.why != gc.POD_GONE:
            return True
        match action:
            case gc.RemoveContainer(container=entry):
                uid = gc.uid_of(entry)
            case gc.RemoveSandbox(sandbox=sandbox):
                uid = gc.uid_of(sandbox)
            case gc.RemovePodDirectory(uid=uid) | gc.RemoveLogDirectory(uid=uid):
                pass
            case _:
                return True
        return self.pods().is_gone(uid)

    async def _remove_container(self, container: Container) -> None:
        """With its files; a container in an unknown state may still run and is stopped first."""
        if container.state is ContainerState.CONTAINER_UNKNOWN:
            await self.runtime.stop_container(container.id, UNKNOWN_STATE_GRACE_SECONDS)
        await self.executors.run("walk", remove_container_files, self.paths, container, key=container.id)
        await _unless_gone(self.runtime.remove_container, container.id)


async def _unless_gone(call: Callable[[str], Awaitable[None]], id_: str) -> None:
    with contextlib.suppress(NotFound):
        await call(id_)


def remove_container_files(paths: GcPaths, container: Container) -> None:
    """Delete a dead container's log, rotated files, symlink and termination file. Blocking."""
    facts = container_facts(container.labels, container.annotations)
    if facts is None or facts.restart_count is None:
        return
    pod, name = facts.pod, facts.container_name
    log_dir = pod_log_dir(paths.pod_logs_dir, pod)
    current = Path(log_dir, container_log_path(name, facts.restart_count))
    link = container_log_symlink(paths.container_logs_dir, pod, name, container.id)
    message = termination_file(paths.root_dir, pod.uid, name, facts.restart_count)
    for path in (*current.parent.glob(f"{current.name}*"), Path(link), Path(message)):
        path.unlink(missing_ok=True)


def _look_at_disk(paths: GcPaths) -> gc.Found:
    pods = Path(pods_dir(paths.root_dir))
    mounts = parse_mountinfo(Path("/proc/self/mountinfo").read_text("utf-8", "surrogateescape"))
    return gc.Found(
        pod_directories=tuple(
            gc.PodDirectory(uid, has_mounts=bool(mounts_below(mounts, str(pods / uid))))
            for uid in _names(pods)
        ),
        log_directories=_names(Path(paths.pod_logs_dir)),
        log_links=tuple(_links(Path(paths.container_logs_dir))),
    )


def _names(directory: Path) -> tuple[str, ...]:
    try:
        with os.scandir(directory) as entries:
            return tuple(sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False)))
    except FileNotFoundError:
        return ()


def _links(directory: Path) -> list[gc.LogLink]:
    try:
        with os.scandir(directory) as entries:
            names = sorted(entry.name for entry in entries if entry.is_symlink())
    except FileNotFoundError:
        return []
    return [
        gc.LogLink(
            path=str(directory / name),
            container_id=name.removesuffix(".log").rpartition("-")[2],
            is_dangling=not (directory / name).exists(),
        )
        for name in names
    ]


def _unlink_dangling(path: str) -> None:
    """Look again: a log that was rotated meanwhile is back."""
    if not Path(path).exists():
        Path(path).unlink(missing_ok=True)


def _describe(action: gc.GcAction) -> str:
    match action:
        case gc.RemoveContainer(container=container):
            return f'remove container "{container.id}" of pod {gc.uid_of(container)}'
        case gc.RemoveSandbox(sandbox=sandbox):
            return f'remove sandbox "{sandbox.id}" of pod {gc.uid_of(sandbox)}'
        case gc.RemovePodDirectory(uid=uid):
            return f'remove directory of pod "{uid}"'
        case gc.RemoveLogDirectory(name=name):
            return f'remove log directory "{name}"'
        case gc.RemoveLogLink(path=path):
            return f'remove symlink "{path}"'
