"""Blocking calls in threads, one bounded pool per kind of work, none of which can hold up anybody else.

A filesystem that never answers takes its thread for ever. Three rules confine that: threads are daemons and
never joined, so the process still exits; of one `key` (a pod, a mount) only a few calls run at once, so it
cannot take all slots; and a call known to hang (its caller gave up, or it runs longer than the pool's
`hung_after_seconds`) no longer counts against the bound, so an extra thread takes its place. When too many
hang, new calls are refused with `Retry` instead of piling up threads. All bookkeeping is on the loop.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections import Counter, deque
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from aio.errors import Bug, Retry
from aio.virtual import VirtualLoop

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """`threads` calls at once, `per_key` of them for one key, and `max_hung` lost threads at most."""

    threads: int = 4
    per_key: int = 2
    hung_after_seconds: float = 10.0
    max_hung: int = 32


DEFAULT_POOLS: Mapping[str, PoolLimits] = {
    "mount": PoolLimits(threads=4, per_key=1, hung_after_seconds=5.0),
    "walk": PoolLimits(threads=4, per_key=2, hung_after_seconds=30.0),
    "fsync": PoolLimits(threads=4, per_key=2),
    "log": PoolLimits(threads=4, per_key=2),
}


@dataclass(frozen=True, slots=True)
class HungCall:
    key: Hashable
    function: str
    seconds: float


@dataclass(frozen=True, slots=True)
class PoolStats:
    threads: int
    running: int
    queued: int
    hung: tuple[HungCall, ...]


@dataclass(eq=False, slots=True)
class _Call:
    fn: Callable[..., Any]
    args: tuple[Any, ...]
    key: Hashable
    future: asyncio.Future[Any]
    started: float = 0.0
    is_running: bool = False
    is_abandoned: bool = False


@dataclass(eq=False, slots=True)
class _Pool:
    """One kind's threads and queue; every method runs on the event loop."""

    kind: str
    limits: PoolLimits
    loop: asyncio.AbstractEventLoop
    waiting: deque[_Call] = field(default_factory=deque)
    running: set[_Call] = field(default_factory=set)
    per_key: Counter[Hashable] = field(default_factory=Counter)
    inbox: queue.SimpleQueue[_Call | None] = field(default_factory=queue.SimpleQueue)
    threads: int = 0
    recheck: asyncio.TimerHandle | None = None

    def hung(self) -> list[_Call]:
        limit = self.loop.time() - self.limits.hung_after_seconds
        return [call for call in self.running if call.is_abandoned or call.started <= limit]

    def submit(self, call: _Call) -> None:
        if len(self.hung()) >= self.limits.max_hung:
            raise Retry(f'cannot run "{self.kind}" work: {self.limits.max_hung} calls hang')
        self.waiting.append(call)
        self.admit()

    def admit(self) -> None:
        """Start every waiting call that the bounds allow, oldest first."""
        if self.recheck is not None:
            self.recheck.cancel()
            self.recheck = None
        free = self.limits.threads + min(len(self.hung()), self.limits.max_hung) - len(self.running)
        passed_over: deque[_Call] = deque()
        while self.waiting and free > 0:
            call = self.waiting.popleft()
            if call.key is not None and self.per_key[call.key] >= self.limits.per_key:
                passed_over.append(call)
                continue
            self.start(call)
            free -= 1
        self.waiting.extendleft(reversed(passed_over))
        if self.waiting and free <= 0:
            self.recheck_when_one_hangs()

    def recheck_when_one_hangs(self) -> None:
        """Somebody waits for a slot: look again at the moment the oldest running call counts as hung."""
        live = [call.started for call in self.running.difference(self.hung())]
        if live:
            when = min(live) + self.limits.hung_after_seconds
            self.recheck = self.loop.call_at(when + 0.001, self.admit)

    def start(self, call: _Call) -> None:
        call.is_running = True
        call.started = self.loop.time()
        self.running.add(call)
        if call.key is not None:
            self.per_key[call.key] += 1
        if isinstance(self.loop, VirtualLoop):
            self.loop.outside_work += 1
        if self.threads < len(self.running):
            self.threads += 1
            name = f"{self.kind}-{self.threads}"
            threading.Thread(target=_serve, args=(self,), name=name, daemon=True).start()
        self.inbox.put(call)

    def finished(self, call: _Call, result: object, error: BaseException | None) -> None:
        self.running.discard(call)
        if call.key is not None:
            self.per_key[call.key] -= 1
            if not self.per_key[call.key]:
                del self.per_key[call.key]
        if isinstance(self.loop, VirtualLoop):
            self.loop.outside_work -= 1
        if self.threads > self.limits.threads + len(self.hung()):
            self.threads -= 1
            self.inbox.put(None)
        self.admit()
        if call.future.done():
            return
        if error is None:
            call.future.set_result(result)
        else:
            call.future.set_exception(error)

    def give_up(self, call: _Call) -> None:
        """The caller is gone: a waiting call is dropped, a running one counts as hung from now on."""
        call.is_abandoned = True
        if not call.is_running:
            self.waiting.remove(call)
        self.admit()


