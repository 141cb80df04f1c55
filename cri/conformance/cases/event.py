"""Cases about events: starts and ends are told, ends of exec processes are not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from cri.conformance.case import case, expect, expect_equal
from cri.conformance.context import Context
from cri.events import EventKind, Resync, RuntimeEvent
from cri.types import ContainerState

CRASH_COUNT = 5


class Heard:
    """The events since the subscription, in order."""

    def __init__(self) -> None:
        self.events: list[RuntimeEvent] = []
        self.is_subscribed = False

    def of(self, id: str) -> list[EventKind]:
        return [event.kind for event in self.events if event.container_id == id]


@asynccontextmanager
async def _listening(ctx: Context) -> AsyncIterator[Heard]:
    heard = Heard()

    async def listen() -> None:
        async for event in ctx.target.event_source().events():
            if isinstance(event, Resync):
                heard.is_subscribed = True
            else:
                heard.events.append(event)

    listener = asyncio.create_task(listen())

    async def is_subscribed() -> bool:
        return heard.is_subscribed

    try:
        await ctx.until(is_subscribed, "the event stream to begin")
        yield heard
    finally:
        listener.cancel()
        await asyncio.wait([listener])


async def _until_heard(ctx: Context, heard: Heard, id: str, kind: EventKind) -> None:
    async def is_heard() -> bool:
        return kind in heard.of(id)

    await ctx.until(is_heard, f"an event {kind.value!r} for {id[:12]}", within=5)


@case()
async def start_and_exit_of_a_container_are_told(ctx: Context) -> None:
    pod = await ctx.pod()
    async with _listening(ctx) as heard:
        id = await ctx.script(pod, "sleep 1; exit 3")
        await _until_heard(ctx, heard, id, EventKind.STARTED)
        await _until_heard(ctx, heard, id, EventKind.STOPPED)
    order = [kind for kind in heard.of(id) if kind in (EventKind.STARTED, EventKind.STOPPED)]
    expect_equal(order, [EventKind.STARTED, EventKind.STOPPED], "order")


@case()
async def start_and_stop_of_a_sandbox_are_told(ctx: Context) -> None:
    async with _listening(ctx) as heard:
        pod = await ctx.pod()
        await _until_heard(ctx, heard, pod.id, EventKind.STARTED)
        await ctx.runtime.stop_pod_sandbox(pod.id)
        await _until_heard(ctx, heard, pod.id, EventKind.STOPPED)


@case()
async def a_killed_container_is_told(ctx: Context) -> None:
    id = await ctx.idle(await ctx.pod())
    async with _listening(ctx) as heard:
        await ctx.runtime.stop_container(id, 0)
        await _until_heard(ctx, heard, id, EventKind.STOPPED)


@case()
async def the_end_of_an_exec_is_not_the_containers(ctx: Context) -> None:
    id = await ctx.idle(await ctx.pod())
    async with _listening(ctx) as heard:
        await ctx.runtime.exec_sync(id, ["true"], 5)
        await ctx.clock.sleep(0.5)
        expect(EventKind.STOPPED not in heard.of(id), "events: want none for the exec, got a stop")
        await ctx.runtime.stop_container(id, 10)
        await _until_heard(ctx, heard, id, EventKind.STOPPED)
    expect_equal(heard.of(id).count(EventKind.STOPPED), 1, "stops told")


@case()
async def soon_after_the_event_status_agrees(ctx: Context) -> None:
    pod = await ctx.pod()
    async with _listening(ctx) as heard:
        for attempt in range(CRASH_COUNT):
            id = await ctx.script(pod, "exit 1", attempt=attempt)
            await _until_heard(ctx, heard, id, EventKind.STOPPED)
            status = await ctx.exited(id, within=1)
            expect_equal(status.state, ContainerState.CONTAINER_EXITED, "state")
