"""Capacity and allocatable, and what of the machine they are read from."""

from __future__ import annotations

from pathlib import Path

import pytest

from kube.quantity import parse
from kubelet.node import machine as m
from kubelet.node.model import Machine, Reservations
from kubelet.node.resources import PodLimits, allocatable, capacity, texts, threshold_amount

pytestmark = pytest.mark.pure

GIB = 1024**3
BOX = Machine(cpus=4, memory_bytes=8 * GIB, disk_bytes=100 * GIB)


def left(reserved: Reservations, box: Machine = BOX) -> dict[str, str]:
    return texts(allocatable(capacity(box, PodLimits()), reserved))


def test_everything_is_for_pods_when_nothing_is_reserved() -> None:
    assert left(Reservations()) == {
        "cpu": "4", "memory": "8Gi", "pods": "110", "ephemeral-storage": "100Gi",
    }  # fmt: skip


def test_reservations_and_eviction_thresholds_add_up() -> None:
    reserved = Reservations(
        system={"cpu": "500m", "memory": "1Gi", "pid": "1000"},
        kube={"cpu": "250m", "memory": "512Mi", "ephemeral-storage": "10Gi"},
        eviction_hard={
            "memory.available": "512Mi", "nodefs.available": "5Gi", "imagefs.available": "15%",
        },
    )  # fmt: skip
    assert left(reserved) == {
        "cpu": "3250m", "memory": "6Gi", "pods": "110", "ephemeral-storage": "85Gi",
    }  # fmt: skip


def test_allocatable_is_never_less_than_nothing() -> None:
    assert left(Reservations(system={"memory": "9Gi", "cpu": "5"}))["memory"] == "0"
    assert left(Reservations(system={"memory": "9Gi", "cpu": "5"}))["cpu"] == "0"


def test_huge_pages_come_off_memory() -> None:
    box = Machine(cpus=1, memory_bytes=4 * GIB, hugepages={"hugepages-1Gi": GIB, "hugepages-2Mi": 2 * GIB})
    found = left(Reservations(), box)
    assert found["memory"] == "1Gi"
    assert (found["hugepages-1Gi"], found["hugepages-2Mi"]) == ("1Gi", "2Gi")


@pytest.mark.parametrize(("most", "per_core", "pods"), [(110, 0, "110"), (110, 10, "40"), (20, 10, "20")])
def test_pods_are_limited_by_number_and_by_core(most: int, per_core: int, pods: str) -> None:
    assert texts(capacity(BOX, PodLimits(most, per_core)))["pods"] == pods


def test_storage_is_left_out_without_its_isolation() -> None:
    assert "ephemeral-storage" not in capacity(BOX, PodLimits(local_storage=False))


@pytest.mark.parametrize(
    ("text", "amount"), [("100Mi", "100Mi"), ("50%", "4Gi"), ("0%", "0"), ("100%", "0"), ("10%", "858993472")]
)
def test_a_threshold_is_an_amount_or_a_share(text: str, amount: str) -> None:
    assert str(threshold_amount(text, parse("8Gi"))) == amount


@pytest.mark.parametrize(
    ("directory", "name"),
    [
        ("hugepages-2048kB", "hugepages-2Mi"),
        ("hugepages-1048576kB", "hugepages-1Gi"),
        ("hugepages-64kB", "hugepages-64Ki"),
        ("hugepages", ""),
        ("other-64kB", ""),
    ],
)
def test_page_sizes_are_resources(directory: str, name: str) -> None:
    assert m.page_size_name(directory) == name


def test_a_machine_is_read_from_its_files(tmp_path: Path) -> None:
    files = {
        "proc/meminfo": "MemTotal:        4039004 kB\nMemFree: 1 kB\nSwapTotal:  1024 kB\n",
        "proc/sys/kernel/random/boot_id": "boot\n",
        "var/lib/dbus/machine-id": "machine\n",
        "sys/class/dmi/id/product_uuid": "uuid\n",
        "etc/os-release": 'NAME="Debian"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n',
        "sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages": "3\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    found = m.read_machine(str(tmp_path / "not" / "there"), tmp_path)
    assert (found.memory_bytes, found.swap_bytes) == (4_039_004 * 1024, 1024 * 1024)
    assert (found.machine_id, found.system_uuid, found.boot_id) == ("machine", "uuid", "boot")
    assert found.os_image == "Debian GNU/Linux 12 (bookworm)"
    assert found.hugepages == {"hugepages-2Mi": 6 * 1024**2}
    assert found.disk_bytes == m.filesystem_bytes(str(tmp_path))
    assert found.cpus > 0


def test_a_host_without_any_of_these_files_still_has_a_machine(tmp_path: Path) -> None:
    found = m.read_machine("/", tmp_path)
    assert (found.machine_id, found.hugepages, found.os_image) == ("", {}, "Linux")


def test_a_machine_without_firmware_is_known_by_its_machine_id(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/machine-id").write_text("abc\n")
    assert m.read_machine("/", tmp_path).system_uuid == "abc"


@pytest.mark.parametrize(("uname", "go"), [("x86_64", "amd64"), ("aarch64", "arm64"), ("mips", "mips")])
def test_architectures_are_gos(uname: str, go: str) -> None:
    assert m.architecture(uname) == go
