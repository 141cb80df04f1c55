"""Whether the node takes a pod (pure): the checks a pod passes before anything is done for it.

Order, reasons and messages are those of kubelet 1.36 (pkg/kubelet/lifecycle/predicate.go,
pkg/kubelet/sysctl): sysctls, operating system, resources, labels, host ports, taints. A refused pod fails
with "Pod was rejected: …"; pods already adopted after a restart are not judged again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from kube.meta import is_static
from kube.objects.cluster_v1 import Taint
from kube.objects.core_v1 import Container, Pod
from kube.placement import NODE_AFFINITY, TAINTED, untolerated, wants_node
from kubelet.model import Waiting
from kubelet.podspec.resources import amount, milli_cpu, requests_of
from kubelet.reasons import REJECTED_PREFIX
from kubelet.restart import is_sidecar

# pkg/kubelet/sysctl/safe_sysctls.go
SAFE_SYSCTLS = frozenset(
    {
        "kernel.shm_rmid_forced",
        "net.ipv4.ip_local_port_range",
        "net.ipv4.tcp_syncookies",
        "net.ipv4.ping_group_range",
        "net.ipv4.ip_unprivileged_port_start",
        "net.ipv4.ip_local_reserved_ports",
        "net.ipv4.tcp_keepalive_time",
        "net.ipv4.tcp_fin_timeout",
        "net.ipv4.tcp_keepalive_intvl",
        "net.ipv4.tcp_keepalive_probes",
        "net.ipv4.tcp_rmem",
        "net.ipv4.tcp_wmem",
    }
)
_OS_LABEL = "kubernetes.io/os"


@dataclass(frozen=True, slots=True)
class Place:
    """The node as the cluster has it: what pods select it by, and what keeps them off."""

    name: str
    labels: Mapping[str, str]
    taints: tuple[Taint, ...] = ()


@dataclass(frozen=True, slots=True)
class Room:
    """What the node offers: allocatable quantities, and the sysctls allowed beyond the safe ones.

    An entry of `unsafe_sysctls` that ends with `*` allows every name that begins so. Without a `place` (no
    cluster, or its Node is not known yet) pods are not asked what nodes they want.
    """

    allocatable: Mapping[str, str]
    unsafe_sysctls: tuple[str, ...] = ()
    place: Place | None = None


def admit(pod: Pod, others: Sequence[Pod], room: Room) -> Waiting | None:
    """None to take the pod, else the reason and message it fails with. `others` are not over yet."""
    refusal = (
        _check_sysctls(pod, room)
        or _check_os(pod)
        or _check_resources(pod, others, room)
        or _check_labels(pod, room.place)
        or _check_host_ports(pod, others)
        or _check_taints(pod, room.place)
    )
    if refusal is None:
        return None
    return Waiting(refusal.reason, f"{REJECTED_PREFIX}{refusal.message}")


def _check_sysctls(pod: Pod, room: Room) -> Waiting | None:
    context = pod.spec.security_context
    for sysctl in context.sysctls if context is not None else ():
        name = sysctl.name.replace("/", ".")
        if name in SAFE_SYSCTLS or any(_allows(pattern, name) for pattern in room.unsafe_sysctls):
            continue
        return Waiting("SysctlForbidden", f'forbidden sysctl: "{sysctl.name}" not allowlisted')
    return None


def _allows(pattern: str, name: str) -> bool:
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern


def _check_os(pod: Pod) -> Waiting | None:
    wanted = pod.spec.node_selector.get(_OS_LABEL)
    if wanted is not None and wanted != "linux":
        text = "Failed to admit pod as the `kubernetes.io/os` label doesn't match node label"
        return Waiting("PodOSSelectorNodeLabelDoesNotMatch", text)
    if pod.spec.os is not None and pod.spec.os.name != "linux":
        return Waiting("PodOSNotSupported", "Failed to admit pod as the OS field doesn't match node OS")
    return None


def wants_place(pod: Pod, place: Place | None) -> bool:
    """Whether the pod's nodeSelector and required node affinity let it be here; True where nobody knows."""
    return place is None or wants_node(pod, place.name, place.labels)


