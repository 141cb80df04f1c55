"""Carrying out what the pod core ordered: one method per kind of action.

Nothing is decided here. An action asks the runtime, the volumes, the images or the hooks, and its
answer goes back as a `Result`; whatever it raises becomes a `Failure` that the core knows how to
take. Calls that bring things up share a bounded number of places, so that a burst of pods goes at
the rate the runtime is fastest at instead of all at once.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from aio import log as aio_log
from aio.clock import Clock
from aio.errors import Rejected, Retry
from aio.executors import Executors
from aio.places import Places
from cri.errors import CriError, NameReserved, NotFound
from cri.service import RuntimeService
from kube.meta import is_static
from kube.objects.core_v1 import LifecycleHandler, Pod
from kubelet import actions as a
from kubelet import events
from kubelet import happened as h
from kubelet.action_targets import (
    attempt_of,
    container_of,
    group_of,
    host_of,
    identity_of,
    pod_ips,
    pod_of,
    pre_stop_of,
    propagates_mounts,
    sandbox_of,
    target_of,
)
from kubelet.files import LogFiles
from kubelet.images.model import ImageRequest, ImageResult, ImageSource
from kubelet.model import ObservedContainer, PodState
from kubelet.node.strays import kill_processes_of, stuck_task
from kubelet.objects.pod_inputs import Environment, PodInputs
from kubelet.observe import Observer, just_created
from kubelet.podspec.container_config import container_config
from kubelet.podspec.context import ContainerContext, ImageUser, NodeFacts, SandboxContext
from kubelet.podspec.downward import DownwardFacts
from kubelet.podspec.env import container_env, skipped_keys
from kubelet.podspec.names import AnyContainer
from kubelet.podspec.sandbox_config import dns_for_pod, sandbox_config
from kubelet.volumes.service import MountWishes, PodVolumes

log = aio_log.get(__name__)

# How long a name may stay reserved by a call that was given up, before it is taken for lost.
RESERVED_PATIENCE_SECONDS = 3.0
RESERVED_RETRY_SECONDS = 0.05
# A task that was killed is deletable once its shim has told the runtime.
STUCK_PATIENCE_SECONDS = 3.0
STUCK_RETRY_SECONDS = 0.1
# A call that takes longer hangs, most likely on a volume that never answers: others need not wait for it.
PLACE_PATIENCE_SECONDS = 2.0
# What is the pod's own fault seldom mends itself (upstream's backOffPeriod).
REJECTED_RETRY_SECONDS = 10.0

INVALID_ENV_NAMES = "InvalidEnvironmentVariableNames"

# Who gets a place first: a pod that has begun is brought up before another begins.
_START, _CREATE, _RUN_SANDBOX = range(3)
_STOP = 0


class Hooks(Protocol):
    """Runs lifecycle hooks; raises `Retry` or `Rejected` with the message users see."""

    async def run(self, handler: LifecycleHandler, pod: Pod, container_id: str, host: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Limits:
    """How many calls of a kind run at once; the best numbers are in bench/RESULTS.md."""

    bring_up: int = 8
    stop: int = 16


@dataclass(slots=True)
class ActionExecutor:
    """Implements `kubelet.worker.Executor` on the real world."""

    runtime: RuntimeService
    observer: Observer
    images: ImageSource
    volumes: PodVolumes
    logs: LogFiles
    hooks: Hooks
    inputs: PodInputs
    node: Callable[[], NodeFacts]
    clock: Clock
    executors: Executors
    forget: Callable[[str], Awaitable[None]]  # removes the checkpoint
    sink: events.EventSink
    share_mounts: Callable[[], None]  # blocking: lets mounts pass between host and containers
    limits: Limits = field(default_factory=Limits)
    _users: dict[str, ImageUser] = field(default_factory=dict)  # image id -> its user
    _bring_up: Places = field(init=False)
    _stopping: Places = field(init=False)

    def __post_init__(self) -> None:
        self._bring_up = Places(self.limits.bring_up, PLACE_PATIENCE_SECONDS)
        self._stopping = Places(self.limits.stop, PLACE_PATIENCE_SECONDS)

    def is_crowded(self) -> bool:
        """Whether a pod waits for its turn to be started."""
        return self._bring_up.is_crowded

    async def execute(self, state: PodState, action: a.Action) -> h.Result:
        """Carry out one action. Raises what `failure_of` takes."""
        return await _METHODS[type(action)](self, state, action)

    def failure_of(self, error: Exception) -> h.Failure:
        """What the core is told of an exception."""
        if isinstance(error, _ImageRefused):
            result = error.result
            after = result.retry_after_seconds
            return h.Failure(result.message, result.reason, float("inf") if after is None else after)
        if isinstance(error, Retry):
            return h.Failure(error.message, error.reason, error.after_seconds)
        if isinstance(error, Rejected):
            return h.Failure(error.message, error.reason, REJECTED_RETRY_SECONDS)
        if isinstance(error, NameReserved):
            return h.Failure(error.message, name_taken=True)
        if isinstance(error, CriError):
            return h.Failure(_rpc_text(error), image_gone=_is_image_gone(error))
        if isinstance(error, OSError):
            return h.Failure(str(error))
        log.error("Action failed in a way nobody foresaw", err=error, trace=_trace(error))
        return h.Failure(f"{type(error).__name__}: {error}", retry_after=10.0)

    # Looking

    async def look(self, state: PodState, action: a.Look) -> h.Result:
        known = state.observed
        if known is not None:
            known = replace(known, as_of=state.in_flight[action.key].since)  # nothing newer was known then
        return h.Result(observed=await self.observer.look(state.uid, known, action.expect_exits))

    # Sandbox

    async def run_sandbox(self, state: PodState, action: a.RunSandbox) -> h.Result:
        pod = pod_of(state)
        context = SandboxContext(self.node(), extra_groups=self._groups(state.uid))
        config = sandbox_config(pod, action.attempt, context)
        handler = await self.inputs.runtime_handler(pod)
        if not action.attempt:
            self._tell_dns_problems(pod)
        async with self._bring_up.at(_RUN_SANDBOX):

            async def run() -> str:
                return await self.runtime.run_pod_sandbox(config, handler)

            sandbox_id = await self._despite_reservation(run, self._drop_sandbox)
            sandbox = await self.observer.sandbox(sandbox_id)
        if sandbox is None:
            raise Retry(f'sandbox "{sandbox_id}" vanished while it was made')
        return h.Result(sandbox=sandbox)

    def _tell_dns_problems(self, pod: Pod) -> None:
        """Once per pod: name servers or search paths that had to be left out."""
        meta = pod.metadata
        about = events.pod_ref(meta.namespace, meta.name, meta.uid)
        for problem in dns_for_pod(pod, self.node()).problems:
            self.sink.record(events.Event(events.WARNING, problem.reason, problem.message, about))

    def _tell_skipped(self, pod: Pod, container: AnyContainer, environment: Environment) -> None:
        meta = pod.metadata
        about = events.pod_ref(meta.namespace, meta.name, meta.uid)
        for text in skipped_keys(container, meta.namespace, environment.lookup):
            self.sink.record(events.Event(events.WARNING, INVALID_ENV_NAMES, text, about))

    async def _drop_sandbox(self, sandbox_id: str) -> None:
        async with _gone_is_fine():
            await self.runtime.stop_pod_sandbox(sandbox_id)
        await self.runtime.remove_pod_sandbox(sandbox_id)

    async def stop_sandbox(self, _state: PodState, action: a.StopSandbox) -> h.Result:
        async with self._stopping.at(_STOP), _gone_is_fine():
            await self.runtime.stop_pod_sandbox(action.sandbox_id)
        return h.Result()

    async def remove_sandbox(self, state: PodState, action: a.RemoveSandbox) -> h.Result:
        async with self._stopping.at(_STOP), _gone_is_fine():
            await self._despite_stuck_tasks(
                lambda: self.runtime.remove_pod_sandbox(action.sandbox_id), state.uid
            )
        seen = state.observed.containers if state.observed is not None else ()
        await self._forget_logs(state, [one for one in seen if one.sandbox_id == action.sandbox_id])
        return h.Result()

    # Volumes and directories

    async def prepare_volumes(self, state: PodState, _action: a.PrepareVolumes) -> h.Result:
        pod = pod_of(state)
        self.inputs.register(pod)
        if propagates_mounts(pod):
            await self.executors.run("mount", self.share_mounts, key=state.uid)
        await self.volumes.mount_all(pod)
        return h.Result()

    async def release_volumes(self, state: PodState, _action: a.ReleaseVolumes) -> h.Result:
        await self.volumes.unmount_all(state.uid)
        self.inputs.forget(state.uid)
        return h.Result()

    async def forget_pod(self, state: PodState, _action: a.ForgetPod) -> h.Result:
        self.images.forget_pod(state.uid)
        self.inputs.forget(state.uid)
        await self.volumes.remove_pod_dir(state.uid)
        identity = identity_of(state)
        if identity is not None:
            await self.executors.run("log", self.logs.forget_pod, identity, key=state.uid)
        await self.forget(state.uid)
        return h.Result()

    # Containers

    async def ensure_image(self, state: PodState, action: a.EnsureImage) -> h.Result:
        pod = pod_of(state)
        container = container_of(pod, action.container)
        meta = pod.metadata
        about = events.container_ref(
            events.pod_ref(meta.namespace, meta.name, meta.uid),
            container.name,
            group=group_of(pod, container.name),
        )
        policy = container.image_pull_policy or "IfNotPresent"
        self.inputs.register(pod)
        auths = await self.inputs.credentials(pod, container.image or "")
        request = ImageRequest(about, container.image or "", policy, auths)
        fresh = bool(state.memory(action.container).failure)
        result = await self.images.ensure(request, fresh=fresh)
        if not result.is_ready:
            raise _ImageRefused(result)
        self._users[result.image_id] = ImageUser(result.uid, result.username)
        return h.Result(image_id=result.image_id)

    async def create_container(self, state: PodState, action: a.CreateContainer) -> h.Result:
        pod = pod_of(state)
        container = container_of(pod, action.container)
        node = self.node()
        facts = DownwardFacts(node.node_name, node.node_ips, pod_ips(state, node), node.allocatable)
        self.inputs.register(pod)
        environment = await self.inputs.environment(pod, container)
        envs = container_env(pod, container, facts, environment.lookup, environment.services)
        self._tell_skipped(pod, container, environment)
        wishes = MountWishes(action.restart_count, pod_ips(state, node), envs)
        mounts = await self.volumes.container_mounts(pod, container, wishes)
        context = ContainerContext(
            node=node,
            image_ref=action.image_id,
            image_user=self._users.get(action.image_id, ImageUser()),
            envs=tuple(envs.items()),
            mounts=mounts,
            target_id=target_of(state, container),
            extra_groups=self._groups(state.uid),
            static_pod=is_static(pod),
        )
        config = container_config(pod, container, action.restart_count, context)
        box = sandbox_config(pod, attempt_of(state, action.sandbox_id), SandboxContext(node))

        async def create() -> str:
            return await self.runtime.create_container(action.sandbox_id, config, box)

        async with self._bring_up.at(_CREATE):
            container_id = await self._despite_reservation(create, self.runtime.remove_container)
        made = just_created(container_id, action.sandbox_id, config, box, self.clock.wall())
        return h.Result(container=made)

    async def start_container(self, state: PodState, action: a.StartContainer) -> h.Result:
        made = state.observed.by_id(action.container_id) if state.observed is not None else None
        identity = identity_of(state)
        if identity is not None and made is not None and made.log_path:
            await self.executors.run("log", self.logs.link, identity, made, key=state.uid)
        async with self._bring_up.at(_START):
            await self.runtime.start_container(action.container_id)
        return h.Result(container=await self._seen(action.container_id, made.sandbox_id if made else ""))

    async def stop_container(self, state: PodState, action: a.StopContainer) -> h.Result:
        # The runtime waits out the grace period inside this call, so it takes no place of its own.
        try:
            await self.runtime.stop_container(action.container_id, max(1, round(action.grace_seconds)))
        except NotFound:
            return h.Result()
        sandbox_id = sandbox_of(state, action.container_id)
        return h.Result(container=await self.observer.container(action.container_id, sandbox_id))

    async def remove_container(self, state: PodState, action: a.RemoveContainer) -> h.Result:
        async with _gone_is_fine():
            await self._despite_stuck_tasks(
                lambda: self.runtime.remove_container(action.container_id), state.uid
            )
        seen = state.observed.by_id(action.container_id) if state.observed is not None else None
        await self._forget_logs(state, [seen] if seen is not None else [])
        return h.Result()

    async def run_post_start(self, state: PodState, action: a.RunPostStart) -> h.Result:
        pod = pod_of(state)
        lifecycle = container_of(pod, action.container).lifecycle
        if lifecycle is not None and lifecycle.post_start is not None:
            await self.hooks.run(lifecycle.post_start, pod, action.container_id, host_of(state, self.node()))
        return h.Result()

    async def run_pre_stop(self, state: PodState, action: a.RunPreStop) -> h.Result:
        handler = pre_stop_of(state, action)
        if handler is None:
            return h.Result()
        pod = state.pod if state.pod is not None else Pod()
        host = host_of(state, self.node())
        try:
            async with asyncio.timeout(action.budget_seconds):
                await self.hooks.run(handler, pod, action.container_id, host)
        except TimeoutError:
            raise Retry(f"hook did not end within {action.budget_seconds:.0f}s of grace") from None
        return h.Result()

    # What several share

    async def _seen(self, container_id: str, sandbox_id: str) -> ObservedContainer:
        seen = await self.observer.container(container_id, sandbox_id)
        if seen is None:
            raise Retry(f'container "{container_id}" vanished')
        return seen

    async def _despite_stuck_tasks(self, remove: Callable[[], Awaitable[None]], uid: str) -> None:
        """Call `remove`; end the processes of tasks that the runtime cannot delete, and try again."""
        give_up_at = self.clock.monotonic() + STUCK_PATIENCE_SECONDS
        while True:
            try:
                return await remove()
            except CriError as error:
                task = stuck_task(error.message)
                if not task or self.clock.monotonic() >= give_up_at:
                    raise
                pids = await self.executors.run("walk", kill_processes_of, task, key=uid)
                log.warning("Ended what the runtime cannot delete", podUID=uid, task=task, pids=pids)
                await self.clock.sleep(STUCK_RETRY_SECONDS)

    async def _despite_reservation(
        self, make: Callable[[], Awaitable[str]], drop: Callable[[str], Awaitable[None]]
    ) -> str:
        """Call `make`; while an attempt that was given up holds the name, remove what it left."""
        give_up_at = self.clock.monotonic() + RESERVED_PATIENCE_SECONDS
        while True:
            try:
                return await make()
            except NameReserved as taken:
                if self.clock.monotonic() >= give_up_at:
                    raise
                log.info("Name is still reserved, removing what holds it", owner=taken.owner_id)
                try:
                    await drop(taken.owner_id)
                except CriError as error:
                    log.v(2).info("Could not remove it yet", owner=taken.owner_id, reason=error.message)
                await self.clock.sleep(RESERVED_RETRY_SECONDS)

    async def _forget_logs(self, state: PodState, gone: list[ObservedContainer]) -> None:
        identity = identity_of(state)
        if identity is not None and gone:
            await self.executors.run("log", self.logs.forget_containers, identity, gone, key=state.uid)

    def _groups(self, uid: str) -> tuple[int, ...]:
        """Supplemental groups that the pod's volumes ask for."""
        mounted = self.volumes.mounted(uid) or {}
        return tuple(sorted({volume.gid for volume in mounted.values() if volume.gid is not None}))


