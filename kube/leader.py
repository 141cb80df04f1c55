"""Leader election on a Lease, in the protocol of client-go, so that ours and other components can share one.

A candidate holds the lease by renewing it; whoever sees it unchanged for its whole duration, by its own
monotonic clock, may take it over. `decide` is the rule; `Elector.run` carries it out and keeps the leader's
work running only while the lease is surely its own.

    elector = Elector(client, identity, clock=clock, name="kube-scheduler")
    await elector.run(scheduler.run)        # raises LeadershipLost when the lease could not be renewed
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any

from aio import log as logs
from aio.clock import Clock
from aio.errors import Retry, cannot
from kube import meta, status
from kube.client.model import Client, JsonObject
from kube.client.resources import LEASES
from kube.client.unreachable import Unreachable
from kube.errors import StatusError

log = logs.get(__name__)

# leaderelection.JitterFactor: candidates ask every retry period, stretched by up to this share of it.
_JITTER_FACTOR = 1.2


class LeadershipLost(Retry):
    """The work was stopped because somebody else may lead now."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds (LeaderElectionConfiguration's defaults). A leader that could not renew for `renew` stops,
    before others may take over after `lease`."""

    lease: float = 15.0
    renew: float = 10.0
    retry: float = 2.0


class Step(Enum):
    ACQUIRE = "acquire"
    RENEW = "renew"
    WAIT = "wait"


@dataclass(frozen=True, slots=True)
class Record:
    """A Lease's spec, as far as the election needs it."""

    holder: str = ""
    lease_seconds: float = 0.0
    acquire_time: str = ""
    renew_time: str = ""
    transitions: int = 0


@dataclass(frozen=True, slots=True)
class Sighting:
    """A record, and since when (monotonic) it has been the same."""

    record: Record
    since: float


def decide(sighting: Sighting, identity: str, now: float) -> Step:
    """Renew what is ours, take what is nobody's or has run out, wait otherwise."""
    record = sighting.record
    if record.holder == identity:
        return Step.RENEW
    if not record.holder or now >= sighting.since + record.lease_seconds:
        return Step.ACQUIRE
    return Step.WAIT


def next_record(step: Step, seen: Record, identity: str, timing: Timing, now: datetime) -> Record:
    """What the leader writes. A change of holder counts as a transition, a renewal does not."""
    stamp = meta.format_micro_time(now)
    is_same = step is Step.RENEW
    return Record(
        holder=identity,
        lease_seconds=timing.lease,
        acquire_time=seen.acquire_time if is_same and seen.acquire_time else stamp,
        renew_time=stamp,
        transitions=seen.transitions + (0 if is_same or not seen.renew_time else 1),
    )


def read_record(lease: JsonObject) -> Record:
    """Missing fields are as in Go: empty or zero."""
    spec: dict[str, Any] = lease.get("spec") or {}
    return Record(
        holder=spec.get("holderIdentity") or "",
        lease_seconds=float(spec.get("leaseDurationSeconds") or 0),
        acquire_time=spec.get("acquireTime") or "",
        renew_time=spec.get("renewTime") or "",
        transitions=int(spec.get("leaseTransitions") or 0),
    )


def write_record(lease: JsonObject, record: Record) -> JsonObject:
    """The Lease with this record; fields the election does not know stay. Nobody as holder is left out:
    servers refuse an empty one."""
    spec = {
        **(lease.get("spec") or {}),
        "holderIdentity": record.holder,
        "leaseDurationSeconds": round(record.lease_seconds),
        "acquireTime": record.acquire_time,
        "renewTime": record.renew_time,
        "leaseTransitions": record.transitions,
    }
    if not record.holder:
        del spec["holderIdentity"]
    return {**lease, "spec": spec}


