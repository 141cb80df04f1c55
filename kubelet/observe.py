"""Reading one pod, or all of them, from the runtime into `Observed`.

A reading is stamped with the time before its first call. What cannot have changed is taken from
the last reading: a container that has ended stays as it was, so a look costs two lists and one
status per container that moved.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace

from aio.clock import Clock
from cri.enums import ContainerState, NamespaceMode, PodSandboxState
from cri.errors import NotFound
from cri.events import SETTLE_DELAYS_SECONDS
from cri.service import RuntimeService
from cri.types import (
    Container,
    ContainerConfig,
    ContainerFilter,
    ContainerStatus,
    ImageSpec,
    PodSandbox,
    PodSandboxConfig,
    PodSandboxFilter,
    PodSandboxStatus,
)
from kubelet.model import (
    NANOSECONDS_PER_SECOND,
    LinuxUser,
    Observed,
    ObservedContainer,
    ObservedSandbox,
    Phase,
    container_age,
    sandbox_age,
)
from kubelet.podspec.names import POD_UID, ContainerFacts, container_facts, pod_identity

PHASES = {
    ContainerState.CONTAINER_CREATED: Phase.CREATED,
    ContainerState.CONTAINER_RUNNING: Phase.RUNNING,
    ContainerState.CONTAINER_EXITED: Phase.EXITED,
    ContainerState.CONTAINER_UNKNOWN: Phase.UNKNOWN,
}

# The termination message of a container that has ended, as users are to see it.
MessageReader = Callable[[ContainerStatus, ContainerFacts], Awaitable[str]]


@dataclass(slots=True)
class Observer:
    """Reads pods from `runtime`. `read_message` is asked once per container that ended."""

    runtime: RuntimeService
    clock: Clock
    read_message: MessageReader

    async def look(self, uid: str, known: Observed | None, expect_exits: frozenset[str]) -> Observed:
        """Read one pod; while it does not show the expected exits, read again a little later.

        `known.as_of` must be when `known` was the newest there was: what of it is taken over is that old.
        """
        reading = await self._read_quickly(uid, known, expect_exits)
        for delay in SETTLE_DELAYS_SECONDS:
            if not _is_behind(reading, expect_exits):
                break
            await self.clock.sleep(delay)
            reading = await self._read_quickly(uid, known, expect_exits)
        return reading

    async def _read_quickly(self, uid: str, known: Observed | None, expect_exits: frozenset[str]) -> Observed:
        """Only the containers that are said to have ended, when all of them are known."""
        if known is None or not expect_exits:
            return await self.read(uid, known)
        containers = [known.by_id(container_id) for container_id in expect_exits]
        if any(seen is None for seen in containers):
            return await self.read(uid, known)
        fresh: dict[str, ObservedContainer] = {}
        for seen in containers:
            assert seen is not None
            status = await self.container(seen.id, seen.sandbox_id)
            if status is None:
                return await self.read(uid, known)
            fresh[seen.id] = status
        merged = tuple(fresh.get(seen.id, seen) for seen in known.containers)
        return replace(known, containers=merged)  # as old as the part of it that was not read

    async def read(self, uid: str, known: Observed | None) -> Observed:
        """Everything the runtime has of the pod."""
        as_of = self.clock.monotonic()
        label = {POD_UID: uid}
        boxes, containers = await asyncio.gather(
            self.runtime.list_pod_sandboxes(PodSandboxFilter(label_selector=label)),
            self.runtime.list_containers(ContainerFilter(label_selector=label)),
        )
        return await self.assemble(as_of, boxes, containers, known)

    async def read_all(self) -> dict[str, tuple[list[PodSandbox], list[Container]]]:
        """Every pod the runtime has, by uid, as listed; `assemble` makes an `Observed` of one."""
        boxes, containers = await asyncio.gather(
            self.runtime.list_pod_sandboxes(), self.runtime.list_containers()
        )
        pods: dict[str, tuple[list[PodSandbox], list[Container]]] = {}
        for box in boxes:
            identity = pod_identity(box.labels)
            if identity is not None:
                pods.setdefault(identity.uid, ([], []))[0].append(box)
        for container in containers:
            identity = pod_identity(container.labels)
            if identity is not None:
                pods.setdefault(identity.uid, ([], []))[1].append(container)
        return pods

    async def assemble(
        self,
        as_of: float,
        boxes: Iterable[PodSandbox],
        containers: Iterable[Container],
        known: Observed | None,
    ) -> Observed:
        """Complete listed sandboxes and containers with their statuses."""
        sandboxes = [await self._complete_sandbox(box, known) for box in boxes]
        seen = [await self._complete_container(container, known) for container in containers]
        return Observed(
            as_of,
            tuple(sorted(filter(None, sandboxes), key=sandbox_age, reverse=True)),
            tuple(sorted(filter(None, seen), key=container_age, reverse=True)),
        )

    async def _complete_sandbox(self, box: PodSandbox, known: Observed | None) -> ObservedSandbox | None:
        ready = box.state is PodSandboxState.SANDBOX_READY
        for old in known.sandboxes if known is not None else ():
            if old.id == box.id and old.ready == ready and (old.ips or old.host_network or not ready):
                return old
        return await self.sandbox(box.id)

    async def _complete_container(
        self, container: Container, known: Observed | None
    ) -> ObservedContainer | None:
        phase = PHASES[container.state]
        old = known.by_id(container.id) if known is not None else None
        if old is not None and old.phase is phase and phase is not Phase.UNKNOWN:
            return old
        return await self.container(container.id, container.pod_sandbox_id)

    async def sandbox(self, sandbox_id: str) -> ObservedSandbox | None:
        """One sandbox; None when it is gone."""
        try:
            answer = await self.runtime.pod_sandbox_status(sandbox_id)
        except NotFound:
            return None
        return observed_sandbox(answer.status)

    async def container(self, container_id: str, sandbox_id: str) -> ObservedContainer | None:
        """One container, its termination message read; None when it is gone."""
        try:
            answer = await self.runtime.container_status(container_id)
        except NotFound:
            return None
        status = answer.status
        facts = container_facts(status.labels, status.annotations)
        if facts is None:
            return None
        seen = observed_container(status, facts, sandbox_id)
        if seen.phase is Phase.EXITED:
            message = await self.read_message(status, facts)
            seen = replace(seen, message=message)
        return seen


def _is_behind(reading: Observed, expect_exits: frozenset[str]) -> bool:
    running = {seen.id for seen in reading.containers if not seen.finished_at}
    ready = {box.id for box in reading.sandboxes if box.ready}
    return bool(expect_exits & (running | ready))


def observed_sandbox(status: PodSandboxStatus) -> ObservedSandbox:
    network = status.network
    ips = (network.ip, *(extra.ip for extra in network.additional_ips)) if network.ip else ()
    namespaces = status.linux.namespaces if status.linux is not None else None
    options = namespaces.options if namespaces is not None else None
    return ObservedSandbox(
        id=status.id,
        attempt=status.metadata.attempt,
        ready=status.state is PodSandboxState.SANDBOX_READY,
        created_at=status.created_at,
        ips=ips,
        host_network=options is not None and options.network is NamespaceMode.NODE,
    )


def just_created(
    container_id: str, sandbox_id: str, config: ContainerConfig, box: PodSandboxConfig, wall: float
) -> ObservedContainer:
    """A container that CreateContainer has just answered for: nothing of it needs to be asked for."""
    facts = container_facts(config.labels, config.annotations)
    assert facts is not None, "a container was created without the agent's labels"
    status = ContainerStatus(
        id=container_id,
        metadata=config.metadata,
        state=ContainerState.CONTAINER_CREATED,
        created_at=int(wall * NANOSECONDS_PER_SECOND),
        image=ImageSpec(image=config.image.user_specified_image),
        image_ref=config.image.image,
        image_id=config.image.image,
        log_path=f"{box.log_directory}/{config.log_path}",
    )
    return observed_container(status, facts, sandbox_id)


def observed_container(status: ContainerStatus, facts: ContainerFacts, sandbox_id: str) -> ObservedContainer:
    """CRI's words as ours; `message` is still the runtime's own."""
    grace = facts.deletion_grace_seconds
    return ObservedContainer(
        id=status.id,
        name=facts.container_name,
        sandbox_id=sandbox_id,
        restart_count=status.metadata.attempt if facts.restart_count is None else facts.restart_count,
        phase=PHASES[status.state],
        created_at=status.created_at,
        started_at=status.started_at,
        finished_at=status.finished_at,
        exit_code=status.exit_code,
        reason=status.reason,
        message=status.message,
        image=status.image.image,
        image_ref=status.image_ref,
        image_id=status.image_id,
        spec_hash=facts.hash,
        log_path=status.log_path,
        grace_period_seconds=facts.termination_grace_seconds if grace is None else grace,
        pre_stop=facts.pre_stop_json,
        user=_user(status),
    )


def _user(status: ContainerStatus) -> LinuxUser | None:
    linux = status.user.linux if status.user is not None else None
    return LinuxUser(linux.uid, linux.gid, linux.supplemental_groups) if linux is not None else None