@asynccontextmanager
async def _gone_is_fine() -> AsyncIterator[None]:
    """What is to be removed and is not there (containerd 1.6 says so for sandboxes) is removed."""
    try:
        yield
    except NotFound as error:
        log.v(4).info("It was gone already", call=error.call)


class _ImageRefused(Exception):
    """The image service gave a reason instead of an image."""

    def __init__(self, result: ImageResult) -> None:
        super().__init__(result.message)
        self.result = result


def _is_image_gone(error: CriError) -> bool:
    return error.call == "CreateContainer" and "image" in error.message and "not found" in error.message


def _rpc_text(error: CriError) -> str:
    """As gRPC errors read in upstream's events."""
    return f"rpc error: code = {_go_code(error.code)} desc = {error.message}"


def _go_code(code: str) -> str:
    return "".join(part.capitalize() for part in code.split("_"))


def _trace(error: Exception) -> str:
    return "".join(traceback.format_exception(error))


_METHODS: Mapping[type[a.Action], Callable[[ActionExecutor, PodState, Any], Awaitable[h.Result]]] = {
    a.Look: ActionExecutor.look,
    a.RunSandbox: ActionExecutor.run_sandbox,
    a.StopSandbox: ActionExecutor.stop_sandbox,
    a.RemoveSandbox: ActionExecutor.remove_sandbox,
    a.PrepareVolumes: ActionExecutor.prepare_volumes,
    a.ReleaseVolumes: ActionExecutor.release_volumes,
    a.ForgetPod: ActionExecutor.forget_pod,
    a.EnsureImage: ActionExecutor.ensure_image,
    a.CreateContainer: ActionExecutor.create_container,
    a.StartContainer: ActionExecutor.start_container,
    a.StopContainer: ActionExecutor.stop_container,
    a.RemoveContainer: ActionExecutor.remove_container,
    a.RunPostStart: ActionExecutor.run_post_start,
    a.RunPreStop: ActionExecutor.run_pre_stop,
}
