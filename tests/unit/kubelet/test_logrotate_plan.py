"""Plans for rotating one container log, and the compression of one file."""

from __future__ import annotations

import gzip
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kubelet import logrotate
from kubelet.logrotate import RotationPolicy, compress, leftovers, plan_rotation

pytestmark = pytest.mark.pure

NOW = datetime(2026, 11, 21, 0, 30, 5, tzinfo=UTC)


def stamped(second: int, end: str = "") -> str:
    return f"0.log.20261121-0000{second:02}{end}"


@pytest.mark.parametrize(("size", "expected"), [(0, False), (99, False), (100, True), (500, True)])
def test_log_is_rotated_from_its_limit_on(size: int, expected: bool) -> None:
    assert RotationPolicy(max_bytes=100).is_too_large(size) is expected
    assert RotationPolicy(max_bytes=-1).is_too_large(size) is False


def test_first_rotation_only_renames() -> None:
    plan = plan_rotation("0.log", ["0.log"], NOW, RotationPolicy())
    assert plan == logrotate.RotationPlan((), (), "0.log.20261121-003005")


def test_older_files_are_compressed_and_the_newest_made_now_is_not() -> None:
    siblings = ["0.log", stamped(1, ".gz"), stamped(2)]
    plan = plan_rotation("0.log", siblings, NOW, RotationPolicy())
    assert plan.remove == ()
    assert plan.compress == (stamped(2),)


def test_files_in_total_stay_within_the_limit() -> None:
    siblings = ["0.log", *(stamped(i, ".gz") for i in range(4)), stamped(4)]
    plan = plan_rotation("0.log", siblings, NOW, RotationPolicy(max_files=5))
    assert plan.remove == (stamped(0, ".gz"), stamped(1, ".gz"))
    left = len(siblings) - len(plan.remove) + 1
    assert left == 5


def test_two_files_mean_the_current_log_and_one_rotated() -> None:
    plan = plan_rotation("0.log", ["0.log", stamped(1)], NOW, RotationPolicy(max_files=2))
    assert plan.remove == (stamped(1),)
    assert plan.compress == ()


def test_leftovers_of_an_interrupted_compression_go() -> None:
    siblings = ["0.log", stamped(1), stamped(1, ".gz"), stamped(2), stamped(2, ".tmp")]
    assert leftovers("0.log", siblings) == (stamped(1), stamped(2, ".tmp"))
    plan = plan_rotation("0.log", siblings, NOW, RotationPolicy())
    assert plan.remove == (stamped(1), stamped(2, ".tmp"))
    assert plan.compress == (stamped(2),)


def test_logs_of_other_restarts_are_not_touched() -> None:
    siblings = ["0.log", "10.log", "10.log.20261121-000001", "0.logs", "1.log.20261121-000001.tmp"]
    plan = plan_rotation("0.log", siblings, NOW, RotationPolicy(max_files=2))
    assert (plan.remove, plan.compress) == ((), ())


@pytest.mark.parametrize("end", ["", ".gz"])
def test_second_rotation_within_a_second_does_not_overwrite_the_first(end: str) -> None:
    taken = f"0.log.20261121-003005{end}"
    assert plan_rotation("0.log", ["0.log", taken], NOW, RotationPolicy()).rotated == "0.log.20261121-003006"


def test_compressed_file_keeps_content_mode_and_time(tmp_path: Path) -> None:
    path = tmp_path / "0.log.20261121-000001"
    path.write_bytes(b"line\n" * 10_000)
    path.chmod(0o640)
    os.utime(path, (1000, 2000))
    compress(path)
    packed = tmp_path / "0.log.20261121-000001.gz"
    assert [entry.name for entry in tmp_path.iterdir()] == [packed.name]
    assert gzip.decompress(packed.read_bytes()) == b"line\n" * 10_000
    assert packed.stat().st_mode & 0o777 == 0o640
    assert packed.stat().st_mtime == 2000


def test_compression_that_fails_leaves_the_original_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "0.log.20261121-000001"
    path.write_bytes(b"line\n")

    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        compress(path)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
