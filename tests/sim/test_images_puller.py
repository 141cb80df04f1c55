"""The image puller against a small true image store, under virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from aio import virtual
from aio.clock import VirtualClock
from cri.errors import CriError, ImagePullError
from cri.types import AuthConfig, Image, ImageSpec, ImageStatusResponse, PodSandboxConfig
from kubelet.events import RingEvents, container_ref, pod_ref
from kubelet.images.model import ImageRequest, PullLimits
from kubelet.images.puller import ImagePuller
from kubelet.images.reference import normalised

pytestmark = pytest.mark.sim


@dataclass
class Store:
    """Images on the node and in a registry; a pull takes `pull_seconds`."""

    clock: VirtualClock
    remote: dict[str, Image] = field(default_factory=dict)
    local: dict[str, Image] = field(default_factory=dict)
    pull_error: CriError | None = None
    status_error: CriError | None = None
    pull_seconds: float = 2.0
    password: str = ""
    looked_up: int = 0
    pulls: list[str] = field(default_factory=list)
    under_way: int = 0
    most_under_way: int = 0
    cancelled: int = 0

    async def image_status(self, image: ImageSpec, *, verbose: bool = False) -> ImageStatusResponse:
        self.looked_up += 1
        await self.clock.sleep(0.01)
        if self.status_error is not None:
            raise self.status_error
        return ImageStatusResponse(image=self.local.get(normalised(image.image)))

    async def pull_image(
        self, image: ImageSpec, auth: AuthConfig | None = None, sandbox_config: PodSandboxConfig | None = None
    ) -> str:
        self.pulls.append(image.image)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await self.clock.sleep(self.pull_seconds)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.under_way -= 1
        if self.pull_error is not None:
            raise self.pull_error
        if self.password and (auth is None or auth.password != self.password):
            raise ImagePullError("pull access denied", call="PullImage")
        name = normalised(image.image)
        if name not in self.remote:
            raise ImagePullError(f"{name}: not found", call="PullImage", code="NOT_FOUND")
        self.local[name] = self.remote[name]
        return self.remote[name].id


@dataclass
class World:
    clock: VirtualClock
    store: Store
    events: RingEvents
    puller: ImagePuller

    def texts(self) -> list[str]:
        return [f"{entry.event.reason}: {entry.event.message}" for entry in self.events.recorded()]


def request(image: str = "app:1", policy: str = "IfNotPresent", uid: str = "u1", **more: Any) -> ImageRequest:
    return ImageRequest(container_ref(pod_ref("shop", "web", uid), "main"), image, policy, **more)


def in_world(scenario: Callable[[World], Awaitable[None]], limits: PullLimits | None = None) -> None:
    async def run(clock: VirtualClock) -> None:
        store = Store(clock, remote={"docker.io/library/app:1": Image(id="sha256:app", size=42, uid=7)})
        events = RingEvents(clock)
        limit = limits or PullLimits(parallel=None)
        world = World(clock, store, events, ImagePuller(store, clock, events, limit))  # type: ignore[arg-type]
        await scenario(world)
        await world.puller.close()

    virtual.run(run)


def test_absent_image_is_pulled_and_described() -> None:
    async def scenario(world: World) -> None:
        result = await world.puller.ensure(request())
        assert (result.image_id, result.uid, result.reason) == ("sha256:app", 7, "")
        assert world.texts() == [
            'Pulling: Pulling image "app:1"',
            'Pulled: Successfully pulled image "app:1" in 2s (2.01s including waiting).'
            " Image size: 42 bytes.",
        ]

    in_world(scenario)


def test_burst_of_equal_pods_asks_the_runtime_once() -> None:
    async def scenario(world: World) -> None:
        world.store.local = dict(world.store.remote)
        results = await asyncio.gather(*(world.puller.ensure(request(uid=f"u{i}")) for i in range(50)))
        assert {result.image_id for result in results} == {"sha256:app"}
        assert world.store.looked_up == 1
        await world.clock.sleep(1.5)
        await world.puller.ensure(request())
        assert world.store.looked_up == 2

    in_world(scenario)


def test_only_an_image_that_came_is_told() -> None:
    async def scenario(world: World) -> None:
        told: list[str] = []
        world.puller.changed = lambda: told.append("changed")
        await asyncio.gather(*(world.puller.ensure(request(uid=f"u{i}")) for i in range(5)))
        await world.puller.ensure(request())
        await world.puller.ensure(request("absent:1"))
        assert told == ["changed"]

    in_world(scenario)


def test_absence_is_never_remembered() -> None:
    async def scenario(world: World) -> None:
        refused = await world.puller.ensure(request(policy="Never"))
        assert refused.reason == "ErrImageNeverPull"
        world.store.local = dict(world.store.remote)
        assert (await world.puller.ensure(request(policy="Never"))).is_ready

    in_world(scenario)


def test_image_removed_under_us_is_found_missing_when_asked_fresh() -> None:
    async def scenario(world: World) -> None:
        world.store.local = dict(world.store.remote)
        await world.puller.ensure(request())
        world.store.local.clear()
        assert (await world.puller.ensure(request())).is_ready
        assert world.store.pulls == []
        assert (await world.puller.ensure(request(), fresh=True)).is_ready
        assert world.store.pulls == ["app:1"]

    in_world(scenario)


def test_one_pull_serves_all_pods_that_wait_for_it() -> None:
    async def scenario(world: World) -> None:
        requests = [request(uid=f"u{i}", policy="Always") for i in range(5)]
        results = await asyncio.gather(*(world.puller.ensure(one) for one in requests))
        assert all(result.is_ready for result in results)
        assert world.store.pulls == ["app:1"]

    in_world(scenario)


def test_different_credentials_do_not_share_a_pull() -> None:
    async def scenario(world: World) -> None:
        world.store.password = "right"
        wrong = request(uid="u1", policy="Always", auths=(AuthConfig(password="wrong"),))
        both = request(
            uid="u2", policy="Always", auths=(AuthConfig(password="wrong"), AuthConfig(password="right"))
        )
        refused, good = await asyncio.gather(world.puller.ensure(wrong), world.puller.ensure(both))
        assert (refused.reason, refused.message) == ("ErrImagePull", "pull access denied")
        assert good.is_ready
        assert len(world.store.pulls) == 3

    in_world(scenario)


def test_deleted_pod_does_not_end_a_pull_that_others_wait_for() -> None:
    async def scenario(world: World) -> None:
        first = asyncio.create_task(world.puller.ensure(request(uid="u1", policy="Always")))
        second = asyncio.create_task(world.puller.ensure(request(uid="u2", policy="Always")))
        await world.clock.sleep(1)
        first.cancel()
        assert (await second).is_ready
        assert world.store.cancelled == 0

    in_world(scenario)


def test_pull_that_nobody_waits_for_is_given_up() -> None:
    async def scenario(world: World) -> None:
        only = asyncio.create_task(world.puller.ensure(request(policy="Always")))
        await world.clock.sleep(1)
        only.cancel()
        await world.clock.sleep(0.1)
        assert world.store.cancelled == 1
        assert (await world.puller.ensure(request(policy="Always"))).is_ready

    in_world(scenario)


@pytest.mark.parametrize(("parallel", "most"), [(1, 1), (3, 3), (None, 6)])
def test_pulls_run_in_parallel_up_to_the_cap(parallel: int | None, most: int) -> None:
    async def scenario(world: World) -> None:
        names = [f"app:{i}" for i in range(6)]
        world.store.remote = {normalised(name): Image(id=name) for name in names}
        results = await asyncio.gather(*(world.puller.ensure(request(name, uid=name)) for name in names))
        assert [result.image_id for result in results] == names
        assert world.store.most_under_way == most

    in_world(scenario, PullLimits(parallel=parallel))


def test_pulls_beyond_burst_and_rate_fail_with_upstreams_words() -> None:
    async def scenario(world: World) -> None:
        names = [f"app:{i}" for i in range(3)]
        world.store.remote = {normalised(name): Image(id=name) for name in names}
        results = await asyncio.gather(*(world.puller.ensure(request(name)) for name in names))
        assert [result.message for result in results] == ["", "", "pull QPS exceeded"]
        assert results[2].reason == "ErrImagePull"

    in_world(scenario, PullLimits(parallel=None, per_second=1.0, burst=2))


def test_failing_pull_backs_off_doubling_to_five_minutes() -> None:
    async def scenario(world: World) -> None:
        delays = []
        for _ in range(7):
            failed = await world.puller.ensure(request("gone:1"))
            assert failed.reason == "ErrImagePull"
            held = await world.puller.ensure(request("gone:1"))
            assert held.reason == "ImagePullBackOff"
            assert held.message == (
                'Back-off pulling image "gone:1": ErrImagePull: rpc error: code = NotFound desc = '
                "docker.io/library/gone:1: not found"
            )
            assert held.retry_after_seconds is not None
            delays.append(round(held.retry_after_seconds))
            await world.clock.sleep(held.retry_after_seconds)
        assert delays == [10, 20, 40, 80, 160, 300, 300]
        assert len(world.store.pulls) == 7

    in_world(scenario)


def test_back_off_is_per_pod_and_ends_with_success() -> None:
    async def scenario(world: World) -> None:
        await world.puller.ensure(request("gone:1", uid="u1"))
        other = await world.puller.ensure(request("gone:1", uid="u2"))
        assert other.reason == "ErrImagePull"
        world.store.remote[normalised("gone:1")] = Image(id="back")
        await world.clock.sleep(11)
        assert (await world.puller.ensure(request("gone:1", uid="u1"))).is_ready
        world.store.local.clear()
        world.store.remote.clear()
        await world.clock.sleep(2)
        await world.puller.ensure(request("gone:1", uid="u1"))
        held = await world.puller.ensure(request("gone:1", uid="u1"))
        assert held.retry_after_seconds == pytest.approx(10, abs=0.1)

    in_world(scenario)


def test_forgotten_pod_leaves_no_back_off() -> None:
    async def scenario(world: World) -> None:
        await world.puller.ensure(request("gone:1"))
        world.puller.forget_pod("u1")
        assert (await world.puller.ensure(request("gone:1"))).reason == "ErrImagePull"

    in_world(scenario)


def test_failure_is_told_in_events_with_the_exact_texts() -> None:
    async def scenario(world: World) -> None:
        world.store.pull_error = ImagePullError("lookup registry: no such host", call="PullImage")
        result = await world.puller.ensure(request())
        await world.puller.ensure(request())
        assert "IfNotPresent" in result.message
        assert world.texts() == [
            'Pulling: Pulling image "app:1"',
            'Failed: Failed to pull image "app:1": lookup registry: no such host',
            "Failed: Error: ErrImagePull",
            'BackOff: Back-off pulling image "app:1"',
            "Failed: Error: ImagePullBackOff",
        ]
        assert all(
            entry.event.about.field_path == "spec.containers{main}" for entry in world.events.recorded()
        )

    in_world(scenario)


def test_runtime_that_cannot_say_is_an_inspect_error() -> None:
    async def scenario(world: World) -> None:
        world.store.status_error = CriError("boom", call="ImageStatus")
        result = await world.puller.ensure(request())
        assert result.reason == "ImageInspectError"
        assert result.message == 'Failed to inspect image "app:1": boom'
        assert world.texts() == [
            'InspectFailed: Failed to inspect image "app:1": boom',
            "Failed: Error: ImageInspectError",
        ]

    in_world(scenario)


def test_invalid_name_reaches_no_runtime() -> None:
    async def scenario(world: World) -> None:
        result = await world.puller.ensure(request("BAD:1"))
        assert result.reason == "InvalidImageName"
        assert world.store.looked_up == 0
        assert [entry.event.reason for entry in world.events.recorded()] == ["InspectFailed", "Failed"]

    in_world(scenario)
