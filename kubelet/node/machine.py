"""Reads the machine: sizes, identities, versions. Pure parsers, and one reader that never fails for a file
that this host does not have.

Identities as cAdvisor finds them: machine-id of systemd or D-Bus, the DMI product's UUID (or the machine id
where the firmware tells none), the kernel's boot id.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from kubelet.node.model import Machine

# Go's GOARCH for what uname says.
_ARCHITECTURES = {
    "x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "armv6l": "arm", "i686": "386", "i386": "386",
    "ppc64le": "ppc64le", "s390x": "s390x", "riscv64": "riscv64", "loongarch64": "loong64",
}  # fmt: skip
_MACHINE_IDS = ("etc/machine-id", "var/lib/dbus/machine-id")
_SYSTEM_UUIDS = (
    "sys/class/dmi/id/product_uuid",
    "proc/device-tree/system-id",
    "proc/device-tree/vm,uuid",
    "etc/machine-id",
)
_OS_RELEASES = ("etc/os-release", "usr/lib/os-release")


def kib_of(meminfo: str, name: str) -> int:
    """Bytes of one row of /proc/meminfo ("MemTotal"), 0 when there is none."""
    for line in meminfo.splitlines():
        key, _, rest = line.partition(":")
        if key == name:
            return int(rest.split()[0]) * 1024
    return 0


def os_name(os_release: str) -> str:
    """PRETTY_NAME in the text of os-release; "Linux" as os-release(5) has it when there is none."""
    for line in os_release.splitlines():
        key, equals, value = line.strip().partition("=")
        if key == "PRETTY_NAME" and equals:
            return value.strip("\"'")
    return "Linux"


def architecture(machine: str) -> str:
    return _ARCHITECTURES.get(machine, machine)


def page_size_name(directory: str) -> str:
    """ "hugepages-2048kB" of sysfs as a resource, "hugepages-2Mi"; "" when it is no such directory."""
    prefix, dash, size = directory.partition("-")
    if prefix != "hugepages" or not dash or not size.endswith("kB"):
        return ""
    kib = int(size.removesuffix("kB"))
    for unit in ("Ki", "Mi", "Gi", "Ti"):
        if kib % 1024 or unit == "Ti":
            return f"hugepages-{kib}{unit}"
        kib //= 1024
    return ""


def read_machine(root_dir: str, root: Path = Path("/")) -> Machine:
    """This machine; `root_dir` is the agent's own directory, whose filesystem is ephemeral-storage. It is
    looked at through its nearest existing parent."""
    meminfo = _first(root, "proc/meminfo")
    uname = os.uname()
    return Machine(
        cpus=os.cpu_count() or 1,
        memory_bytes=kib_of(meminfo, "MemTotal"),
        disk_bytes=filesystem_bytes(root_dir),
        swap_bytes=kib_of(meminfo, "SwapTotal"),
        hugepages=_hugepages(root / "sys/kernel/mm/hugepages"),
        machine_id=_first(root, *_MACHINE_IDS),
        system_uuid=_first(root, *_SYSTEM_UUIDS),
        boot_id=_first(root, "proc/sys/kernel/random/boot_id"),
        kernel_version=uname.release,
        os_image=os_name(_first(root, *_OS_RELEASES)),
        architecture=architecture(uname.machine),
    )


def filesystem_bytes(path: str) -> int:
    """Size of the filesystem that `path` is on, or will be."""
    place = Path(path)
    while not place.exists() and place != place.parent:
        place = place.parent
    found = os.statvfs(place)
    return found.f_blocks * found.f_frsize


def _first(root: Path, *names: str) -> str:
    """The text of the first of these files that can be read and says something."""
    for name in names:
        try:
            text = (root / name).read_text(errors="replace").strip("\0 \n")
        except OSError:
            continue
        if text:
            return text
    return ""


def _hugepages(directory: Path) -> Mapping[str, int]:
    found: dict[str, int] = {}
    if not directory.is_dir():
        return found
    for entry in sorted(directory.iterdir()):
        if name := page_size_name(entry.name):
            count = int((entry / "nr_hugepages").read_text())
            found[name] = count * int(entry.name.removeprefix("hugepages-").removesuffix("kB")) * 1024
    return found
