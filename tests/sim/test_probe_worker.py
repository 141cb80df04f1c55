"""The prober under virtual time, with checks whose answers and durations the test decides."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

import pytest

from aio import virtual
from aio.clock import VirtualClock
from aio.errors import Bug
from probes.outcome import Outcome, ProbeKind, failure, success, unknown
from probes.spec import ExecCheck, ProbeSpec, TcpCheck
from probes.target import ProbeKey, ProbeResult, ProbeTarget
from probes.worker import Prober

pytestmark = pytest.mark.sim

LIVE, READY, START = (ProbeKey("u1", "web", kind) for kind in ("liveness", "readiness", "startup"))


@dataclass
class FakeChecker:
    """A checker with true rules: a check takes `seconds` and gives the next answer, the last one for ever."""

    clock: VirtualClock
    answers: dict[ProbeKind | None, list[Outcome]] = field(default_factory=dict)
    seconds: float = 0.0
    fired: list[float] = field(default_factory=list)
    containers: list[str] = field(default_factory=list)
    running: int = 0
    peak: int = 0
    is_closed: bool = False

    async def run(self, target: ProbeTarget, started: Callable[[], None]) -> Outcome:
        started()
        self.fired.append(round(self.clock.monotonic() - 1000.0, 6))
        self.containers.append(target.container_id)
        self.running += 1
        self.peak = max(self.peak, self.running)
        try:
            await asyncio.sleep(self.seconds)
        finally:
            self.running -= 1
        answers = self.answers.get(None) or [success()]
        return answers.pop(0) if len(answers) > 1 else answers[0]

    async def close(self) -> None:
        self.is_closed = True


@dataclass
class World:
    clock: VirtualClock
    checker: FakeChecker
    prober: Prober
    results: list[ProbeResult]

    def target(
        self, *, container: str = "c1", age: float = 0.0, period: float = 10.0, success_threshold: int = 1
    ) -> ProbeTarget:
        spec = ProbeSpec(TcpCheck(80), period=period, success_threshold=success_threshold)
        return ProbeTarget(spec, container, self.clock.wall() - age, pod_ip="10.0.0.1")

    def answer(self, *outcomes: Outcome) -> None:
        self.checker.answers[None] = list(outcomes)


def scenario(body: Callable[[World], Awaitable[None]]) -> None:
    async def main(clock: VirtualClock) -> None:
        results: list[ProbeResult] = []
        checker = FakeChecker(clock)

        async def no_exec(_container: str, _command: tuple[str, ...], _timeout: int) -> object:
            raise AssertionError("the fake checker runs no command")

        prober = Prober(clock, no_exec, results.append, checker=checker)  # type: ignore[arg-type]
        await body(World(clock, checker, prober, results))
        await prober.aclose()
        assert checker.is_closed

    virtual.run(main)


def test_first_probe_fires_exactly_after_the_delay_and_then_every_period() -> None:
    async def body(world: World) -> None:
        target = world.target()
        target = replace(target, spec=replace(target.spec, initial_delay=5.0))
        world.checker.seconds = 3.0
        world.prober.reconcile("u1", {READY: target})
        await world.clock.sleep(40)
        assert world.checker.fired == [5, 15, 25, 35]
        assert world.prober.lateness.worst_seconds < 1e-6

    scenario(body)


def test_adopted_container_is_probed_at_once_and_then_on_its_own_grid() -> None:
    async def body(world: World) -> None:
        world.prober.reconcile("u1", {READY: world.target(age=103.0)})
        await world.clock.sleep(20)
        assert world.checker.fired == [0, 7, 17]

    scenario(body)


def test_probe_never_overlaps_itself_and_catches_up_once() -> None:
    async def body(world: World) -> None:
        world.checker.seconds = 2.5
        world.prober.reconcile("u1", {READY: world.target(period=1.0)})
        await world.clock.sleep(7)
        assert world.checker.fired == [0, 2.5, 5]
        assert world.checker.peak == 1

    scenario(body)


def test_only_changes_first_results_and_failures_are_reported() -> None:
    async def body(world: World) -> None:
        world.answer(success(), success(), failure("a"), failure("b"), failure("c"), failure("d"))
        world.prober.reconcile("u1", {READY: world.target()})
        await world.clock.sleep(55)
        seen = [(r.healthy, r.changed, r.is_first, r.message) for r in world.results]
        assert seen == [
            (True, True, True, ""),
            (True, False, False, "Readiness probe failed: a"),
            (True, False, False, "Readiness probe failed: b"),
            (False, True, False, "Readiness probe failed: c"),
            (False, False, False, "Readiness probe failed: d"),
        ]
        assert world.prober.result(READY) is False

    scenario(body)


def test_first_result_is_reported_although_it_equals_the_seed() -> None:
    async def body(world: World) -> None:
        world.prober.reconcile("u1", {READY: replace(world.target(), seed=True)})
        assert world.prober.result(READY) is True
        await world.clock.sleep(25)
        assert [(r.healthy, r.changed, r.is_first) for r in world.results] == [(True, False, True)]

    scenario(body)


def test_error_of_the_prober_changes_nothing_but_is_told() -> None:
    async def body(world: World) -> None:
        world.answer(unknown("no runtime"))
        world.prober.reconcile("u1", {LIVE: world.target()})
        await world.clock.sleep(95)
        assert world.prober.result(LIVE) is True
        expected = "Liveness probe errored and resulted in unknown state: no runtime"
        assert {r.message for r in world.results} == {expected}

    scenario(body)


def test_failed_liveness_holds_until_a_new_container_and_then_starts_over() -> None:
    async def body(world: World) -> None:
        world.answer(failure("dead"))
        world.prober.reconcile("u1", {LIVE: world.target()})
        await world.clock.sleep(100)
        assert world.checker.fired == [0, 10, 20]
        assert world.results[-1].changed and world.results[-1].container_id == "c1"
        world.answer(success())
        world.prober.reconcile("u1", {LIVE: world.target(container="c2")})
        assert world.prober.result(LIVE) is True
        await world.clock.sleep(15)
        assert world.checker.fired == [0, 10, 20, 100, 110]
        assert world.results[-1].container_id == "c2"

    scenario(body)


def test_readiness_held_until_started_is_probed_the_moment_startup_flips() -> None:
    async def body(world: World) -> None:
        startup, readiness = world.target(period=3.0), world.target()
        held = replace(readiness, is_enabled=False)

        def started(result: ProbeResult) -> None:
            world.results.append(result)
            if result.key == START and result.healthy:
                world.prober.reconcile("u1", {START: startup, READY: readiness})

        world.prober._on_result = started
        world.answer(failure("booting"), failure("booting"), success())
        world.prober.reconcile("u1", {START: startup, READY: held})
        await world.clock.sleep(31)
        assert world.checker.fired == [0, 3, 6, 6, 20, 30]
        assert [r.key.kind for r in world.results if r.changed] == ["startup", "readiness"]

    scenario(body)


def test_trigger_fires_at_once_but_not_before_the_initial_delay() -> None:
    async def body(world: World) -> None:
        target = world.target()
        world.prober.reconcile("u1", {READY: replace(target, spec=replace(target.spec, initial_delay=4.0))})
        await world.clock.sleep(1)
        world.prober.trigger(READY)
        await world.clock.sleep(6)
        assert world.checker.fired == [4]
        world.prober.trigger(READY)
        await world.clock.sleep(20)
        assert world.checker.fired == [4, 7, 14, 24]
        world.prober.trigger(ProbeKey("nobody", "x", "readiness"))

    scenario(body)


def test_trigger_during_a_check_probes_again_right_after_it() -> None:
    async def body(world: World) -> None:
        world.checker.seconds = 2.0
        world.prober.reconcile("u1", {READY: world.target()})
        await world.clock.sleep(1)
        world.prober.trigger(READY)
        await world.clock.sleep(12)
        assert world.checker.fired == [0, 2, 10]

    scenario(body)


def test_removed_probe_is_cancelled_and_never_heard_of_again() -> None:
    async def body(world: World) -> None:
        world.checker.seconds = 5.0
        world.answer(failure("late"))
        world.prober.reconcile("u1", {READY: world.target(), LIVE: world.target()})
        await world.clock.sleep(1)
        assert world.checker.running == 2
        world.prober.reconcile("u1", {})
        await world.clock.sleep(60)
        assert (world.checker.running, world.results, world.prober.view()) == (0, [], ())

    scenario(body)


def test_reconcile_with_the_same_wishes_changes_no_schedule() -> None:
    async def body(world: World) -> None:
        target = world.target()
        for _ in range(50):
            world.prober.reconcile("u1", {READY: replace(target)})
            await world.clock.sleep(0.5)
        assert world.checker.fired == [0, 10, 20]

    scenario(body)


def test_probe_waits_for_the_address_of_its_pod() -> None:
    async def body(world: World) -> None:
        target = world.target()
        world.prober.reconcile("u1", {READY: replace(target, pod_ip="")})
        await world.clock.sleep(4)
        assert world.checker.fired == []
        world.prober.reconcile("u1", {READY: target})
        await world.clock.sleep(1)
        assert world.checker.fired == [4]

    scenario(body)


def test_changed_spec_keeps_the_result_and_uses_the_new_timing() -> None:
    async def body(world: World) -> None:
        target = world.target()
        world.prober.reconcile("u1", {READY: target})
        await world.clock.sleep(1)
        faster = replace(target, spec=replace(target.spec, period=2.0))
        world.prober.reconcile("u1", {READY: faster})
        assert world.prober.result(READY) is True
        await world.clock.sleep(6)
        assert world.checker.fired == [0, 1, 2, 4, 6]

    scenario(body)


def test_calendar_set_back_does_not_silence_a_probe() -> None:
    async def body(world: World) -> None:
        target = world.target()
        world.clock.step_wall(-86_400)
        world.prober.reconcile("u1", {READY: target})
        await world.clock.sleep(15)
        assert world.checker.fired == [0, 10]

    scenario(body)


def test_hundreds_of_probes_due_at_once_all_fire_at_their_time() -> None:
    async def body(world: World) -> None:
        for number in range(300):
            uid = f"u{number}"
            world.prober.reconcile(uid, {ProbeKey(uid, "web", "readiness"): world.target()})
        await world.clock.sleep(25)
        assert len(world.checker.fired) == 900
        assert set(world.checker.fired) == {0, 10, 20}

    scenario(body)


def test_view_shows_what_is_scheduled_and_what_came_last() -> None:
    async def body(world: World) -> None:
        world.answer(failure("no"))
        world.prober.reconcile("u1", {LIVE: world.target()})
        world.prober.reconcile("u2", {ProbeKey("u2", "db", "liveness"): world.target()})
        await world.clock.sleep(4)
        (view,) = world.prober.view("u1")
        assert (view.key, view.healthy, view.run, view.last) == (LIVE, True, 1, failure("no"))
        assert view.due_in == pytest.approx(6.0)
        assert len(world.prober.view()) == 2

    scenario(body)


def test_container_not_ready_yet_is_asked_at_growing_pauses_and_then_every_period() -> None:
    async def body(world: World) -> None:
        world.answer(*[failure("not yet")] * 4, success())
        world.prober.reconcile("u1", {READY: world.target()})
        await world.clock.sleep(25)
        assert world.checker.fired == [0, 0.01, 0.02, 0.04, 0.08, 10, 20]
        # Failing thrice settles the result, succeeding changes it; the fourth failure is nothing new.
        assert [(one.healthy, one.changed) for one in world.results] == [
            (False, False),
            (False, False),
            (True, True),
        ]

    scenario(body)


def test_container_that_never_gets_ready_is_asked_every_period_in_the_end() -> None:
    async def body(world: World) -> None:
        world.answer(failure("no"))
        world.prober.reconcile("u1", {READY: world.target()})
        await world.clock.sleep(45)
        assert world.checker.fired[-4:] == [10, 20, 30, 40]
        assert len(world.checker.fired) == 15
        assert [one.at_wall - world.results[0].at_wall for one in world.results[2:]] == [10, 20, 30, 40]

    scenario(body)


def test_successes_that_must_be_several_are_asked_for_period_by_period() -> None:
    async def body(world: World) -> None:
        world.answer(failure("no"), success())
        world.prober.reconcile("u1", {READY: world.target(success_threshold=2)})
        await world.clock.sleep(25)
        assert world.checker.fired == [0, 10, 20]

    scenario(body)


def test_failing_liveness_is_never_asked_off_its_period() -> None:
    async def body(world: World) -> None:
        world.answer(failure("no"))
        world.prober.reconcile("u1", {LIVE: world.target()})
        await world.clock.sleep(15)
        assert world.checker.fired == [0, 10]

    scenario(body)


def test_failing_receiver_of_results_ends_the_named_loop() -> None:
    async def body(world: World) -> None:
        def broken(_result: ProbeResult) -> None:
            raise KeyError("worker gone")

        world.prober._on_result = broken
        world.prober.reconcile("u1", {READY: world.target()})
        with pytest.raises(Bug, match="worker gone"):
            await world.prober.run()
        assert world.prober.view() == ()

    scenario(body)


def test_commands_in_containers_are_bounded_and_the_wait_counts_as_lateness() -> None:
    @dataclass
    class Answer:
        stdout: bytes = b"ok"
        stderr: bytes = b""
        exit_code: int = 0

    async def main(clock: VirtualClock) -> None:
        running, peak = 0, 0

        async def exec_sync(_container: str, _command: tuple[str, ...], _timeout: int) -> Answer:
            nonlocal running, peak
            running += 1
            peak = max(peak, running)
            await clock.sleep(0.5)
            running -= 1
            return Answer()

        results: list[ProbeResult] = []
        prober = Prober(clock, exec_sync, results.append)
        spec = ProbeSpec(ExecCheck(("true",)))
        for number in range(20):
            key = ProbeKey(f"u{number}", "web", "readiness")
            prober.reconcile(key.uid, {key: ProbeTarget(spec, f"c{number}", clock.wall())})
        await clock.sleep(5)
        assert len(results) == 20
        assert peak == 8
        assert prober.lateness.worst_seconds == pytest.approx(1.0)
        await prober.aclose()

    virtual.run(main)
