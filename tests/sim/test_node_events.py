"""The writer of events against an API server that answers, refuses, is away or loses answers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest

from aio.clock import VirtualClock
from aio.virtual import run
from kube import status
from kube.client import resources as r
from kube.client.unreachable import Unreachable
from kube.errors import Status
from kube.fake import FakeApi, Pattern
from kube.fake.faults import SERVER
from kubelet import events
from kubelet.events_api.writer import EventWriter, TeeEvents

pytestmark = pytest.mark.sim

POD = events.pod_ref("default", "web", "u1")


class World:
    def __init__(self, clock: VirtualClock, size: int = 1000) -> None:
        self.clock = clock
        self.api = FakeApi(clock, check_namespaces=True)
        self.writer = EventWriter(self.api.client(), clock, "n1", size=size, jitter=lambda: 0.5)

    def told(self) -> list[tuple[str, int]]:
        """Messages and counts, oldest object first."""
        found = sorted(self.api.objects(r.EVENTS), key=lambda one: int(one["metadata"]["name"][-16:], 16))
        return [(one["message"], one["count"]) for one in found]


def play(scenario: Callable[[World], Awaitable[None]], size: int = 1000) -> None:
    async def main(clock: VirtualClock) -> None:
        world = World(clock, size)
        task: asyncio.Task[Any] = asyncio.create_task(world.writer.run())
        try:
            await scenario(world)
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    run(main)


def test_events_are_written_in_order_and_repeats_counted() -> None:
    async def scenario(world: World) -> None:
        for event in (events.created(POD), events.started(POD), events.created(POD)):
            world.writer.record(event)
        await world.writer.drain()
        assert world.told() == [("Container created", 2), ("Container started", 1)]
        assert [request.verb for request in world.api.requests] == ["create", "create", "patch"]

    play(scenario)


def test_an_event_that_expired_is_written_anew_with_its_count() -> None:
    async def scenario(world: World) -> None:
        world.writer.record(events.created(POD))
        await world.writer.drain()
        name = world.api.objects(r.EVENTS)[0]["metadata"]["name"]
        world.api.remove(r.EVENTS, name, "default")
        world.writer.record(events.created(POD))
        await world.writer.drain()
        assert world.told() == [("Container created", 2)]

    play(scenario)


def test_what_happened_while_the_server_was_away_is_told_later_with_its_own_time() -> None:
    async def scenario(world: World) -> None:
        world.api.go_away()
        world.writer.record(events.created(POD))
        await world.clock.sleep(60)
        assert world.told() == []
        world.api.come_back()
        await world.clock.sleep(10)
        await world.writer.drain()
        assert world.told() == [("Container created", 1)]
        assert world.api.objects(r.EVENTS)[0]["firstTimestamp"] == "2026-01-01T00:00:00Z"

    play(scenario)


def test_an_event_is_given_up_after_twelve_tries() -> None:
    async def scenario(world: World) -> None:
        world.api.go_away()
        world.writer.record(events.created(POD))
        await world.clock.sleep(5 + 10 * 10 - 0.1)
        assert len(world.api.requests) == 11
        await world.clock.sleep(60)
        assert len(world.api.requests) == 12

    play(scenario)


def test_an_orderly_stop_does_not_wait_for_a_server_that_is_away() -> None:
    async def scenario(world: World) -> None:
        world.api.go_away()
        world.writer.record(events.created(POD))
        await world.clock.sleep(1)
        world.writer.record(events.started(POD))
        before = world.clock.monotonic()
        await world.writer.drain()
        assert world.clock.monotonic() == before
        world.api.come_back()
        await world.clock.sleep(10)
        world.writer.record(events.pulled(POD, "x"))
        await world.writer.drain()
        assert len(world.told()) == 3

    play(scenario)


def test_a_refused_event_is_dropped_and_the_next_one_written() -> None:
    async def scenario(world: World) -> None:
        world.writer.record(events.created(events.pod_ref("nowhere", "web", "u1")))
        world.writer.record(events.started(POD))
        await world.writer.drain()
        assert world.told() == [("Container started", 1)]
        assert len(world.api.requests) == 2

    play(scenario)


def test_a_server_that_is_busy_is_asked_again() -> None:
    async def scenario(world: World) -> None:
        busy = status.error_of(Status(429, "TooManyRequests", "later"))
        world.api.fail(busy, Pattern(verb="create"), times=2)
        world.writer.record(events.created(POD))
        await world.writer.drain()
        assert world.told() == [("Container created", 1)]

    play(scenario)


def test_a_lost_answer_does_not_make_two_events() -> None:
    async def scenario(world: World) -> None:
        world.api.fail(Unreachable(SERVER, "reset"), Pattern(verb="create"), after=True)
        world.writer.record(events.created(POD))
        await world.writer.drain()
        assert world.told() == [("Container created", 1)]

    play(scenario)


def test_a_full_queue_drops_what_comes() -> None:
    async def scenario(world: World) -> None:
        for number in range(5):
            world.writer.record(events.failed(POD, str(number)))
        assert world.writer.dropped == 2
        await world.writer.drain()
        assert [message for message, _ in world.told()] == ["Error: 0", "Error: 1", "Error: 2"]

    play(scenario, size=3)


def test_a_tee_tells_everybody() -> None:
    async def scenario(world: World) -> None:
        ring = events.RingEvents(world.clock)
        TeeEvents(ring, world.writer).record(events.created(POD))
        await world.writer.drain()
        assert [entry.event for entry in ring] == [events.created(POD)]
        assert world.told() == [("Container created", 1)]

    play(scenario)


def test_events_wait_while_pods_wait_for_their_turn() -> None:
    async def scenario(world: World) -> None:
        crowded = True
        world.writer.is_crowded = lambda: crowded
        world.writer.record(events.created(POD))
        await world.clock.sleep(4.0)
        assert world.told() == []
        crowded = False
        await world.clock.sleep(0.2)
        assert world.told() == [("Container created", 1)]

    play(scenario)


def test_events_do_not_wait_for_ever_and_none_is_lost_by_waiting() -> None:
    async def scenario(world: World) -> None:
        world.writer.is_crowded = lambda: True
        world.writer.record(events.created(POD))
        await world.clock.sleep(5.2)
        assert world.told() == [("Container created", 1)]
        for event in (events.started(POD), events.killing(POD, "web"), events.created(POD)):
            world.writer.record(event)
        await world.clock.sleep(0.2)
        assert ("Container started", 1) in world.told()
        assert world.writer.dropped == 0

    play(scenario, size=4)
