"""Pods of the API that the agent cannot decode: what runs goes on, and goes when it is to go."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from cri.fake import Behaviour
from kube.client import resources
from tests.simcluster import NAMESPACE, ClusterNode, simulate_cluster
from tests.simnode import manifest

pytestmark = pytest.mark.sim


async def spoiled(node: ClusterNode) -> dict[str, str]:
    """A pod that runs and whose definition then cannot be decoded any more."""
    node.create(manifest("web"))
    node.create(manifest("other"))
    await node.until(lambda: node.is_ready("web") and node.is_ready("other"))
    node.change("web", spec={"containers": "none"})
    return node.running("web")


async def spoiled_before_the_start(node: ClusterNode) -> dict[str, str]:
    """The same, for an agent that has never seen a definition of it that it could read."""
    running = await spoiled(node)
    await node.kill()
    await node.start()
    return running


WAYS = pytest.mark.parametrize("spoil", [spoiled, spoiled_before_the_start])
Spoil = Callable[[ClusterNode], Awaitable[dict[str, str]]]


@WAYS
def test_it_goes_on_and_is_stopped_at_once_when_it_is_gone(tmp_path: Path, spoil: Spoil) -> None:
    async def scenario(node: ClusterNode) -> None:
        running = await spoil(node)
        await node.run(60)
        assert node.running("web") == running
        node.api.remove(resources.PODS, "web", NAMESPACE)
        await node.until(lambda: not node.running("web"), within=1)
        assert node.running("other")
        node.delete("other")
        await node.until(node.is_clean)

    simulate_cluster(tmp_path, scenario)


@WAYS
def test_its_deletion_is_heeded_and_confirmed(tmp_path: Path, spoil: Spoil) -> None:
    async def scenario(node: ClusterNode) -> None:
        node.runtime.behave(Behaviour(on_term=0, term_seconds=5.0), container_name="app")
        await spoil(node)
        await node.run(60)
        node.delete("web")
        assert await node.until(lambda: not node.running("web"), within=8) > 4.0
        await node.until(lambda: not node.has("web"), within=2)
        node.delete("other")
        await node.until(node.is_clean)

    simulate_cluster(tmp_path, scenario)


def test_one_whose_deletion_began_while_no_agent_ran_goes(tmp_path: Path) -> None:
    async def scenario(node: ClusterNode) -> None:
        await spoiled(node)
        await node.kill()
        node.delete("web")
        await node.start()
        await node.until(lambda: not node.running("web") and not node.has("web"), within=5)
        assert node.running("other")

    simulate_cluster(tmp_path, scenario)


@WAYS
def test_one_that_is_mended_goes_on_as_it_was(tmp_path: Path, spoil: Spoil) -> None:
    async def scenario(node: ClusterNode) -> None:
        running = await spoil(node)
        await node.run(10)
        node.change("web", spec={"containers": node.pod("other")["spec"]["containers"]})
        await node.run(10)
        assert node.running("web") == running and node.is_ready("web")
        node.delete("web")
        await node.until(lambda: not node.has("web"))

    simulate_cluster(tmp_path, scenario)


def test_one_that_is_new_never_begins_and_leaves_when_it_is_deleted(tmp_path: Path) -> None:
    async def scenario(node: ClusterNode) -> None:
        node.create(manifest("other"))
        await node.until(lambda: node.is_ready("other"))
        broken = manifest("web")
        broken["spec"]["containers"] = "none"
        node.create(broken)
        await node.run(20)
        assert list(node.running()) == ["app"] and len(node.said("FailedValidation")) == 1
        node.api.remove(resources.PODS, "web", NAMESPACE)
        node.create(manifest("web"))
        await node.until(lambda: node.is_ready("web"))

    simulate_cluster(tmp_path, scenario)
