"""`python -m bench.apiserver_client JOB`: the clients of `bench.apiserver`, in a process of their own.

Raw HTTP/1.1 over TLS on keep-alive connections, one request at a time each, so that what is measured is the
server: a request costs this process some 20 us. JOB is a `Job` as JSON; the outcome is printed as JSON.
"""

from __future__ import annotations

import asyncio
import random
import ssl
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import msgspec

NAMESPACE = "/api/v1/namespaces/bench"
MAPS = f"{NAMESPACE}/configmaps"
PODS = f"{NAMESPACE}/pods"
LISTED = "/api/v1/namespaces/listed/configmaps"
_LENGTH = b"content-length:"
_STAMP = b'"sent":"'
_ADDED = b'"type":"ADDED"'


class Job(msgspec.Struct, frozen=True):
    """`what` names a maker of requests below, `watch` or `pace`. With `count` each connection stops after its
    share, else all after `seconds`. `prefix` keeps the names of one run apart."""

    what: str
    host: str
    port: int
    ca: str
    certificate: str
    key: str
    connections: int = 16
    seconds: float = 3.0
    count: int = 0
    per_second: int = 0
    prefix: str = "a"
    known: int = 0


class Outcome(msgspec.Struct):
    """`done` requests in `seconds`; `failed` had another code than 2xx, the first of them is shown. A watch
    counts events, and their ages in milliseconds where they say when they were sent."""

    done: int = 0
    seconds: float = 0.0
    failed: int = 0
    shown: str = ""
    cpu_seconds: float = 0.0
    median_ms: float = 0.0
    p99_ms: float = 0.0


def request(method: str, path: str, body: bytes = b"", content_type: str = "application/json") -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nHost: bench\r\nAccept: application/json\r\n"
    if not body:
        return f"{head}\r\n".encode()
    return f"{head}Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def config_map(name: str, data: str = "x" * 1024, **more: str) -> bytes:
    value = {
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"data": data, **more},
    }  # fmt: skip
    return msgspec.json.encode(value)


def pod(name: str) -> bytes:
    container = {
        "name": "main", "image": "registry.example/app:1", "command": ["/app", "--serve"],
        "env": [{"name": "MODE", "value": "bench"}], "ports": [{"containerPort": 8080}],
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}},
    }  # fmt: skip
    value = {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": "bench"}},
        "spec": {"containers": [container]},
    }  # fmt: skip
    return msgspec.json.encode(value)


Make = Callable[[int, int], bytes]
"""The request number `n` of connection `c`."""


def maker(job: Job) -> Make:
    merge = "application/merge-patch+json"
    name = f"{job.prefix}-{{}}-{{}}".format
    made: dict[str, Make] = {
        "create": lambda c, n: request("POST", MAPS, config_map(name(c, n))),
        "fill": lambda c, n: request("POST", LISTED, config_map(name(c, n))),
        "get": lambda c, n: request("GET", f"{MAPS}/{name(c, random.randrange(job.known))}"),
        "patch": lambda c, n: request(
            "PATCH", f"{MAPS}/{name(c, random.randrange(job.known))}", b'{"data":{"n":"%d"}}' % n, merge
        ),
        "pod": lambda c, n: request("POST", PODS, pod(name(c, n))),
        "list": lambda c, n: request("GET", LISTED),
        "floor": lambda c, n: request("GET", "/floor"),
    }
    return made[job.what]


class Worker(asyncio.Protocol):
    """One connection in a closed loop: the next request goes out when the answer is whole."""

    def __init__(self, number: int, make: Make, until: Callable[[int], bool]) -> None:
        self.finished = asyncio.get_running_loop().create_future()
        self.done = self.failed = 0
        self.shown = ""
        self._number = number
        self._make = make
        self._until = until
        self._buffer = b""
        self._missing = 0
        self._begun = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def begin(self) -> None:
        if self._until(self._begun):
            self._transport.close()
            if not self.finished.done():
                self.finished.set_result(None)
            return
        self._transport.write(self._make(self._number, self._begun))
        self._begun += 1

    def data_received(self, data: bytes) -> None:
        if self._missing:
            self._missing -= len(data)
        else:
            self._buffer += data
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            head = self._buffer[: end + 4].lower()
            at = head.index(_LENGTH) + len(_LENGTH)
            length = int(head[at : head.index(b"\r\n", at)])
            if head[9:10] != b"2":
                self.failed += 1
                self.shown = self.shown or self._buffer[:600].decode("utf-8", "replace")
            self._missing = length - (len(self._buffer) - end - 4)
            self._buffer = b""
        if self._missing <= 0:
            self._missing = 0
            self.done += 1
            self.begin()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.finished.done():
            self.finished.set_exception(exc or ConnectionResetError("the server closed the connection"))


