"""`python -m bench.cluster_client KUBECONFIG`: a user of the cluster, in a process of its own.

Reads one JSON command per line and answers each with one line. It learns by one watch of the namespace what
becomes of pods, as `kubectl get -w` does, so what it measures includes the way of the news to a client.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from aio.errors import Retry
from kube import kubeconfig
from kube.client.http import HttpClient
from kube.client.model import DeleteOptions, EventType, WatchOptions
from kube.client.resources import CONFIG_MAPS, DEPLOYMENTS, NAMESPACES, PODS, SERVICE_ACCOUNTS
from kube.client.settings import Limits

NAMESPACE = "bench"
SLOW_SECONDS = 300.0
WRITERS = 16
END_SECONDS = 10.0


class _Condition(msgspec.Struct, frozen=True):
    type: str
    status: str


class _Status(msgspec.Struct, frozen=True):
    conditions: tuple[_Condition, ...] = ()


class _Meta(msgspec.Struct, frozen=True):
    name: str


class _Pod(msgspec.Struct, frozen=True):
    metadata: _Meta
    status: _Status = _Status()


_POD = msgspec.json.Decoder(_Pod)


@dataclass(slots=True)
class User:
    """Carries out the commands."""

    client: HttpClient
    _pods: dict[str, float] = field(default_factory=dict)
    """By name, when (`perf_counter`) the pod was first seen Ready, 0.0 before."""

    _news: asyncio.Event = field(default_factory=asyncio.Event)

    async def prepare(self) -> None:
        """The namespace, and its account once the control plane has made it."""
        await self.client.create(NAMESPACES, {"metadata": {"name": NAMESPACE}})
        while not (await self.client.list(SERVICE_ACCOUNTS, namespace=NAMESPACE)).items:
            await asyncio.sleep(0.02)

    async def start(self, documents: list[dict[str, Any]]) -> float:
        """Create these; seconds from there until the watch has said Ready of as many pods as they are."""
        count = sum(one["spec"].get("replicas", 1) for one in documents)
        began = time.perf_counter()
        await asyncio.gather(*(self._create(one) for one in documents))
        await self._until(lambda: sum(map(bool, self._pods.values())) >= count, f"{count} pods ready")
        return max(self._pods.values()) - began

    async def _create(self, document: dict[str, Any]) -> None:
        resource = DEPLOYMENTS if document["kind"] == "Deployment" else PODS
        await self.client.create(resource, document, namespace=NAMESPACE)

    async def stop(self, documents: list[dict[str, Any]]) -> float:
        """Delete these; seconds until no pod is left in the namespace."""
        began = time.perf_counter()
        for document in documents:
            resource = DEPLOYMENTS if document["kind"] == "Deployment" else PODS
            options = DeleteOptions(propagation="Background")
            name = document["metadata"]["name"]
            await self.client.delete(resource, name, namespace=NAMESPACE, options=options)
        await self._until(lambda: not self._pods, "all pods gone")
        return time.perf_counter() - began

    async def fill(self, count: int) -> None:
        """That many ConfigMaps of about 1 KiB."""

        async def some(first: int) -> None:
            for number in range(first, count, WRITERS):
                body = {"metadata": {"name": f"fill-{number}"}, "data": {"value": "x" * 900}}
                await self.client.create(CONFIG_MAPS, body, namespace=NAMESPACE)

        await asyncio.gather(*(some(first) for first in range(WRITERS)))

    async def _until(self, is_true: Callable[[], bool], what: str) -> None:
        async with asyncio.timeout(SLOW_SECONDS):
            while not is_true():
                self._news.clear()
                await self._news.wait()

    async def watch(self) -> None:
        """Keeps `_pods` for ever."""
        options = WatchOptions(bookmarks=False)
        while True:
            self._pods.clear()
            try:
                async with aclosing(self.client.watch(PODS, namespace=NAMESPACE, options=options)) as events:
                    async for event in events:
                        self._see(event.type, event.raw)
            except Retry as error:
                print(f"the watch begins anew: because {error}", file=sys.stderr, flush=True)

    def _see(self, kind: EventType, raw: bytes) -> None:
        pod = _POD.decode(raw)
        name = pod.metadata.name
        if kind is EventType.DELETED:
            self._pods.pop(name, None)
        else:
            is_ready = any(one.type == "Ready" and one.status == "True" for one in pod.status.conditions)
            first = self._pods.get(name, 0.0)
            self._pods[name] = (first or time.perf_counter()) if is_ready else 0.0
        self._news.set()


class Client:
    """The user from outside: a child process and its commands, one at a time."""

    def __init__(self, config: Path) -> None:
        command = [sys.executable, "-m", "bench.cluster_client", str(config)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def prepare(self) -> None:
        self._ask("prepare")

    def start(self, documents: list[dict[str, Any]]) -> float:
        return float(self._ask("start", documents=documents))

    def stop(self, documents: list[dict[str, Any]]) -> float:
        return float(self._ask("stop", documents=documents))

    def fill(self, count: int) -> None:
        self._ask("fill", count=count)

    def close(self) -> None:
        """End the process, whatever it is at."""
        assert self._process.stdin is not None and self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # it has ended already
            self._process.stdin.close()
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:  # in the middle of a command
            self._process.terminate()
            self._process.wait(END_SECONDS)
        self._process.stdout.close()

    def _ask(self, command: str, **arguments: Any) -> Any:
        assert self._process.stdin is not None and self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # the empty answer tells
            self._process.stdin.write(json.dumps({"command": command, **arguments}) + "\n")
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the cluster's user ended at command {command!r}")
        return json.loads(line)


async def serve(config: Path) -> None:
    """Answer the commands on standard input until it ends."""
    limits = Limits(qps=0, in_flight=WRITERS)
    client = HttpClient(kubeconfig.load(config, user_agent="pykubelet-bench"), limits=limits)
    user = User(client)
    watching = asyncio.create_task(user.watch())
    commands: dict[str, Callable[..., Any]] = {
        "prepare": user.prepare,
        "start": user.start,
        "stop": user.stop,
        "fill": user.fill,
    }
    try:
        loop = asyncio.get_running_loop()
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            document = json.loads(line)
            answer = await commands[document.pop("command")](**document)
            print(json.dumps(answer), flush=True)
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await client.close()


def main() -> None:
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(Path(sys.argv[1])))


if __name__ == "__main__":
    main()
