"""`python -m bench.apiserver`: how fast the API server is, from a client in a process of its own.

The server is `kube-controlplane --components api` as it is delivered: TLS with client certificates, RBAC,
admission, SQLite with durable commits. Clients are `bench.apiserver_client`. The floor is the same HTTP
server with a handler that does nothing, measured in the same run; a figure is judged by itself and, on a
machine with others on it, by the server's CPU time per request. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from bench.apiserver_client import Job, Outcome
from controlplane.credentials import Pki, read_pki
from kube import pki
from kube.pki import Subject, Usage
from kube.pki_files import PairFiles

TARGETS = {
    "creates/s": 1800, "creates/s, 20 watchers": 600, "gets/s": 4500, "merge patches/s": 1000,
    "pod creates/s": 600, "lists of 2,000/s": 100,
}  # fmt: skip
LATENCY = {"event at 300/s: median ms": 10.0, "event at 300/s: p99 ms": 40.0}
LISTED = 2000
WATCHERS = 20
_START_SECONDS = 20.0
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Server:
    pid: int
    host: str
    port: int
    ca: Path
    client: PairFiles

    def job(self, what: str, **more: Any) -> Job:
        files = (str(self.ca), str(self.client.certificate), str(self.client.key))
        return Job(what, self.host, self.port, *files, **more)

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def rss_mib(self) -> float:
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        return 0.0


def run(*, seconds: float = 3.0, directory: Path | None = None, profile: str = "") -> dict[str, float]:
    """Figures by name. `directory` is on the disk to measure. OSError, RuntimeError when it cannot be."""
    with tempfile.TemporaryDirectory(dir=directory, prefix="bench-api-") as scratch:
        figures: dict[str, float] = {}
        with _server(Path(scratch), profile) as server:
            _measure(server, seconds, figures)
            with _floor(server, Path(scratch)) as floor:
                _one(floor, figures, "floor/s", floor.job("floor", seconds=seconds))
        return figures


def _measure(server: Server, seconds: float, figures: dict[str, float]) -> None:
    _prepare(server)
    figures["RSS at the start: MiB"] = server.rss_mib()
    made = _one(server, figures, "creates/s", server.job("create", seconds=seconds))
    known = made.done // 16 - 20
    _one(server, figures, "gets/s", server.job("get", seconds=seconds, known=known))
    _one(server, figures, "merge patches/s", server.job("patch", seconds=seconds, known=known))
    _one(server, figures, "pod creates/s", server.job("pod", seconds=seconds))
    _client(server.job("fill", count=LISTED // 16))
    _one(server, figures, "lists of 2,000/s", server.job("list", seconds=seconds))
    with _watching(server) as seen:
        name = "creates/s, 20 watchers"
        made = _one(server, figures, name, server.job("create", seconds=seconds, prefix="w"))
    figures["events seen of 20 watchers' share"] = seen[0].done / max(1, made.done * WATCHERS)
    with _watching(server) as seen:
        _one(server, {}, "", server.job("pace", seconds=seconds, per_second=300, connections=8, prefix="p"))
    figures["event at 300/s: median ms"] = seen[0].median_ms
    figures["event at 300/s: p99 ms"] = seen[0].p99_ms
    figures["RSS at the end: MiB"] = server.rss_mib()


def _one(server: Server, figures: dict[str, float], name: str, job: Job) -> Outcome:
    before = server.cpu_seconds()
    found = _client(job)
    cpu = server.cpu_seconds() - before
    figures[name] = found.done / found.seconds
    figures[f"{name}: server CPU us"] = cpu / found.done * 1e6
    return found


def _client(job: Job) -> Outcome:
    command = [sys.executable, "-m", "bench.apiserver_client", msgspec.json.encode(job).decode()]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=job.seconds * 10 + 60)
    found = msgspec.json.decode(done.stdout, type=Outcome)
    if found.failed:
        raise RuntimeError(f"cannot measure {job.what!r}: {found.failed} failed, such as:\n{found.shown}")
    return found


@contextmanager
def _watching(server: Server) -> Iterator[list[Outcome]]:
    """Watchers in one more process; what they saw is there at the end."""
    seen: list[Outcome] = []
    version = int(_ask(server, "GET", "/api/v1/configmaps?limit=1")["metadata"]["resourceVersion"])
    job = server.job("watch", connections=WATCHERS, known=version)
    command = [sys.executable, "-m", "bench.apiserver_client", msgspec.json.encode(job).decode()]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        if process.stdout.readline().strip() != "ready":
            raise RuntimeError("the watchers did not start")
        yield seen
        process.stdin.close()
        seen.append(msgspec.json.decode(process.stdout.read(), type=Outcome))


@contextmanager
def _server(directory: Path, profile: str) -> Iterator[Server]:
    data, address = directory / "data", directory / "address"
    run = ["-m", "cProfile", "-o", profile, "-m", "controlplane"] if profile else ["-m", "controlplane"]
    command = [
        sys.executable, *run, "--data-dir", str(data), "--bind-address", "127.0.0.1", "--secure-port", "0",
        "--components", "api", "--address-file", str(address), "-v", "0",
    ]  # fmt: skip
    process = subprocess.Popen(command)
    try:
        host, port = _address(address, process)
        authority = read_pki(data / "pki")
        assert authority is not None
        files = _certificate(authority, directory)
        yield Server(process.pid, host, port, authority.ca_file, files)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)


@contextmanager
def _floor(server: Server, directory: Path) -> Iterator[Server]:
    serving = PairFiles.of(server.ca.parent, "apiserver")
    address = directory / "floor"
    command = [sys.executable, "-m", "bench.apiserver_floor", str(address), str(server.ca)]
    process = subprocess.Popen([*command, str(serving.certificate), str(serving.key)])
    try:
        host, port = _address(address, process)
        yield Server(process.pid, host, port, server.ca, server.client)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)


def _address(file: Path, process: subprocess.Popen[bytes]) -> tuple[str, int]:
    end = time.monotonic() + _START_SECONDS
    while not file.exists() or not file.read_text().endswith("\n"):
        if process.poll() is not None or time.monotonic() > end:
            raise RuntimeError(f"the server did not start: exit code {process.poll()}")
        time.sleep(0.02)
    host, _, port = file.read_text().strip().rpartition(":")
    return host, int(port)


def _certificate(authority: Pki, directory: Path) -> PairFiles:
    """Of a user who may do everything by RBAC, not by being in system:masters."""
    files = PairFiles.of(directory, "bench")
    now = datetime.now(UTC)
    files.write(pki.issue(authority.ca, Subject("bench", ("benchers",)), Usage.CLIENT, now))
    admin = PairFiles.of(directory, "admin")
    admin.write(pki.issue(authority.ca, Subject("admin", ("system:masters",)), Usage.CLIENT, now))
    return files


def _prepare(server: Server) -> None:
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": {"name": "bench"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": "benchers"}],
    }  # fmt: skip
    as_admin = "admin"
    _ask(server, "POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", binding, as_admin)
    for name in ("bench", "listed"):
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        _ask(server, "POST", "/api/v1/namespaces", namespace)
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
        _ask(server, "POST", f"/api/v1/namespaces/{name}/serviceaccounts", account)


def _ask(server: Server, method: str, path: str, body: Any = None, user: str = "bench") -> Any:
    import http.client
    import ssl

    files = PairFiles.of(server.client.certificate.parent, user)
    context = ssl.create_default_context(cafile=str(server.ca))
    context.load_cert_chain(files.certificate, files.key)
    connection = http.client.HTTPSConnection(server.host, server.port, context=context, timeout=30)
    try:
        raw = msgspec.json.encode(body) if body is not None else None
        connection.request(method, path, raw, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        value = msgspec.json.decode(answer.read())
        if answer.status >= 300:
            raise RuntimeError(f"cannot prepare the server: {method} {path}: {value}")
        return value
    finally:
        connection.close()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.apiserver", description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each figure")
    parser.add_argument("--directory", type=Path, default=None, help="on the disk to measure")
    parser.add_argument("--profile", default="", help="a file for cProfile's statistics of the server")
    options = parser.parse_args()
    figures = run(seconds=options.seconds, directory=options.directory, profile=options.profile)
    missed = [name for name, least in TARGETS.items() if figures[name] < least]
    missed += [name for name, most in LATENCY.items() if figures[name] > most]
    shown = {name: round(value, 2) for name, value in figures.items()}
    print(json.dumps({"figures": shown, "missed": missed}, indent=2))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