def _serve(pool: _Pool) -> None:
    """A worker thread's whole life. Every error goes to the caller, whatever its class."""
    while (call := pool.inbox.get()) is not None:
        result: object = None
        error: BaseException | None = None
        try:
            result = call.fn(*call.args)
        except StopIteration as stop:  # a future refuses to carry it
            error = RuntimeError(f"the call raised StopIteration({stop})")
        except BaseException as raised:  # noqa: BLE001 - handed to the caller, nothing is hidden
            error = raised
        try:
            pool.loop.call_soon_threadsafe(pool.finished, call, result, error)
        except RuntimeError:  # the loop is closed: the process is ending and nobody waits
            return
        # Not to be kept until the next call comes: results may be large, or open files.
        call, result, error = None, None, None


class Executors:
    """The pools of one event loop; create it on that loop or before it runs."""

    def __init__(self, pools: Mapping[str, PoolLimits] = DEFAULT_POOLS) -> None:
        self._limits = dict(pools)
        self._pools: dict[str, _Pool] = {}

    async def run(
        self,
        kind: str,
        fn: Callable[..., T],
        *args: Any,
        key: Hashable = None,
        timeout: float | None = None,
    ) -> T:
        """`fn(*args)` in a thread of `kind`: its result or its exception.

        `TimeoutError` after `timeout` seconds, queueing included; the thread is then left to itself, as it
        is when the caller is cancelled. `Retry` when too many calls of this kind hang already.
        """
        pool = self._pool(kind)
        call = _Call(fn, args, key, pool.loop.create_future())
        pool.submit(call)
        try:
            if timeout is None:
                return await call.future  # type: ignore[no-any-return]
            async with asyncio.timeout(timeout):
                return await call.future  # type: ignore[no-any-return]
        except BaseException:
            if call in pool.running or call in pool.waiting:
                pool.give_up(call)
            raise

    def stats(self) -> dict[str, PoolStats]:
        return {kind: _stats_of(pool) for kind, pool in self._pools.items()}

    def _pool(self, kind: str) -> _Pool:
        pool = self._pools.get(kind)
        if pool is None:
            if kind not in self._limits:
                raise Bug(f'no executor for "{kind}" work')
            pool = self._pools[kind] = _Pool(kind, self._limits[kind], asyncio.get_running_loop())
        return pool


def _stats_of(pool: _Pool) -> PoolStats:
    now = pool.loop.time()
    hung = tuple(
        HungCall(call.key, getattr(call.fn, "__qualname__", repr(call.fn)), now - call.started)
        for call in pool.hung()
    )
    return PoolStats(pool.threads, len(pool.running), len(pool.waiting), hung)
