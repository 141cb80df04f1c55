"""The status writer against the fake API, one call at a time: late events, a store set back, lost answers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

import msgspec
import pytest

from aio import virtual
from aio.clock import VirtualClock
from kube import objects, status
from kube.client import resources
from kube.client.model import DeleteOptions
from kube.fake import FakeApi
from kube.fake.faults import Pattern
from kube.objects.core_v1 import Pod
from kubelet.model import PodState, Stage, Volumes
from kubelet.status_writer import ECHO_SECONDS, StatusWriter
from kubelet.worker import PodWorker, WorkerParts

pytestmark = pytest.mark.sim

BODY = {
    "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "namespace": "default"},
    "spec": {"nodeName": "node-1", "containers": [{"name": "app", "image": "x"}]},
}  # fmt: skip


class Scene:
    """One pod of the API, its worker's word, and the writer; the test says what the watch delivers."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.api = FakeApi(clock)
        self.writer = StatusWriter(self.api.client("node"), clock, jitter=lambda: 0.0)
        self.api.put(BODY)
        self.worker = PodWorker(PodState(self.uid, self.pod()), cast(WorkerParts, None))

    @property
    def uid(self) -> str:
        return str(self.api.object(resources.PODS, "web", "default")["metadata"]["uid"])

    def pod(self, **metadata: Any) -> Pod:
        """The API's copy now, as the watch would bring it."""
        raw = msgspec.json.encode(self.api.object(resources.PODS, "web", "default"))
        pod = objects.decode(raw, Pod)
        return msgspec.structs.replace(pod, metadata=msgspec.structs.replace(pod.metadata, **metadata))

    def say(self, phase: str, **fields: Any) -> None:
        self.worker.status = {"phase": phase, "conditions": [], **fields}
        self.writer.publish(self.worker)

    def shown(self) -> dict[str, Any]:
        found: dict[str, Any] = self.api.object(resources.PODS, "web", "default")["status"]
        return found

    def writes(self, verb: str = "patch") -> int:
        return len(self.api.requests_of(verb, resources.PODS))

    async def wait(self, seconds: float = 10.0) -> None:
        await self.clock.sleep(seconds)


def simulate(scenario: Callable[[Scene], Awaitable[None]]) -> None:
    async def run(clock: VirtualClock) -> None:
        scene = Scene(clock)
        task = asyncio.ensure_future(scene.writer.run())
        try:
            await scenario(scene)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    virtual.run(run)


def test_status_waits_until_the_api_has_the_pod() -> None:
    async def scenario(scene: Scene) -> None:
        scene.say("Running")
        await scene.wait()
        assert scene.writes() == 0
        scene.writer.observe(scene.pod())
        await scene.wait(0.1)
        assert scene.shown()["phase"] == "Running" and scene.writes() == 1

    simulate(scenario)


def test_newest_status_wins_and_those_between_are_never_sent() -> None:
    async def scenario(scene: Scene) -> None:
        scene.writer.observe(scene.pod())
        for number in range(50):
            scene.say("Running", message=str(number))
        await scene.wait()
        assert scene.shown()["message"] == "49" and scene.writes() == 1

    simulate(scenario)


def test_event_that_our_write_has_overtaken_writes_nothing() -> None:
    async def scenario(scene: Scene) -> None:
        before = scene.pod()
        scene.writer.observe(before)
        scene.say("Running")
        await scene.wait(1)
        labelled = msgspec.structs.replace(before.metadata, labels={"a": "b"})
        scene.writer.observe(msgspec.structs.replace(before, metadata=labelled))
        await scene.wait(30)
        assert scene.writes() == 1

    simulate(scenario)


def test_status_is_written_again_after_the_store_was_set_back() -> None:
    async def scenario(scene: Scene) -> None:
        scene.writer.observe(scene.pod())
        scene.say("Running")
        await scene.wait(ECHO_SECONDS + 1)
        scene.api.put({**BODY, "status": {"phase": "Pending"}})
        scene.writer.observe(scene.pod(resource_version="1"))
        await scene.wait()
        assert scene.shown()["phase"] == "Running" and scene.writes() == 2

    simulate(scenario)


