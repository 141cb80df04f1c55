"""The loops between the runtime and the workers: events, the slow relist, the network's readiness."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from aio import log as aio_log
from aio.clock import Clock
from cri.errors import CriError
from cri.events import EventSource, Resync
from cri.service import RuntimeService
from cri.types import StatusResponse
from kubelet.node.conditions import relist_problem
from kubelet.workers import Workers

log = aio_log.get(__name__)

RELIST_RETRY_SECONDS = 0.2
STATUS_PERIOD_SECONDS = 10.0
STATUS_PERIOD_WHEN_BAD_SECONDS = 1.0
# No runtime tells when its network became ready, and a new node waits for nothing else: it is asked often
# until it is good once (kubelet 1.36: every 100 ms for nodeReadyGracePeriod).
STATUS_PERIOD_AT_START_SECONDS = 0.1
START_SECONDS = 120.0
NETWORK_READY = "NetworkReady"
RUNTIME_READY = "RuntimeReady"
# Comparing pods with the runtime is overdue after so many periods; events come in between.
RELISTS_MISSED = 2
RUNTIME_DOWN_SECONDS = 30.0  # kubelet 1.36: a runtime without an answer for so long counts as down


def _tell_nobody(_answer: StatusResponse) -> None:
    """For an agent without an API server."""


@dataclass(slots=True)
class RuntimeLoops:
    """Each `run_*` is an eternal loop. `told` hears every answer of the runtime's Status."""

    runtime: RuntimeService
    source: EventSource
    workers: Workers
    clock: Clock
    relist_seconds: float
    told: Callable[[StatusResponse], None] = _tell_nobody
    last_relist: float = field(init=False)  # mono: when all pods were last compared with the runtime
    _hurry_until: float = field(init=False)  # mono: asked often until then, or until it is good
    _hurried: asyncio.Event = field(default_factory=asyncio.Event)
    last_answer: float = field(init=False)  # mono: when the runtime last answered Status

    def __post_init__(self) -> None:
        self.last_answer = self.clock.monotonic()  # it answered when it was connected to
        self._hurry_until = self.last_answer + START_SECONDS
        self.last_relist = self.last_answer  # stock is taken before the loops begin

    async def run_events(self) -> None:
        """Lead every event to its pod; after each gap compare everything once."""
        async for item in self.source.events():
            if isinstance(item, Resync):
                log.v(2).info("Comparing all pods with the runtime", reason=item.reason)
                await self._relist_until_done()
            else:
                self.workers.runtime_event(item)
        raise RuntimeError("the runtime's events ended")

    async def _relist_until_done(self) -> None:
        while True:
            try:
                await self.workers.relist(returned=True)
            except CriError as error:
                log.v(2).info("Runtime does not answer yet", reason=error.message)
                await self.clock.sleep(RELIST_RETRY_SECONDS)
            else:
                self.last_relist = self.clock.monotonic()
                return

    async def run_relist(self) -> None:
        """For safety only: whatever an event should have told."""
        while True:
            await self.clock.sleep(self.relist_seconds)
            try:
                await self.workers.relist()
            except CriError as error:
                log.warning("Could not list the runtime's pods", err=error)
            else:
                self.last_relist = self.clock.monotonic()

    async def run_status(self) -> None:
        """Ask the runtime how it and its network are."""
        while True:
            self._hurried.clear()
            good = await self._ask_status()
            now = self.clock.monotonic()
            if good:
                self._hurry_until = now
            is_hurried = now < self._hurry_until
            bad_seconds = STATUS_PERIOD_AT_START_SECONDS if is_hurried else STATUS_PERIOD_WHEN_BAD_SECONDS
            try:
                async with asyncio.timeout(STATUS_PERIOD_SECONDS if good else bad_seconds):
                    await self._hurried.wait()
            except TimeoutError:
                continue

    def hurry(self) -> None:
        """The network of the node was just changed: ask now, and often until it is good."""
        self._hurry_until = self.clock.monotonic() + START_SECONDS
        self._hurried.set()

    async def _ask_status(self) -> bool:
        try:
            answer = await self.runtime.status()
        except CriError as error:
            log.warning("Runtime is not reachable", err=error)
            return False
        self.last_answer = self.clock.monotonic()
        self.told(answer)
        conditions = {condition.type: condition for condition in answer.status.conditions}
        network = conditions.get(NETWORK_READY)
        error_text = ""
        if network is not None and not network.status:
            error_text = (
                "container runtime network not ready: NetworkReady=false "
                f"reason:{network.reason} message:{network.message}"
            )
        self.workers.set_network(error_text)
        ready = conditions.get(RUNTIME_READY)
        return not error_text and (ready is None or ready.status)

    def health(self) -> str | None:
        """For healthz: None when the runtime answered lately, else what is wrong."""
        silent = self.clock.monotonic() - self.last_answer
        return None if silent < RUNTIME_DOWN_SECONDS else f"container runtime is down for {silent:.0f}s"

    def problems(self) -> tuple[str, ...]:
        """For the Node's Ready condition: nobody has compared the pods with the runtime for too long."""
        silent, most = self.clock.monotonic() - self.last_relist, RELISTS_MISSED * self.relist_seconds
        return (relist_problem(silent, most),) if silent >= most else ()
