"""The CRI suite over the fake runtime and over both real ones, and its command line."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from aio import virtual
from aio.clock import VirtualClock
from cri.conformance.case import Case
from cri.conformance.cases import ALL
from cri.conformance.context import Run, Target
from cri.conformance.real import prepared
from cri.conformance.runner import Outcome, Result, run_case
from cri.fake import FakeRuntime
from cri.imagefile import BUSYBOX_NAMES
from tests.runtimes.containerd import PrivateContainerd

pytestmark = pytest.mark.conformance

SIMULATED = [case for case in ALL if not case.needs]
LACKING = {
    "containerd-1.6": {
        "RuntimeConfig",
        "UpdatePodSandboxResources",
        "ListMetricDescriptors",
        "ListPodSandboxMetrics",
    },
    "containerd-2.1": {"UpdatePodSandboxResources", "ListMetricDescriptors", "ListPodSandboxMetrics"},
}


def title(case: Case) -> str:
    return case.title.replace(" ", "-")


def run_on_fake(case: Case, directory: Path) -> Result:
    async def scenario(clock: VirtualClock) -> Result:
        fake = FakeRuntime(clock)

        async def load_image(name: str) -> None:
            fake.images.add(name)

        target = Target(fake, fake.images, clock, fake.event_source, load_image)
        try:
            result = await run_case(case, target, Run("mark", directory, itertools.count(1)))
        finally:
            fake.close()
        assert fake.world.sandboxes == {}
        assert fake.world.names.holders() == {}
        return result

    return virtual.run(scenario)


@pytest.mark.parametrize("kind", ["fake"])
@pytest.mark.parametrize("case", SIMULATED, ids=title)
def test_fake_runtime_conforms(case: Case, kind: str, tmp_path: Path) -> None:
    result = run_on_fake(case, tmp_path)
    assert result.outcome is Outcome.PASSED, result.message


@pytest.mark.parametrize("case", ALL, ids=title)
def test_real_runtime_conforms(case: Case, runtime: PrivateContainerd) -> None:
    async def scenario() -> Result:
        async with prepared(runtime.endpoint) as (target, run):
            return await run_case(case, target, run)

    result = asyncio.run(scenario())
    if case.may_lack in LACKING[runtime.kind]:
        assert result.outcome is Outcome.SKIPPED, "the table of what this runtime lacks is out of date"
    else:
        assert result.outcome is Outcome.PASSED, result.message


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "cri.conformance", *arguments]


def test_command_prints_tap_brings_its_images_and_takes_them_away(own_runtime: PrivateContainerd) -> None:
    kept = BUSYBOX_NAMES[1]
    for name in own_runtime.ctr("images", "ls", "-q").split():
        if name != kept:
            own_runtime.ctr("images", "rm", name)
    focus = ("--focus", "status names the image|exit code zero")
    done = subprocess.run(
        command("--runtime-endpoint", own_runtime.endpoint, *focus),
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[:4] == [
        "TAP version 13",
        "1..2",
        "ok 1 - lifecycle: exit code zero is completed",
        "ok 2 - container: status names the image and its id",
    ]
    assert lines[4].startswith("# 2 cases: 2 passed, 0 failed, 0 skipped; ")
    assert own_runtime.ctr("images", "ls", "-q").split() == [kept]


def test_interrupted_command_leaves_nothing(own_runtime: PrivateContainerd) -> None:
    images = own_runtime.ctr("images", "ls", "-q")
    process = subprocess.Popen(
        command("--runtime-endpoint", own_runtime.endpoint, "--focus", "ten sandboxes|grace is over"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "TAP version 13\n"
    assert process.stdout.readline() == "1..2\n"
    while not own_runtime.container_processes():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, out + err
    assert "interrupted" in err
    assert "not ok" not in out
    assert own_runtime.ctr("containers", "ls", "-q").strip() == ""
    assert own_runtime.container_processes() == set()
    assert own_runtime.leases() == {}
    assert own_runtime.ctr("images", "ls", "-q") == images
