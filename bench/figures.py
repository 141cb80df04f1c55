"""The figures of `make bench`: each function measures one on a running node and says what it found.

Ours and the floor take turns, so that a noisy neighbour meets both; medians are compared. The agent's own
clock tells when a pod became ready (`statusAt`), since asking more often would cost what is measured.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from bench import control, machine, pods
from bench.floor import Floor, kill_main_process
from cri.wire import connect
from tests.node.agent import AgentProcess

POLL_SECONDS = 0.02
MANY_POLL_SECONDS = 1.0  # the answer grows with the pods, and the agent pays for it
SLOW_SECONDS = 300.0
IN_FLIGHT = (1, 2, 4, 8, 16)
# The floor's pods are strangers to the agent, which would stop them when it compares lists.
AGENT_FLAGS = ("--relist-period=24h",)
# Until the agent has compared lists after its start; later pods of the floor are not looked at.
START_SECONDS = 1.5


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured."""

    singles: int
    other_singles: int  # for each of the other kinds of probe
    burst: int
    bursts: int
    crashes: int
    settle_seconds: float
    idle_seconds: float
    probe_seconds: float
    restart_pods: int
    restarts: int
    api_seconds: float


FULL = Scale(
    singles=32, other_singles=8, burst=50, bursts=3, crashes=16, settle_seconds=20.0, idle_seconds=60.0,
    probe_seconds=30.0, restart_pods=100, restarts=5, api_seconds=5.0,
)  # fmt: skip
QUICK = Scale(
    singles=8, other_singles=3, burst=20, bursts=1, crashes=4, settle_seconds=5.0, idle_seconds=10.0,
    probe_seconds=8.0, restart_pods=20, restarts=2, api_seconds=1.0,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the results. `target` is a bound on `value`: the least with `at_least`, else the most."""

    name: str
    value: float
    unit: str
    target: float | None = None
    at_least: bool = False
    detail: str = ""
    samples: dict[str, Any] = field(default_factory=dict)

    @property
    def is_met(self) -> bool:
        if self.target is None:
            return True
        return self.value >= self.target if self.at_least else self.value <= self.target


@dataclass(slots=True)
class Node:
    """What is measured: an agent and a floor on one runtime."""

    endpoint: str
    agent: AgentProcess
    floor: Floor
    scale: Scale
    say: Callable[[str], None]
    _count: int = 0

    def names(self, count: int, kind: str) -> list[str]:
        self._count += count
        return [f"{kind}-{number:04d}" for number in range(self._count - count, self._count)]

    @property
    def agent_pid(self) -> int:
        pid = self.agent.pid
        assert pid is not None, self.agent.failure("does not run")
        return pid

    # Ours

    def start_pods(self, documents: list[dict[str, Any]]) -> float:
        """Write the manifests; seconds from there until the last pod's status said Ready."""
        names = {document["metadata"]["name"] for document in documents}
        began = time.time()
        for document in documents:
            self.agent.write_manifest(document)
        return self.wait_ready(names) - began

    def wait_ready(self, names: Iterable[str]) -> float:
        """When (Unix seconds) the last of these pods became ready."""
        wanted = {f"{name}-n1" for name in names}

        def all_ready() -> float:
            shown = [one for one in self.agent.summaries() if one["name"] in wanted and one["ready"]]
            return max(one["statusAt"] for one in shown) if len(shown) == len(wanted) else 0.0

        seldom = POLL_SECONDS if len(wanted) == 1 else MANY_POLL_SECONDS
        return float(self._poll(all_ready, f"have {len(wanted)} pods ready", seldom))

    def stop_pods(self, names: Iterable[str]) -> float:
        """Remove the manifests; seconds until the agent has forgotten the pods."""
        gone = {f"{name}-n1" for name in names}
        began = time.perf_counter()
        for name in names:
            self.agent.remove_manifest(name)
        self._poll(
            lambda: not any(one["name"] in gone for one in self.agent.summaries()), "let go of the pods"
        )
        return time.perf_counter() - began

    def _poll(self, found: Callable[[], Any], what: str, seconds: float = POLL_SECONDS) -> Any:
        deadline = time.monotonic() + SLOW_SECONDS
        while not (result := found()):
            if time.monotonic() > deadline or self.agent.pid is None:
                raise self.agent.failure(f"did not {what}")
            time.sleep(seconds)
        return result


def spread(samples: list[float]) -> str:
    """Median with quartiles, in milliseconds."""
    if len(samples) < 2:
        return f"{samples[0] * 1000:.0f} ms"
    low, middle, high = statistics.quantiles(samples, n=4)
    return f"{middle * 1000:.0f} ms ({low * 1000:.0f} to {high * 1000:.0f})"


# One pod at a time


def single(node: Node) -> list[Figure]:
    """Manifest written to probe-ready, one pod at a time."""
    scale = node.scale
    found = [_single(node, "http", scale.singles, 1.15)]
    return found + [_single(node, kind, scale.other_singles, None) for kind in ("tcp", "exec")]


def _single(node: Node, kind: str, count: int, target: float | None) -> Figure:
    ours: list[float] = []
    bare: list[float] = []
    for _ in range(count):
        (name,) = node.names(1, "one")
        document = pods.manifest(name, readiness=kind)
        node.floor.prepare([document])
        bare.append(node.floor.start([name]))
        node.floor.stop([name])
        ours.append(node.start_pods([document]))
        node.stop_pods([name])
    ratio = statistics.median(ours) / statistics.median(bare)
    detail = f"ours {spread(ours)}, floor {spread(bare)}, {count} alternating samples"
    label = f"one pod, manifest written to ready ({kind} probe), over the floor"
    return Figure(label, ratio, "x", target, detail=detail, samples={"ours": ours, "floor": bare})


# Bursts


def burst(node: Node) -> list[Figure]:
    """Pods at once: throughput and CPU of starting, and the time until they are gone."""
    scale = node.scale
    bare = {places: _bare_burst(node, places) for places in IN_FLIGHT}
    starts = {places: start for places, (start, _) in bare.items()}
    stops = {places: stop for places, (_, stop) in bare.items()}
    best, best_stop = min(starts, key=starts.__getitem__), min(stops, key=stops.__getitem__)
    ours = [_our_burst(node)]
    again: list[tuple[float, float]] = [bare[best]]
    for _ in range(scale.bursts - 1):
        again.append(_bare_burst(node, best, best_stop))
        ours.append(_our_burst(node))
    floor_start = statistics.median([start for start, _ in again])
    floor_stop = statistics.median([stops[best_stop], *(stop for _, stop in again[1:])])
    start = statistics.median([one[0] for one in ours])
    stop = statistics.median([one[1] for one in ours])
    cpu = statistics.median([one[2] for one in ours])
    count = scale.burst
    detail = (
        f"ours {_list(one[0] for one in ours)} s, floor {_list(one[0] for one in again)} s "
        f"with {best} in flight (once each with {_table(starts)})"
    )
    gone = (
        f"ours {_list(one[1] for one in ours)} s, floor {floor_stop:.2f} s "
        f"with {best_stop} in flight (once each with {_table(stops)})"
    )
    samples = {"ours": ours, "floor": again, "in_flight": {str(k): v for k, v in bare.items()}}
    return [
        Figure(
            f"burst of {count} pods, throughput over the floor's", floor_start / start, "x", 0.92,
            at_least=True, detail=detail, samples=samples,
        ),
        Figure(
            "agent CPU per pod started", cpu * 1000 / count, "ms", 12.0,
            detail=f"over the burst: {_list(one[2] * 1000 / count for one in ours)} ms",
        ),
        Figure(f"{count} pods that exit on SIGTERM are gone, over the bare stop", stop / floor_stop, "x", 1.2,
               detail=gone),
    ]  # fmt: skip


def _bare_burst(node: Node, places: int, stop_places: int = 0) -> tuple[float, float]:
    names = node.names(node.scale.burst, "bare")
    node.floor.prepare([pods.manifest(name) for name in names])
    start = node.floor.start(names, places)
    stop = node.floor.stop(names, stop_places or places)
    node.say(f"floor with {places} in flight: {start:.2f} s, stop {stop:.2f} s")
    return start, stop


def _our_burst(node: Node) -> tuple[float, float, float]:
    names = node.names(node.scale.burst, "burst")
    documents = [pods.manifest(name) for name in names]
    before = machine.cpu_seconds(node.agent_pid)
    start = node.start_pods(documents)
    cpu = machine.cpu_seconds(node.agent_pid) - before
    stop = node.stop_pods(names)
    node.say(f"ours: {start:.2f} s, stop {stop:.2f} s, CPU {cpu * 1000 / len(names):.1f} ms per pod")
    return start, stop, cpu


def _list(values: Iterable[float]) -> str:
    return ", ".join(f"{value:.2f}" for value in values)


def _table(values: dict[int, float]) -> str:
    return ", ".join(f"{places}: {value:.2f}" for places, value in values.items())


# Crashes


def crash(node: Node) -> list[Figure]:
    """From the death of a container's process to the start of the next container."""
    count = node.scale.crashes
    bare_names, our_names = node.names(count, "bare"), node.names(count, "crash")
    node.floor.prepare([pods.manifest(name) for name in bare_names], attempts=2)
    node.floor.start(bare_names, 4)
    node.start_pods([pods.manifest(name) for name in our_names])
    bare: list[float] = []
    ours: list[float] = []
    for bare_name, our_name in zip(bare_names, our_names, strict=True):
        bare.append(node.floor.crash(bare_name))
        ours.append(_our_crash(node, our_name))
    node.floor.stop(bare_names)
    node.stop_pods(our_names)
    more = (statistics.median(ours) - statistics.median(bare)) * 1000
    detail = f"ours {spread(ours)}, floor {spread(bare)}, {count} alternating samples"
    samples = {"ours": ours, "floor": bare}
    return [Figure("first restart after a crash, over the floor", more, "ms", 50.0, detail=detail,
                   samples=samples)]  # fmt: skip


def _our_crash(node: Node, name: str) -> float:
    old = _container(node, name)["containerID"]
    killed_at = kill_main_process(_status(node, old))

    def restarted() -> str:
        now = _container(node, name)
        return str(now["containerID"]) if now["restartCount"] == 1 and "running" in now["state"] else ""

    new = node._poll(restarted, "restart a container")
    return float(_status(node, new).status.started_at / 1e9 - killed_at)


def _container(node: Node, name: str) -> dict[str, Any]:
    (status,) = node.agent.pods()[name]["status"]["containerStatuses"]
    found: dict[str, Any] = status
    return found


def _status(node: Node, container_id: str) -> Any:
    async def ask() -> Any:
        runtime = await connect(node.endpoint)
        try:
            return await runtime.runtime.container_status(container_id.partition("://")[2], verbose=True)
        finally:
            await runtime.close()

    return asyncio.run(ask())


# At rest


def idle(node: Node) -> list[Figure]:
    """What a node full of idle pods costs, its readiness probes every 10 s included."""
    scale = node.scale
    names = node.names(scale.burst, "idle")
    node.start_pods([pods.manifest(name) for name in names])
    time.sleep(scale.settle_seconds)
    before, began = machine.cpu_seconds(node.agent_pid), time.perf_counter()
    time.sleep(scale.idle_seconds)
    share = (machine.cpu_seconds(node.agent_pid) - before) / (time.perf_counter() - began) * 100
    used = machine.memory(node.agent_pid)
    node.stop_pods(names)
    count = scale.burst
    detail = (
        f"PSS {used.pss:.1f} MiB, anonymous {used.anonymous:.1f} MiB, "
        f"{used.processes} process, {used.threads} threads"
    )
    window = f"over {scale.idle_seconds:.0f} s, each with an HTTP readiness probe every 10 s"
    return [
        Figure(f"{count} idle pods, CPU of one core", share, "%", 0.5, detail=window),
        Figure(f"{count} idle pods, RSS of all our processes", used.rss, "MiB", 70.0, detail=detail),
    ]


# Probes


def probes(node: Node) -> list[Figure]:
    """How late probes fire when a hundred are due every second."""
    scale = node.scale
    names = node.names(scale.burst, "probe")
    node.start_pods([pods.manifest(name, readiness="http", liveness="tcp", period=1) for name in names])
    time.sleep(2.0)
    before = node.agent.get("/debug/probes")
    cpu, began = machine.cpu_seconds(node.agent_pid), time.perf_counter()
    lateness = control.lateness(2 * scale.burst, scale.probe_seconds)
    after = node.agent.get("/debug/probes")
    share = (machine.cpu_seconds(node.agent_pid) - cpu) / (time.perf_counter() - began) * 100
    node.stop_pods(names)
    counts = [new - old for old, new in zip(before["counts"], after["counts"], strict=True)]
    bound = quantile(after["bounds"], counts, 0.99)
    mean = (after["totalSeconds"] - before["totalSeconds"]) / max(1, sum(counts))
    detail = (
        f"{sum(counts)} probes in {scale.probe_seconds:.0f} s, HTTP and TCP, mean {mean * 1000:.1f} ms, "
        f"{share:.1f} % of a core; a control process with timers alone: p99 {lateness * 1000:.1f} ms"
    )
    return [Figure(f"{2 * scale.burst} probes a second, p99 of lateness (bucket's bound)", bound * 1000, "ms",
                   20.0, detail=detail, samples={"counts": counts, "bounds": after["bounds"]})]  # fmt: skip


def quantile(bounds: list[float], counts: list[int], share: float) -> float:
    """An upper bound for `share` of what a histogram counted; infinite in the open bucket."""
    wanted, seen = share * sum(counts), 0
    for bound, count in zip([*bounds, float("inf")], counts, strict=True):
        seen += count
        if count and seen >= wanted:
            return bound
    return 0.0


# The agent itself


def restart(node: Node) -> list[Figure]:
    """From the exec of a new agent to every pod adopted with the status it had."""
    scale = node.scale
    names = node.names(scale.restart_pods, "stay")
    node.start_pods([pods.manifest(name) for name in names])
    time.sleep(1.0)  # a crash must find the last statuses on disk
    before = _identities(node)
    taken = [_restart(node, len(names)) for _ in range(scale.restarts)]
    time.sleep(1.0)
    after = _identities(node)
    changed = sum(1 for name in before if before[name] != after.get(name))
    node.stop_pods(names)
    detail = f"killed {scale.restarts} times: {_list(taken)} s; {changed} pods with another status afterwards"
    value = statistics.median(taken) if not changed else float("inf")
    return [Figure(f"agent restart with {len(names)} pods, in sync", value, "s", 1.5, detail=detail,
                   samples={"seconds": taken})]  # fmt: skip


def _restart(node: Node, count: int) -> float:
    node.agent.kill9()
    began = time.perf_counter()
    node.agent.start(*AGENT_FLAGS, verbosity=0, wait=False)

    def in_sync() -> bool:
        try:
            shown = node.agent.summaries()
        except OSError:
            return False
        return (
            sum(1 for one in shown if one["ready"] and one["wanted"] and one["stage"] == "SYNCING") == count
        )

    node._poll(in_sync, "be in sync", 0.005)
    return time.perf_counter() - began


def _identities(node: Node) -> dict[str, Any]:
    return {name: pod["status"] for name, pod in node.agent.pods().items()}


FIGURES: dict[str, Callable[[Node], list[Figure]]] = {
    "single": single,
    "burst": burst,
    "crash": crash,
    "idle": idle,
    "probes": probes,
    "restart": restart,
}
