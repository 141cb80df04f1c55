"""What `/metrics` shows of the agent: its pods, its calls of the runtime, its own process.

Names, labels and buckets are upstream's (pkg/kubelet/metrics/metrics.go), since dashboards match on them;
there is only what is true here. `count_calls` counts calls of the runtime where they are made.
"""

from __future__ import annotations

import math
import os
import resource
import time
from collections import Counter as Tally
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar, cast

from cri.errors import CriError
from kubelet.configuration.version import KUBERNETES_RELEASE
from kubelet.model import NANOSECONDS_PER_SECOND, Phase
from kubelet.server.exposition import Counter, Family, Histogram, Sample, gauges, labels, render
from kubelet.server.remembered import Remembered
from kubelet.server.served_pods import Pods, ServedPod

S = TypeVar("S")

# metrics.DefBuckets and the kubelet's own
_CALL_BUCKETS = tuple(0.005 * 2.5**step for step in range(14))
_START_BUCKETS = (
    0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 20.0, 30.0, 45.0, 60.0, 120.0, 180.0, 240.0, 300.0, 360.0,
    480.0, 600.0, 900.0, 1200.0, 1800.0, 2700.0, 3600.0,
)  # fmt: skip
_STATES = {
    Phase.CREATED: "created",
    Phase.RUNNING: "running",
    Phase.EXITED: "exited",
    Phase.UNKNOWN: "unknown",
}


class NodeMetrics:
    """Counts since the start, and what is read at each scrape."""

    def __init__(self, node_name: str, started_at: float) -> None:
        """`started_at`: wall seconds; pods that came up before are not this agent's doing."""
        self._node = node_name
        self._started_at = started_at
        self._counted: Remembered[bool] = Remembered()
        self.requests = Counter(
            "kubelet_http_requests_total",
            "[ALPHA] Number of the http requests received since the server started",
        )
        self._calls = Counter(
            "kubelet_runtime_operations_total",
            "[ALPHA] Cumulative number of runtime operations by operation type.",
        )
        self._errors = Counter(
            "kubelet_runtime_operations_errors_total",
            "[ALPHA] Cumulative number of runtime operation errors by operation type.",
        )
        self._durations = Histogram(
            "kubelet_runtime_operations_duration_seconds",
            "[ALPHA] Duration in seconds of runtime operations. Broken down by operation type.",
            _CALL_BUCKETS,
        )
        self._starts = Histogram(
            "kubelet_pod_start_duration_seconds",
            "[ALPHA] Duration in seconds from kubelet seeing a pod for the first time to the pod starting to"
            " run",
            _START_BUCKETS,
        )

    def call_ended(self, operation: str, seconds: float, *, failed: bool) -> None:
        """A call of the runtime is over."""
        of = labels(operation_type=operation)
        self._calls.add(of)
        self._durations.observe(seconds, of)
        if failed:
            self._errors.add(of)

    def pod_changed(self, pod: ServedPod) -> None:
        """A pod's status changed: the first time that all its containers run is its start."""
        seconds = start_seconds(pod, self._started_at)
        if seconds is None:
            return
        if self._counted.get(pod.uid, 0.0) is None:
            self._starts.observe(seconds)
        # For ever, and not for more pods than there ever are at once: nobody may ever ask for a scrape.
        self._counted.put(pod.uid, True, 0.0, math.inf)

    def text(self, pods: Pods) -> str:
        """The scrape."""
        return render([*self._families(list(pods.all())), *process_families()])

    def _families(self, pods: list[ServedPod]) -> Iterator[Family]:
        running = sum(pod.sandbox_id() is not None for pod in pods)
        states = Tally(
            _STATES[seen.phase]
            for pod in pods
            if pod.observed is not None
            for seen in pod.observed.containers
        )
        yield gauges("kubelet_node_name", "[ALPHA] The node's name. The count is always 1.",
                     {labels(node=self._node): 1})  # fmt: skip
        yield gauges("kubernetes_build_info", "[BETA] The release that this agent behaves as. Always 1.",
                     {labels(git_version=f"v{KUBERNETES_RELEASE}"): 1})  # fmt: skip
        yield gauges("kubelet_running_pods", "[BETA] Number of pods that have a running pod sandbox",
                     {(): running})  # fmt: skip
        yield gauges("kubelet_running_containers", "[BETA] Number of containers currently running",
                     {labels(container_state=state): count for state, count in states.items()})  # fmt: skip
        for kept in (self._calls, self._errors, self._durations, self._starts, self.requests):
            yield kept.family()


