"""Places under virtual time: who goes first, and that none is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from aio import virtual
from aio.clock import VirtualClock
from aio.places import Places

pytestmark = pytest.mark.sim


def scenario(body: Callable[[VirtualClock], Awaitable[None]]) -> None:
    async def main(clock: VirtualClock) -> None:
        await body(clock)

    virtual.run(main)


def test_furthest_along_goes_first_and_equals_in_turn() -> None:
    async def body(clock: VirtualClock) -> None:
        places, order = Places(1), []

        async def work(name: str, rank: int) -> None:
            async with places.at(rank):
                order.append(name)
                await clock.sleep(1.0)

        await asyncio.gather(*(work(*each) for each in (("a", 2), ("b", 2), ("c", 1), ("d", 0), ("e", 2))))
        assert order == ["a", "d", "c", "b", "e"]

    scenario(body)


def test_no_more_than_the_places_are_taken_and_all_come_back() -> None:
    async def body(clock: VirtualClock) -> None:
        places = Places(3)
        inside = peak = 0
        crowded: list[bool] = []

        async def work(rank: int) -> None:
            nonlocal inside, peak
            async with places.at(rank):
                inside += 1
                peak = max(peak, inside)
                await clock.sleep(1.0)
                crowded.append(places.is_crowded)
                inside -= 1

        began = clock.monotonic()
        await asyncio.gather(*(work(number % 3) for number in range(9)))
        assert (peak, inside) == (3, 0)
        assert (crowded[0], crowded[-1], places.is_crowded) == (True, False, False)
        assert clock.monotonic() - began == pytest.approx(3.0)

    scenario(body)


def test_cancelled_waiter_loses_no_place_even_when_its_turn_has_just_come() -> None:
    async def body(clock: VirtualClock) -> None:
        places = Places(1)

        async def work() -> None:
            async with places.at(0):
                await clock.sleep(1.0)

        holder, waiter, last = (asyncio.create_task(work()) for _ in range(3))
        await clock.sleep(0.5)
        waiter.cancel()
        await holder
        await last
        holder, waiter = (asyncio.create_task(work()) for _ in range(2))
        await clock.sleep(0.5)
        holder.cancel()
        await asyncio.sleep(0)  # the holder leaves, the waiter's turn is set but not taken
        waiter.cancel()
        await asyncio.gather(holder, waiter, return_exceptions=True)
        await asyncio.wait_for(work(), 2.0)

    scenario(body)


def test_place_of_one_that_hangs_is_given_on_and_does_not_come_back_twice() -> None:
    async def body(clock: VirtualClock) -> None:
        places = Places(1, patience_seconds=2.0)
        began, entered = clock.monotonic(), []

        async def work(name: str, seconds: float) -> None:
            async with places.at(0):
                entered.append((name, clock.monotonic() - began))
                await clock.sleep(seconds)

        await asyncio.gather(work("hangs", 10.0), work("a", 1.0), work("b", 1.0), work("c", 9.0))
        assert [name for name, _ in entered] == ["hangs", "a", "b", "c"]
        assert [at for _, at in entered] == pytest.approx([0.0, 2.0, 3.0, 4.0])
        # All left, whatever lapsed: still one place.
        entered.clear()
        began = clock.monotonic()
        await asyncio.gather(work("d", 1.0), work("e", 1.0))
        assert [at for _, at in entered] == [0.0, pytest.approx(1.0)]

    scenario(body)
