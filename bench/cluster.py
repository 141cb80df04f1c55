"""The figures of a whole cluster: what `pykubelet up` makes, used by a client in a process of its own.

The floor is the same pods driven straight over CRI against the cluster's own containerd, with one more bind
mount where the cluster's pods have their token. As in `figures`, ours and the floor take turns.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import machine, pods, report
from bench.cluster_client import Client
from bench.control_plane import serving
from bench.figures import IN_FLIGHT, Figure, Scale, spread
from bench.floor import Floor
from pykubelet.instance.layout import Layout
from pykubelet.instance.record import read_record
from pykubelet.instance.running import CONTROLPLANE, KUBELET

KIND = "cluster"
UP_SECONDS = 60
DOWN_SECONDS = 180
OBJECTS = 2000
FEW_PODS, MANY_PODS = 10, 55
TOKEN_DIRECTORY = "/var/run/secrets/kubernetes.io/serviceaccount"


@dataclass(slots=True)
class Cluster:
    """One that is up, its user and the floor on its runtime."""

    up_seconds: float
    pids: dict[str, int]
    client: Client
    floor: Floor
    _count: int = 0

    def names(self, count: int, kind: str) -> list[str]:
        self._count += count
        return [f"{kind}-{number:04d}" for number in range(self._count - count, self._count)]

    def cpu_seconds(self) -> dict[str, float]:
        return {name: machine.cpu_seconds(pid) for name, pid in self.pids.items()}


@dataclass(frozen=True, slots=True)
class Bench:
    """Where clusters are made, how much is measured, and who is told."""

    base: Path
    scale: Scale
    say: Callable[[str], None]

    @contextmanager
    def cluster(self) -> Iterator[Cluster]:
        """From nothing, and gone without trace afterwards."""
        root = Path(tempfile.mkdtemp(prefix="c", dir=self.base))
        began = time.perf_counter()
        try:
            _pykubelet("up", root, seconds=UP_SECONDS)
            took = time.perf_counter() - began
            record = read_record(Layout.of(str(root)))
            assert record is not None
            pids = {one.name: one.pid for one in record.components if one.name in (CONTROLPLANE, KUBELET)}
            client = Client(Layout.of(str(root)).admin_kubeconfig)
            try:
                with Floor(record.runtime_endpoint, root / "floor", are_hidden=True) as floor:
                    client.prepare()
                    yield Cluster(took, pids, client, floor)
            finally:
                client.close()
        finally:
            _pykubelet("down", root, "--purge", seconds=DOWN_SECONDS)


def _pykubelet(command: str, root: Path, *more: str, seconds: float) -> None:
    argv = [sys.executable, "-m", "pykubelet", command, "--root", str(root), *more]
    done = subprocess.run(
        argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=seconds, check=False
    )
    if done.returncode:
        raise RuntimeError(f"cannot measure: because `pykubelet {command}` failed:\n{done.stdout}")


def _floor_pod(name: str) -> dict[str, Any]:
    """What the cluster's pod is to the runtime."""
    document = pods.manifest(name)
    spec = document["spec"]
    spec["volumes"].append({"name": "token", "emptyDir": {}})
    spec["containers"][0]["volumeMounts"].append(
        {"name": "token", "mountPath": TOKEN_DIRECTORY, "readOnly": True}
    )
    return document


def deployment(name: str, replicas: int) -> dict[str, Any]:
    pod = pods.manifest(name)
    labels = pod["metadata"]["labels"]
    return {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod["spec"]},
        },
    }  # fmt: skip


# Bursts


@dataclass(frozen=True, slots=True)
class Burst:
    """Seconds, and CPU seconds of both our processes while the pods started."""

    start: float
    stop: float
    cpu: dict[str, float]


