"""The quality-of-service class of a pod (pkg/apis/core/v1/helper/qos)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum

from kube import quantity
from kube.objects.core_v1 import Pod, PodSpec, ResourceRequirements
from kube.quantity import Quantity

# Only these two decide the class.
COMPUTE_RESOURCES = ("cpu", "memory")


class QOSClass(StrEnum):
    GUARANTEED = "Guaranteed"
    BURSTABLE = "Burstable"
    BEST_EFFORT = "BestEffort"


def of_pod(pod: Pod) -> QOSClass:
    """The class the API server recorded, else what the spec says: a class never changes in a pod's life."""
    recorded = pod.status.qos_class
    return QOSClass(recorded) if recorded in set(QOSClass) else of_spec(pod.spec)


def of_spec(spec: PodSpec) -> QOSClass:
    """Guaranteed: every container has limits for CPU and memory and requests equal to them.
    BestEffort: no container asks for either. Burstable: the rest. Pod-level resources decide alone."""
    parts = list(_parts(spec))
    requests = _total(part.requests for part in parts)
    limits = _total(part.limits for part in parts)
    if not requests and not limits:
        return QOSClass.BEST_EFFORT
    limited = all(_positive(part.limits).keys() == set(COMPUTE_RESOURCES) for part in parts)
    return QOSClass.GUARANTEED if limited and requests == limits else QOSClass.BURSTABLE


def _parts(spec: PodSpec) -> Iterable[ResourceRequirements]:
    level = spec.resources
    if level is not None and (level.requests or level.limits):
        return [level]
    return [box.resources or ResourceRequirements() for box in (*spec.init_containers, *spec.containers)]


def _positive(resources: Mapping[str, str]) -> dict[str, Quantity]:
    amounts = {name: quantity.parse(resources[name]) for name in COMPUTE_RESOURCES if name in resources}
    return {name: amount for name, amount in amounts.items() if amount.nanos > 0}


def _total(lists: Iterable[Mapping[str, str]]) -> dict[str, Quantity]:
    total: dict[str, Quantity] = {}
    for resources in lists:
        for name, amount in _positive(resources).items():
            total[name] = total.get(name, quantity.ZERO) + amount
    return total