def _check_labels(pod: Pod, place: Place | None) -> Waiting | None:
    return None if wants_place(pod, place) else _predicate("NodeAffinity", NODE_AFFINITY)


def _check_taints(pod: Pod, place: Place | None) -> Waiting | None:
    """NoExecute alone: the agent runs what was put here before a NoSchedule came. Static pods stay."""
    if place is None or is_static(pod) or not any(untolerated(pod, place.taints, "NoExecute")):
        return None
    return _predicate("TaintToleration", TAINTED)


def _predicate(name: str, why: str) -> Waiting:
    return Waiting(name, f"Predicate {name} failed: {why}")


def pod_requests(pod: Pod) -> dict[str, int]:
    """What the pod needs at its peak: thousandths of a core, bytes, counts.

    Regular containers and sidecars run together; an ordinary init container runs beside the
    sidecars before it (component-helpers resource.PodRequests).
    """
    together: dict[str, int] = {}
    for container in pod.spec.containers:
        _add(together, _requests(container))
    sidecars: dict[str, int] = {}
    peak: dict[str, int] = {}
    for container in pod.spec.init_containers:
        own = _requests(container)
        if is_sidecar(container):
            _add(sidecars, own)
            _raise(peak, sidecars)
        else:
            _raise(peak, {name: own.get(name, 0) + sidecars.get(name, 0) for name in {*own, *sidecars}})
    _add(together, sidecars)
    _raise(together, peak)
    _add(together, {name: _value({name: text}, name) for name, text in pod.spec.overhead.items()})
    return together


def _requests(container: Container) -> dict[str, int]:
    wanted = requests_of(container)
    return {name: _value(wanted, name) for name in wanted}


def _value(resources: Mapping[str, str], name: str) -> int:
    return milli_cpu(resources) if name == "cpu" else amount(resources, name)


def _add(total: dict[str, int], more: Mapping[str, int]) -> None:
    for name, value in more.items():
        total[name] = total.get(name, 0) + value


def _raise(total: dict[str, int], floor: Mapping[str, int]) -> None:
    for name, value in floor.items():
        total[name] = max(total.get(name, 0), value)


def _check_resources(pod: Pod, others: Sequence[Pod], room: Room) -> Waiting | None:
    limit = amount(room.allocatable, "pods")
    if limit and len(others) + 1 > limit:
        return _out_of("pods", 1, len(others), limit)
    used: dict[str, int] = {}
    for other in others:
        _add(used, pod_requests(other))
    for name, wanted in sorted(pod_requests(pod).items()):
        if name not in room.allocatable or not wanted:
            continue  # a resource that the node does not know is not its business
        capacity = _value(room.allocatable, name)
        if used.get(name, 0) + wanted > capacity:
            return _out_of(name, wanted, used.get(name, 0), capacity)
    return None


def _out_of(name: str, requested: int, used: int, capacity: int) -> Waiting:
    text = (
        f"Node didn't have enough resource: {name}, requested: {requested}, "
        f"used: {used}, capacity: {capacity}"
    )
    return Waiting(f"OutOf{name}", text)


_PORTS_TAKEN = "node(s) didn't have free ports for the requested pod ports"


def _host_ports(pod: Pod) -> Iterable[tuple[str, str, int]]:
    for container in (*pod.spec.containers, *pod.spec.init_containers):
        for port in container.ports:
            if port.host_port:
                yield port.host_ip or "0.0.0.0", port.protocol or "TCP", port.host_port


def _check_host_ports(pod: Pod, others: Sequence[Pod]) -> Waiting | None:
    taken = [port for other in others for port in _host_ports(other)]
    for ip, protocol, number in _host_ports(pod):
        for other_ip, other_protocol, other_number in taken:
            same_ip = ip == other_ip or "0.0.0.0" in (ip, other_ip)
            if same_ip and protocol == other_protocol and number == other_number:
                return _predicate("NodePorts", _PORTS_TAKEN)
    return None
