"""restartPolicyRules with RestartAllContainers: one exit code has the whole pod begin anew in its sandbox."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cri.fake import Behaviour
from cri.types import ContainerState
from tests.simcluster import ClusterNode, simulate_cluster
from tests.simnode import manifest

pytestmark = pytest.mark.sim

CODE = 42
RULE = {"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [CODE]}}
ASKS = {"name": "asks", "restartPolicy": "Never", "restartPolicyRules": [RULE]}


async def up(node: ClusterNode, *containers: dict[str, Any] | str, **spec: Any) -> None:
    node.create(manifest("web", ASKS, *containers, initContainers=["setup"], restartPolicy="Never", **spec))
    node.runtime.behave(Behaviour(exit_code=0, after_seconds=0.5), container_name="setup")
    await node.until(lambda: node.is_ready("web"))


def attempts(node: ClusterNode) -> dict[str, int]:
    """Restart counts in the API."""
    shown = node.shown("web")
    entries = (*shown["initContainerStatuses"], *shown["containerStatuses"])
    return {one["name"]: one["restartCount"] for one in entries}


def ask(node: ClusterNode, code: int = CODE) -> None:
    node.runtime.crash(node.running("web")["asks"], code)


def test_everything_begins_anew_in_the_same_sandbox(tmp_path: Path) -> None:
    async def scenario(node: ClusterNode) -> None:
        node.runtime.behave(Behaviour(exit_code=0, after_seconds=1.0), container_name="done")
        node.runtime.behave(Behaviour(on_term=0, term_seconds=0.5), container_name="other")
        await up(node, "other", "done")
        await node.run(2)
        boxes, before = set(node.runtime.world.sandboxes), node.running("web")
        ask(node)
        await node.until(lambda: node.condition("web", "AllContainersRestarting") == "True", within=1)
        await node.until(lambda: node.running("web").keys() >= {"asks", "other"}, within=10)
        await node.until(lambda: attempts(node) == {"setup": 1, "asks": 1, "other": 1, "done": 1}, within=5)
        assert set(node.runtime.world.sandboxes) == boxes
        assert not set(before.values()) & set(node.running("web").values())
        await node.until(lambda: node.condition("web", "AllContainersRestarting") == "False", within=1)
        await node.run(30)
        assert node.phase("web") == "Running" and not node.calls("stop_pod_sandbox")
        stops = [one for one in node.runtime.calls if one.name == "stop_container"]
        assert [one.args[0] for one in stops] == [before["other"]]

    simulate_cluster(tmp_path, scenario)


def test_phase_is_never_terminal_on_the_way(tmp_path: Path) -> None:
    async def scenario(node: ClusterNode) -> None:
        await up(node)
        phases: set[str] = set()
        ask(node)
        for _ in range(200):
            await node.run(0.01)
            phases.add(node.phase("web"))
        assert phases == {"Running"}
        assert attempts(node)["asks"] == 1

    simulate_cluster(tmp_path, scenario)


def test_another_exit_code_is_left_to_the_policy(tmp_path: Path) -> None:
    async def scenario(node: ClusterNode) -> None:
        await up(node, "other")
        other = node.running("web")["other"]
        ask(node, 1)
        await node.run(60)
        assert node.running("web") == {"other": other} and not node.condition(
            "web", "AllContainersRestarting"
        )

    simulate_cluster(tmp_path, scenario)


def test_pod_that_asks_again_and_again_is_held_back(tmp_path: Path) -> None:
    async def scenario(node: ClusterNode) -> None:
        await up(node, "other")
        node.runtime.behave(Behaviour(exit_code=CODE, after_seconds=1.0), container_name="asks")
        ask(node)
        await node.run(120)
        # At once, then 10, 20, 40 s after each exit.
        assert 3 <= attempts(node)["asks"] <= 5
        assert attempts(node)["other"] == attempts(node)["asks"] == attempts(node)["setup"]

    simulate_cluster(tmp_path, scenario)


@pytest.mark.parametrize("after_seconds", [0.0, 0.05, 0.3, 1.0, 2.5])
def test_agent_that_dies_on_the_way_is_followed_by_one_that_ends_it(
    tmp_path: Path, after_seconds: float
) -> None:
    async def scenario(node: ClusterNode) -> None:
        node.runtime.behave(Behaviour(on_term=0, term_seconds=1.5), container_name="other")
        await up(node, "other")
        boxes = set(node.runtime.world.sandboxes)
        ask(node)
        await node.run(after_seconds)
        await node.kill()
        await node.start()
        await node.until(lambda: attempts(node) == {"setup": 1, "asks": 1, "other": 1}, within=20)
        await node.run(60)
        assert attempts(node) == {"setup": 1, "asks": 1, "other": 1}
        assert node.is_ready("web") and set(node.runtime.world.sandboxes) == boxes
        alive = [
            one
            for one in node.runtime.world.containers.values()
            if one.state is ContainerState.CONTAINER_RUNNING
        ]
        assert len(alive) == 2

    simulate_cluster(tmp_path, scenario)


def test_pod_that_is_deleted_on_the_way_goes(tmp_path: Path) -> None:
    async def scenario(node: ClusterNode) -> None:
        node.runtime.behave(Behaviour(on_term=None), container_name="other")
        await up(node, "other")
        ask(node)
        await node.run(0.5)
        node.delete("web", 1)
        await node.until(lambda: not node.has("web"), within=10)
        await node.until(node.is_clean)

    simulate_cluster(tmp_path, scenario)
