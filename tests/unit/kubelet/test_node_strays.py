"""Processes that a runtime lost: named by its refusal, found by their cgroup."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from kubelet.node.strays import kill_processes_of, stuck_task

pytestmark = pytest.mark.pure

ID = "a0c5614670f75b142ae265454c4e4ff72b19640572390cb3652e4d5fcf32754a"


def test_refusal_names_the_task_that_is_stuck() -> None:
    refusal = (
        f'failed to delete containerd container "{ID}": cannot delete running task {ID}: failed precondition'
    )
    assert stuck_task(refusal) == ID


@pytest.mark.parametrize("text", ["", "context deadline exceeded", "cannot delete running task xyz"])
def test_other_refusals_name_none(text: str) -> None:
    assert stuck_task(text) == ""


def test_only_the_processes_in_the_containers_cgroup_are_killed(tmp_path: Path) -> None:
    with (
        subprocess.Popen(["sleep", "60"]) as inside,
        subprocess.Popen(["sleep", "60"]) as outside,
    ):
        for process, cgroup in ((inside, f"/k8s.io/{ID}"), (outside, "/k8s.io/other")):
            (tmp_path / str(process.pid)).mkdir()
            (tmp_path / str(process.pid) / "cgroup").write_text(f"4:memory:{cgroup}\n0::/\n")
        (tmp_path / "self").mkdir()
        assert kill_processes_of(ID, tmp_path) == (inside.pid,)
        assert inside.wait(5) == -9
        assert outside.poll() is None
        outside.kill()