def start_seconds(pod: ServedPod, started_at: float) -> float | None:
    """From when the agent first had the pod to its last container's start; None while not all of them run
    for the first time, and for a pod that ran before `started_at` (wall seconds)."""
    statuses = pod.status.get("containerStatuses") or ()
    if not statuses or not pod.seen_at or pod.observed is None:
        return None
    latest = [pod.observed.latest(one["name"]) for one in statuses]
    starts = [
        seen.started_at / NANOSECONDS_PER_SECOND
        for seen in latest
        if seen is not None and seen.phase is Phase.RUNNING and not seen.restart_count
    ]
    if len(starts) < len(latest) or max(starts) < started_at:
        return None
    return max(0.0, max(starts) - pod.seen_at)


def process_families() -> Iterator[Family]:
    """This process, from /proc, under the names of Prometheus' client libraries."""
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    ticks = os.sysconf("SC_CLK_TCK")
    # proc(5): fields 14, 15, 22, 23, 24; the first here is field 3.
    user, system, started, virtual, resident = (int(fields[at]) for at in (11, 12, 19, 20, 21))
    boot = next(line for line in Path("/proc/stat").read_text().splitlines() if line.startswith("btime"))
    values = (
        ("process_cpu_seconds_total", "Total user and system CPU time spent in seconds.", "counter",
         (user + system) / ticks),
        ("process_start_time_seconds", "Start time of the process since unix epoch in seconds.", "gauge",
         int(boot.split()[1]) + started / ticks),
        ("process_resident_memory_bytes", "Resident memory size in bytes.", "gauge",
         resident * resource.getpagesize()),
        ("process_virtual_memory_bytes", "Virtual memory size in bytes.", "gauge", virtual),
        ("process_open_fds", "Number of open file descriptors.", "gauge",
         sum(1 for _ in Path("/proc/self/fd").iterdir())),
        ("process_max_fds", "Maximum number of open file descriptors.", "gauge",
         resource.getrlimit(resource.RLIMIT_NOFILE)[0]),
    )  # fmt: skip
    for name, help_text, kind, value in values:
        yield Family(name, help_text, kind, [Sample(value)])


def count_calls(service: S, metrics: NodeMetrics) -> S:
    """The same service with its calls counted; streams of the runtime's are not calls and pass."""
    return cast(S, _Counted(service, metrics))


def operation_of(method: str) -> str:
    """Upstream's operation_type of a method of the services."""
    special = {"update_container_resources": "update_container"}
    return special.get(
        method, method.replace("pod_sandboxes", "podsandbox").replace("pod_sandbox", "podsandbox")
    )


class _Counted:
    """Stands before a service; looks itself up once per method."""

    def __init__(self, service: object, metrics: NodeMetrics) -> None:
        self._service = service
        self._metrics = metrics

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._service, name)
        if not callable(found) or name.startswith("stream_") or name == "get_container_events":
            return found
        operation, metrics = operation_of(name), self._metrics

        async def counted(*args: Any, **named: Any) -> Any:
            began = time.monotonic()
            failed = False
            try:
                return await found(*args, **named)
            except CriError:
                failed = True
                raise
            finally:
                metrics.call_ended(operation, time.monotonic() - began, failed=failed)

        setattr(self, name, counted)
        return counted
