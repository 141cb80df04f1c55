"""Image pulls, log rotation and garbage collection against real runtimes."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from aio.clock import SystemClock
from aio.executors import Executors
from cri.enums import ContainerState
from cri.errors import NotFound
from cri.imagefile import pause_bytes
from cri.types import ContainerConfig, ContainerMetadata, ImageSpec, PodSandboxConfig, PodSandboxMetadata
from cri.wire import Runtime, connect
from kubelet import gc
from kubelet.events import RingEvents, container_ref, node_ref, pod_ref
from kubelet.gc_run import GarbageCollector, GcPaths
from kubelet.images.model import ImageRequest, PullLimits
from kubelet.images.puller import ImagePuller
from kubelet.logrotate import LogRotator, RotationPolicy, RunningLog
from kubelet.podspec.names import CONTAINER_NAME, CONTAINER_RESTART_COUNT, POD_NAME, POD_NAMESPACE, POD_UID
from tests.runtimes import PrivateContainerd, PrivateRegistry

pytestmark = pytest.mark.node

BUSYBOX = "docker.io/library/busybox:1.35"
# Prints 0, 1, 2, … as fast as the shell can, in lines long enough to fill a log quickly.
COUNTER = 'i=0; while [ $i -lt 3000 ]; do echo "line $i {}"; i=$((i+1)); done; sleep 1000'.format("x" * 200)


@asynccontextmanager
async def connected(runtime: PrivateContainerd) -> AsyncIterator[Runtime]:
    node = await connect(runtime.endpoint)
    try:
        yield node
    finally:
        await node.close()


@asynccontextmanager
async def puller(runtime: PrivateContainerd) -> AsyncIterator[tuple[ImagePuller, RingEvents]]:
    clock = SystemClock()
    async with connected(runtime) as node:
        ring = RingEvents(clock)
        made = ImagePuller(node.images, clock, ring, PullLimits(parallel=None))
        yield made, ring
        await made.close()


def request(image: str, policy: str = "IfNotPresent", uid: str = "u1") -> ImageRequest:
    return ImageRequest(container_ref(pod_ref("shop", "web", uid), "a"), image, policy)


@asynccontextmanager
async def container(node: Runtime, logs: Path, uid: str, script: str) -> AsyncIterator[tuple[str, str]]:
    """A running shell and its sandbox, labelled as the agent labels them; both are removed afterwards."""
    labels = {POD_NAME: "web", POD_NAMESPACE: "shop", POD_UID: uid}
    directory = logs / f"shop_web_{uid}"
    (directory / "a").mkdir(parents=True)
    config = PodSandboxConfig(
        metadata=PodSandboxMetadata("web", uid, "shop", 0), log_directory=str(directory), labels=labels
    )
    sandbox = await node.runtime.run_pod_sandbox(config)
    try:
        created = await node.runtime.create_container(
            sandbox,
            ContainerConfig(
                metadata=ContainerMetadata("a", 0),
                image=ImageSpec(BUSYBOX),
                command=("sh", "-c", script),
                labels={**labels, CONTAINER_NAME: "a"},
                annotations={CONTAINER_RESTART_COUNT: "0"},
                log_path="a/0.log",
            ),
            config,
        )
        await node.runtime.start_container(created)
        yield sandbox, created
    finally:
        with suppress(NotFound):  # what the test collected; containerd 1.6 does not overlook it
            await node.runtime.stop_pod_sandbox(sandbox)
        await node.runtime.remove_pod_sandbox(sandbox)


@pytest.mark.asyncio
async def test_present_image_is_found_by_short_and_long_name(runtime: PrivateContainerd) -> None:
    async with puller(runtime) as (images, _):
        short = await images.ensure(request("busybox:1.35"))
        full = await images.ensure(request(BUSYBOX))
        assert short.is_ready
        assert short.image_id == full.image_id
        assert short.image_id.startswith("sha256:")


@pytest.mark.asyncio
async def test_without_a_registry_the_refusal_names_if_not_present(runtime: PrivateContainerd) -> None:
    async with puller(runtime) as (images, ring):
        result = await images.ensure(request("localhost:1/shop/nothing:1"))
        assert result.reason == "ErrImagePull"
        assert "imagePullPolicy: IfNotPresent" in result.message
        assert "connection refused" in result.message
        held = await images.ensure(request("localhost:1/shop/nothing:1"))
        assert held.reason == "ImagePullBackOff"
        assert [entry.event.reason for entry in ring.recorded()] == [
            "Pulling",
            "Failed",
            "Failed",
            "BackOff",
            "Failed",
        ]


@pytest.mark.asyncio
async def test_never_policy_and_invalid_names_are_refused(runtime: PrivateContainerd) -> None:
    async with puller(runtime) as (images, _):
        never = await images.ensure(request("localhost/shop/absent:1", "Never"))
        assert never.reason == "ErrImageNeverPull"
        invalid = await images.ensure(request("Localhost/SHOP:1"))
        assert invalid.reason == "InvalidImageName"


@pytest.mark.asyncio
async def test_image_of_a_registry_is_pulled_once_for_all_and_can_be_missing(
    own_runtime: PrivateContainerd, registry: PrivateRegistry
) -> None:
    registry.push_archive(pause_bytes(["example.com/pause:1"]), "shop/pause", "1")
    own_runtime.trust_registry(registry.address)
    async with puller(own_runtime) as (images, ring):
        wanted = registry.reference("shop/pause", "1")
        results = await asyncio.gather(
            *(images.ensure(request(wanted, uid=f"u{number}")) for number in range(4))
        )
        assert all(result.is_ready for result in results)
        assert len({result.image_id for result in results}) == 1
        pulled = [entry.event.message for entry in ring.recorded() if entry.event.reason == "Pulled"]
        assert all(message.startswith(f'Successfully pulled image "{wanted}" in ') for message in pulled)
        missing = await images.ensure(request(registry.reference("shop/pause", "2")))
        assert missing.reason == "ErrImagePull"
        assert "not found" in missing.message
        assert "No registry could be reached" not in missing.message


@pytest.mark.asyncio
async def test_rotation_of_a_busy_log_loses_no_line(runtime: PrivateContainerd, tmp_path: Path) -> None:
    async with connected(runtime) as node, container(node, tmp_path, "rotate", COUNTER) as (_, busy):
        log = tmp_path / "shop_web_rotate/a/0.log"
        rotator = LogRotator(
            runtime=node.runtime,
            executors=Executors(),
            clock=SystemClock(),
            running=lambda: [RunningLog(busy, str(log))],
            policy=RotationPolicy(max_bytes=20_000, max_files=100),
        )
        rotated = 0
        for _ in range(600):
            rotated += await rotator.rotate_once()
            if b"line 2999 " in contents(log):
                break
            await asyncio.sleep(0.02)
        assert rotated >= 2
        numbers = [int(line.split()[4]) for line in contents(log).splitlines()]
        assert numbers == list(range(3000))


def contents(log: Path) -> bytes:
    """All of the log in order: rotated files, packed or not, then the current one."""
    whole = b""
    for path in [*sorted(log.parent.glob(f"{log.name}.*")), log]:
        data = path.read_bytes()
        whole += gzip.decompress(data) if path.suffix == ".gz" else data
    return whole


@pytest.mark.asyncio
async def test_leftovers_of_an_unknown_pod_are_collected_and_a_running_one_is_not(
    runtime: PrivateContainerd, tmp_path: Path
) -> None:
    logs = tmp_path / "pods"
    clock = SystemClock()
    async with (
        connected(runtime) as node,
        container(node, logs, "gone", "exit 3") as (sandbox, dead),
        container(node, logs, "alive", "sleep 1000") as (_, running),
    ):
        while (await node.runtime.container_status(dead)).status.state is not ContainerState.CONTAINER_EXITED:
            await asyncio.sleep(0.01)
        await node.runtime.stop_pod_sandbox(sandbox)
        (tmp_path / "lib/pods/gone/volumes").mkdir(parents=True)
        collector = GarbageCollector(
            runtime=node.runtime,
            executors=Executors(),
            clock=clock,
            sink=RingEvents(clock),
            node=node_ref("n1"),
            pods=lambda: gc.PodsKnown(frozenset({"alive"}), is_complete=True),
            paths=GcPaths(str(tmp_path / "lib"), str(logs), str(tmp_path / "containers")),
        )
        for _ in range(3):
            assert (await collector.collect_once()).failures == ()
        assert [one.id for one in await node.runtime.list_containers()] == [running]
        assert sandbox not in [one.id for one in await node.runtime.list_pod_sandboxes()]
        assert [path.name for path in logs.iterdir()] == ["shop_web_alive"]
        assert list((tmp_path / "lib/pods").iterdir()) == []
