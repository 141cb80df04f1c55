"""The floor: the same pods driven straight over CRI, by a lean program in a process of its own.

`python -m bench.floor ENDPOINT ROOT [hidden]` reads one JSON command per line and answers each with one line.
Requests are encoded beforehand (see `pods`), answers are decoded only where an id or an address is needed. A
pod is ready when its readiness check, made by the agent's own prober code, succeeds; it is tried again at
once.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from aio.clock import SystemClock
from bench import pods

RETRY_SECONDS = 0.002
CALL_SECONDS = 120.0
STOP_GRACE_SECONDS = 30


@dataclass(slots=True)
class Running:
    """What the runtime said when the pod was started."""

    sandbox: str
    container: str


@dataclass(slots=True)
class Driver:
    """Carries out the commands. One connection; encoded bytes in and out."""

    endpoint: str
    root: Path
    are_hidden: bool = False
    _pods: dict[str, pods.BarePod] = field(default_factory=dict)
    _running: dict[str, Running] = field(default_factory=dict)
    _runtime: Any = None
    _bare: Any = None
    _checks: Any = None
    _calls: dict[str, Any] = field(default_factory=dict)

    async def open(self) -> None:
        from cri.wire import connect
        from probes.checks import Checks

        self._runtime = await connect(self.endpoint)
        self._checks = Checks(self._runtime.runtime.exec_sync)
        image = await pods.image_id(self._runtime)
        self._bare = pods.BarePods(self.root, image, are_hidden=self.are_hidden)

    async def close(self) -> None:
        await self._checks.close()
        await self._runtime.close()

    async def _call(self, name: str, request: bytes) -> bytes:
        call = self._calls.get(name)
        if call is None:
            channel = self._runtime.connection.channel
            call = self._calls[name] = channel.unary_unary(f"/runtime.v1.RuntimeService/{name}")
        answer: bytes = await call(request, timeout=CALL_SECONDS)
        return answer

    # Commands

    async def prepare(self, documents: list[dict[str, Any]], attempts: int = 1) -> None:
        for document in documents:
            pod = await self._bare.make(document, attempts)
            self._pods[pod.name] = pod

    async def start(self, names: list[str], in_flight: int) -> float:
        """Seconds until every pod has passed its readiness check."""
        places = asyncio.Semaphore(in_flight)
        began = time.perf_counter()
        await asyncio.gather(*(self._start(self._pods[name], places) for name in names))
        return time.perf_counter() - began

    async def stop(self, names: list[str], in_flight: int) -> float:
        """Seconds until containers and sandboxes are stopped and removed."""
        places = asyncio.Semaphore(in_flight)
        began = time.perf_counter()
        await asyncio.gather(*(self._stop(self._running.pop(name), places) for name in names))
        return time.perf_counter() - began

    async def crash(self, name: str) -> float:
        """Kill the pod's process; seconds from there to the start of the next container."""
        from cri.event_sources import make_event_source
        from cri.events import ENDINGS, Resync

        running = self._running[name]
        source = make_event_source(self._runtime, SystemClock(), ENDINGS)
        items: AsyncIterator[Any] = source.events()
        try:
            while not isinstance(await anext(items), Resync):
                continue
            killed_at = kill_main_process(await self._runtime.runtime.container_status(
                running.container, verbose=True
            ))  # fmt: skip
            async for item in items:
                if not isinstance(item, Resync) and item.container_id == running.container:
                    break
            running.container = await self._create(self._pods[name], running.sandbox, 1)
        finally:
            await items.aclose()  # type: ignore[attr-defined]
        status = (await self._runtime.runtime.container_status(running.container)).status
        return float(status.started_at / 1e9 - killed_at)

    # One pod

    async def _start(self, pod: pods.BarePod, places: asyncio.Semaphore) -> None:
        from cri._pb import api_pb2 as pb

        async with places:
            answer = await self._call("RunPodSandbox", pod.sandbox)
            sandbox = pb.RunPodSandboxResponse.FromString(answer).pod_sandbox_id
            container = await self._create(pod, sandbox, 0)
        self._running[pod.name] = Running(sandbox, container)
        await self._wait_ready(pod, sandbox, container)

    async def _create(self, pod: pods.BarePod, sandbox: str, attempt: int) -> str:
        from cri._pb import api_pb2 as pb

        # Fields of a message may come in pieces: what is known late is put before what was encoded early.
        head = pb.CreateContainerRequest(pod_sandbox_id=sandbox).SerializeToString()
        answer = await self._call("CreateContainer", head + pod.containers[attempt])
        container: str = pb.CreateContainerResponse.FromString(answer).container_id
        request = pb.StartContainerRequest(container_id=container).SerializeToString()
        await self._call("StartContainer", request)
        return container

    async def _wait_ready(self, pod: pods.BarePod, sandbox: str, container: str) -> None:
        from cri._pb import api_pb2 as pb
        from probes.outcome import Verdict
        from probes.target import ProbeTarget

        request = pb.PodSandboxStatusRequest(pod_sandbox_id=sandbox).SerializeToString()
        answer = pb.PodSandboxStatusResponse.FromString(await self._call("PodSandboxStatus", request))
        target = ProbeTarget(pod.probe, container, 0.0, answer.status.network.ip)
        while (await self._checks.run(target, lambda: None)).verdict is not Verdict.SUCCESS:
            await asyncio.sleep(RETRY_SECONDS)

    async def _stop(self, running: Running, places: asyncio.Semaphore) -> None:
        from cri._pb import api_pb2 as pb

        sandbox = running.sandbox
        stop = pb.StopContainerRequest(container_id=running.container, timeout=STOP_GRACE_SECONDS)
        stop_box = pb.StopPodSandboxRequest(pod_sandbox_id=sandbox)
        remove_box = pb.RemovePodSandboxRequest(pod_sandbox_id=sandbox)
        async with places:
            await self._call("StopContainer", stop.SerializeToString())
            await self._call("StopPodSandbox", stop_box.SerializeToString())
            await self._call("RemovePodSandbox", remove_box.SerializeToString())


