"""What the facts of a host mean for a node on it: findings, each with its cause and what mends it (pure)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

from cni.trial import Trial
from pykubelet.instance.facts import CAP_NET_ADMIN, CAP_SYS_ADMIN, CAP_SYS_RESOURCE, HostFacts
from pykubelet.instance.layout import DEFAULT_API_PORT, DEFAULT_KUBELET_PORT

Level = Literal["ok", "note", "warning", "error"]
APT = "apt-get install --no-install-recommends"
LOW_DISK_BYTES = 1 << 30
OLDEST_PYTHON = (3, 11)
# KubeletConfiguration evictionHard nodefs.available: below it a node counts as full.
FULL_DISK_FRACTION = 0.10


@dataclass(frozen=True, slots=True)
class Finding:
    """`error`: `up` cannot work. `warning`: it works, and something will hurt. `note`: what was adapted."""

    name: str
    level: Level
    text: str
    mend: str = ""


def examine(facts: HostFacts) -> list[Finding]:
    """Every finding, in the order in which a person would mend them."""
    checks: tuple[Callable[[HostFacts], Iterator[Finding]], ...] = (
        _user, _programs, _network_plugins, _images, _capabilities, _cgroups, _swap, _storage, _neighbours,
    )  # fmt: skip
    return [finding for check in checks for finding in check(facts)]


def network_finding(trial: Trial) -> Finding:
    """What came of giving a scratch namespace a network."""
    if trial.is_fine:
        return Finding("network", "ok", "the network plugins work here (ADD, CHECK, DEL)")
    return Finding(
        "network", "error", f"cannot give pods a network: because {trial.failed} fails: {trial.because}",
        f"{APT} --reinstall containernetworking-plugins",
    )  # fmt: skip


def without_own(facts: HostFacts, own_kubelet: int | None, *, is_serving: bool = False) -> HostFacts:
    """The same host as seen by an instance that runs: its own ports and processes are no neighbours.
    `own_kubelet` is its agent's pid; `is_serving`: its control plane runs."""
    if is_serving:
        facts = replace(facts, is_api_taken=False)
    if own_kubelet is None:
        return facts
    others = tuple(pid for pid in facts.other_kubelets if pid != own_kubelet)
    return replace(facts, is_healthz_taken=False, is_kubelet_taken=False, other_kubelets=others)


