"""The scheduler against the fake API server, under virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest

from aio.clock import VirtualClock
from aio.virtual import run
from controlplane.scheduler.loop import Scheduler
from kube import status
from kube.client import resources as r
from kube.fake import FakeApi, Pattern

pytestmark = pytest.mark.sim

BIND = Pattern("create", r.PODS, subresource="binding")


def node(name: str, cpu: str = "4", **spec: Any) -> dict[str, Any]:
    allocatable = {"cpu": cpu, "memory": "8Gi", "pods": "110"}
    meta = {"name": name, "labels": {"kubernetes.io/hostname": name}}
    return {"apiVersion": "v1", "kind": "Node", "metadata": meta, "spec": spec, "status": {"allocatable": allocatable}}  # noqa: E501  # fmt: skip


def pod(name: str, cpu: str = "1", **spec: Any) -> dict[str, Any]:
    container = {"name": "main", "image": "i", "resources": {"requests": {"cpu": cpu}}}
    meta = {"name": name, "namespace": "shop"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": {"containers": [container], **spec}}


def scenario(body: Callable[[FakeApi], Awaitable[None]]) -> None:
    async def main(clock: VirtualClock) -> None:
        api = FakeApi(clock)
        scheduler = Scheduler(api.client("scheduler"), clock=clock, pick=lambda names: names[0])
        task = asyncio.create_task(scheduler.run())
        try:
            await body(api)
            assert not task.done()
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    run(main)


def node_of(api: FakeApi, name: str) -> str:
    found: str = api.object(r.PODS, name, "shop")["spec"].get("nodeName", "")
    return found


def scheduled(api: FakeApi, name: str) -> tuple[str, str, str]:
    conditions = api.object(r.PODS, name, "shop")["status"]["conditions"]
    found = next(item for item in conditions if item["type"] == "PodScheduled")
    return found["status"], found.get("reason", ""), found.get("message", "")


def events(api: FakeApi, reason: str) -> list[tuple[str, str, int]]:
    found = [item for item in api.objects(r.EVENTS) if item["reason"] == reason]
    return [(item["involvedObject"]["name"], item["message"], item["count"]) for item in found]


def test_pods_are_bound_and_an_event_says_where() -> None:
    async def body(api: FakeApi) -> None:
        api.put(node("n1"))
        for name in ("a", "b"):
            api.put(pod(name))
        await asyncio.sleep(1)
        assert [node_of(api, name) for name in ("a", "b")] == ["n1", "n1"]
        assert events(api, "Scheduled") == [
            ("a", "Successfully assigned shop/a to n1", 1),
            ("b", "Successfully assigned shop/b to n1", 1),
        ]

    scenario(body)


def test_pods_decided_in_a_burst_never_overfill_a_node() -> None:
    async def body(api: FakeApi) -> None:
        api.put(node("n1", cpu="2"))
        api.put(node("n2", cpu="3"))
        api.delay(0.5, BIND)
        for number in range(8):
            api.put(pod(f"p{number}"))
        await asyncio.sleep(5)
        places = [node_of(api, f"p{number}") for number in range(8)]
        assert (places.count("n1"), places.count("n2"), places.count("")) == (2, 3, 3)

    scenario(body)


def test_unschedulable_pod_says_why_and_is_placed_when_a_node_comes() -> None:
    async def body(api: FakeApi) -> None:
        api.put(node("n1", cpu="1"))
        api.put(pod("big", cpu="2"))
        await asyncio.sleep(1)
        said = "0/1 nodes are available: 1 Insufficient cpu."
        assert scheduled(api, "big") == ("False", "Unschedulable", said)
        assert events(api, "FailedScheduling") == [("big", said, 1)]
        api.put(node("n2", cpu="2"))
        await asyncio.sleep(1.5)
        assert node_of(api, "big") == "n2"
        assert scheduled(api, "big")[0] == "True"

    scenario(body)


def test_pod_that_waits_gets_the_room_of_one_that_is_deleted() -> None:
    async def body(api: FakeApi) -> None:
        api.put(node("n1", cpu="1"))
        api.put(pod("first"))
        await asyncio.sleep(1)
        api.put(pod("second"))
        await asyncio.sleep(30)
        assert node_of(api, "second") == ""
        api.remove(r.PODS, "first", "shop")
        await asyncio.sleep(1)
        assert node_of(api, "second") == "n1"

    scenario(body)


def test_uncordoned_node_takes_what_waited_for_it() -> None:
    async def body(api: FakeApi) -> None:
        api.put(node("n1", unschedulable=True))
        api.put(pod("a"))
        await asyncio.sleep(10)
        assert scheduled(api, "a")[2] == "0/1 nodes are available: 1 node(s) were unschedulable."
        api.put(node("n1"))
        await asyncio.sleep(1)
        assert node_of(api, "a") == "n1"

    scenario(body)


def test_refused_binding_is_tried_again_and_frees_the_room_it_had_taken() -> None:
    async def body(api: FakeApi) -> None:
        api.fail(status.conflict(r.PODS, "a", "for the test"), BIND)
        api.put(node("n1", cpu="1"))
        api.put(pod("a"))
        await asyncio.sleep(0.5)
        assert scheduled(api, "a")[1] == "SchedulerError"
        await asyncio.sleep(2)
        assert node_of(api, "a") == "n1"

    scenario(body)


def test_gated_pod_and_the_pods_of_other_schedulers_are_left_alone() -> None:
    async def body(api: FakeApi) -> None:
        api.put(node("n1"))
        api.put(pod("gated", schedulingGates=[{"name": "wait"}]))
        api.put(pod("other", schedulerName="mine"))
        await asyncio.sleep(5)
        assert scheduled(api, "gated")[:2] == ("False", "SchedulingGated")
        assert node_of(api, "other") == ""
        api.put(pod("gated"))
        await asyncio.sleep(5)
        assert node_of(api, "gated") == "n1"

    scenario(body)
