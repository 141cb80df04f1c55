"""The node as pods see it: name, addresses, capacity, DNS, hosts file.

`read_node` is the reader; the parsers beside it are pure. Read once at start: what changes later
(addresses, the hosts file) is read again by whoever needs it fresh.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
from pathlib import Path

from kubelet.configuration import KubeletConfiguration
from kubelet.configuration.host import is_cgroup2_unified
from kubelet.flags import Flags
from kubelet.node.machine import read_machine
from kubelet.node.model import reservations
from kubelet.node.resources import PodLimits, allocatable, capacity, texts
from kubelet.podspec.context import NodeFacts
from kubelet.podspec.resolv import ResolvConf, parse_resolv_conf

_SIOCGIFADDR = 0x8915  # netdevice(7)
_RTF_UP = 0x1
# kubelet 1.36, pkg/kubelet/cm: the Warning event of a node that still runs on cgroup v1
CGROUP_V1_MESSAGE = "cgroup v1 support is in maintenance mode, please migrate to cgroup v2"
THERMAL_GLOB = "cpu*/thermal_throttle"


def node_name(flags: Flags) -> str:
    """`--hostname-override`, else the host's name, in lower case (pkg/util/node GetHostname)."""
    return (flags.hostname_override or os.uname().nodename).strip().lower()


def default_interface(routes: str) -> str:
    """The interface of the default route with the lowest metric in the text of /proc/net/route."""
    best: tuple[int, str] | None = None
    for line in routes.splitlines()[1:]:
        parts = line.split()
        if len(parts) < 8 or parts[1] != "00000000" or not int(parts[3], 16) & _RTF_UP:
            continue
        candidate = (int(parts[6]), parts[0])
        best = candidate if best is None else min(best, candidate)
    return best[1] if best is not None else ""


def interface_address(name: str) -> str:
    """The first IPv4 address of an interface, "" when it has none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        request = struct.pack("256s", name.encode()[:15])
        try:
            answer = fcntl.ioctl(probe.fileno(), _SIOCGIFADDR, request)
        except OSError:
            return ""
    return socket.inet_ntoa(answer[20:24])


def given_ips(flags: Flags) -> tuple[str, ...]:
    """The addresses of `--node-ip`; none when it leaves the choice to the agent."""
    given = tuple(part.strip() for part in flags.node_ip.split(",") if part.strip())
    return () if given in (("0.0.0.0",), ("::",)) else given


def detect_ips(flags: Flags) -> tuple[str, ...]:
    """`--node-ip`, else the address of the default route's interface; () when it has none just now."""
    if given := given_ips(flags):
        return given
    name = default_interface(Path("/proc/net/route").read_text())
    address = interface_address(name) if name else ""
    return (address,) if address else ()


def node_ips(flags: Flags) -> tuple[str, ...]:
    """The same, and loopback where there is none."""
    return detect_ips(flags) or ("127.0.0.1",)


def read_resolv_conf(path: str) -> ResolvConf | None:
    """None when `resolvConf` is configured as ""; a missing file is an empty one."""
    if not path:
        return None
    file = Path(path)
    return parse_resolv_conf(file.read_text() if file.exists() else "")


def read_node(flags: Flags, config: KubeletConfiguration) -> NodeFacts:
    """Everything about this node that pods' configurations need."""
    machine = read_machine(flags.root_dir)
    limits = PodLimits(config.max_pods, config.pods_per_core, config.local_storage_capacity_isolation)
    return NodeFacts(
        node_name=node_name(flags),
        node_ips=node_ips(flags),
        root_dir=flags.root_dir.rstrip("/"),
        pod_logs_dir=config.pod_logs_dir.rstrip("/"),
        container_logs_dir=container_logs_dir(config.pod_logs_dir),
        allocatable=texts(allocatable(capacity(machine, limits), reservations(flags, config))),
        memory_capacity_bytes=machine.memory_bytes,
        cluster_domain=config.cluster_domain,
        cluster_dns=tuple(config.cluster_dns),
        resolv_conf=read_resolv_conf(config.resolv_conf),
        seccomp_default=config.seccomp_default,
        cpu_cfs_quota=config.cpu_cfs_quota,
        cpu_cfs_quota_period_us=round(config.cpu_cfs_quota_period * 1_000_000),
        cgroup_v2=is_cgroup2_unified(Path("/proc/self/mounts").read_text()),
        single_process_oom_kill=bool(config.single_process_oom_kill),
        thermal_throttle_paths=tuple(
            str(path) for path in sorted(Path("/sys/devices/system/cpu").glob(THERMAL_GLOB))
        ),
    )


def container_logs_dir(pod_logs_dir: str) -> str:
    """/var/log/containers for the usual /var/log/pods; beside the pods' logs when those are elsewhere."""
    return str(Path(pod_logs_dir.rstrip("/")).parent / "containers")