def errors(findings: list[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.level == "error"]


def _user(facts: HostFacts) -> Iterator[Finding]:
    if not facts.is_root:
        yield Finding("root", "error", "cannot run containers: because this is not root", "sudo pykubelet up")
    else:
        yield Finding("root", "ok", "runs as root")
    if facts.python < OLDEST_PYTHON:
        shown = ".".join(map(str, facts.python))
        yield Finding(
            "python", "error", f"cannot run the agent: because Python {shown} is older than 3.11",
            f"{APT} python3",
        )  # fmt: skip


def _programs(facts: HostFacts) -> Iterator[Finding]:
    if not facts.containerd:
        yield Finding(
            "containerd", "error", "cannot start a runtime: because containerd is not installed",
            f"{APT} containerd runc",
        )  # fmt: skip
    elif facts.containerd_major < 1:
        yield Finding(
            "containerd", "error",
            f'cannot use "{facts.containerd}": because it does not say its version',
            f"{APT} --reinstall containerd",
        )  # fmt: skip
    else:
        yield Finding("containerd", "ok", f"containerd {facts.containerd_version} ({facts.containerd})")
    if not facts.runc:
        yield Finding(
            "runc", "error", "cannot start containers: because runc is not installed", f"{APT} runc"
        )
    else:
        yield Finding("runc", "ok", facts.runc)
    packages = {"ip": "iproute2", "umount": "mount", "ctr": "containerd", "nft": "nftables"}
    for name, package in packages.items():
        if not facts.programs.get(name):
            yield Finding(
                name, "error", f'cannot manage a node: because "{name}" is not installed', f"{APT} {package}"
            )
    if not facts.programs.get("iptables"):
        yield Finding(
            "iptables", "warning",
            "hostPorts of pods do not work: because iptables is not installed",
            f"{APT} iptables",
        )  # fmt: skip
    if facts.kubectl == "":
        yield Finding(
            "kubectl", "note", "there is no kubectl of 1.28 or later to use the cluster with",
            "make up (which installs one beside the other commands)",
        )  # fmt: skip
    elif facts.kubectl is not None:
        yield Finding("kubectl", "ok", f"kubectl ({facts.kubectl})")


def _network_plugins(facts: HostFacts) -> Iterator[Finding]:
    mend = f"{APT} containernetworking-plugins"
    if not facts.cni_directory:
        yield Finding("cni", "error", "cannot give pods a network: because no CNI plugins are there", mend)
    elif facts.cni_missing:
        missing = ", ".join(f'"{name}"' for name in facts.cni_missing)
        yield Finding(
            "cni", "error",
            f'cannot give pods a network: because {missing} is missing in "{facts.cni_directory}"', mend,
        )  # fmt: skip
    else:
        yield Finding("cni", "ok", f"network plugins in {facts.cni_directory}")


def _images(facts: HostFacts) -> Iterator[Finding]:
    for problem in facts.image_problems:
        yield Finding("images", "error", problem, f"{APT} catatonit busybox-static")
    if not facts.image_problems:
        yield Finding("images", "ok", "pause and busybox can be made from this host's binaries")


def _capabilities(facts: HostFacts) -> Iterator[Finding]:
    for name, bit in (("CAP_SYS_ADMIN", CAP_SYS_ADMIN), ("CAP_NET_ADMIN", CAP_NET_ADMIN)):
        if facts.is_root and not facts.has_capability(bit):
            yield Finding(
                name.lower(), "error", f"cannot run containers: because {name} is missing",
                f"give the container or machine that this runs in {name} (docker run --privileged)",
            )  # fmt: skip
    if not facts.has_capability(CAP_SYS_RESOURCE):
        yield Finding(
            "cap_sys_resource", "note",
            "CAP_SYS_RESOURCE is missing: oom_score_adj cannot be lowered, so containerd runs with "
            "restrict_oom_score_adj = true",
        )  # fmt: skip


def _cgroups(facts: HostFacts) -> Iterator[Finding]:
    if not facts.has_cgroups:
        yield Finding(
            "cgroups", "error", "cannot run containers: because no cgroup hierarchy is mounted",
            "mount -t cgroup2 cgroup2 /sys/fs/cgroup",
        )  # fmt: skip
    elif not facts.is_cgroup2_unified:
        yield Finding(
            "cgroups", "note",
            "cgroup v1 (hybrid layout): the agent runs with failCgroupV1: false, cgroupsPerQOS: false and "
            "enforceNodeAllocatable: [], and leaves cgroups to the runtime",
            "boot with systemd.unified_cgroup_hierarchy=1",
        )  # fmt: skip
    else:
        yield Finding("cgroups", "ok", "cgroup v2")


def _swap(facts: HostFacts) -> Iterator[Finding]:
    if facts.swap:
        yield Finding(
            "swap", "note",
            f"swap is on ({', '.join(facts.swap)}): the agent runs with failSwapOn: false", "swapoff -a",
        )  # fmt: skip


def _storage(facts: HostFacts) -> Iterator[Finding]:
    if not facts.has_overlay:
        yield Finding(
            "overlay", "error", "cannot unpack images: because this kernel has no overlay filesystem",
            "modprobe overlay",
        )  # fmt: skip
    free = facts.disk_free_bytes
    if free < LOW_DISK_BYTES or free < facts.disk_total_bytes * FULL_DISK_FRACTION:
        yield Finding(
            "disk", "warning",
            f'the disk of "{facts.root}" is nearly full: {free >> 20} MiB of '
            f"{facts.disk_total_bytes >> 20} MiB are free",
            f"pykubelet down --purge --root {facts.root}, or give --root a larger disk",
        )  # fmt: skip


def _neighbours(facts: HostFacts) -> Iterator[Finding]:
    """For an instance that is not up: its own agent would count as another one (see `without_own`)."""
    if facts.is_healthz_taken:
        yield Finding(
            "healthz", "note",
            f"127.0.0.1:{facts.healthz_port} is taken: the agent's healthz gets another port",
            f"ss -ltnp 'sport = :{facts.healthz_port}'",
        )  # fmt: skip
    for name, port, is_taken, who in (
        ("api-port", DEFAULT_API_PORT, facts.is_api_taken, "the API server"),
        ("kubelet-port", DEFAULT_KUBELET_PORT, facts.is_kubelet_taken, "the agent"),
    ):
        if is_taken:
            yield Finding(
                name, "note", f"port {port} is taken: {who} gets another port", f"ss -ltnp 'sport = :{port}'"
            )
    if facts.other_kubelets:
        pids = ", ".join(map(str, facts.other_kubelets))
        yield Finding(
            "kubelet", "note",
            f"another kubelet runs (pid {pids}): this instance gets a container runtime of its own",
            f"ps -o pid,args -p {pids.replace(' ', '')}",
        )  # fmt: skip
