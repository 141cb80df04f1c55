"""Settling under virtual time: how often CRI is asked again, and when it is given up."""

from __future__ import annotations

import pytest

from aio import virtual
from aio.clock import VirtualClock
from cri.enums import ContainerState
from cri.errors import Unavailable
from cri.events import EventKind, RuntimeEvent, Seen, settle
from cri.types import Container

pytestmark = pytest.mark.sim

RUNNING, EXITED = ContainerState.CONTAINER_RUNNING, ContainerState.CONTAINER_EXITED
STOPPED = RuntimeEvent(EventKind.STOPPED, "c", at=1)


class Answers:
    """Shows the container as running until `agrees_at` seconds after the first reading."""

    def __init__(self, clock: VirtualClock, agrees_at: float) -> None:
        self._clock = clock
        self._start = clock.monotonic()
        self._agrees_at = agrees_at
        self.read_at: list[float] = []

    async def read(self) -> Container:
        since = self._clock.monotonic() - self._start
        self.read_at.append(round(since, 4))
        return Container(id="c", state=EXITED if since >= self._agrees_at else RUNNING)


def view(container: Container) -> Seen:
    return Seen(containers=(container,))


def test_agreeing_answers_are_read_once() -> None:
    async def scenario(clock: VirtualClock) -> None:
        answers = Answers(clock, 0.0)
        assert (await settle(STOPPED, answers.read, view, clock)).state is EXITED
        assert answers.read_at == [0.0]

    virtual.run(scenario)


def test_lagging_answers_are_read_again_until_they_agree() -> None:
    async def scenario(clock: VirtualClock) -> None:
        answers = Answers(clock, 0.03)
        assert (await settle(STOPPED, answers.read, view, clock)).state is EXITED
        assert answers.read_at == [0.0, 0.005, 0.015, 0.035]

    virtual.run(scenario)


def test_answers_that_never_agree_are_given_up_after_the_last_delay() -> None:
    async def scenario(clock: VirtualClock) -> None:
        answers = Answers(clock, 99.0)
        assert (await settle(STOPPED, answers.read, view, clock)).state is RUNNING
        assert answers.read_at == [0.0, 0.005, 0.015, 0.035, 0.075, 0.155, 0.315, 0.635]

    virtual.run(scenario)


def test_an_error_of_the_runtime_passes_through() -> None:
    async def broken() -> Container:
        raise Unavailable("gone", call="ContainerStatus")

    async def scenario(clock: VirtualClock) -> None:
        with pytest.raises(Unavailable):
            await settle(STOPPED, broken, view, clock)

    virtual.run(scenario)