class Elector:
    """One candidate. `identity` must be unique among all that ever ask (host name and a random part)."""

    def __init__(
        self,
        client: Client,
        identity: str,
        *,
        clock: Clock,
        name: str,
        namespace: str = "kube-system",
        timing: Timing = Timing(),
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.is_leading = False
        self._client = client
        self._identity = identity
        self._clock = clock
        self._name = name
        self._namespace = namespace
        self._timing = timing
        self._jitter = jitter
        self._sighting = Sighting(Record(), float("-inf"))
        self._lease: JsonObject | None = None
        # Before the write that renewed: others count from when they see it, which is later.
        self._renewed_at = float("-inf")

    @property
    def leader(self) -> str:
        """Who was last seen leading; "" for nobody."""
        return self._sighting.record.holder

    async def run(self, work: Callable[[], Awaitable[Any]]) -> Any:
        """Wait for the lease, then run `work` while it is held, and give the lease back after it.

        Returns what `work` returns and passes on what it raises. Raises LeadershipLost, after `work` has
        been cancelled and has ended, when the lease could not be renewed in time.
        """
        await self._acquire()
        log.info("Became leader", lease=self._name, identity=self._identity)
        self.is_leading = True
        working = asyncio.ensure_future(work())
        renewing = asyncio.ensure_future(self._renew_until_lost())
        try:
            await asyncio.wait({working, renewing}, return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                return working.result()
            because = renewing.result()
        finally:
            self.is_leading = False
            await _stop(working, renewing)
            await self._release()
        raise LeadershipLost(cannot(f'keep the lease "{self._name}"', f"because {because}"))

    async def _acquire(self) -> None:
        while not await self._try_for(self._timing.renew):
            await self._clock.sleep(self._timing.retry * (1.0 + self._jitter() * _JITTER_FACTOR))

    async def _renew_until_lost(self) -> str:
        """Returns why the lease is no longer ours."""
        while True:
            left = self._renewed_at + self._timing.renew - self._clock.monotonic()
            if left <= 0:
                return f"it was not renewed for {self._timing.renew:g}s"
            await self._clock.sleep(min(self._timing.retry, left))
            left = self._renewed_at + self._timing.renew - self._clock.monotonic()
            if left > 0 and not await self._try_for(left) and self.leader not in ("", self._identity):
                return f'"{self.leader}" holds it'

    async def _try_for(self, seconds: float) -> bool:
        """One attempt to get or keep the lease; what fails is written down and counts as no."""
        lease, self._lease = self._lease, None
        try:
            async with asyncio.timeout(seconds):
                return await self._step(lease)
        except status.Conflict as error:
            log.v(2).info("Somebody else wrote the lease", lease=self._name, err=error)
        except (TimeoutError, Unreachable, StatusError) as error:
            log.warning("Cannot work on the lease", lease=self._name, err=error)
        return False

    async def _step(self, lease: JsonObject | None) -> bool:
        # A leader writes at once over what it wrote last; a conflict tells it to look again.
        if lease is None or not self.is_leading:
            lease = await self._look()
        step = decide(self._sighting, self._identity, self._clock.monotonic())
        if step is Step.WAIT:
            return False
        record = next_record(step, self._sighting.record, self._identity, self._timing, self._clock.now())
        body = write_record(lease, record)
        began = self._clock.monotonic()
        if "uid" in lease["metadata"]:
            self._lease = await self._client.update(LEASES, body)
        else:
            self._lease = await self._client.create(LEASES, body)
        self._sighting = Sighting(read_record(self._lease), self._clock.monotonic())
        self._renewed_at = began
        return True

    async def _look(self) -> JsonObject:
        try:
            lease = await self._client.get(LEASES, self._name, namespace=self._namespace)
        except status.NotFound:
            self._sighting = Sighting(Record(), self._clock.monotonic())
            metadata = {"name": self._name, "namespace": self._namespace}
            return {"apiVersion": LEASES.api_version, "kind": LEASES.kind, "metadata": metadata}
        record = read_record(lease)
        if record != self._sighting.record:
            self._sighting = Sighting(record, self._clock.monotonic())
        return lease

    async def _release(self) -> None:
        """Let another begin at once; when this fails they wait for the lease to run out."""
        if self._lease is None or self._sighting.record.holder != self._identity:
            return
        stamp = meta.format_micro_time(self._clock.now())
        # One second is what client-go leaves, as zero is not a valid duration.
        free = Record("", 1.0, stamp, stamp, self._sighting.record.transitions)
        try:
            async with asyncio.timeout(self._timing.retry):
                await self._client.update(LEASES, write_record(self._lease, free))
        except (TimeoutError, Unreachable, StatusError) as error:
            log.warning("Cannot give the lease back", lease=self._name, err=error)
        self._lease = None


async def _stop(*tasks: asyncio.Future[Any]) -> None:
    running = [task for task in tasks if not task.done()]
    for task in running:
        task.cancel()
    if running:
        await asyncio.wait(running)
    for task in running:
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("Failed while it was being stopped", err=error)