def kill_main_process(answer: Any) -> float:
    """SIGKILL the process of a container, from its verbose status; when that was (Unix seconds)."""
    pid = json.loads(answer.info["info"])["pid"]
    at = time.time()
    os.kill(pid, signal.SIGKILL)
    return at


class Floor:
    """The driver from outside: a child process and its commands, one at a time."""

    def __init__(self, endpoint: str, root: Path, *, are_hidden: bool = False) -> None:
        """`are_hidden`: an agent on the same runtime lets the pods be, whatever it compares."""
        command = [sys.executable, "-m", "bench.floor", endpoint, str(root), *(["hidden"] * are_hidden)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def prepare(self, documents: list[dict[str, Any]], attempts: int = 1) -> list[str]:
        self._ask("prepare", documents=documents, attempts=attempts)
        return [document["metadata"]["name"] for document in documents]

    def start(self, names: list[str], in_flight: int = 1) -> float:
        return float(self._ask("start", names=names, in_flight=in_flight))

    def stop(self, names: list[str], in_flight: int = 16) -> float:
        return float(self._ask("stop", names=names, in_flight=in_flight))

    def crash(self, name: str) -> float:
        return float(self._ask("crash", name=name))

    def close(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # it has ended already
            self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()

    def __enter__(self) -> Floor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, command: str, **arguments: Any) -> Any:
        assert self._process.stdin is not None and self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # the empty answer tells
            self._process.stdin.write(json.dumps({"command": command, **arguments}) + "\n")
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the floor's driver ended at command {command!r}")
        return json.loads(line)


async def serve(endpoint: str, root: Path, *, are_hidden: bool) -> None:
    """Answer the commands on standard input until it ends."""
    driver = Driver(endpoint, root, are_hidden)
    await driver.open()
    commands: dict[str, Callable[..., Awaitable[float | None]]] = {
        "prepare": driver.prepare,
        "start": driver.start,
        "stop": driver.stop,
        "crash": driver.crash,
    }
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        document = json.loads(line)
        answer = await commands[document.pop("command")](**document)
        print(json.dumps(answer), flush=True)
    await driver.close()


def main() -> None:
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(sys.argv[1], Path(sys.argv[2]), are_hidden="hidden" in sys.argv[3:]))


if __name__ == "__main__":
    main()