def burst(bench: Bench) -> list[Figure]:
    """A Deployment of many, and the same pods made by hand: throughput and CPU until all are Ready."""
    count = bench.scale.burst
    with bench.cluster() as cluster:
        bare = {places: _bare_burst(bench, cluster, places) for places in IN_FLIGHT}
        best = min(bare, key=bare.__getitem__)
        floors, deployed, single = [bare[best]], [], []
        for number in range(bench.scale.bursts):
            if number:
                floors.append(_bare_burst(bench, cluster, best))
            deployed.append(_burst(bench, cluster, [deployment(cluster.names(1, "web")[0], count)]))
            single.append(_burst(bench, cluster, [pods.manifest(one) for one in cluster.names(count, "pod")]))
    floor = statistics.median(floors)
    table = ", ".join(f"{places}: {value:.2f}" for places, value in bare.items())
    return [
        _ratio(f"Deployment of {count}, throughput over the floor's", deployed, floor,
               f"floor {_list(floors)} s with {best} in flight (once each with {table})"),
        _ratio(f"{count} pods by the API, throughput over the floor's", single, floor, "the same floor"),
        *(_cpu(name, [*deployed, *single], count) for name in (CONTROLPLANE, KUBELET)),
    ]  # fmt: skip


def _bare_burst(bench: Bench, cluster: Cluster, places: int) -> float:
    names = cluster.names(bench.scale.burst, "bare")
    cluster.floor.prepare([_floor_pod(name) for name in names])
    start = cluster.floor.start(names, places)
    cluster.floor.stop(names)
    bench.say(f"floor with {places} in flight: {start:.2f} s")
    return start


def _burst(bench: Bench, cluster: Cluster, documents: list[dict[str, Any]]) -> Burst:
    before = cluster.cpu_seconds()
    start = cluster.client.start(documents)
    cpu = {name: value - before[name] for name, value in cluster.cpu_seconds().items()}
    stop = cluster.client.stop(documents)
    spent = ", ".join(f"{name} {value * 1000 / bench.scale.burst:.1f}" for name, value in cpu.items())
    bench.say(f"ours: {start:.2f} s, gone in {stop:.2f} s, CPU per pod in ms: {spent}")
    return Burst(start, stop, cpu)


def _ratio(name: str, ours: list[Burst], floor: float, floor_detail: str) -> Figure:
    starts = [one.start for one in ours]
    gone = f"gone in {_list([one.stop for one in ours])} s"
    return Figure(
        name, floor / statistics.median(starts), "x", 0.85, at_least=True,
        detail=f"ours {_list(starts)} s, {floor_detail}; {gone}", samples={"seconds": starts},
    )  # fmt: skip


def _cpu(name: str, bursts: list[Burst], count: int) -> Figure:
    spent = [one.cpu[name] * 1000 / count for one in bursts]
    return Figure(
        f"CPU of {name} per pod started", statistics.median(spent), "ms", detail=f"{_list(spent)} ms"
    )


def _list(values: list[float]) -> str:
    return ", ".join(f"{value:.2f}" for value in values)


# One pod at a time


def single(bench: Bench) -> list[Figure]:
    """A pod created to seen Ready by its user."""
    ours: list[float] = []
    bare: list[float] = []
    with bench.cluster() as cluster:
        for _ in range(bench.scale.singles):
            (name,) = cluster.names(1, "one")
            cluster.floor.prepare([_floor_pod(name)])
            bare.append(cluster.floor.start([name]))
            cluster.floor.stop([name])
            document = pods.manifest(name)
            ours.append(cluster.client.start([document]))
            cluster.client.stop([document])
    detail = f"ours {spread(ours)}, floor {spread(bare)}, {len(ours)} alternating samples"
    return [
        Figure("one pod through the scheduler, created to seen Ready, over the floor",
               statistics.median(ours) / statistics.median(bare), "x", 1.31, detail=detail,
               samples={"ours": ours, "floor": bare}),
    ]  # fmt: skip


# Coming up


