"""Carries out image decisions against the runtime: one pull per image and credentials, shared by all.

`ensure` asks `decide` what to do and does it. Identical lookups within a second share one call, so a
burst of equal pods costs one ImageStatus. A pull belongs to everybody who waits for it: it runs once,
in its own task, within the configured parallelism, and is given up when the last waiter is cancelled
(a deleted pod does not wait for its image). Failures back off per pod and image.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from aio.backoff import Backoff
from aio.clock import Clock
from cri.errors import CriError, NotFound
from cri.service import ImageService
from cri.types import AuthConfig, Image, ImageSpec
from kubelet import events
from kubelet.images import decide, rate
from kubelet.images.model import ImageRequest, ImageResult, PullLimits

T = TypeVar("T")
_LookupKey = tuple[str, str]
_PullKey = tuple[str, str, tuple[AuthConfig, ...]]

LOOKUP_SECONDS = 1.0  # how long "the image is there" is believed without asking again

NO_BACKOFF = Backoff(
    initial=decide.IMAGE_BACKOFF_INITIAL_SECONDS,
    maximum=decide.IMAGE_BACKOFF_MAX_SECONDS,
    reset_after=decide.IMAGE_BACKOFF_RESET_SECONDS,
)


@dataclass(frozen=True, slots=True)
class _Pulled:
    """A pull that worked; `image` is None when the runtime could not describe it afterwards."""

    image_id: str
    image: Image | None
    seconds: float


class _PullError(Exception):
    """A pull that did not work; str() is the text users see."""


@dataclass(eq=False, slots=True)
class _Shared(Generic[T]):
    """A task that several await; the last one to be cancelled takes it along."""

    task: asyncio.Task[T]
    started_at: float
    waiters: int = 0

    async def result(self) -> T:
        self.waiters += 1
        try:
            return await asyncio.shield(self.task)
        finally:
            self.waiters -= 1
            if not self.waiters and not self.task.done():
                self.task.cancel()

    def is_live(self) -> bool:
        return not self.task.done() and not self.task.cancelling()


@dataclass(frozen=True, slots=True)
class _Failed:
    """Back-off of one pod's image, with the last error as "REASON: message"."""

    backoff: Backoff
    error: str


@dataclass(eq=False, slots=True)
class _Target:
    """What is looked up or pulled: the spec for the runtime and the credentials to try."""

    spec: ImageSpec
    request: ImageRequest

    @property
    def lookup_key(self) -> _LookupKey:
        return self.spec.image, self.spec.runtime_handler

    @property
    def pull_key(self) -> _PullKey:
        return self.spec.image, self.spec.runtime_handler, self.request.auths


