"""Ephemeral containers: `kubectl debug` adds one to a pod that runs, it is started once, and never again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cri.fake import Behaviour
from cri.types import ContainerState, NamespaceMode
from tests.simcluster import ClusterNode, simulate_cluster
from tests.simnode import IMAGE, manifest

pytestmark = pytest.mark.sim


def debugger(name: str = "debug", **fields: Any) -> dict[str, Any]:
    return {"name": name, "image": IMAGE, "stdin": True, "tty": True, **fields}


async def debugged(node: ClusterNode, *containers: dict[str, Any], **spec: Any) -> None:
    """A pod `web` that is up, and then gets these."""
    node.create(manifest("web", **spec))
    await node.until(lambda: node.is_ready("web"))
    node.change("web", spec={"ephemeralContainers": list(containers)})


def shown(node: ClusterNode, name: str = "debug") -> dict[str, Any]:
    """Its entry in the API, {} when there is none."""
    entries = node.shown("web").get("ephemeralContainerStatuses", ())
    return next((one for one in entries if one["name"] == name), {})


def made(node: ClusterNode, name: str = "debug") -> int:
    """How often a container of that name was created."""
    calls = [call for call in node.runtime.calls if call.name == "create_container"]
    return sum(1 for call in calls if call.args[1].metadata.name == name)


def state_of(node: ClusterNode, name: str = "debug") -> str:
    return str(next(iter(shown(node, name).get("state", {"": None}))))


def test_ephemeral_container_sees_the_processes_of_its_target(tmp_path: Path) -> None:
    async def scenario(node: ClusterNode) -> None:
        await debugged(node, debugger(targetContainerName="app"))
        await node.until(lambda: state_of(node) == "running", within=2)
        running = node.running("web")
        record = node.runtime.world.containers[running["debug"]]
        linux = record.config.linux
        assert linux is not None and linux.security_context is not None
        options = linux.security_context.namespace_options
        assert options is not None and options.pid is NamespaceMode.TARGET
        assert options.target_id == running["app"]
        assert record.config.tty and record.config.stdin
        entry = shown(node)
        assert entry["containerID"].startswith("fake://") and entry["restartCount"] == 0
        assert entry["ready"] is False and "started" not in entry
        assert node.count("web", "app") == 0 and node.is_ready("web")
        fields = [
            one.event.about.field_path
            for one in node.sink.recorded()
            if one.event.reason == "Started" and "debug" in one.event.about.field_path
        ]
        assert fields == ["spec.ephemeralContainers{debug}"]

    simulate_cluster(tmp_path, scenario)


@pytest.mark.parametrize("code", [0, 3])
def test_ephemeral_container_that_ended_is_not_started_again(tmp_path: Path, code: int) -> None:
    async def scenario(node: ClusterNode) -> None:
        node.runtime.behave(Behaviour(exit_code=code, after_seconds=2.0), container_name="debug")
        await debugged(node, debugger())
        await node.until(lambda: state_of(node) == "terminated", within=5)
        await node.run(700)
        assert made(node) == 1
        assert shown(node)["state"]["terminated"]["exitCode"] == code
        assert node.phase("web") == "Running" and node.is_ready("web")
        node.change("web", spec={"ephemeralContainers": [debugger(), debugger("second")]})
        await node.until(lambda: state_of(node, "second") == "running", within=2)
        assert made(node) == 1

    simulate_cluster(tmp_path, scenario)


@pytest.mark.parametrize("is_killed", [True, False])
def test_agent_that_starts_again_finds_it_as_it_was(tmp_path: Path, is_killed: bool) -> None:
    async def scenario(node: ClusterNode) -> None:
        node.runtime.behave(Behaviour(exit_code=0, after_seconds=1.0), container_name="done")
        await debugged(node, debugger(), debugger("done"))
        await node.until(lambda: state_of(node) == "running" and state_of(node, "done") == "terminated")
        await node.run(1)
        before = node.running("web")
        await (node.kill() if is_killed else node.stop())
        await node.start()
        await node.run(60)
        assert node.running("web") == before
        assert (made(node), made(node, "done")) == (1, 1)
        assert (state_of(node), state_of(node, "done")) == ("running", "terminated")

    simulate_cluster(tmp_path, scenario)


@pytest.mark.parametrize(
    "mark",
    ["before:CreateContainer", "after:CreateContainer", "before:StartContainer", "after:StartContainer"],
)
def test_agent_that_dies_while_it_starts_one_starts_it_after_all(tmp_path: Path, mark: str) -> None:
    async def scenario(node: ClusterNode) -> None:
        node.create(manifest("web"))
        await node.until(lambda: node.is_ready("web"))
        reached: list[str] = []

        def die(name: str) -> None:
            if name == mark:
                reached.append(name)
                raise RuntimeError("the agent is about to be killed")

        node.point = die
        node.change("web", spec={"ephemeralContainers": [debugger()]})
        await node.until(lambda: bool(reached))
        await node.kill()
        node.point = lambda _name: None
        await node.start()
        await node.until(lambda: state_of(node) == "running", within=5)
        await node.run(60)
        assert node.count("web", "debug") == 0
        records = node.runtime.world.containers.values()
        assert sum(1 for one in records if one.config.metadata.name == "debug") == 1

    simulate_cluster(tmp_path, scenario)


def test_pod_that_is_deleted_takes_it_along(tmp_path: Path) -> None:
    async def scenario(node: ClusterNode) -> None:
        await debugged(node, debugger())
        await node.until(lambda: state_of(node) == "running")
        node.delete("web")
        await node.until(lambda: not node.has("web"), within=5)
        await node.until(node.is_clean)

    simulate_cluster(tmp_path, scenario)


def test_pod_is_over_when_its_own_containers_are(tmp_path: Path) -> None:
    async def scenario(node: ClusterNode) -> None:
        node.runtime.behave(Behaviour(exit_code=0, after_seconds=5.0), container_name="app")
        await debugged(node, debugger(), restartPolicy="Never")
        await node.until(lambda: state_of(node) == "running", within=2)
        await node.until(lambda: node.phase("web") == "Succeeded", within=20)
        assert state_of(node) == "terminated" and node.running() == {}

    simulate_cluster(tmp_path, scenario)


def test_target_that_is_not_there_is_named_until_it_comes(tmp_path: Path) -> None:
    async def scenario(node: ClusterNode) -> None:
        await debugged(node, debugger(targetContainerName="nobody"))
        text = "unable to find target container nobody"
        expected = {"waiting": {"reason": "CreateContainerConfigError", "message": text}}
        await node.until(lambda: shown(node).get("state") == expected)
        assert made(node) == 0 and node.is_ready("web")

    simulate_cluster(tmp_path, scenario)


def test_pod_that_cannot_get_up_can_be_looked_into(tmp_path: Path) -> None:
    async def scenario(node: ClusterNode) -> None:
        node.runtime.behave(Behaviour(exit_code=1, after_seconds=0.1), container_name="setup")
        node.create(manifest("web", initContainers=["setup"]))
        await node.until(lambda: made(node, "setup") > 1)
        node.change("web", spec={"ephemeralContainers": [debugger()]})
        await node.until(lambda: state_of(node) == "running", within=2)
        await node.until(lambda: made(node, "setup") > 2)
        assert made(node) == 1

    simulate_cluster(tmp_path, scenario)


def test_one_that_is_lost_is_not_made_again(tmp_path: Path) -> None:
    async def scenario(node: ClusterNode) -> None:
        await debugged(node, debugger())
        await node.until(lambda: state_of(node) == "running")
        await node.runtime.remove_container(node.running("web")["debug"])
        await node.workers.relist()
        await node.until(lambda: state_of(node) == "terminated")
        await node.run(60)
        assert made(node) == 1 and state_of(node) == "terminated"
        assert shown(node)["state"]["terminated"]["reason"] == "ContainerStatusUnknown"

    simulate_cluster(tmp_path, scenario)


def test_new_sandbox_does_not_bring_it_back(tmp_path: Path) -> None:
    async def scenario(node: ClusterNode) -> None:
        await debugged(node, debugger())
        await node.until(lambda: state_of(node) == "running")
        (box,) = (key for key in node.runtime.world.sandboxes)
        await node.runtime.stop_pod_sandbox(box)
        await node.workers.relist()
        await node.until(lambda: "app" in node.running("web") and node.is_ready("web"))
        await node.run(60)
        assert made(node) == 1
        assert state_of(node) == "terminated"
        assert all(
            one.state is ContainerState.CONTAINER_EXITED
            for one in node.runtime.world.containers.values()
            if one.config.metadata.name == "debug"
        )

    simulate_cluster(tmp_path, scenario)
