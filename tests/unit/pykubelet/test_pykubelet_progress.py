"""What people see while `up` works: a line per step, and on a terminal what is under way."""

from __future__ import annotations

import asyncio
import io

import pytest

from pykubelet.instance.progress import Progress

pytestmark = pytest.mark.pure


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_finished_steps_are_plain_lines_where_there_is_no_terminal() -> None:
    out = io.StringIO()
    progress = Progress(out)
    with progress.step("containerd") as step:
        step.doing("containerd: waiting")
        step.note("containerd: pid 7")
    (line,) = out.getvalue().splitlines()
    took, unit, *said = line.split()
    assert float(took) >= 0 and unit == "s"
    assert " ".join(said) == "containerd: pid 7"
    assert "\x1b" not in out.getvalue()


def test_terminal_shows_what_goes_on_side_by_side() -> None:
    out = Terminal()
    progress = Progress(out)
    with progress.step("images"):
        with progress.step("kubelet"):
            assert out.getvalue().endswith("images; kubelet")
        assert out.getvalue().endswith("...      images")
    assert out.getvalue().endswith("s  images\n")


def test_step_that_fails_says_so_and_one_that_is_given_up_says_nothing() -> None:
    out = io.StringIO()
    progress = Progress(out)
    with pytest.raises(ValueError), progress.step("kube-controlplane"):
        raise ValueError
    with pytest.raises(asyncio.CancelledError), progress.step("kubelet"):
        raise asyncio.CancelledError
    assert out.getvalue() == "  failed  kube-controlplane\n"
