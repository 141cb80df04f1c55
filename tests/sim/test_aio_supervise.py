from __future__ import annotations

import asyncio

import pytest

from aio import virtual
from aio.clock import VirtualClock
from aio.errors import Bug
from aio.supervise import Ending, Stage, Supervisor

pytestmark = pytest.mark.sim

STAGES = (Stage("intake", 1.0), Stage("work", 5.0), Stage("leaves", 2.0))


class Journal:
    """Loops that write down when they start and end."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.lines: list[str] = []
        self.stop = asyncio.Event()
        self.supervisor = Supervisor(STAGES)

    def add(self, name: str, stage: str, *, goodbye: float = 0.0, swallow: bool = False) -> None:
        async def loop() -> None:
            self.lines.append(f"start {name}")
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if swallow:
                    await asyncio.sleep(3600)
                await self.clock.sleep(goodbye)
                self.lines.append(f"end {name}")
                raise

        self.supervisor.add(name, loop, stage=stage)

    def stop_after(self, seconds: float) -> None:
        asyncio.get_running_loop().call_later(seconds, self.stop.set)

    async def run(self) -> Ending:
        return await self.supervisor.run(self.stop)


def test_stop_goes_through_the_stages_in_order_and_start_in_reverse() -> None:
    async def scenario(clock: VirtualClock) -> None:
        journal = Journal(clock)
        journal.add("sources", "intake")
        journal.add("workers", "work", goodbye=2.0)
        journal.add("cri", "leaves")
        journal.stop_after(10)
        ending = await journal.run()
        assert journal.lines == [
            "start cri",
            "start workers",
            "start sources",
            "end sources",
            "end workers",
            "end cri",
        ]
        assert ending == Ending("asked to stop")
        assert ending.is_clean

    virtual.run(scenario)


def test_loop_that_raises_stops_the_daemon_by_name() -> None:
    async def scenario(clock: VirtualClock) -> None:
        journal = Journal(clock)
        journal.add("workers", "work")

        async def broken() -> None:
            await clock.sleep(3)
            raise OSError("disk gone")

        journal.supervisor.add("status", broken, stage="work")
        ending = await journal.run()
        assert ending.loop == "status"
        assert ending.reason == 'loop "status" failed: OSError: disk gone'
        assert isinstance(ending.error, OSError)
        assert journal.lines == ["start workers", "end workers"]

    virtual.run(scenario)


def test_loop_that_returns_or_cancels_itself_stops_the_daemon_too() -> None:
    async def scenario(clock: VirtualClock) -> None:
        async def returns() -> None:
            await clock.sleep(1)

        async def gives_up() -> None:
            raise asyncio.CancelledError

        for loop_fn, reason in ((returns, "returned, and should run for ever"), (gives_up, "was cancelled")):
            supervisor = Supervisor(STAGES)
            supervisor.add("short", loop_fn, stage="work")
            ending = await supervisor.run(asyncio.Event())
            assert ending.reason == f'loop "short" {reason}'

    virtual.run(scenario)


def test_crashing_or_hanging_stop_does_not_skip_later_stages() -> None:
    async def scenario(clock: VirtualClock) -> None:
        journal = Journal(clock)
        journal.add("sources", "intake", swallow=True)
        journal.add("workers", "work")
        journal.add("cri", "leaves")

        async def crash() -> None:
            raise ValueError("cannot flush")

        journal.supervisor.add_stop("flush", crash, stage="work")
        journal.stop_after(1)
        start = clock.monotonic()
        ending = await journal.run()
        assert ending.stop_problems == (
            'stop stage "intake": "sources" did not end within 1s',
            'stop stage "work": "flush" failed: ValueError: cannot flush',
        )
        assert journal.lines[-2:] == ["end workers", "end cri"]
        assert clock.monotonic() - start == pytest.approx(2.0)
        assert not ending.is_clean

    virtual.run(scenario)


def test_stop_functions_run_before_the_loops_of_their_stage_are_cancelled() -> None:
    async def scenario(clock: VirtualClock) -> None:
        journal = Journal(clock)
        journal.add("workers", "work")

        async def drain() -> None:
            await clock.sleep(1)
            journal.lines.append("drained")

        journal.supervisor.add_stop("drain", drain, stage="work")
        journal.stop_after(1)
        await journal.run()
        assert journal.lines == ["start workers", "drained", "end workers"]

    virtual.run(scenario)


def test_cancelling_the_supervisor_stops_in_order_and_passes_it_on() -> None:
    async def scenario(clock: VirtualClock) -> None:
        journal = Journal(clock)
        journal.add("sources", "intake")
        journal.add("cri", "leaves")
        task = asyncio.create_task(journal.run())
        await clock.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert journal.lines[-2:] == ["end sources", "end cri"]

    virtual.run(scenario)


def test_names_and_stages_are_checked_when_added() -> None:
    async def nothing() -> None:
        return

    supervisor = Supervisor(STAGES)
    supervisor.add("a", nothing, stage="work")
    with pytest.raises(Bug, match="name is taken"):
        supervisor.add("a", nothing, stage="work")
    with pytest.raises(Bug, match='no stage "lunch"'):
        supervisor.add("b", nothing, stage="lunch")
    with pytest.raises(Bug, match="same name"):
        Supervisor((Stage("x", 1), Stage("x", 2)))
