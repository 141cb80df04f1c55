"""The private runtimes themselves: what the other tests stand on."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from cri.enums import ContainerState, PodSandboxState
from cri.imagefile import pause_bytes
from cri.types import (
    ContainerConfig,
    ContainerMetadata,
    ImageSpec,
    PodSandboxConfig,
    PodSandboxMetadata,
)
from cri.wire import Runtime, connect
from tests.runtimes import PrivateContainerd, PrivateRegistry, host
from tests.runtimes.leftovers import Scope, leftovers, picture

pytestmark = pytest.mark.node

BUSYBOX = ImageSpec(image="docker.io/library/busybox:1.35")
SERVER = ("httpd", "-f", "-p", "8080", "-h", "/etc")
NOTHING = Path("/nonexistent")


async def run_pod(node: Runtime, name: str, logs: Path) -> tuple[str, str]:
    """A sandbox with one running web server; returns the ids of both."""
    metadata = PodSandboxMetadata(name=name, uid=f"uid-{name}", namespace="default")
    sandbox_config = PodSandboxConfig(metadata=metadata, log_directory=str(logs))
    sandbox = await node.runtime.run_pod_sandbox(sandbox_config)
    config = ContainerConfig(
        metadata=ContainerMetadata(name="web"), image=BUSYBOX, command=SERVER, log_path="web.log"
    )
    container = await node.runtime.create_container(sandbox, config, sandbox_config)
    await node.runtime.start_container(container)
    return sandbox, container


async def remove_pod(node: Runtime, sandbox: str) -> None:
    await node.runtime.stop_pod_sandbox(sandbox)
    await node.runtime.remove_pod_sandbox(sandbox)


async def answers(address: str) -> bool:
    """Whether the pod's web server answers over the pod network."""
    for _ in range(100):
        try:
            reader, writer = await asyncio.open_connection(address, 8080)
        except OSError:
            await asyncio.sleep(0.02)
            continue
        writer.write(b"GET /passwd HTTP/1.0\r\n\r\n")
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        return b"root:x:0:0" in answer
    return False


async def address_of(node: Runtime, sandbox: str) -> str:
    status = (await node.runtime.pod_sandbox_status(sandbox)).status
    assert status.network is not None
    return status.network.ip


@pytest.mark.asyncio
async def test_pod_runs_and_answers_on_its_own_network(runtime: PrivateContainerd, tmp_path: Path) -> None:
    node = await connect(runtime.endpoint)
    before = (runtime.leases(), runtime.netns(), runtime.container_processes())
    try:
        sandbox, _ = await run_pod(node, "web", tmp_path)
        address = await address_of(node, sandbox)
        assert runtime.leases()[address] == sandbox
        assert len(runtime.netns() - before[1]) == 1
        assert await answers(address)
        await remove_pod(node, sandbox)
        assert (runtime.leases(), runtime.netns(), runtime.container_processes()) == before
    finally:
        await node.close()


@pytest.mark.asyncio
async def test_containers_outlive_a_killed_daemon(own_runtime: PrivateContainerd, tmp_path: Path) -> None:
    node = await connect(own_runtime.endpoint)
    try:
        sandbox, container = await run_pod(node, "web", tmp_path)
        before = own_runtime.container_processes()
        own_runtime.kill()
        assert own_runtime.pid is None
        assert await answers(next(iter(own_runtime.leases())))
        own_runtime.restart()
        assert own_runtime.container_processes() == before
    finally:
        await node.close()
    again = await connect(own_runtime.endpoint)
    try:
        status = (await again.runtime.container_status(container)).status
        assert status.state == ContainerState.CONTAINER_RUNNING
        assert await answers(await address_of(again, sandbox))
    finally:
        await again.close()


@pytest.mark.asyncio
async def test_reboot_leaves_the_records_and_nothing_running(
    own_runtime: PrivateContainerd, tmp_path: Path
) -> None:
    node = await connect(own_runtime.endpoint)
    try:
        sandbox, container = await run_pod(node, "web", tmp_path)
    finally:
        await node.close()
    own_runtime.reboot()
    assert own_runtime.container_processes() == set()
    assert own_runtime.netns() == set()
    again = await connect(own_runtime.endpoint)
    try:
        (known,) = await again.runtime.list_pod_sandboxes()
        assert (known.id, known.state) == (sandbox, PodSandboxState.SANDBOX_NOTREADY)
        (left,) = await again.runtime.list_containers()
        assert left.id == container
        assert left.state != ContainerState.CONTAINER_RUNNING
        await remove_pod(again, sandbox)
        assert own_runtime.leases() == {}
    finally:
        await again.close()


@pytest.mark.asyncio
async def test_stop_leaves_nothing_of_running_pods(own_runtime: PrivateContainerd, tmp_path: Path) -> None:
    node = await connect(own_runtime.endpoint)
    try:
        pods = [await run_pod(node, f"web-{number}", tmp_path) for number in range(2)]
    finally:
        await node.close()
    ids = {id for pod in pods for id in pod}
    assert any(path.name in ids for path in host.cgroups())
    scope = Scope("", own_runtime.root, frozenset({own_runtime.layout.bridge}))
    nothing = picture(Scope("", NOTHING))
    kinds = {line.split()[0] for line in leftovers(nothing, picture(scope))}
    assert {"process", "mount", "link"} <= kinds
    own_runtime.kill()
    own_runtime.stop()
    assert leftovers(nothing, picture(scope)) == []
    assert not any(path.name in ids for path in host.cgroups())
    assert not any(path.name in ids for path in Path("/run/containerd/runc/k8s.io").glob("*"))
    assert not own_runtime.root.exists()


@pytest.mark.asyncio
async def test_image_is_pulled_from_the_private_registry(
    runtime: PrivateContainerd, registry: PrivateRegistry
) -> None:
    runtime.trust_registry(registry.address)
    # An id of its own: removing an image drops every name of its id, the sandbox image's too.
    archive = pause_bytes(("localhost/pulled:1",), labels={"test": "pulled"})
    reference = registry.push_archive(archive, "pulled", "1")
    node = await connect(runtime.endpoint)
    try:
        image = ImageSpec(image=reference)
        await node.images.pull_image(image)
        status = (await node.images.image_status(image)).image
        assert status is not None
        assert reference in status.repo_tags
        await node.images.remove_image(image)
    finally:
        await node.close()


def test_two_runtimes_share_no_name_on_the_host(runtime: PrivateContainerd, tmp_path: Path) -> None:
    other = PrivateContainerd(runtime.kind, "/tmp/pkt-other")
    for ours, theirs in (
        (runtime.layout.bridge, other.layout.bridge),
        (runtime.layout.network, other.layout.network),
        (runtime.layout.subnet, other.layout.subnet),
    ):
        assert ours != theirs
    assert len(runtime.layout.bridge) <= 15  # IFNAMSIZ less its final zero