def test_lost_answer_costs_one_more_write_at_most() -> None:
    async def scenario(scene: Scene) -> None:
        lost = status.error_of(status.of_code(504, "too late"))
        scene.api.fail(lost, Pattern("patch"), times=1, after=True)
        scene.writer.observe(scene.pod())
        scene.say("Running")
        await scene.wait()
        assert scene.shown()["phase"] == "Running" and scene.writes() == 2

    simulate(scenario)


def test_another_pod_of_the_name_is_left_alone() -> None:
    async def scenario(scene: Scene) -> None:
        scene.writer.observe(scene.pod())
        scene.api.remove(resources.PODS, "web", "default")
        scene.api.put(BODY)
        scene.say("Running")
        await scene.wait(60)
        assert scene.shown() == {"phase": "Pending"} and scene.writes() == 1

    simulate(scenario)


def test_pod_is_deleted_once_it_is_released_and_its_end_is_written_and_not_before() -> None:
    async def scenario(scene: Scene) -> None:
        scene.api.delete(resources.PODS, ("default", "web"), DeleteOptions())
        scene.writer.observe(scene.pod())
        scene.say("Failed")
        await scene.wait()
        assert scene.shown()["phase"] == "Failed" and scene.writes("delete") == 0
        scene.worker.state = PodState(
            scene.uid, scene.pod(), stage=Stage.TERMINATED, volumes=Volumes.RELEASED
        )
        scene.writer.released(scene.worker)
        await scene.wait(0.1)
        assert scene.api.find(resources.PODS, "web", "default") is None
        assert scene.writes() == 1 and scene.writes("delete") == 1

    simulate(scenario)


def test_finished_pod_that_nobody_deleted_stays() -> None:
    async def scenario(scene: Scene) -> None:
        scene.writer.observe(scene.pod())
        scene.worker.state = PodState(
            scene.uid, scene.pod(), stage=Stage.TERMINATED, volumes=Volumes.RELEASED
        )
        scene.say("Succeeded")
        scene.writer.released(scene.worker)
        await scene.wait(600)
        assert scene.shown()["phase"] == "Succeeded" and scene.writes("delete") == 0

    simulate(scenario)


def test_orderly_stop_sends_what_waits_for_company_and_does_not_wait_for_a_server_that_is_away() -> None:
    async def scenario(scene: Scene) -> None:
        scene.writer.observe(scene.pod())
        scene.say("Running")
        await scene.writer.drain()
        assert scene.shown()["phase"] == "Running" and scene.writes() == 1
        scene.api.delay(30.0, Pattern("patch"))
        scene.say("Running", message="more")
        before = scene.clock.monotonic()
        await scene.writer.drain()
        assert scene.clock.monotonic() - before <= 1.0

    simulate(scenario)


def test_orderly_stop_does_not_ask_a_server_that_did_not_answer_last() -> None:
    async def scenario(scene: Scene) -> None:
        scene.writer.observe(scene.pod())
        scene.api.go_away()
        scene.say("Running")
        await scene.clock.sleep(1.0)
        asked = len(scene.api.requests)
        scene.api.delay(30.0, Pattern("patch"))
        before = scene.clock.monotonic()
        await scene.writer.drain()
        assert scene.clock.monotonic() == before and len(scene.api.requests) == asked > 0

    simulate(scenario)


def test_refused_writes_are_spaced_out() -> None:
    async def scenario(scene: Scene) -> None:
        scene.api.fail(status.error_of(status.of_code(403, "no")), Pattern("patch"), times=-1)
        scene.writer.observe(scene.pod())
        for number in range(300):
            scene.say("Running", message=str(number))
            await scene.wait(1)
        assert scene.writes() <= 300 / 10 + 8

    simulate(scenario)
