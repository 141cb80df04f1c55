"""What a pod asks for, in whole units: CPU in millicores, all else in bytes or pieces (pure).

The rule is PodRequests of k8s.io/component-helpers/resource: the larger of all app containers with the
sidecars together, and of each init container with the sidecars started before it; then the overhead. A
container that is being resized counts with the largest of what it wants, was granted and has.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from kube import quantity
from kube.objects.core_v1 import Container, Pod

CPU = "cpu"
MEMORY = "memory"
PODS = "pods"
# pkg/scheduler/util/pod_resources.go: what scoring assumes for a container that asks for nothing.
DEFAULT_CPU_MILLI = 100
DEFAULT_MEMORY_BYTES = 200 * 1024 * 1024

Amounts = dict[str, int]


@dataclass(frozen=True, slots=True)
class Request:
    """`exact` is what must fit; `cpu` and `memory` have the defaults that scoring counts with."""

    exact: Mapping[str, int]
    cpu: int
    memory: int


@lru_cache(maxsize=4096)
def amount(name: str, text: str) -> int:
    """One quantity in the unit of its resource, rounded up. QuantityError when it is none."""
    parsed = quantity.parse(text)
    return parsed.to_milli() if name == CPU else parsed.to_int()


def amounts(texts: Mapping[str, str]) -> Amounts:
    return {name: amount(name, text) for name, text in texts.items()}


def request_of(pod: Pod) -> Request:
    """See the module. Resources of the pod as a whole replace the sum of its containers."""
    granted = _granted(pod)
    exact = _total(pod, granted, {})
    shown = _total(pod, granted, {CPU: DEFAULT_CPU_MILLI, MEMORY: DEFAULT_MEMORY_BYTES})
    if pod.spec.resources is not None:
        whole = amounts(pod.spec.resources.requests)
        exact |= whole
        shown |= whole
    overhead = amounts(pod.spec.overhead)
    _add(exact, overhead)
    _add(shown, overhead)
    return Request({name: value for name, value in exact.items() if value}, shown[CPU], shown[MEMORY])


def _granted(pod: Pod) -> dict[str, Amounts]:
    found: dict[str, Amounts] = {}
    for status in (*pod.status.container_statuses, *pod.status.init_container_statuses):
        most = amounts(status.allocated_resources)
        if status.resources is not None:
            _raise_to(most, amounts(status.resources.requests))
        found[status.name] = most
    return found


def _total(pod: Pod, granted: Mapping[str, Amounts], default: Mapping[str, int]) -> Amounts:
    sidecars: Amounts = {}
    most: Amounts = {}
    for container in pod.spec.init_containers:
        needs = _of_container(container, granted, default)
        if container.restart_policy == "Always":
            _add(sidecars, needs)
            _raise_to(most, sidecars)
        else:
            _add(needs, sidecars)
            _raise_to(most, needs)
    together = dict(sidecars)
    for container in pod.spec.containers:
        _add(together, _of_container(container, granted, default))
    _raise_to(together, most)
    return together


def _of_container(
    container: Container, granted: Mapping[str, Amounts], default: Mapping[str, int]
) -> Amounts:
    asked = amounts(container.resources.requests) if container.resources is not None else {}
    found = {**default, **asked}
    _raise_to(found, granted.get(container.name, {}))
    return found


def _add(total: Amounts, more: Mapping[str, int]) -> None:
    for name, value in more.items():
        total[name] = total.get(name, 0) + value


def _raise_to(total: Amounts, other: Mapping[str, int]) -> None:
    for name, value in other.items():
        total[name] = max(total.get(name, 0), value)
