"""How much the node, its pods and their containers use: `/stats/summary` and `/metrics/resource`.

Containers' figures are the runtime's (CRI ListContainerStats); a pod's are the sums of its containers'. The
node's are the kernel's: CPU time since the boot, and as working set what cAdvisor means by it for the root:
memory in use without the inactive part of the page cache. What nobody measured is left out, never zero.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cri.stats import ContainerStats
from kubelet.model import NANOSECONDS_PER_SECOND, Observed
from kubelet.server.exposition import Family, Labels, Sample, labels, render
from kubelet.server.served_pods import ServedPod

_NANOSECONDS_PER_MS = 1_000_000
_JIFFIES_PER_SECOND = 100  # USER_HZ, which /proc/stat counts in on every architecture Linux supports
_IDLE_COLUMNS = (3, 4)  # proc(5): idle, iowait


@dataclass(frozen=True, slots=True)
class NodeUsage:
    """CPU in nanoseconds since the boot, memory in bytes, times in ns since the epoch."""

    cpu_ns: int
    usage_bytes: int
    working_set_bytes: int
    available_bytes: int
    booted_at: int
    at: int


@dataclass(frozen=True, slots=True)
class PodUsage:
    """A pod with what the runtime says of its running containers, by name."""

    pod: ServedPod
    containers: Mapping[str, ContainerStats]


def parse_node(stat: str, meminfo: str, at: int) -> NodeUsage:
    """From the texts of /proc/stat and /proc/meminfo; `at` is now in ns (pure)."""
    lines = {line.split(" ", 1)[0]: line.split()[1:] for line in stat.splitlines() if line}
    # guest time (columns 8 and 9) is contained in user and nice.
    busy = sum(int(value) for index, value in enumerate(lines["cpu"][:8]) if index not in _IDLE_COLUMNS)
    memory = {line.partition(":")[0]: int(line.split()[1]) * 1024 for line in meminfo.splitlines() if line}
    usage = memory["MemTotal"] - memory["MemFree"]
    working_set = max(0, usage - memory["Inactive(file)"])
    return NodeUsage(
        cpu_ns=busy * NANOSECONDS_PER_SECOND // _JIFFIES_PER_SECOND,
        usage_bytes=usage,
        working_set_bytes=working_set,
        available_bytes=memory["MemTotal"] - working_set,
        booted_at=int(lines["btime"][0]) * NANOSECONDS_PER_SECOND,
        at=at,
    )


def read_node_usage(at: int) -> NodeUsage:
    """The node's, from /proc (two small reads)."""
    return parse_node(Path("/proc/stat").read_text(), Path("/proc/meminfo").read_text(), at)


def pod_usages(pods: Iterable[ServedPod], stats: Iterable[ContainerStats]) -> list[PodUsage]:
    """Which figures belong to whom, by container id; a pod without any is left out."""
    by_id = {one.attributes.id: one for one in stats}
    found = []
    for pod in pods:
        seen = pod.observed.containers if pod.observed is not None else ()
        containers = {one.name: by_id[one.id] for one in seen if one.id in by_id}
        if containers:
            found.append(PodUsage(pod, containers))
    return found


# /stats/summary (kubelet/pkg/apis/stats/v1alpha1)


def summary(node_name: str, node: NodeUsage, pods: Iterable[PodUsage]) -> dict[str, Any]:
    """The Summary, JSON-ready."""
    return {
        "node": {
            "nodeName": node_name,
            "startTime": _time(node.booted_at),
            "cpu": {"time": _time(node.at), "usageCoreNanoSeconds": node.cpu_ns},
            "memory": {
                "time": _time(node.at),
                "availableBytes": node.available_bytes,
                "usageBytes": node.usage_bytes,
                "workingSetBytes": node.working_set_bytes,
            },
        },
        "pods": [_pod_summary(one) for one in pods],
    }


def _pod_summary(one: PodUsage) -> dict[str, Any]:
    pod = one.pod
    containers = [_container_summary(name, stats, pod.observed) for name, stats in one.containers.items()]
    document: dict[str, Any] = {
        "podRef": {"name": pod.name, "namespace": pod.namespace, "uid": pod.uid},
        "containers": containers,
    }
    if begun := pod.status.get("startTime"):
        document["startTime"] = begun
    for part in ("cpu", "memory"):
        parts = [container[part] for container in containers if part in container]
        if parts:
            document[part] = _sum(parts)
    return document


