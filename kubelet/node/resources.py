"""Capacity of a node and what of it pods may use (pure).

Formulas: kubelet 1.36, pkg/kubelet/nodestatus/setters.go (MachineInfo) and
pkg/kubelet/cm/node_container_manager_linux.go (getNodeAllocatable): allocatable is capacity less
systemReserved, kubeReserved and the hard eviction thresholds; huge pages come off memory besides.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from kube.quantity import ZERO, Format, Quantity, from_int, parse
from kubelet.node.model import Machine, Reservations

CPU, MEMORY, PODS, STORAGE = "cpu", "memory", "pods", "ephemeral-storage"
HUGEPAGES_PREFIX = "hugepages-"
# The eviction signals that take room from pods for good, with the resource they are of.
_RESERVING_SIGNALS = {"memory.available": MEMORY, "nodefs.available": STORAGE}

Resources = Mapping[str, Quantity]


@dataclass(frozen=True, slots=True)
class PodLimits:
    """maxPods, and podsPerCore (0 = no such limit); `local_storage`: whether storage is counted."""

    max_pods: int = 110
    pods_per_core: int = 0
    local_storage: bool = True


def capacity(machine: Machine, limits: PodLimits) -> dict[str, Quantity]:
    """Everything the machine has, by resource."""
    pods = limits.max_pods
    if limits.pods_per_core > 0:
        pods = min(pods, machine.cpus * limits.pods_per_core)
    found = {
        CPU: from_int(machine.cpus),
        MEMORY: from_int(machine.memory_bytes, Format.BINARY_SI),
        PODS: from_int(pods),
    }
    if limits.local_storage:
        found[STORAGE] = from_int(machine.disk_bytes, Format.BINARY_SI)
    for name, size in machine.hugepages.items():
        found[name] = from_int(size, Format.BINARY_SI)
    return found


def allocatable(capacity: Resources, reserved: Reservations) -> dict[str, Quantity]:
    """What pods may use of `capacity`; never less than nothing."""
    taken: dict[str, Quantity] = {}
    for amounts in (reserved.system, reserved.kube):
        for name, text in amounts.items():
            taken[name] = taken.get(name, ZERO) + parse(text)
    for name, amount in _eviction_room(reserved.eviction_hard, capacity).items():
        taken[name] = taken.get(name, ZERO) + amount
    left = {name: _less(amount, taken.get(name, ZERO)) for name, amount in capacity.items()}
    for name, amount in capacity.items():
        if name.startswith(HUGEPAGES_PREFIX):
            left[MEMORY] = _less(left[MEMORY], amount)
    return left


def texts(resources: Resources) -> dict[str, str]:
    """As the API writes them."""
    return {name: str(amount) for name, amount in resources.items()}


def _less(amount: Quantity, taken: Quantity) -> Quantity:
    rest = amount - taken
    return rest if rest.nanos > 0 else Quantity(0, amount.format)


def _eviction_room(thresholds: Mapping[str, str], capacity: Resources) -> dict[str, Quantity]:
    room = {}
    for signal, name in _RESERVING_SIGNALS.items():
        if signal in thresholds and name in capacity:
            room[name] = threshold_amount(thresholds[signal], capacity[name])
    return room


def threshold_amount(text: str, capacity: Quantity) -> Quantity:
    """ "10%" or "100Mi" of an eviction threshold as an amount; 0% and 100% switch a signal off.

    Upstream keeps the share as a 32-bit float, which shows in the last digits of what nodes report.
    """
    if not text.endswith("%"):
        return parse(text)
    percent = float(text.removesuffix("%"))
    if percent in (0.0, 100.0):
        return ZERO
    return from_int(int(float(capacity.to_int()) * _single(_single(percent) / 100.0)), Format.BINARY_SI)


def _single(value: float) -> float:
    """The nearest 32-bit float."""
    narrowed: float = struct.unpack("f", struct.pack("f", value))[0]
    return narrowed
