"""Leader election among several candidates, under virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aio.clock import DEFAULT_EPOCH, VirtualClock
from aio.virtual import run
from kube import status
from kube.client import Unreachable
from kube.client import resources as r
from kube.fake import FakeApi, Pattern
from kube.fake.faults import SERVER
from kube.leader import Elector, LeadershipLost, Record, Sighting, Step, Timing, decide, next_record

pytestmark = pytest.mark.sim

MINE = Record("me", 15.0, "t0", "t0", 3)
THEIRS = Record("other", 15.0, "t0", "t0", 3)


class World:
    """Candidates that say who works, and that no two do."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.api = FakeApi(clock)
        self.working: list[str] = []
        self.ended: dict[str, str] = {}
        self.tasks: dict[str, asyncio.Task[Any]] = {}
        self.electors: dict[str, Elector] = {}

    def enter(self, name: str) -> None:
        elector = Elector(self.api.client(name), name, clock=self.clock, name="scheduler", jitter=lambda: 0.5)
        self.electors[name] = elector
        self.tasks[name] = asyncio.create_task(self._compete(name, elector))

    async def _compete(self, name: str, elector: Elector) -> None:
        try:
            await elector.run(lambda: self._work(name))
        except LeadershipLost as error:
            self.ended[name] = str(error)

    async def _work(self, name: str) -> None:
        assert self.working == [], f"{name} begins while {self.working} work"
        self.working.append(name)
        try:
            await asyncio.Event().wait()
        finally:
            self.working.remove(name)

    async def leave(self, name: str) -> None:
        task = self.tasks.pop(name)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    def vanish(self, name: str) -> None:
        """Its calls get no answer any more."""
        self.api.fail(Unreachable(SERVER, "timeout"), Pattern(user=name), times=-1)

    @property
    def lease(self) -> dict[str, Any]:
        spec: dict[str, Any] = self.api.object(r.LEASES, "scheduler", "kube-system")["spec"]
        return spec


def scenario(body: Callable[[World], Awaitable[None]]) -> None:
    async def main(clock: VirtualClock) -> None:
        world = World(clock)
        try:
            await body(world)
        finally:
            for name in list(world.tasks):
                await world.leave(name)

    run(main)


def test_lease_is_taken_when_nobody_holds_it_or_when_it_has_run_out() -> None:
    assert decide(Sighting(Record(), 100.0), "me", 100.0) is Step.ACQUIRE
    assert decide(Sighting(THEIRS, 100.0), "me", 114.9) is Step.WAIT
    assert decide(Sighting(THEIRS, 100.0), "me", 115.0) is Step.ACQUIRE
    assert decide(Sighting(MINE, 100.0), "me", 500.0) is Step.RENEW


def test_change_of_holder_is_a_transition_and_a_renewal_is_none() -> None:
    taken = next_record(Step.ACQUIRE, THEIRS, "me", Timing(), DEFAULT_EPOCH)
    assert (taken.transitions, taken.holder) == (4, "me")
    assert taken.acquire_time == taken.renew_time == "2026-01-01T00:00:00.000000Z"
    kept = next_record(Step.RENEW, MINE, "me", Timing(), DEFAULT_EPOCH)
    assert (kept.transitions, kept.acquire_time) == (3, "t0")
    assert next_record(Step.ACQUIRE, Record(), "me", Timing(), DEFAULT_EPOCH).transitions == 0


def test_first_candidate_leads_and_renews_every_two_seconds() -> None:
    async def body(world: World) -> None:
        world.enter("a")
        await asyncio.sleep(1)
        assert world.working == ["a"]
        assert world.lease["holderIdentity"] == "a"
        assert world.lease["leaseDurationSeconds"] == 15
        before = world.lease["renewTime"]
        await asyncio.sleep(60)
        assert world.lease["renewTime"] > before
        assert world.lease["leaseTransitions"] == 0
        verbs = [request.verb for request in world.api.requests]
        assert verbs[:2] == ["get", "create"]
        assert set(verbs[2:]) == {"update"}, "a leader writes without reading first"
        assert 29 <= len(verbs) - 2 <= 31

    scenario(body)


def test_leader_that_leaves_is_followed_at_once() -> None:
    async def body(world: World) -> None:
        world.enter("a")
        await asyncio.sleep(1)
        world.enter("b")
        await asyncio.sleep(10)
        assert world.electors["b"].leader == "a"
        await world.leave("a")
        assert "holderIdentity" not in world.lease
        await asyncio.sleep(5)
        assert world.working == ["b"]
        assert world.lease["leaseTransitions"] == 1

    scenario(body)