def up(bench: Bench) -> list[Figure]:
    """`pykubelet up` until it says that all is up."""
    taken = []
    for _ in range(bench.scale.restarts):
        with bench.cluster() as cluster:
            taken.append(cluster.up_seconds)
    return [Figure("`pykubelet up`, packages present, to the node Ready", statistics.median(taken), "s", 4.0,
                   detail=f"{_list(taken)} s", samples={"seconds": taken})]  # fmt: skip


def control_plane(bench: Bench) -> list[Figure]:
    """All components of the control plane from an empty directory, and its memory with many objects."""
    taken: list[float] = []
    for _ in range(2 * bench.scale.restarts):
        with serving(bench.base) as server:
            taken.append(server.ready_seconds)
            client = Client(server.kubeconfig)
            try:
                if len(taken) == 2 * bench.scale.restarts:
                    used = _with_objects(server.pid, client)
            finally:
                client.close()
    return [
        Figure("control plane from nothing to ready", statistics.median(taken), "s", 1.0,
               detail=f"{_list(taken)} s", samples={"seconds": taken}),
        Figure(f"control plane with {OBJECTS} ConfigMaps of 1 KiB, RSS", used.rss, "MiB", 100.0,
               detail=f"PSS {used.pss:.1f} MiB, anonymous {used.anonymous:.1f} MiB, {used.threads} threads"),
    ]  # fmt: skip


def _with_objects(pid: int, client: Client) -> machine.Memory:
    client.prepare()
    client.fill(OBJECTS)
    return machine.memory(pid)


# At rest


def idle(bench: Bench) -> list[Figure]:
    """What the cluster costs when nothing happens, containerd aside."""
    with bench.cluster() as cluster:
        found = _idle(bench, cluster, FEW_PODS, is_target=True)
        return found + _idle(bench, cluster, MANY_PODS, is_target=False)


def _idle(bench: Bench, cluster: Cluster, count: int, *, is_target: bool) -> list[Figure]:
    scale = bench.scale
    document = deployment(f"idle-{count}", count)
    cluster.client.start([document])
    time.sleep(scale.settle_seconds)
    before, began = cluster.cpu_seconds(), time.perf_counter()
    time.sleep(scale.idle_seconds)
    seconds = time.perf_counter() - began
    shares = {name: (value - before[name]) / seconds * 100 for name, value in cluster.cpu_seconds().items()}
    used = {name: machine.memory(pid).rss for name, pid in cluster.pids.items()}
    cluster.client.stop([document])
    window = f"over {scale.idle_seconds:.0f} s, each with an HTTP readiness probe every 10 s"
    return [
        Figure(f"cluster with {count} idle pods, CPU of one core", sum(shares.values()), "%",
               1.0 if is_target else None, detail=f"{_each(shares, '%')}; {window}"),
        Figure(f"cluster with {count} idle pods, RSS of all our processes", sum(used.values()), "MiB",
               200.0 if is_target else None, detail=_each(used, "MiB")),
    ]  # fmt: skip


def _each(values: dict[str, float], unit: str) -> str:
    return ", ".join(f"{name} {value:.2f} {unit}" for name, value in values.items())


FIGURES: dict[str, Callable[[Bench], list[Figure]]] = {
    "control-plane": control_plane,
    "up": up,
    "cluster-burst": burst,
    "cluster-single": single,
    "cluster-idle": idle,
}


def measure(names: tuple[str, ...], scale: Scale, say: Callable[[str], None]) -> list[Figure]:
    """The figures of these names. Needs root, and what `pykubelet up` needs."""
    base = Path(tempfile.mkdtemp(prefix="pkb-", dir="/tmp"))
    try:
        bench = Bench(base, scale, say)
        figures: list[Figure] = []
        for name in names:
            began = time.monotonic()
            for figure in FIGURES[name](bench):
                say(report.row(figure))
                figures.append(figure)
            say(f"{name}: {time.monotonic() - began:.0f} s")
        return figures
    finally:
        shutil.rmtree(base)
