"""Static pods of a node in a cluster, and their copies in the API, under virtual time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kube import status
from kube.client import resources
from kube.client.model import DeleteOptions
from kube.fake.faults import Pattern
from kube.meta import CONFIG_HASH, CONFIG_MIRROR
from tests.simcluster import NAMESPACE, ClusterNode, simulate_cluster
from tests.simnode import NODE_NAME, manifest

pytestmark = pytest.mark.sim

NAME = f"web-{NODE_NAME}"


async def up(node: ClusterNode, name: str = "web") -> None:
    node.want(manifest(name))
    await node.until(lambda: node.has(f"{name}-{NODE_NAME}") and node.is_ready(f"{name}-{NODE_NAME}"))


def simulate(tmp_path: Path, scenario: Any) -> None:
    simulate_cluster(tmp_path, scenario, with_files=True)


def test_static_pod_has_a_copy_in_the_api_with_its_status(tmp_path: Path) -> None:
    async def scenario(node: ClusterNode) -> None:
        await up(node)
        mirror = node.pod(NAME)
        static = node.worker("web")
        assert static.state.pod is not None
        assert mirror["metadata"]["uid"] != static.uid
        annotations = mirror["metadata"]["annotations"]
        assert annotations[CONFIG_MIRROR] == annotations[CONFIG_HASH] == static.uid
        assert annotations["kubernetes.io/config.source"] == "file"
        assert not any("/manifests" in text for text in annotations.values()), "a path of this host"
        (owner,) = mirror["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["name"], owner["controller"]) == ("Node", NODE_NAME, True)
        assert mirror["spec"]["nodeName"] == NODE_NAME
        assert mirror["status"]["phase"] == "Running" and mirror["status"]["podIP"]
        assert len(node.workers) == 1, "a mirror pod was run"

    simulate(tmp_path, scenario)


def test_static_pod_runs_before_the_api_answers_and_is_shown_when_it_does(tmp_path: Path) -> None:
    async def scenario(node: ClusterNode) -> None:
        await node.stop()
        node.api.go_away()
        await node.start()
        node.want(manifest("web"))
        await node.until(lambda: bool(node.running("web")), within=1)
        await node.run(120)
        node.api.come_back()
        await node.until(lambda: node.has(NAME) and node.is_ready(NAME))

    simulate(tmp_path, scenario)


def test_copy_waits_for_the_node_to_be_registered(tmp_path: Path) -> None:
    async def scenario(node: ClusterNode) -> None:
        owner, node.owner = node.owner, None
        node.want(manifest("web"))
        await node.run(30)
        assert node.running("web") and not node.has(NAME)
        node.owner = owner
        node.joined.mirrors.poke()
        await node.until(lambda: node.has(NAME) and node.is_ready(NAME), within=1)

    simulate(tmp_path, scenario)


@pytest.mark.parametrize("grace", [None, 0])
def test_copy_that_a_user_deletes_comes_back_and_the_pod_never_notices(
    tmp_path: Path, grace: int | None
) -> None:
    async def scenario(node: ClusterNode) -> None:
        await up(node)
        before, old = node.running("web"), node.pod(NAME)["metadata"]["uid"]
        node.delete(NAME, grace)
        await node.until(lambda: node.has(NAME) and node.pod(NAME)["metadata"]["uid"] != old, within=2)
        await node.until(lambda: node.is_ready(NAME), within=2)
        await node.run(60)
        assert node.running("web") == before
        assert node.calls("stop_container") == []

    simulate(tmp_path, scenario)


def test_changed_manifest_has_a_new_copy(tmp_path: Path) -> None:
    async def scenario(node: ClusterNode) -> None:
        await up(node)
        old = node.pod(NAME)["metadata"]
        node.want(manifest("web", hostname="other"))
        await node.until(
            lambda: node.has(NAME) and node.pod(NAME)["metadata"]["uid"] != old["uid"] and node.is_ready(NAME)
        )
        mirror = node.pod(NAME)
        assert mirror["spec"]["hostname"] == "other"
        assert mirror["metadata"]["annotations"][CONFIG_MIRROR] == node.worker("web").uid
        assert len([one for one in node.writes() if one.verb == "create"]) == 2

    simulate(tmp_path, scenario)


def test_removed_manifest_takes_its_copy_along(tmp_path: Path) -> None:
    async def scenario(node: ClusterNode) -> None:
        await up(node)
        node.unwant("web")
        await node.until(lambda: not node.has(NAME), within=2)
        await node.until(node.is_clean)
        await node.run(60)
        assert not node.has(NAME)

    simulate(tmp_path, scenario)


def test_orphan_is_taken_away_only_when_every_source_has_spoken(tmp_path: Path) -> None:
    async def scenario(node: ClusterNode) -> None:
        await up(node, "web")
        await up(node, "gone")
        gone = f"gone-{NODE_NAME}"
        await node.kill()
        del node.pods["gone"]
        await node.start()
        await node.run(120)
        assert node.has(NAME) and node.has(gone), "the manifests were not read yet"
        node.deliver()
        await node.until(lambda: not node.has(gone), within=2)
        await node.run(60)
        assert node.has(NAME) and node.is_ready(NAME)
        assert len([one for one in node.writes() if one.verb == "create"]) == 2

    simulate(tmp_path, scenario)


def test_restarted_agent_writes_nothing_about_a_static_pod_that_is_as_it_was(tmp_path: Path) -> None:
    async def scenario(node: ClusterNode) -> None:
        await up(node)
        await node.run(2)
        before = len(node.writes())
        await node.kill()
        await node.start()
        node.deliver()
        await node.run(60)
        assert len(node.writes()) == before

    simulate(tmp_path, scenario)


def test_copy_that_cannot_be_made_at_first_is_made_later(tmp_path: Path) -> None:
    async def scenario(node: ClusterNode) -> None:
        node.api.fail(status.error_of(status.of_code(403, "not yet")), Pattern("create"), times=4)
        await up(node)
        assert len([one for one in node.writes() if one.verb == "create"]) == 5

    simulate(tmp_path, scenario)


def test_name_taken_by_a_pod_that_is_no_copy_is_left_alone(tmp_path: Path) -> None:
    """A user's pod on another node has the name; ours runs, is not shown, and the other one lives."""

    async def scenario(node: ClusterNode) -> None:
        other = manifest(NAME)
        other["metadata"]["namespace"] = NAMESPACE
        other["spec"]["nodeName"] = "node-2"
        kept = node.api.put(other)
        node.want(manifest("web"))
        await node.until(lambda: bool(node.running("web")))
        await node.run(60)
        assert node.pod(NAME)["metadata"]["uid"] == kept["metadata"]["uid"]
        assert len(node.writes()) < 20
        node.api.delete(resources.PODS, (NAMESPACE, NAME), DeleteOptions(grace_period_seconds=0))
        await node.until(lambda: node.has(NAME) and node.is_ready(NAME))

    simulate(tmp_path, scenario)
