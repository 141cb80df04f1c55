"""The suite itself: it catches broken runtimes, reports as TAP, and its command refuses nonsense."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from aio import virtual
from aio.clock import VirtualClock
from cri.conformance import tap
from cri.conformance.__main__ import main
from cri.conformance.case import Case
from cri.conformance.cases import ALL
from cri.conformance.context import Context, Run, Target
from cri.conformance.runner import Outcome, Result, run_case, select
from cri.errors import CriError, Unavailable
from cri.fake import Behaviour, FakeRuntime
from cri.types import (
    Container,
    ContainerFilter,
    ContainerStatusResponse,
    ExecSyncResponse,
    PodSandboxConfig,
)

pytestmark = pytest.mark.pure


def judge(
    cases: Sequence[Case], directory: Path, make: Callable[[VirtualClock], FakeRuntime] = FakeRuntime
) -> list[Result]:
    async def scenario(clock: VirtualClock) -> list[Result]:
        fake = make(clock)

        async def load_image(name: str) -> None:
            fake.images.add(name)

        target = Target(fake, fake.images, clock, fake.event_source, load_image)
        run = Run("mark", directory, itertools.count(1))
        try:
            return [await run_case(case, target, run) for case in cases]
        finally:
            fake.close()

    return virtual.run(scenario)


class IgnoresGrace(FakeRuntime):
    async def stop_container(self, container_id: str, timeout_seconds: int) -> None:
        await super().stop_container(container_id, 0)


class IgnoresFilters(FakeRuntime):
    async def list_containers(self, filter: ContainerFilter | None = None) -> list[Container]:
        return await super().list_containers(None)


class ForgetsNames(FakeRuntime):
    async def run_pod_sandbox(self, config: PodSandboxConfig, runtime_handler: str = "") -> str:
        id = await super().run_pod_sandbox(config, runtime_handler)
        self.world.names.release(id, self.world.sandboxes[id].name)
        return id


class MixesStreams(FakeRuntime):
    async def exec_sync(
        self, container_id: str, cmd: Sequence[str], timeout_seconds: int
    ) -> ExecSyncResponse:
        answer = await super().exec_sync(container_id, cmd, timeout_seconds)
        return ExecSyncResponse(answer.stdout + answer.stderr, b"", answer.exit_code)


class SaysNothing(FakeRuntime):
    def __init__(self, clock: VirtualClock) -> None:
        super().__init__(clock)
        self.world.hub.publish = lambda event: None  # type: ignore[method-assign]


class NeverSettles(FakeRuntime):
    """Everything runs for ever, and its status never shows an end."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__(clock)
        self.behave(Behaviour())

    async def container_status(self, container_id: str, *, verbose: bool = False) -> ContainerStatusResponse:
        await asyncio.sleep(0.01)
        return await super().container_status(container_id, verbose=verbose)


@pytest.mark.parametrize(
    ("broken", "caught_by"),
    [
        (IgnoresGrace, "lifecycle: stop kills when the grace is over"),
        (IgnoresGrace, "lifecycle: stop asks and the container may choose its exit code"),
        (IgnoresFilters, "container: the list filters by state"),
        (IgnoresFilters, "container: the list filters by sandbox and id"),
        (ForgetsNames, "sandbox: a name in use is refused and its owner named"),
        (MixesStreams, "exec: streams and exit code come apart"),
        (SaysNothing, "event: start and exit of a container are told"),
        (NeverSettles, "lifecycle: exit code zero is completed"),
    ],
)
def test_broken_runtime_is_caught(broken: type[FakeRuntime], caught_by: str, tmp_path: Path) -> None:
    (case,) = (case for case in ALL if case.title == caught_by)
    (result,) = judge([case], tmp_path, broken)
    assert result.outcome is Outcome.FAILED
    assert "want" in result.message


def test_what_cannot_be_removed_fails_the_case_that_made_it(tmp_path: Path) -> None:
    def make(clock: VirtualClock) -> FakeRuntime:
        fake = FakeRuntime(clock)
        fake.fail("remove_pod_sandbox", CriError("device busy"))
        return fake

    (result,) = judge(select(ALL, "the list shows what status shows")[:1], tmp_path, make)
    assert result.outcome is Outcome.FAILED
    assert "could not be removed" in result.message
    assert "device busy" in result.message


def test_missing_optional_call_is_a_skip_and_a_missing_needed_one_a_failure(tmp_path: Path) -> None:
    def make(clock: VirtualClock) -> FakeRuntime:
        fake = FakeRuntime(clock)
        fake.faults.unimplemented.update({"runtime_config", "version"})
        return fake

    cases = select(ALL, "^runtime: (runtime config names|version)")
    outcomes = [result.outcome for result in judge(cases, tmp_path, make)]
    assert outcomes == [Outcome.FAILED, Outcome.SKIPPED]


def test_lost_runtime_fails_cases_and_does_not_end_the_run(tmp_path: Path) -> None:
    def make(clock: VirtualClock) -> FakeRuntime:
        fake = FakeRuntime(clock)
        fake.fail("run_pod_sandbox", Unavailable("connection refused"))
        return fake

    results = judge(select(ALL, "^exec: "), tmp_path, make)
    assert {result.outcome for result in results if not result.case.needs} == {Outcome.FAILED}


def test_every_case_has_a_title_of_its_own_and_there_are_over_fifty() -> None:
    titles = [case.title for case in ALL]
    assert len(titles) == len(set(titles)) >= 50


async def _body(ctx: Context) -> None:
    raise NotImplementedError


def test_tap_shows_plan_results_diagnosis_and_summary() -> None:
    case = Case("area", _body)
    results = [
        Result(case, Outcome.PASSED, 0.5),
        Result(case, Outcome.FAILED, 1.25, 'want "a"\ngot b'),
        Result(case, Outcome.SKIPPED, 0.0, "Call is not implemented by this runtime"),
    ]
    assert tap.plan(3) == "TAP version 13\n1..3"
    assert [tap.line(number, result) for number, result in enumerate(results, 1)] == [
        "ok 1 - area:  body",
        'not ok 2 - area:  body\n  ---\n  message: "want \\"a\\"\\ngot b"\n  seconds: 1.25\n  ...',
        "ok 3 - area:  body # SKIP Call is not implemented by this runtime",
    ]
    assert tap.summary(results, 1.75) == "# 3 cases: 1 passed, 1 failed, 1 skipped; 1.8 s"


def test_command_lists_titles_and_refuses_what_it_cannot_use(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["--list", "--focus", "^event"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(select(ALL, "^event"))
    assert main(["--focus", "("]) == 2
    assert "cannot use --focus" in capsys.readouterr().err
    assert main(["--focus", "no such case"]) == 2
    assert "no case matches" in capsys.readouterr().err
    assert main(["--runtime-endpoint", "tcp://127.0.0.1:1"]) == 2
    assert "tcp://127.0.0.1:1" in capsys.readouterr().err