def _container_summary(name: str, stats: ContainerStats, observed: Observed | None) -> dict[str, Any]:
    seen = observed.by_id(stats.attributes.id) if observed is not None else None
    document: dict[str, Any] = {"name": name}
    if seen is not None and seen.started_at:
        document["startTime"] = _time(seen.started_at)
    if (cpu := stats.cpu) is not None:
        document["cpu"] = _known(
            time=_time(cpu.timestamp),
            usageNanoCores=cpu.usage_nano_cores,
            usageCoreNanoSeconds=cpu.usage_core_nano_seconds,
        )
    if (memory := stats.memory) is not None:
        document["memory"] = _known(
            time=_time(memory.timestamp),
            availableBytes=memory.available_bytes,
            usageBytes=memory.usage_bytes,
            workingSetBytes=memory.working_set_bytes,
            rssBytes=memory.rss_bytes,
            pageFaults=memory.page_faults,
            majorPageFaults=memory.major_page_faults,
        )
    if (layer := stats.writable_layer) is not None:
        document["rootfs"] = _known(
            time=_time(layer.timestamp), usedBytes=layer.used_bytes, inodesUsed=layer.inodes_used
        )
    return document


def _known(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _sum(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """Of what every part has; the time is the oldest one's."""
    shared = [name for name in parts[0] if all(name in part for part in parts)]
    added = {name: sum(part[name] for part in parts) for name in shared if name != "time"}
    return {"time": min(part["time"] for part in parts), **added}


def _time(ns: int) -> str:
    return datetime.fromtimestamp(ns // NANOSECONDS_PER_SECOND, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


# /metrics/resource (pkg/kubelet/metrics/collectors/resource_metrics.go)


def resource_metrics(node: NodeUsage, pods: list[PodUsage], *, failed: bool) -> str:
    """The text of a scrape; `failed`: the runtime could not be asked."""
    cpu, memory = "Cumulative cpu time consumed", "Current working set"
    node_cpu = [_at(node.cpu_ns / NANOSECONDS_PER_SECOND, (), node.at)]
    node_memory = [_at(node.working_set_bytes, (), node.at)]
    families: list[tuple[str, str, str, Iterable[Sample]]] = [
        ("node_cpu_usage_seconds_total", f"{cpu} by the node in core-seconds", "counter", node_cpu),
        ("node_memory_working_set_bytes", f"{memory} of the node in bytes", "gauge", node_memory),
        ("container_cpu_usage_seconds_total", f"{cpu} by the container in core-seconds", "counter",
         _of_containers(pods, _cpu_sample)),
        ("container_memory_working_set_bytes", f"{memory} of the container in bytes", "gauge",
         _of_containers(pods, _memory_sample)),
        ("container_start_time_seconds", "Start time of the container since unix epoch in seconds", "gauge",
         _start_samples(pods)),
        ("pod_cpu_usage_seconds_total", f"{cpu} by the pod in core-seconds", "counter",
         _of_pods(pods, _cpu_sample)),
        ("pod_memory_working_set_bytes", f"{memory} of the pod in bytes", "gauge",
         _of_pods(pods, _memory_sample)),
        ("resource_scrape_error", "1 if there was an error while getting container metrics, 0 otherwise",
         "gauge", [Sample(1 if failed else 0)]),
    ]  # fmt: skip
    return render(
        Family(name, f"[STABLE] {help_text}", kind, list(samples))
        for name, help_text, kind, samples in families
    )


_Take = Callable[[ContainerStats, Labels], Sample | None]


def _at(value: float, of: Labels, at: int) -> Sample:
    return Sample(value, of, at_ms=at // _NANOSECONDS_PER_MS)


def _cpu_sample(stats: ContainerStats, of: Labels) -> Sample | None:
    if stats.cpu is None or stats.cpu.usage_core_nano_seconds is None:
        return None
    return _at(stats.cpu.usage_core_nano_seconds / NANOSECONDS_PER_SECOND, of, stats.cpu.timestamp)


def _memory_sample(stats: ContainerStats, of: Labels) -> Sample | None:
    if stats.memory is None or stats.memory.working_set_bytes is None:
        return None
    return _at(stats.memory.working_set_bytes, of, stats.memory.timestamp)


def _of_containers(pods: Iterable[PodUsage], take: _Take) -> Iterator[Sample]:
    for one in pods:
        for name, stats in one.containers.items():
            sample = take(stats, labels(container=name, namespace=one.pod.namespace, pod=one.pod.name))
            if sample is not None:
                yield sample


def _of_pods(pods: Iterable[PodUsage], take: _Take) -> Iterator[Sample]:
    for one in pods:
        of = labels(namespace=one.pod.namespace, pod=one.pod.name)
        samples = [sample for stats in one.containers.values() if (sample := take(stats, of)) is not None]
        if samples:
            value = sum(sample.value for sample in samples)
            yield Sample(value, of, at_ms=min(sample.at_ms for sample in samples))


def _start_samples(pods: Iterable[PodUsage]) -> Iterator[Sample]:
    for one in pods:
        for name, stats in one.containers.items():
            observed = one.pod.observed
            seen = observed.by_id(stats.attributes.id) if observed is not None else None
            if seen is not None and seen.started_at:
                of = labels(container=name, namespace=one.pod.namespace, pod=one.pod.name)
                yield Sample(seen.started_at / NANOSECONDS_PER_SECOND, of)
