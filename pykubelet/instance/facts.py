"""What of this host decides whether a node can run here: values, and the one reader that fills them in."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from cri.imagefile import ImageBuildError, static_binary
from kubelet.configuration.host import read_host
from pykubelet.instance.kubectl import find_kubectl
from pykubelet.instance.layout import DEFAULT_API_PORT, DEFAULT_HEALTHZ_PORT, DEFAULT_KUBELET_PORT, Layout
from pykubelet.instance.processes import all_processes

CNI_DIRECTORIES = ("/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni")
"""Debian's containernetworking-plugins, upstream's archives, Fedora's package."""

CNI_NEEDED = ("bridge", "host-local", "loopback")
CAP_SYS_ADMIN, CAP_NET_ADMIN, CAP_SYS_RESOURCE = 21, 12, 24  # linux/capability.h
LOOPBACK, ANY_ADDRESS = "127.0.0.1", "0.0.0.0"
SEARCH_PATH_EXTRA = ("/usr/local/sbin", "/usr/sbin", "/sbin")
_MODULES = {"kube-controlplane": "controlplane"}
_VERSION = re.compile(r"\bv?(\d+\.\d+\.\d+)")


@dataclass(frozen=True, slots=True)
class HostFacts:
    """One look at the host. Paths are "" when the program is not there."""

    is_root: bool = True
    python: tuple[int, int] = (3, 11)
    capabilities: int = -1
    containerd: str = ""
    containerd_version: str = ""
    runc: str = ""
    programs: dict[str, str] = field(default_factory=dict)  # ip, umount, iptables, ctr
    cni_directory: str = ""
    cni_missing: tuple[str, ...] = ()
    has_portmap: bool = False
    image_problems: tuple[str, ...] = ()  # why a built-in image cannot be made
    is_cgroup2_unified: bool = True
    has_cgroups: bool = True
    swap: tuple[str, ...] = ()
    has_overlay: bool = True
    healthz_port: int = DEFAULT_HEALTHZ_PORT
    is_healthz_taken: bool = False
    is_api_taken: bool = False  # the usual port of the API server; and of the agent, below
    is_kubelet_taken: bool = False
    kubectl: str | None = None  # "" for none that is recent enough, None when nobody looked
    other_kubelets: tuple[int, ...] = ()
    disk_free_bytes: int = 1 << 40
    disk_total_bytes: int = 1 << 40
    root: str = ""

    def has_capability(self, bit: int) -> bool:
        return bool(self.capabilities >> bit & 1)

    @property
    def containerd_major(self) -> int:
        return int(self.containerd_version.partition(".")[0] or 0)


def search_path() -> str:
    """PATH with the directories of system programs, which a user's PATH may lack."""
    return os.pathsep.join((os.environ.get("PATH") or os.defpath, *SEARCH_PATH_EXTRA))


def read_facts(layout: Layout, *, with_kubectl: bool = False) -> HostFacts:
    """Look at this host for the instance of `layout`. kubectl takes a while to say its version."""
    path = search_path()

    def which(name: str) -> str:
        return shutil.which(name, path=path) or ""

    containerd = which("containerd")
    directory = next((place for place in CNI_DIRECTORIES if Path(place, "bridge").exists()), "")
    host = read_host()
    usage = shutil.disk_usage(_existing(layout.root))
    return HostFacts(
        is_root=os.geteuid() == 0,
        python=(sys.version_info.major, sys.version_info.minor),
        capabilities=read_capabilities(Path("/proc/self/status").read_text()),
        containerd=containerd,
        containerd_version=_version_of(containerd) if containerd else "",
        runc=which("runc") or which("crun"),
        programs={name: which(name) for name in ("ip", "umount", "iptables", "nft", "ctr")},
        cni_directory=directory,
        cni_missing=tuple(name for name in CNI_NEEDED if not Path(directory or "/-", name).exists()),
        has_portmap=bool(directory) and Path(directory, "portmap").exists(),
        image_problems=_image_problems(),
        is_cgroup2_unified=host.is_cgroup2_unified,
        has_cgroups=has_cgroup_mount(Path("/proc/self/mounts").read_text()),
        swap=host.swap_devices,
        has_overlay="overlay" in Path("/proc/filesystems").read_text() or _has_module("overlay"),
        is_healthz_taken=is_port_taken(DEFAULT_HEALTHZ_PORT),
        is_api_taken=is_port_taken(DEFAULT_API_PORT, ANY_ADDRESS),
        is_kubelet_taken=is_port_taken(DEFAULT_KUBELET_PORT, ANY_ADDRESS),
        kubectl=find_kubectl() if with_kubectl else None,
        other_kubelets=_kubelets(),
        disk_free_bytes=usage.free,
        disk_total_bytes=usage.total,
        root=str(layout.root),
    )


def read_capabilities(status: str) -> int:
    """The effective set in the text of /proc/self/status (pure)."""
    for line in status.splitlines():
        if line.startswith("CapEff:"):
            return int(line.split()[1], 16)
    return 0


def has_cgroup_mount(mounts: str) -> bool:
    """Whether any cgroup hierarchy is there, in the text of /proc/self/mounts (pure)."""
    kinds = {parts[2] for line in mounts.splitlines() if len(parts := line.split(" ")) > 2}
    return bool(kinds & {"cgroup", "cgroup2"})


def is_port_taken(port: int, address: str = LOOPBACK) -> bool:
    """Whether one cannot listen there, since someone else does."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return True
    return False


def free_port(address: str = LOOPBACK) -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])


def _existing(path: Path) -> Path:
    return next(place for place in (path, *path.parents) if place.exists())


def _version_of(program: str) -> str:
    said = subprocess.run([program, "--version"], check=False, capture_output=True, text=True).stdout
    found = _VERSION.search(said)
    return found[1] if found else ""


def _has_module(name: str) -> bool:
    """Whether the kernel can load it: it is built or lies below /lib/modules."""
    modules = Path("/lib/modules", os.uname().release)
    try:
        listed = (modules / "modules.builtin").read_text() + (modules / "modules.dep").read_text()
    except FileNotFoundError:
        return False
    return f"/{name}.ko" in listed


def _image_problems() -> tuple[str, ...]:
    problems = []
    for command, package in (("catatonit", "catatonit"), ("busybox", "busybox-static")):
        try:
            static_binary(command, package)
        except ImageBuildError as error:
            problems.append(str(error))
    return tuple(problems)


def _kubelets() -> tuple[int, ...]:
    """Processes that are a kubelet, ours or another's."""
    return tuple(pid for pid, process in all_processes().items() if is_kubelet(process.argv))


def is_kubelet(argv: tuple[str, ...]) -> bool:
    return is_program(argv, "kubelet")


def is_program(argv: tuple[str, ...], name: str) -> bool:
    """By the program's name, or the script's or module's when an interpreter runs it (pure)."""
    if not argv:
        return False
    first, *words = (Path(word).name for word in argv[:3])
    if not first.startswith("python"):
        return first == name
    return words[:1] == [name] or words == ["-m", _MODULES.get(name, name)]