def test_leader_that_vanishes_stops_before_another_begins() -> None:
    async def body(world: World) -> None:
        world.enter("a")
        await asyncio.sleep(1)
        world.enter("b")
        await asyncio.sleep(1)
        world.vanish("a")
        await asyncio.sleep(9.5)
        assert world.ended.keys() <= {"a"}
        await asyncio.sleep(2)
        assert world.working == []
        assert world.ended == {"a": 'cannot keep the lease "scheduler": because it was not renewed for 10s'}
        await asyncio.sleep(10)
        assert world.working == ["b"]

    scenario(body)


def test_leader_whose_calls_hang_stops_in_time() -> None:
    async def body(world: World) -> None:
        world.enter("a")
        await asyncio.sleep(1)
        world.api.delay(1000, Pattern(user="a"))
        await asyncio.sleep(12)
        assert world.working == []
        assert "a" in world.ended

    scenario(body)


def test_short_outage_is_survived() -> None:
    async def body(world: World) -> None:
        world.enter("a")
        await asyncio.sleep(1)
        world.api.go_away()
        await asyncio.sleep(7)
        world.api.come_back()
        await asyncio.sleep(60)
        assert world.working == ["a"]
        assert world.ended == {}

    scenario(body)


def test_renewal_whose_answer_is_lost_does_not_end_the_leadership() -> None:
    async def body(world: World) -> None:
        world.enter("a")
        await asyncio.sleep(1)
        world.api.fail(Unreachable(SERVER, "reset"), Pattern("update"), after=True)
        await asyncio.sleep(20)
        assert world.working == ["a"]

    scenario(body)


def test_stolen_lease_stops_the_leader() -> None:
    async def body(world: World) -> None:
        world.enter("a")
        await asyncio.sleep(1)
        stolen = world.api.object(r.LEASES, "scheduler", "kube-system")
        stolen["spec"]["holderIdentity"] = "thief"
        world.api.put(stolen)
        await asyncio.sleep(5)
        assert world.working == []
        assert world.ended == {"a": 'cannot keep the lease "scheduler": because "thief" holds it'}
        assert world.lease["holderIdentity"] == "thief"

    scenario(body)


def test_fields_the_election_does_not_know_stay() -> None:
    async def body(world: World) -> None:
        world.api.put(
            {
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": {"name": "scheduler", "namespace": "kube-system", "labels": {"x": "y"}},
                "spec": {"strategy": "OldestEmulationVersion"},
            }
        )
        world.enter("a")
        await asyncio.sleep(5)
        assert world.lease["strategy"] == "OldestEmulationVersion"
        stored = world.api.object(r.LEASES, "scheduler", "kube-system")
        assert stored["metadata"]["labels"] == {"x": "y"}

    scenario(body)


def test_result_and_failure_of_the_work_come_out() -> None:
    async def main(clock: VirtualClock) -> None:
        api = FakeApi(clock)
        elector = Elector(api.client(), "a", clock=clock, name="x")

        async def fine() -> str:
            return "done"

        async def fail() -> None:
            raise RuntimeError("broken")

        assert await elector.run(fine) == "done"
        with pytest.raises(RuntimeError, match="broken"):
            await elector.run(fail)
        assert not elector.is_leading
        assert "holderIdentity" not in api.object(r.LEASES, "x", "kube-system")["spec"]

    run(main)


def test_refusals_do_not_end_the_wait_for_the_lease() -> None:
    async def body(world: World) -> None:
        world.api.fail(status.error_of(status.of_code(403, "no")), Pattern(user="a"), times=3)
        world.enter("a")
        await asyncio.sleep(30)
        assert world.working == ["a"]

    scenario(body)


FAULTS = st.lists(
    st.tuples(
        st.sampled_from(("a", "b", "c")),
        st.sampled_from(("lose", "lose after", "delay", "restart", "pause")),
        st.floats(min_value=0.1, max_value=25.0),
    ),
    max_size=12,
)


@given(faults=FAULTS)
@settings(max_examples=80, deadline=None)
def test_there_are_never_two_leaders_and_in_the_end_there_is_one(
    faults: list[tuple[str, str, float]],
) -> None:
    async def body(world: World) -> None:
        for name in ("a", "b", "c"):
            world.enter(name)
        for name, kind, seconds in faults:
            if kind == "lose":
                world.api.fail(Unreachable(SERVER, "x"), Pattern(user=name), times=3)
            elif kind == "lose after":
                world.api.fail(Unreachable(SERVER, "x"), Pattern(user=name), after=True)
            elif kind == "delay":
                world.api.delay(seconds, Pattern(user=name), times=2)
            elif kind == "restart":
                await world.leave(name)
                world.enter(name)
            await asyncio.sleep(seconds)
        for name in list(world.ended):
            world.ended.pop(name)
            await world.leave(name)
            world.enter(name)
        await asyncio.sleep(200)
        assert len(world.working) == 1
        for task in world.tasks.values():
            assert not task.done() or task.exception() is None

    scenario(body)
