"""Controllers running against the fake API server under virtual time, and an agent that makes pods ready."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from aio.clock import VirtualClock
from aio.virtual import run
from controlplane.controllers.base import Controller
from controlplane.controllers.runner import Runner
from kube import meta
from kube.client import resources as r
from kube.fake import FakeApi


class World:
    def __init__(self, clock: VirtualClock, *, check_namespaces: bool = False) -> None:
        self.clock = clock
        self.api = FakeApi(clock, check_namespaces=check_namespaces)

    def names(self, resource: r.Resource = r.PODS) -> list[str]:
        return [item["metadata"]["name"] for item in self.api.objects(resource)]

    def pods(self) -> list[dict[str, Any]]:
        return self.api.objects(r.PODS, "shop")

    def run_pods(self, chosen: Callable[[dict[str, Any]], bool] = lambda _: True) -> None:
        """Every chosen pod that is not yet so becomes running and ready."""
        stamp = meta.format_time(self.clock.now())
        for pod in self.pods():
            if pod["status"].get("phase") == "Pending" and chosen(pod):
                ready = {"type": "Ready", "status": "True", "lastTransitionTime": stamp}
                self.api.put({**pod, "status": {"phase": "Running", "conditions": [ready]}})


def scenario(
    make: Callable[[VirtualClock], list[Controller]],
    body: Callable[[World], Awaitable[None]],
    *,
    check_namespaces: bool = False,
) -> None:
    async def main(clock: VirtualClock) -> None:
        world = World(clock, check_namespaces=check_namespaces)
        runner = Runner(world.api.client("controllers"), make(clock), clock=clock)
        task = asyncio.create_task(runner.run())
        try:
            await body(world)
            assert not task.done(), task
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    run(main)


def template(image: str = "i:1", app: str = "web") -> dict[str, Any]:
    return {
        "metadata": {"labels": {"app": app}},
        "spec": {"containers": [{"name": "main", "image": image}]},
    }


def workload(kind: str, replicas: int, *, image: str = "i:1", **spec: Any) -> dict[str, Any]:
    selector: dict[str, Any] = {"matchLabels": {"app": "web"}}
    api_version = "apps/v1"
    if kind == "ReplicationController":
        selector, api_version = selector["matchLabels"], "v1"
    return {
        "apiVersion": api_version, "kind": kind, "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"replicas": replicas, "selector": selector, "template": template(image), **spec},
    }  # fmt: skip
