"""The reader and the writer against directories that look like cgroups; nothing under /sys is touched."""

from __future__ import annotations

import errno
import os
import shutil
import signal
from pathlib import Path

import pytest

from cgroups.read import Pressure, Tree, parse_cpu_max, parse_flat, parse_limit, parse_pressure, working_set
from cgroups.settings import Write
from cgroups.write import Outcome, Writer

MEMORY = Write("memory.max", "134217728")


def make_cgroup(mount: Path, path: str, **files: str) -> Path:
    directory = mount / path.lstrip("/")
    directory.mkdir(parents=True)
    for name, text in {"cgroup_procs": "", **files}.items():
        (directory / name.replace("_", ".")).write_text(text)
    return directory


def remove_like_the_kernel(path: Path) -> None:
    """A cgroup goes with its files; processes in it or children keep it."""
    if (path / "cgroup.procs").read_text() or any(entry.is_dir() for entry in path.iterdir()):
        raise OSError(errno.EBUSY, "Device or resource busy")
    shutil.rmtree(path)


def test_writer_puts_each_value_and_says_which_file_is_not_there(tmp_path: Path) -> None:
    directory = make_cgroup(tmp_path, "/kubepods", memory_max="max\n")
    done = Writer(tmp_path).apply("/kubepods", [MEMORY, Write("pids.max", "10")])
    assert [one.outcome for one in done] == [Outcome.WRITTEN, Outcome.NO_FILE]
    assert (directory / "memory.max").read_text() == "134217728"
    assert not (directory / "pids.max").exists()


def test_a_cgroup_that_is_gone_is_an_outcome(tmp_path: Path) -> None:
    assert [one.outcome for one in Writer(tmp_path).apply("/kubepods/podx", [MEMORY])] == [Outcome.GONE]


def test_a_cgroup_that_goes_while_its_directory_is_open_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = make_cgroup(tmp_path, "/podx", memory_max="max")
    real = os.open

    def racing(path: object, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if dir_fd is not None and directory.exists():
            shutil.rmtree(directory)
        return real(path, flags, mode, dir_fd=dir_fd)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", racing)
    assert [one.outcome for one in Writer(tmp_path).apply("/podx", [MEMORY])] == [Outcome.GONE]


def test_what_the_kernel_refuses_is_told_with_its_reason_and_the_rest_is_written(tmp_path: Path) -> None:
    directory = make_cgroup(tmp_path, "/podx", pids_max="max")
    (directory / "memory.max").mkdir()  # opening it for writing fails, for root too
    done = Writer(tmp_path).apply("/podx", [MEMORY, Write("pids.max", "5")])
    assert [(one.outcome, one.why) for one in done] == [
        (Outcome.REFUSED, "Is a directory"),
        (Outcome.WRITTEN, ""),
    ]


def test_an_empty_pod_is_removed_from_the_bottom(tmp_path: Path) -> None:
    make_cgroup(tmp_path, "/podx")
    make_cgroup(tmp_path, "/podx/box")
    assert Writer(tmp_path, rmdir=remove_like_the_kernel).remove("/podx").gone
    assert not (tmp_path / "podx").exists()


def test_removing_what_is_gone_is_done(tmp_path: Path) -> None:
    assert Writer(tmp_path, rmdir=remove_like_the_kernel).remove("/podx").gone


def test_leftovers_are_killed_and_then_the_cgroup_goes(tmp_path: Path) -> None:
    box = make_cgroup(tmp_path, "/podx/box", cgroup_procs="41\n42\n")
    (tmp_path / "podx" / "cgroup.procs").write_text("")
    killed: list[tuple[int, int]] = []

    def kill(pid: int, number: int) -> None:
        killed.append((pid, number))
        if pid == 41:
            raise ProcessLookupError
        (box / "cgroup.procs").write_text("")

    assert Writer(tmp_path, rmdir=remove_like_the_kernel, kill=kill).remove("/podx").gone
    assert killed == [(41, signal.SIGKILL), (42, signal.SIGKILL)]


def test_cgroup_kill_is_preferred_to_killing_one_by_one(tmp_path: Path) -> None:
    box = make_cgroup(tmp_path, "/podx", cgroup_procs="41\n", cgroup_kill="")
    asked: list[int] = []
    writer = Writer(tmp_path, rmdir=remove_like_the_kernel, kill=lambda pid, _: asked.append(pid))
    removal = writer.remove("/podx", attempts=2)
    assert asked == []
    assert (removal.gone, removal.busy, removal.pids) == (False, "/podx", (41,))
    assert (box / "cgroup.kill").read_text() == "1"


def test_removal_gives_up_after_its_attempts_and_names_who_stays(tmp_path: Path) -> None:
    make_cgroup(tmp_path, "/podx", cgroup_procs="41\n")
    asked: list[int] = []
    writer = Writer(tmp_path, rmdir=remove_like_the_kernel, kill=lambda pid, _: asked.append(pid))
    removal = writer.remove("/podx")
    assert (removal.gone, removal.pids, len(asked)) == (False, (41,), 4)


def test_other_trouble_with_removal_is_raised(tmp_path: Path) -> None:
    make_cgroup(tmp_path, "/podx")

    def refuse(path: Path) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted", str(path))

    with pytest.raises(PermissionError):
        Writer(tmp_path, rmdir=refuse).remove("/podx")


def test_reader_leaves_out_files_that_are_not_there_and_knows_a_gone_cgroup(tmp_path: Path) -> None:
    make_cgroup(tmp_path, "/podx", memory_current="4096\n")
    tree = Tree(tmp_path)
    assert tree.read("/podx", ["memory.current", "cpu.stat"]) == {"memory.current": "4096\n"}
    assert tree.read("/pody", ["memory.current"]) is None
    assert tree.read_one("/podx", "cpu.stat") is None


def test_walk_gives_parents_before_children(tmp_path: Path) -> None:
    for path in ("/kubepods/b", "/kubepods/a/box"):
        make_cgroup(tmp_path, path)
    assert list(Tree(tmp_path).below("/kubepods")) == ["/kubepods/a", "/kubepods/a/box", "/kubepods/b"]
    assert list(Tree(tmp_path).below("/nothing")) == []


def test_files_are_read_as_the_kernel_writes_them() -> None:
    assert parse_flat("anon 4096\nfile 10\n") == {"anon": 4096, "file": 10}
    assert (parse_limit("max\n"), parse_limit("5\n")) == (-1, 5)
    assert (parse_cpu_max("max 100000\n"), parse_cpu_max("5 10\n")) == ((-1, 100_000), (5, 10))
    text = (
        "some avg10=1.50 avg60=0.20 avg300=0.00 total=123\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\n"
    )
    assert parse_pressure(text) == {"some": Pressure(1.5, 0.2, 0.0, 123), "full": Pressure(total_us=7)}
    assert working_set(100, {"inactive_file": 30}) == 70
    assert working_set(10, {"inactive_file": 30}) == 0
