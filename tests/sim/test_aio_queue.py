from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from aio import virtual
from aio.clock import VirtualClock
from aio.queue import KeyedQueue, QueueClosed

pytestmark = pytest.mark.sim


def scenario(body: Callable[[KeyedQueue[str], VirtualClock], Awaitable[None]]) -> None:
    async def main(clock: VirtualClock) -> None:
        await body(KeyedQueue(), clock)

    virtual.run(main)


def test_key_added_twice_is_handed_out_once() -> None:
    async def body(queue: KeyedQueue[str], _clock: VirtualClock) -> None:
        for key in ("a", "b", "a"):
            queue.add(key)
        assert [await queue.get(), await queue.get()] == ["a", "b"]
        assert len(queue) == 0

    scenario(body)


def test_key_in_work_is_handed_out_again_only_after_done() -> None:
    async def body(queue: KeyedQueue[str], _clock: VirtualClock) -> None:
        queue.add("a")
        key = await queue.get()
        queue.add("a")
        queue.add("a")
        assert len(queue) == 0 and queue.is_processing("a")
        queue.done(key)
        assert await queue.get() == "a"
        queue.done("a")
        assert len(queue) == 0 and not queue.is_processing("a")

    scenario(body)


def test_earlier_of_two_delays_wins() -> None:
    async def body(queue: KeyedQueue[str], clock: VirtualClock) -> None:
        start = clock.monotonic()
        queue.add_after("a", 10)
        queue.add_after("a", 3)
        queue.add_after("a", 30)
        await queue.get()
        assert clock.monotonic() - start == pytest.approx(3)
        queue.done("a")
        await clock.sleep(60)
        assert len(queue) == 0

    scenario(body)


def test_delay_that_runs_out_during_work_is_not_lost() -> None:
    async def body(queue: KeyedQueue[str], clock: VirtualClock) -> None:
        queue.add("a")
        await queue.get()
        queue.add_after("a", 1)
        await clock.sleep(5)
        assert len(queue) == 0
        queue.done("a")
        assert await queue.get() == "a"

    scenario(body)


def test_no_delay_or_a_cancelled_one() -> None:
    async def body(queue: KeyedQueue[str], clock: VirtualClock) -> None:
        queue.add_after("a", 5)
        queue.add_after("a", 0)
        queue.add_after("b", 5)
        queue.cancel_delay("b")
        assert await queue.get() == "a"
        queue.done("a")
        await clock.sleep(10)
        assert len(queue) == 0

    scenario(body)


def test_cancelled_reader_passes_its_wake_up_on() -> None:
    async def body(queue: KeyedQueue[str], _clock: VirtualClock) -> None:
        first, second = asyncio.create_task(queue.get()), asyncio.create_task(queue.get())
        await asyncio.sleep(0)
        queue.add("a")
        first.cancel()
        assert await second == "a"
        assert first.cancelled()

    scenario(body)


def test_reader_cancelled_just_before_an_add_does_not_take_the_key() -> None:
    async def body(queue: KeyedQueue[str], _clock: VirtualClock) -> None:
        first, second = asyncio.create_task(queue.get()), asyncio.create_task(queue.get())
        await asyncio.sleep(0)
        first.cancel()
        queue.add("a")
        assert await second == "a"
        with pytest.raises(asyncio.CancelledError):
            await first

    scenario(body)


def test_closing_ends_readers_and_drops_delays() -> None:
    async def body(queue: KeyedQueue[str], clock: VirtualClock) -> None:
        readers = [asyncio.create_task(queue.get()) for _ in range(2)]
        queue.add_after("late", 5)
        await asyncio.sleep(0)
        queue.close()
        results = await asyncio.gather(*readers, return_exceptions=True)
        assert all(isinstance(result, QueueClosed) for result in results)
        queue.add("ignored")
        await clock.sleep(10)
        with pytest.raises(QueueClosed):
            await queue.get()

    scenario(body)


def test_many_workers_never_hold_the_same_key_and_lose_nothing() -> None:
    async def body(queue: KeyedQueue[str], clock: VirtualClock) -> None:
        held: set[str] = set()
        worked: dict[str, int] = {}

        async def worker() -> None:
            while True:
                try:
                    key = await queue.get()
                except QueueClosed:
                    return
                assert key not in held
                held.add(key)
                await clock.sleep(0.7)
                worked[key] = worked.get(key, 0) + 1
                held.discard(key)
                queue.done(key)

        workers = [asyncio.create_task(worker()) for _ in range(4)]
        for step in range(50):
            queue.add(f"k{step % 7}")
            await clock.sleep(0.1)
        await clock.sleep(20)
        queue.close()
        await asyncio.gather(*workers)
        assert sorted(worked) == [f"k{n}" for n in range(7)]

    scenario(body)
