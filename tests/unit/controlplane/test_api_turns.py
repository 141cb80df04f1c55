"""Many writers of one object at once: nobody is refused who names no version, and nothing is lost."""

from __future__ import annotations

import asyncio

import pytest

from controlplane.api.turns import Turns
from tests.unit.controlplane.api_world import World, in_world

pytestmark = pytest.mark.pure

MAPS = "/api/v1/namespaces/shop/configmaps"
MERGE = "application/merge-patch+json"
WRITERS = 50


@in_world
async def test_fifty_patches_of_one_object_at_once_all_arrive(api: World) -> None:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}
    await api.do("POST", MAPS, body)
    patches = [{"data": {f"n{number}": "x"}} for number in range(WRITERS)]
    await asyncio.gather(*(api.do("PATCH", f"{MAPS}/a", patch, content_type=MERGE) for patch in patches))
    assert len((await api.do("GET", f"{MAPS}/a"))["data"]) == WRITERS


@in_world
async def test_of_two_that_saw_the_same_version_one_is_refused(api: World) -> None:
    made = await api.do("POST", MAPS, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}})
    answers = await asyncio.gather(
        *(api.ask("PUT", f"{MAPS}/a", made | {"data": {"who": str(number)}}) for number in range(2))
    )
    assert sorted(answer.code for answer in answers) == [200, 409]


@pytest.mark.asyncio
async def test_turns_are_given_in_order_and_forgotten() -> None:
    turns, order = Turns(), []

    async def take(number: int) -> None:
        async with turns.of("a"):
            await asyncio.sleep(0)
            order.append(number)

    async with turns.of("b"):
        await asyncio.gather(*(take(number) for number in range(5)))
        assert len(turns) == 1
    assert (order, len(turns)) == ([0, 1, 2, 3, 4], 0)


@pytest.mark.asyncio
async def test_one_that_gives_up_waiting_does_not_stop_the_others() -> None:
    turns = Turns()

    async def take() -> None:
        async with turns.of("a"):
            pass

    async with turns.of("a"):
        first, second = asyncio.ensure_future(take()), asyncio.ensure_future(take())
        await asyncio.sleep(0)
        first.cancel()
    await second
    assert (first.cancelled() or first.done(), len(turns)) == (True, 0)
