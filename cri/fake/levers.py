"""What tests do to the fake runtime: script its processes, plan trouble for its calls, break it.

`behave` and `on_exec` script processes, `fail` plans trouble, `calls` is the record; `crash`, `lose_sandbox`,
`go_down`, `come_up`, `restart` and `reboot` are what the world does to runtimes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from aio.clock import Clock
from cri.errors import CriError, Unavailable
from cri.fake.behaviour import Behaviour
from cri.fake.faults import ALWAYS, Call, Fault, Faults
from cri.fake.images import FakeImages
from cri.fake.source import FakeEventSource
from cri.fake.world import Rule, World

NEVER = float("inf")


@dataclass(frozen=True, slots=True)
class Abandoned:
    """What becomes of a creation whose caller went away: `seconds` later it `completes`, or is dropped."""

    seconds: float = 1.0
    completes: bool = False


class Levers:
    """The state of a fake runtime, and everything about it that is not a CRI call."""

    def __init__(self, clock: Clock, *, seed: str = "fake") -> None:
        self._clock = clock
        self._faults = Faults(clock)
        self._sessions = 0
        self._timers: set[asyncio.TimerHandle] = set()
        self.images = FakeImages(clock, self._faults)
        self.world = World(clock, self.images, seed)
        self.abandoned = Abandoned()
        self.is_network_ready = True
        self.pod_cidr = ""

    @property
    def faults(self) -> Faults:
        return self._faults

    @property
    def calls(self) -> list[Call]:
        return self._faults.calls

    def fail(
        self,
        call: str,
        error: CriError | None = None,
        *,
        times: int = ALWAYS,
        delay_seconds: float = 0.0,
        is_hang: bool = False,
        is_answer_lost: bool = False,
    ) -> None:
        """Plan trouble for the next `times` of `call` ("create_container"): fail, be late, or never answer.

        `is_answer_lost`: the call takes effect, and then fails with `error`.
        """
        self._faults.plan(Fault(call, error, delay_seconds, is_hang, is_answer_lost, times))

    def behave(self, behaviour: Behaviour, **matching: str | tuple[str, ...]) -> None:
        """Containers that match (`image`, `command` prefix, `container_name`, `pod_name`) run `behaviour`."""
        self.world.rules.append(Rule(behaviour, **matching))  # type: ignore[arg-type]

    def on_exec(self, behaviour: Behaviour, **matching: str | tuple[str, ...]) -> None:
        """As `behave`, for commands run by ExecSync."""
        self.world.exec_rules.append(Rule(behaviour, **matching))  # type: ignore[arg-type]

    def crash(self, container_id: str, code: int = 137, *, is_oom: bool = False) -> None:
        """The container's process ends from outside, with `code`."""
        self.world.kill(self.world.container(container_id, "crash"), code, is_oom=is_oom)

    def lose_sandbox(self, pod_sandbox_id: str) -> None:
        """The sandbox's pause process dies."""
        self.world.lose_sandbox(self.world.sandbox(pod_sandbox_id, "lose_sandbox"))

    def go_down(self) -> None:
        """The daemon ends: calls fail, event streams break, half-made things are forgotten.

        Containers run on.
        """
        self._faults.is_down = True
        self._drop_timers()
        self.world.forget_half_made()
        self.world.hub.up.clear()
        self.world.hub.break_off(Unavailable("connection reset by peer", call="GetContainerEvents"))

    def come_up(self) -> None:
        self._faults.is_down = False
        self.world.hub.up.set()

    def restart(self) -> None:
        self.go_down()
        self.come_up()

    def reboot(self) -> None:
        """The host went down and came back with the runtime's records: nothing runs, no address is leased."""
        self.go_down()
        self.world.reboot()
        self.come_up()

    def close(self) -> None:
        self._drop_timers()
        self.world.close()

    def event_source(self) -> FakeEventSource:
        return FakeEventSource(self.world.hub)

    def _abandon(self, id: str, name: str, complete: Callable[[], object]) -> None:
        """Its caller gave up: the name stays taken until the runtime is done with it."""
        plan = self.abandoned
        if plan.seconds == NEVER:
            return

        def finish() -> None:
            self._timers.discard(timer)
            if not plan.completes:
                self.world.names.release(id, name)
                return
            try:
                complete()
            except CriError:  # the pod went away meanwhile, and so does the half-made thing
                self.world.names.release(id, name)

        timer = asyncio.get_running_loop().call_later(plan.seconds, finish)
        self._timers.add(timer)

    def _drop_timers(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