@dataclass(eq=False, slots=True)
class ImagePuller:
    """Implements `kubelet.images.model.ImageSource` over a CRI image service."""

    images: ImageService
    clock: Clock
    sink: events.EventSink
    limits: PullLimits = field(default_factory=PullLimits)
    changed: Callable[[], None] = lambda: None  # an image came
    _slots: asyncio.Semaphore | None = None
    _bucket: rate.Bucket = field(init=False)
    _lookups: dict[_LookupKey, _Shared[Image | None]] = field(default_factory=dict)
    _pulls: dict[_PullKey, _Shared[_Pulled]] = field(default_factory=dict)
    _failed: dict[str, dict[str, _Failed]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.limits.parallel is not None:
            self._slots = asyncio.Semaphore(self.limits.parallel)
        self._bucket = rate.full_bucket(self.limits.per_second, self.limits.burst, self.clock.monotonic())

    async def ensure(self, request: ImageRequest, *, fresh: bool = False) -> ImageResult:
        """See `ImageSource.ensure`."""
        step = decide.first_step(request.image, request.policy)
        if isinstance(step, decide.Refuse):
            self.sink.record(events.inspect_failed(request.about, step.result.message))
            return self._refused(request, step.result)
        spec = ImageSpec(
            image=step.image, user_specified_image=request.image, runtime_handler=request.runtime_handler
        )
        target = _Target(spec, request)
        if isinstance(step, decide.Pull):
            return await self._pull(target)
        try:
            image = await self._look_up(target, fresh=fresh)
        except CriError as error:
            result = decide.inspect_failed(request.image, rpc_text(error))
            self.sink.record(events.inspect_failed(request.about, result.message))
            return self._refused(request, result)
        found = decide.decide(request.image, step.image, request.policy, is_present=image is not None)
        if isinstance(found, decide.Pull):
            return await self._pull(target)
        if isinstance(found, decide.Refuse):
            self.sink.record(events.never_pull(request.about, found.result.message))
            return self._refused(request, found.result)
        self.sink.record(events.pulled(request.about, found.message))
        return _ready(image, "")

    def forget_pod(self, pod_uid: str) -> None:
        """See `ImageSource.forget_pod`."""
        self._failed.pop(pod_uid, None)

    async def close(self) -> None:
        """Give up every lookup and pull under way; their waiters see a cancellation."""
        tasks: list[asyncio.Task[_Pulled] | asyncio.Task[Image | None]] = []
        tasks.extend(pull.task for pull in self._pulls.values())
        tasks.extend(lookup.task for lookup in self._lookups.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _refused(self, request: ImageRequest, result: ImageResult) -> ImageResult:
        self.sink.record(events.failed(request.about, result.reason))
        return result

    # Presence

    async def _look_up(self, target: _Target, *, fresh: bool) -> Image | None:
        """The runtime's record of the image; only positive answers are believed for a while."""
        key = target.lookup_key
        lookup = self._lookups.get(key)
        now = self.clock.monotonic()
        if lookup is None or fresh or not _is_current(lookup, now):
            lookup = _Shared(asyncio.create_task(self._inspect(target.spec)), started_at=now)
            self._lookups[key] = lookup
            lookup.task.add_done_callback(_retrieve)
            self._drop_old_lookups(now)
        return await lookup.result()

    async def _inspect(self, spec: ImageSpec) -> Image | None:
        try:
            return (await self.images.image_status(spec)).image
        except NotFound:
            return None

    def _drop_old_lookups(self, now: float) -> None:
        for key in [key for key, lookup in self._lookups.items() if not _is_current(lookup, now)]:
            del self._lookups[key]

    # Pulling

    async def _pull(self, target: _Target) -> ImageResult:
        request = target.request
        failed = self._failed.get(request.pod_uid, {}).get(target.spec.image)
        now = self.clock.monotonic()
        if failed is not None and failed.backoff.is_in_backoff(now):
            remaining = failed.backoff.remaining(now)
            self.sink.record(events.backing_off_pull(request.about, request.image))
            return self._refused(request, decide.backing_off(request.image, failed.error, remaining))
        self.sink.record(events.pulling(request.about, request.image))
        try:
            pulled = await self._shared_pull(target).result()
        except _PullError as error:
            self.sink.record(events.failed_to_pull(request.about, request.image, str(error)))
            result = decide.pull_failed(request.image, str(error))
            self._back_off(target, f"{result.reason}: {result.message}")
            return self._refused(request, result)
        total = self.clock.monotonic() - now
        size = pulled.image.size if pulled.image is not None else 0
        message = decide.pulled_message(request.image, pulled.seconds, total, size)
        self.sink.record(events.pulled(request.about, message))
        self._clear_backoff(target)
        return _ready(pulled.image, pulled.image_id)

    def _shared_pull(self, target: _Target) -> _Shared[_Pulled]:
        key = target.pull_key
        pull = self._pulls.get(key)
        if pull is None or not pull.is_live():
            task = asyncio.create_task(self._run_pull(target))
            pull = _Shared(task, started_at=self.clock.monotonic())
            self._pulls[key] = pull
            task.add_done_callback(lambda ended: self._pull_ended(key, ended))
        return pull

    def _pull_ended(self, key: _PullKey, task: asyncio.Task[_Pulled]) -> None:
        current = self._pulls.get(key)
        if current is not None and current.task is task:
            del self._pulls[key]
        _retrieve(task)

    async def _run_pull(self, target: _Target) -> _Pulled:
        if self._slots is None:
            return await self._pull_now(target)
        async with self._slots:
            return await self._pull_now(target)

    async def _pull_now(self, target: _Target) -> _Pulled:
        started = self.clock.monotonic()
        self._bucket, is_allowed = self._bucket.take(started)
        if not is_allowed:
            raise _PullError(decide.PULL_QPS_EXCEEDED)
        image_id = await self._pull_with_any(target)
        self.changed()
        seconds = self.clock.monotonic() - started
        try:
            image = await self._inspect(target.spec)
        except CriError:  # the pull itself worked, only its size and user stay unknown
            image = None
        return _Pulled(image_id, image, seconds)

    async def _pull_with_any(self, target: _Target) -> str:
        """Try the credentials in turn; the error tells of every one that failed."""
        request = target.request
        failures: list[str] = []
        for auth in request.auths or (None,):
            try:
                return await self.images.pull_image(target.spec, auth, request.sandbox_config)
            except CriError as error:
                failures.append(rpc_text(error))
        raise _PullError(failures[0] if len(set(failures)) == 1 else f"[{', '.join(failures)}]")

    def _back_off(self, target: _Target, error: str) -> None:
        now = self.clock.monotonic()
        of_pod = self._failed.setdefault(target.request.pod_uid, {})
        known = of_pod.get(target.spec.image)
        backoff, _ = (known.backoff if known is not None else NO_BACKOFF).next(now)
        of_pod[target.spec.image] = _Failed(backoff, error)

    def _clear_backoff(self, target: _Target) -> None:
        of_pod = self._failed.get(target.request.pod_uid)
        if of_pod is not None:
            of_pod.pop(target.spec.image, None)


def rpc_text(error: CriError) -> str:
    """The error as Go's gRPC prints it; the code UNKNOWN adds nothing and is left out, as upstream does."""
    if error.code == "UNKNOWN":
        return error.message
    code = "".join(word.capitalize() for word in error.code.split("_"))
    return f"rpc error: code = {code} desc = {error.message}"


def _retrieve(task: asyncio.Task[T]) -> None:
    """Look at the outcome, so that one nobody waits for any more is not reported as lost."""
    if not task.cancelled():
        task.exception()


def _is_current(lookup: _Shared[Image | None], now: float) -> bool:
    """Still being asked, or answered "it is there" less than a second ago."""
    task = lookup.task
    if not task.done():
        return lookup.is_live()
    if task.cancelled() or task.exception() is not None or task.result() is None:
        return False
    return now - lookup.started_at < LOOKUP_SECONDS


def _ready(image: Image | None, image_id: str) -> ImageResult:
    if image is None:
        return ImageResult(image_id=image_id)
    return ImageResult(image_id=image.id or image_id, uid=image.uid, username=image.username)
