"""State files: upstream's own files are read, ours carry the sums it expects, foreign ones are kept aside."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

from kubelet.resources import state_file as f
from kubelet.resources.cpu_static import CpuState
from kubelet.resources.cpuset import parse
from kubelet.resources.memory_static import Block, MemoryState, NodeState, Table

pytestmark = pytest.mark.pure

CPUS = CpuState(parse("7-9"), {"pod": {"container1": parse("4-6"), "container2": parse("1-3")}})
MEMORY = MemoryState(
    {0: NodeState(0, {"memory": Table(2048, 512, 1536, 512, 1024)}, ())},
    {"pod": {"container1": (Block((0,), "memory", 512),)}},
)
# Sums that a kubelet wrote (state_checkpoint_test.go): not computed here.
EMPTY_CPU_SUM = 354655845
DATA_SUM = 1420829534
MEMORY_SUM = 4215593881
DATA = (
    '{"policyName":"static","defaultCPUSet":"7-9","entries":{"pod":{"container1":"4-6","container2":"1-3"}}}'
)


def test_cpu_file_has_upstreams_keys_and_sum(tmp_path: Path) -> None:
    f.write_cpus(tmp_path, "none", CpuState(parse("4-6")))
    content = json.loads((tmp_path / "cpu_manager_state").read_text())
    assert content == {"policyName": "none", "defaultCpuSet": "4-6", "checksum": EMPTY_CPU_SUM}
    f.write_cpus(tmp_path, "static", CPUS)
    assert json.loads((tmp_path / "cpu_manager_state").read_text())["entries"] == {
        "pod": {"container1": "4-6", "container2": "1-3"}
    }
    assert f.read_cpus(tmp_path, "static") == CPUS
    assert [path.name for path in tmp_path.iterdir()] == ["cpu_manager_state"]


def test_memory_file_has_upstreams_keys_and_sum(tmp_path: Path) -> None:
    f.write_memory(tmp_path, "static", MEMORY)
    assert json.loads((tmp_path / "memory_manager_state").read_text()) == {
        "policyName": "static",
        "machineState": {
            "0": {
                "numberOfAssignments": 0,
                "memoryMap": {
                    "memory": {
                        "total": 2048,
                        "systemReserved": 512,
                        "allocatable": 1536,
                        "reserved": 512,
                        "free": 1024,
                    }
                },
                "cells": [],
            }
        },
        "entries": {"pod": {"container1": [{"numaAffinity": [0], "type": "memory", "size": 512}]}},
        "checksum": MEMORY_SUM,
    }
    assert f.read_memory(tmp_path, "static") == MEMORY


def test_the_data_member_of_later_versions_is_what_counts() -> None:
    content = {
        "policyName": "other",
        "defaultCPUSet": "1-9",
        "checksum": 1234,
        "data": DATA,
        "dataChecksum": DATA_SUM,
    }
    assert f.decode_cpus(content, "static") == CPUS


def test_without_a_sum_a_file_is_taken_as_it_is() -> None:
    assert f.decode_cpus({"policyName": "none", "defaultCpuSet": "0-3"}, "none") == CpuState(parse("0-3"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"policyName": "none", "defaultCpuSet": "4-6", "checksum": 1}, "checksum does not match"),
        ({"policyName": "none", "defaultCpuSet": "1.3"}, "could not parse CPU set"),
        ({"policyName": "static", "defaultCpuSet": "1"}, 'configured policy "none" differs'),
        ({"policyName": "none"}, "corrupted"),
        ({"policyName": "none", "defaultCpuSet": "1", "entries": {"id": "4-6"}}, "corrupted"),
        ({"data": DATA, "dataChecksum": 1}, "dataChecksum does not match"),
        ({"data": "{", "dataChecksum": 3289118412}, "corrupted"),
    ],
)
def test_foreign_cpu_states_are_refused(content: dict[str, Any], message: str) -> None:
    with pytest.raises(f.ForeignState, match=message):
        f.decode_cpus(content, "none")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"checksum": 101010}, "checksum does not match"),
        ({"policyName": "None", "checksum": 0}, "differs from state checkpoint policy"),
        ({"machineState": {"x": {}}, "checksum": 0}, "corrupted"),
        ({"entries": {"pod": {"c": [{"affinity": [0]}]}}, "checksum": 0}, "corrupted"),
    ],
)
def test_foreign_memory_states_are_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    f.write_memory(tmp_path, "static", MEMORY)
    path = tmp_path / f.MEMORY_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(f.ForeignState, match=message):
        f.read_memory(tmp_path, "static")


@pytest.mark.parametrize("text", ["{", "[]", "", "\x00\x00"])
def test_what_is_no_json_object_is_refused_and_kept_aside(tmp_path: Path, text: str) -> None:
    (tmp_path / f.CPU_FILE).write_text(text)
    with pytest.raises(f.ForeignState):
        f.read_cpus(tmp_path, "static")
    (tmp_path / "cpu_manager_state.aside").write_text("an older one")
    aside = f.set_aside(tmp_path, f.CPU_FILE)
    assert aside == tmp_path / "cpu_manager_state.aside.1"
    assert aside.read_text() == text
    assert f.read_cpus(tmp_path, "static") is None


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    f.write_cpus(tmp_path, "static", CPUS)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        f.write_cpus(tmp_path, "static", CpuState(parse("0-9")))
    assert f.read_cpus(tmp_path, "static") == CPUS
    assert [path.name for path in tmp_path.iterdir()] == [f.CPU_FILE]
