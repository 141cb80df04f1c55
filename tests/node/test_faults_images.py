"""Pulls from a real registry: the policies, and a registry that is down for a while."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cri.imagefile import busybox_bytes
from tests.node.agent import AgentProcess
from tests.node.scene import agent_on, box, container_status, events_of, pod, state_of, status_of, wait_event
from tests.runtimes import PrivateContainerd, PrivateRegistry
from tests.runtimes.fixtures import Workshop

pytestmark = pytest.mark.node


@pytest.fixture(scope="module")
def agent(runtime: PrivateContainerd, workshop: Workshop | None) -> Iterator[AgentProcess]:
    with agent_on(runtime, workshop) as made:
        made.start()
        yield made


def pulls(agent: AgentProcess, name: str) -> list[str]:
    return [text for reason, text in events_of(agent, name) if reason == "Pulled"]


def test_policies_decide_when_an_image_is_pulled(
    agent: AgentProcess, runtime: PrivateContainerd, registry: PrivateRegistry
) -> None:
    runtime.trust_registry(registry.address)
    image = registry.push_archive(busybox_bytes(), "shop/web", "1")
    agent.write_manifest(pod("first", box(image=image, imagePullPolicy="IfNotPresent")))
    agent.wait_pod_ready("first")
    (said,) = pulls(agent, "first")
    assert said.startswith(f'Successfully pulled image "{image}" in ')
    found = container_status(status_of(agent, "first"))
    assert found["image"] == image
    assert found["imageID"].startswith(f"{registry.address}/shop/web@sha256:")

    agent.write_manifest(pod("second", box(image=image, imagePullPolicy="IfNotPresent")))
    agent.write_manifest(pod("never", box(image=image, imagePullPolicy="Never")))
    agent.write_manifest(pod("always", box(image=image, imagePullPolicy="Always")))
    present = f'Container image "{image}" already present on machine'
    for name in ("second", "never"):
        agent.wait_pod_ready(name)
        assert pulls(agent, name)[0].startswith(present)
    agent.wait_pod_ready("always")
    assert pulls(agent, "always")[0].startswith(f'Successfully pulled image "{image}"')
    agent.remove_all()
    runtime.ctr("images", "rm", "--sync", image)


@pytest.mark.timeout(120)
def test_a_pull_goes_on_by_itself_when_the_registry_comes_up(
    agent: AgentProcess, runtime: PrivateContainerd, workshop: Workshop | None
) -> None:
    assert workshop is not None
    late = PrivateRegistry(workshop.base / "late")
    late.start()
    port = late.port
    late.stop()
    runtime.trust_registry(late.address)
    image = f"127.0.0.1:{port}/shop/late:1"
    agent.write_manifest(pod("late", box(image=image)))
    agent.write_manifest(pod("beside"))
    agent.wait_pod_ready("beside")
    wait_event(agent, "late", "BackOff", f'Back-off pulling image "{image}"')
    waiting = state_of(agent, "late")["waiting"]
    assert waiting["reason"] == "ImagePullBackOff"
    assert waiting["message"].startswith(f'Back-off pulling image "{image}": ErrImagePull: ')
    assert "connection refused" in waiting["message"]
    with late:
        late.push_archive(busybox_bytes(), "shop/late", "1")
        agent.wait_pod_ready("late", 45.0)
    assert container_status(status_of(agent, "late"))["restartCount"] == 0
    # A pod that is deleted while its image cannot be had goes at once.
    agent.write_manifest(pod("hopeless", box(image=f"127.0.0.1:{port}/shop/none:1")))
    wait_event(agent, "hopeless", "Failed")
    agent.remove_manifest("hopeless")
    agent.wait_for(lambda: "hopeless" not in agent.pods(), "let go of it", 5.0)
    agent.remove_all()
    runtime.ctr("images", "rm", "--sync", image)
