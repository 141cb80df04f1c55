"""The agent as a Node of a cluster: registration, then its status on every change, and the lease.

    node = NodeAgent(NodeClients(client, lease_client), clock, settings, machine, inputs, sink)
    node.own.add_handler(callback)          # labels, taints, podCIDRs: told at once and for every change
    for name, loop in node.loops().items():
        supervisor.add(name, loop, stage="records")
    node.take_runtime(answer)               # every answer of the runtime's Status
    node.poke()                             # something else of the status may have changed

What the status says is decided in `kubelet.node.status`; this only gathers, sends and waits. A change goes
out at once; without one the status is sent every `report_seconds`, and compared every `update_seconds`.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NoReturn

from aio import log as logs
from aio.backoff import Backoff
from aio.clock import Clock
from cri.errors import CriError
from cri.types import Image, StatusResponse
from kube import status as api_status
from kube.client import Client, JsonObject, PatchKind, Unreachable
from kube.client.resources import NODES
from kube.errors import StatusError
from kubelet import events
from kubelet.node import conditions
from kubelet.node.lease import LeaseKeeper
from kubelet.node.model import Machine, NodeSettings, Pressure, Readings
from kubelet.node.own import NodeView, OwnNode
from kubelet.node.registration import REGISTER_BACKOFF, correction, new_node
from kubelet.node.resources import texts
from kubelet.node.status import has_changed, node_status, own_capacity, patch_of

log = logs.get(__name__)

# A failed report is tried again sooner than the next comparison (upstream tries five times at once).
REPORT_BACKOFF = Backoff(initial=0.1, maximum=10.0, reset_after=60.0)
# The first report waits so long for the runtime's first answer: a restarted agent must not call a good node
# bad because it has not looked yet.
FIRST_ANSWER_SECONDS = 2.0
IMAGES_MAX_AGE_SECONDS = 30.0  # pkg/kubelet/images: the image cache is read anew every 30 s
REPORT_JITTER = 0.5  # kubelet_node_status.go: nodeStatusReportFrequency is moved by up to half after a change

Loop = Callable[[], Awaitable[None]]
Failure = (StatusError, Unreachable)


@dataclass(frozen=True, slots=True)
class NodeClients:
    """`lease` should have connections and limits of its own; `reset` closes the connections of all."""

    api: Client
    lease: Client
    reset: Callable[[], None] = lambda: None


async def no_images() -> Sequence[Image]:
    """For a node that does not list its images."""
    return ()


@dataclass(frozen=True, slots=True)
class Inputs:
    """Where the readings come from; all return at once, but `images`, which asks the runtime.

    `addresses` gives () when there is none just now: then the last ones stay. `problems` are reasons not to
    be ready; give `poke` a call when one of the others changes, or it is seen at the next comparison.
    """

    addresses: Callable[[], tuple[str, ...]]
    images: Callable[[], Awaitable[Sequence[Image]]] = no_images
    problems: Callable[[], Iterable[str]] = tuple
    pressures: Callable[[], frozenset[Pressure]] = frozenset
    volumes_in_use: Callable[[], Iterable[str]] = tuple


class NodeAgent:
    """`own` is the Node as the cluster has it; `is_registered` is set once the Node is there."""

    def __init__(
        self,
        clients: NodeClients,
        clock: Clock,
        settings: NodeSettings,
        machine: Machine,
        inputs: Inputs,
        sink: events.EventSink,
        *,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.name = settings.name
        self.own = OwnNode(clients.api, settings.name, clock)
        self.is_registered = asyncio.Event()
        self._client = clients.api
        self._clock = clock
        self._settings = settings
        self._machine = machine
        self._inputs = inputs
        self._sink = sink
        self._jitter = jitter
        self._ref = events.node_ref(settings.name)
        self._lease = LeaseKeeper(
            clients.lease, self.own, settings.name, clock, settings.lease_seconds, clients.reset, jitter
        )
        self._wanted = asyncio.Event()
        self._answered = asyncio.Event()
        self._runtime: StatusResponse | None = None
        self._runtime_at = 0.0
        self._addresses: tuple[str, ...] = ()
        self._images: tuple[Image, ...] = ()
        self._images_at = float("-inf")
        self._told: dict[str, str] = {}
        self._told_boot_id = ""
        self._report_due_at = float("-inf")
        self._uid = ""
        self._was_unschedulable: bool | None = None
        self.own.add_handler(self._take_own)

    def loops(self) -> dict[str, Loop]:
        """Eternal loops by name."""
        return {"own node": self.own.run, "node status": self.run, "node lease": self._lease.run}

    # What the rest of the agent tells

    def poke(self) -> None:
        """Something of the status may have changed: look now."""
        self._wanted.set()

    def images_changed(self) -> None:
        """An image came or went: the list is read again with the next comparison."""
        self._images_at = float("-inf")

    def take_runtime(self, answer: StatusResponse) -> None:
        """The runtime's answer to Status, as often as it is asked."""
        before, self._runtime = self._runtime, answer
        self._runtime_at = self._clock.monotonic()
        self._answered.set()
        if before is None or _shows(before) != _shows(answer):
            self.poke()

    async def look_again(self) -> None:
        """Read the Node anew, for whoever cannot wait for the watch; handlers hear of it before this returns.
        Without an answer what is known stays."""
        try:
            self.own.saw(await self._client.get(NODES, self._settings.name))
        except Failure as error:
            log.warning("Cannot read the node again", node=self._ref.name, err=error)

    @property
    def not_ready_because(self) -> list[str]:
        """Why the node is not ready, as of now and whatever the API knows; [] when it is."""
        return conditions.not_ready_because(self._read(), texts(own_capacity(self._settings, self._machine)))

    # Loops

    async def run(self) -> NoReturn:
        """Register, then report for ever."""
        self._sink.record(conditions.starting(self._ref))
        await self._register()
        self.is_registered.set()
        await self._wait(self._answered, FIRST_ANSWER_SECONDS)
        backoff = REPORT_BACKOFF
        while True:
            pause = self._settings.update_seconds
            self._wanted.clear()
            try:
                await self._report()
            except Failure as error:
                backoff, pause = backoff.next(self._clock.monotonic())
                log.warning("Cannot report the node's status", retryAfter=pause, err=error)
                await self._clock.sleep(pause)
                continue
            await self._wait(self._wanted, pause)

    async def _wait(self, event: asyncio.Event, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            return

    async def _register(self) -> None:
        """Until the Node is there: created or corrected, or, without registerNode, made by somebody else."""
        if not self._settings.register:
            node = await self.own.wait_known()
            self._remember(node)
            return
        backoff = REGISTER_BACKOFF
        while True:
            try:
                node = await self._create_or_correct()
            except Failure as error:
                backoff, delay = backoff.next(self._clock.monotonic())
                log.warning("Cannot register the node", node=self._ref.name, retryAfter=delay, err=error)
                await self._clock.sleep(delay)
                continue
            self.own.saw(node)
            log.info("Registered the node", node=self._ref.name)
            return

    async def _create_or_correct(self) -> JsonObject:
        body = new_node(self._settings, self._machine)
        try:
            return await self._client.create(NODES, {**body, "status": await self._status({})})
        except api_status.AlreadyExists:
            existing = await self._client.get(NODES, self._settings.name)
        self._remember(existing)
        patch = correction(existing, body)
        if not patch:
            return existing
        return await self._client.patch(NODES, self._settings.name, patch)

    def _remember(self, existing: JsonObject) -> None:
        """What a Node of an earlier life says, so that only what is new becomes an event."""
        status = existing.get("status") or {}
        for one in status.get("conditions") or ():
            if one["type"] == conditions.READY:
                self._told[conditions.READY] = one["status"]
        self._told_boot_id = (status.get("nodeInfo") or {}).get("bootID", "")

    async def _report(self) -> None:
        node = self.own.latest
        if node is None:
            log.v(2).info("There is no Node to report to", node=self._ref.name)
            return
        before = node.get("status") or {}
        status = await self._status(before)
        self._tell(status)
        changed = has_changed(before, status)
        now = self._clock.monotonic()
        if not changed and now < self._report_due_at:
            return
        patch = patch_of(node, status)
        answer = await self._client.patch(
            NODES, self._settings.name, patch, kind=PatchKind.STRATEGIC, subresource="status"
        )
        self.own.saw(answer)
        spread = REPORT_JITTER * (2.0 * self._jitter() - 1.0) if changed else 0.0
        self._report_due_at = now + self._settings.report_seconds * (1.0 + spread)

    async def _status(self, before: JsonObject) -> JsonObject:
        if self._clock.monotonic() - self._images_at >= IMAGES_MAX_AGE_SECONDS:
            await self._list_images()
        return node_status(self._settings, self._machine, self._read(), before, self._clock.now())

    async def _list_images(self) -> None:
        try:
            self._images = tuple(await self._inputs.images())
        except CriError as error:
            log.v(2).info("Cannot list images for the node's status", err=error)
        self._images_at = self._clock.monotonic()

    def _read(self) -> Readings:
        self._addresses = self._inputs.addresses() or self._addresses
        silent = None if self._runtime is None else self._clock.monotonic() - self._runtime_at
        return Readings(
            addresses=self._addresses,
            runtime=self._runtime,
            silent_seconds=silent,
            problems=tuple(self._inputs.problems()),
            pressures=self._inputs.pressures(),
            images=self._images,
            volumes_in_use=tuple(self._inputs.volumes_in_use()),
        )

    def _tell(self, status: JsonObject) -> None:
        """Events for what changed since it was told last."""
        for _, name in conditions.transitions(self._told, status["conditions"]):
            self._sink.record(conditions.status_is_now(self._ref, name))
        self._told.update({one["type"]: one["status"] for one in status["conditions"]})
        boot_id = status["nodeInfo"]["bootID"]
        if self._told_boot_id and boot_id != self._told_boot_id:
            self._sink.record(conditions.rebooted(self._ref, boot_id))
        self._told_boot_id = boot_id

    def _take_own(self, view: NodeView) -> None:
        if view.uid != self._uid:
            self._uid = view.uid
            self.poke()  # another object of our name: it has no status of ours yet
        before, self._was_unschedulable = self._was_unschedulable, view.is_unschedulable
        if before is not None and before != view.is_unschedulable:
            name = "NodeNotSchedulable" if view.is_unschedulable else "NodeSchedulable"
            self._sink.record(conditions.status_is_now(self._ref, name))


def _shows(answer: StatusResponse) -> tuple[object, ...]:
    """What of an answer is seen in a Node's status."""
    return answer.status, answer.runtime_handlers, answer.features
