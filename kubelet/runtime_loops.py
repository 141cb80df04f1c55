"""The loops between the runtime and the workers: events, the slow relist, the network's readiness."""

from __future__ import annotations

from dataclasses import dataclass, field

from aio import log as aio_log
from aio.clock import Clock
from cri.errors import CriError
from cri.events import EventSource, Resync
from cri.service import RuntimeService
from kubelet.workers import Workers

log = aio_log.get(__name__)

RELIST_RETRY_SECONDS = 0.2
STATUS_PERIOD_SECONDS = 10.0
STATUS_PERIOD_WHEN_BAD_SECONDS = 1.0
NETWORK_READY = "NetworkReady"
RUNTIME_READY = "RuntimeReady"
RUNTIME_DOWN_SECONDS = 30.0  # kubelet 1.36: a runtime without an answer for so long counts as down


@dataclass(slots=True)
class RuntimeLoops:
    """Each `run_*` is an eternal loop."""

    runtime: RuntimeService
    source: EventSource
    workers: Workers
    clock: Clock
    relist_seconds: float
    last_answer: float = field(init=False)  # mono: when the runtime last answered Status

    def __post_init__(self) -> None:
        self.last_answer = self.clock.monotonic()  # it answered when it was connected to

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
                return

    async def run_relist(self) -> None:
        """For safety only: whatever an event should have told."""
        while True:
            await self.clock.sleep(self.relist_seconds)
            try:
                await self.workers.relist()
            except CriError as error:
                log.warning("Could not list the runtime's pods", err=error)

    async def run_status(self) -> None:
        """Ask the runtime how it and its network are."""
        while True:
            good = await self._ask_status()
            await self.clock.sleep(STATUS_PERIOD_SECONDS if good else STATUS_PERIOD_WHEN_BAD_SECONDS)

    async def _ask_status(self) -> bool:
        try:
            answer = await self.runtime.status()
        except CriError as error:
            log.warning("Runtime is not reachable", err=error)
            return False
        self.last_answer = self.clock.monotonic()
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
