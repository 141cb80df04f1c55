"""The phase of a pod from its spec and its containers' statuses (pure).

Source: pkg/kubelet/kubelet_pods.go getPhase (Kubernetes 1.36), with the restart rules of each
container instead of the pod's policy alone. Unlike upstream, a static pod that is over gets a terminal
phase too.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from kube.objects.core_v1 import Container, PodSpec
from kubelet import reasons
from kubelet.restart import is_sidecar, should_restart
from kubelet.status.containers import exit_code, has_begun
from kubelet.status.inputs import JsonObject


@dataclass(slots=True)
class _Count:
    pending_init: int = 0
    failed_init: int = 0  # for good
    unknown: int = 0
    running: int = 0
    waiting: int = 0
    stopped: int = 0
    succeeded: int = 0
    restarting: int = 0  # stopped, and to run again


def phase_of(
    spec: PodSpec, by_name: Mapping[str, JsonObject], *, is_over: bool, coming_back: Collection[str] = ()
) -> str:
    """The phase; `is_over` = no container will be started again, whatever the restart policy says.

    `by_name`: statuses of init and regular containers. `coming_back`: the names of those that were only
    stopped to run again, whatever their policy says.
    """
    count = _Count()
    for container in spec.init_containers:
        before = count.failed_init
        if is_sidecar(container):
            _count_sidecar(count, by_name.get(container.name))
        else:
            _count_init(count, spec, container, by_name.get(container.name))
        if container.name in coming_back:
            count.failed_init = before
    for container in spec.containers:
        _count_regular(count, spec, container, by_name.get(container.name))
    if count.failed_init:
        return reasons.FAILED
    regular = (by_name.get(container.name) for container in spec.containers)
    is_initialized = not count.pending_init or any(status and has_begun(status) for status in regular)
    if not is_initialized or count.waiting:
        return reasons.PENDING
    if count.unknown:
        return reasons.PENDING
    if count.running:
        return reasons.RUNNING
    if not count.stopped:
        return reasons.PENDING
    count.restarting += sum(1 for container in spec.containers if container.name in coming_back)
    if count.restarting and not is_over:
        return reasons.RUNNING
    return reasons.SUCCEEDED if count.stopped == count.succeeded else reasons.FAILED


def _count_init(count: _Count, spec: PodSpec, container: Container, status: JsonObject | None) -> None:
    if status is None or "running" in status["state"]:
        count.pending_init += 1
        return
    code = exit_code(status["state"])
    if code is None:
        code = exit_code(status.get("lastState", {}))
    if code is None:
        count.pending_init += 1
    elif code != 0 and not should_restart(spec, container, code):
        count.failed_init += 1


def _count_sidecar(count: _Count, status: JsonObject | None) -> None:
    """How a sidecar ended never matters; that it has not begun, or is running, does."""
    if status is None:
        count.unknown += 1
    elif "running" in status["state"]:
        count.running += 1
        count.pending_init += not status.get("started")
    elif not has_begun(status):
        count.pending_init += 1
        count.waiting += 1


def _count_regular(count: _Count, spec: PodSpec, container: Container, status: JsonObject | None) -> None:
    if status is None:
        count.unknown += 1
        return
    if "running" in status["state"]:
        count.running += 1
        return
    code = exit_code(status["state"])
    count.succeeded += code == 0
    if code is None:
        code = exit_code(status.get("lastState", {}))
    if code is None:
        count.waiting += 1
        return
    count.stopped += 1
    count.restarting += should_restart(spec, container, code)
