"""The virtual loop itself, and one suite that both clocks pass."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import pytest

from aio import virtual
from aio.clock import Clock, SystemClock, VirtualClock
from aio.executors import Executors

pytestmark = pytest.mark.sim

Scenario = Callable[[Clock], Awaitable[None]]
Runner = Callable[[Scenario], None]


def run_virtual(scenario: Scenario) -> None:
    virtual.run(scenario)


def run_real(scenario: Scenario) -> None:
    async def main() -> None:
        await scenario(SystemClock())

    asyncio.run(main())


@pytest.fixture(params=[run_virtual, run_real], ids=["virtual", "system"])
def run(request: pytest.FixtureRequest) -> Runner:
    runner: Runner = request.param
    return runner


def test_clock_moves_by_at_least_what_was_slept(run: Runner) -> None:
    async def scenario(clock: Clock) -> None:
        monotonic, wall = clock.monotonic(), clock.wall()
        await clock.sleep(0.01)
        assert 0.009 <= clock.monotonic() - monotonic < 2
        assert 0.009 <= clock.wall() - wall < 2

    run(scenario)


def test_now_is_wall_in_aware_utc(run: Runner) -> None:
    async def scenario(clock: Clock) -> None:
        assert clock.now().tzinfo is UTC
        assert abs(clock.now().timestamp() - clock.wall()) < 1

    run(scenario)


def test_monotonic_is_the_scale_of_the_loop(run: Runner) -> None:
    async def scenario(clock: Clock) -> None:
        assert abs(asyncio.get_running_loop().time() - clock.monotonic()) < 1

    run(scenario)


def test_sleeping_nothing_lets_others_run_once(run: Runner) -> None:
    async def scenario(clock: Clock) -> None:
        ran: list[str] = []
        asyncio.get_running_loop().call_soon(ran.append, "other")
        await clock.sleep(0)
        await clock.sleep(-1)
        assert ran == ["other"]

    run(scenario)


def test_sleepers_wake_in_the_order_of_their_times(run: Runner) -> None:
    async def scenario(clock: Clock) -> None:
        woken: list[int] = []

        async def sleeper(number: int) -> None:
            await clock.sleep(number * 0.01)
            woken.append(number)

        await asyncio.gather(*(sleeper(number) for number in (3, 1, 2)))
        assert woken == [1, 2, 3]

    run(scenario)


def test_a_virtual_day_takes_no_time_and_ends_exactly() -> None:
    async def scenario(clock: VirtualClock) -> float:
        start = clock.monotonic()
        await clock.sleep(86_400 * 30)
        return clock.monotonic() - start

    real = time.monotonic()
    assert virtual.run(scenario) == pytest.approx(86_400 * 30, abs=1e-6)
    assert time.monotonic() - real < 1


def test_calendar_may_step_without_touching_durations() -> None:
    async def scenario(clock: VirtualClock) -> None:
        assert clock.now() == datetime(2026, 1, 1, tzinfo=UTC)
        before = clock.monotonic()
        clock.step_wall(-3600)
        assert clock.now() == datetime(2025, 12, 31, 23, tzinfo=UTC)
        assert clock.monotonic() == before

    virtual.run(scenario)


def test_tasks_that_wait_for_each_other_are_reported_not_waited_for() -> None:
    async def scenario(_clock: VirtualClock) -> None:
        await asyncio.Event().wait()

    with pytest.raises(virtual.Stuck):
        virtual.run(scenario, patience=0.01)


def test_leaked_task_fails_the_scenario_by_name() -> None:
    async def scenario(clock: VirtualClock) -> None:
        task = asyncio.create_task(clock.sleep(10), name="forgotten")
        await asyncio.sleep(0)
        assert not task.done()

    with pytest.raises(virtual.LeakedTasks, match="forgotten"):
        virtual.run(scenario)


def test_hung_thread_does_not_stop_virtual_time() -> None:
    gate = threading.Event()

    async def scenario(clock: VirtualClock) -> None:
        with pytest.raises(TimeoutError):
            await Executors().run("mount", gate.wait, 20.0, timeout=120.0)
        for _ in range(100):
            await clock.sleep(60)

    real = time.monotonic()
    virtual.run(scenario, patience=0.05)
    gate.set()
    assert time.monotonic() - real < 1


def test_virtual_time_waits_for_a_thread_that_works() -> None:
    async def scenario(clock: VirtualClock) -> None:
        executors = Executors()
        start = clock.monotonic()
        async with asyncio.timeout(0.001):
            await executors.run("walk", time.sleep, 0.02)
            await asyncio.to_thread(time.sleep, 0.02)
        assert clock.monotonic() == start
        await asyncio.get_running_loop().shutdown_default_executor()

    virtual.run(scenario)