class Watcher(asyncio.Protocol):
    """One watch; counts events, and how old those are that say when they were sent."""

    def __init__(self, raw: bytes) -> None:
        self.events = 0
        self.ages: list[float] = []
        self._raw = raw
        self._tail = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(self._raw)

    def data_received(self, data: bytes) -> None:
        now = time.monotonic()
        text = self._tail + data
        end = text.rfind(b"\n") + 1
        self._tail = text[end:]
        self.events += text.count(_ADDED, 0, end)
        at = text.find(_STAMP, 0, end)
        while at >= 0:
            at += len(_STAMP)
            self.ages.append(now - float(text[at : text.index(b'"', at)]))
            at = text.find(_STAMP, at, end)


def context(job: Job) -> ssl.SSLContext:
    made = ssl.create_default_context(cafile=job.ca)
    made.load_cert_chain(job.certificate, job.key)
    return made


async def close_loop(job: Job) -> Outcome:
    """As many requests as the connections get through."""
    make = maker(job)
    loop, tls = asyncio.get_running_loop(), context(job)
    end = [float("inf")]

    def until(begun: int) -> bool:
        return begun >= job.count if job.count else time.monotonic() >= end[0]

    workers: list[Worker] = []
    for number in range(job.connections):
        new = partial(Worker, number, make, until)
        _, worker = await loop.create_connection(new, job.host, job.port, ssl=tls)
        workers.append(worker)
    start = time.monotonic()
    end[0] = start + job.seconds
    for worker in workers:
        worker.begin()
    await asyncio.gather(*(worker.finished for worker in workers))
    spent = time.monotonic() - start
    shown = next((worker.shown for worker in workers if worker.shown), "")
    done, failed = sum(w.done for w in workers), sum(w.failed for w in workers)
    return Outcome(done, spent, failed, shown)


async def pace(job: Job) -> Outcome:
    """Creates at a fixed rate, each saying when it was sent."""
    loop, tls = asyncio.get_running_loop(), context(job)
    free: asyncio.Queue[Any] = asyncio.Queue()

    class Paced(Worker):
        def begin(self) -> None:
            free.put_nowait(self)

        def send(self, raw: bytes) -> None:
            self._transport.write(raw)

    workers = []
    for number in range(job.connections):
        new = partial(Paced, number, lambda c, n: b"", lambda n: False)
        _, worker = await loop.create_connection(new, job.host, job.port, ssl=tls)
        workers.append(worker)
        worker.begin()
    total = int(job.per_second * job.seconds)
    start = time.monotonic()
    for number in range(total):
        await asyncio.sleep(max(0.0, start + number / job.per_second - time.monotonic()))
        worker = await free.get()
        sent = f"{time.monotonic():.6f}"
        worker.send(request("POST", MAPS, config_map(f"{job.prefix}-{number}", "x" * 1000, sent=sent)))
    for _ in workers:
        await free.get()
    spent = time.monotonic() - start
    for worker in workers:
        worker.finished.cancel()
        worker._transport.close()
    shown = next((worker.shown for worker in workers if worker.shown), "")
    return Outcome(sum(w.done for w in workers), spent, sum(w.failed for w in workers), shown)


async def watch(job: Job) -> Outcome:
    """Until standard input ends; says "ready" once every watch is open."""
    loop, tls = asyncio.get_running_loop(), context(job)
    raw = request("GET", f"/api/v1/configmaps?watch=1&resourceVersion={job.known}")
    watchers = []
    for _ in range(job.connections):
        _, watcher = await loop.create_connection(lambda: Watcher(raw), job.host, job.port, ssl=tls)
        watchers.append(watcher)
    while not all(watcher.transport.get_extra_info("peername") for watcher in watchers):
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.2)
    print("ready", flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    await asyncio.sleep(0.3)
    ages = sorted(age * 1e3 for watcher in watchers for age in watcher.ages)
    for watcher in watchers:
        watcher.transport.abort()
    found = Outcome(sum(watcher.events for watcher in watchers))
    if ages:
        found.median_ms = statistics.median(ages)
        found.p99_ms = ages[int(len(ages) * 0.99)]
    return found


def main() -> int:
    import uvloop

    job = msgspec.json.decode(sys.argv[1], type=Job)
    act = {"watch": watch, "pace": pace}.get(job.what, close_loop)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        found = runner.run(act(job))
    found.cpu_seconds = time.process_time()
    print(msgspec.json.encode(found).decode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
