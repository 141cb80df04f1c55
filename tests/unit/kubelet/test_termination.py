"""Termination messages: the file first, the log when allowed, never more than the budget."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cri.types import ContainerStatus, Mount
from kubelet.message_budget import bytes_per_container, cut_to_budget
from kubelet.podspec.names import ContainerFacts, PodIdentity
from kubelet.termination import (
    joined,
    may_use_logs,
    read_termination_message,
)

pytestmark = pytest.mark.pure

PATH = "/dev/termination-log"


def read(
    tmp_path: Path, policy: str = "File", *, exit_code: int = 1, reason: str = "Error", message: str = ""
) -> str:
    mounts = (Mount("/other", "/x"), Mount(PATH, str(tmp_path / "message")))
    status = ContainerStatus(
        exit_code=exit_code, reason=reason, message=message, mounts=mounts, log_path=str(tmp_path / "log")
    )
    facts = ContainerFacts(
        PodIdentity("p", "n", "u"), "c", termination_message_path=PATH, termination_message_policy=policy
    )
    return read_termination_message(status, facts)


def write_log(tmp_path: Path, *lines: str) -> None:
    text = "".join(f"2026-01-31T00:00:00.000000000Z stdout F {line}\n" for line in lines)
    (tmp_path / "log").write_text(text)


def test_the_file_wins_over_the_log(tmp_path: Path) -> None:
    (tmp_path / "message").write_text("mine")
    write_log(tmp_path, "log")
    assert read(tmp_path, "FallbackToLogsOnError") == "mine"


def test_the_end_of_a_long_file_is_kept(tmp_path: Path) -> None:
    (tmp_path / "message").write_text("a" * 4096 + "b" * 4096)
    assert read(tmp_path) == "b" * 4096


def test_an_empty_file_falls_back_to_the_log_only_where_asked(tmp_path: Path) -> None:
    (tmp_path / "message").touch()
    write_log(tmp_path, "one", "two")
    assert read(tmp_path, "FallbackToLogsOnError") == "one\ntwo\n"
    assert read(tmp_path, "File") == ""
    assert read(tmp_path, "FallbackToLogsOnError", exit_code=0) == ""
    assert read(tmp_path, "FallbackToLogsOnError", reason="ContainerCannotRun") == ""


def test_the_log_gives_eighty_lines_and_two_kilobytes_at_most(tmp_path: Path) -> None:
    (tmp_path / "message").touch()
    write_log(tmp_path, *[f"line {n}" for n in range(100)])
    assert read(tmp_path, "FallbackToLogsOnError").splitlines() == [f"line {n}" for n in range(20, 100)]
    write_log(tmp_path, *["x" * 100 for _ in range(100)])
    assert len(read(tmp_path, "FallbackToLogsOnError")) == 2048


def test_the_runtimes_words_come_first(tmp_path: Path) -> None:
    (tmp_path / "message").write_text("mine")
    assert read(tmp_path, message="oom") == "oom: mine"
    assert joined("oom", "") == "oom"
    assert joined("", "") == ""


@pytest.mark.timeout(5)
def test_a_container_cannot_make_the_agent_wait_or_read_elsewhere(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "message")
    assert read(tmp_path) == ""
    (tmp_path / "message").unlink()
    (tmp_path / "secret").write_text("s3cret")
    (tmp_path / "message").symlink_to(tmp_path / "secret")
    message = read(tmp_path)
    assert message.startswith(f"Error on reading termination log {tmp_path}/message: ")
    assert "s3cret" not in message


def test_missing_files_are_no_message(tmp_path: Path) -> None:
    assert read(tmp_path, "FallbackToLogsOnError") == ""


def test_bytes_that_are_no_text_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "message").write_bytes(b"a\xffb")
    assert read(tmp_path) == "a\ufffdb"


@pytest.mark.parametrize(("containers", "share"), [(0, 12288), (1, 12288), (3, 4096), (12, 1024), (24, 512)])
def test_the_pods_budget_is_shared(containers: int, share: int) -> None:
    assert bytes_per_container(containers) == share
    assert len(cut_to_budget("x" * 20000, containers)) == share
    assert cut_to_budget("short", containers) == "short"


def test_a_cut_never_splits_a_character() -> None:
    assert cut_to_budget("€" * 500, 12) == "€" * 341


@pytest.mark.parametrize(
    ("policy", "code", "reason", "allowed"),
    [
        ("FallbackToLogsOnError", 1, "Error", True),
        ("FallbackToLogsOnError", 0, "Completed", False),
        ("FallbackToLogsOnError", 128, "ContainerCannotRun", False),
        ("File", 1, "Error", False),
        ("", 1, "Error", False),
    ],
)
def test_who_may_use_the_log(policy: str, code: int, reason: str, allowed: bool) -> None:
    assert may_use_logs(policy, code, reason) is allowed
