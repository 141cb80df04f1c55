"""Ten minutes without an API server: probes, restarts and statuses go on, and the API hears of it later."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cri.fake import Behaviour
from probes.outcome import failure, success
from tests.simcluster import ClusterNode, simulate_cluster
from tests.simnode import manifest

pytestmark = pytest.mark.sim

PROBE = {"exec": {"command": ["check"]}, "periodSeconds": 5, "failureThreshold": 2}


def probed(name: str, kind: str) -> dict[str, Any]:
    return manifest(name, {"name": "app", f"{kind}Probe": PROBE}, terminationGracePeriodSeconds=2)


def container(node: ClusterNode, name: str) -> dict[str, Any]:
    (one,) = node.shown(name)["containerStatuses"]
    return dict(one)


async def up(node: ClusterNode, *manifests: dict[str, Any]) -> None:
    for one in manifests:
        node.create(one)
    await node.until(lambda: all(node.is_ready(one["metadata"]["name"]) for one in manifests))


def test_readiness_is_probed_on_and_told_when_the_server_is_back(tmp_path: Path) -> None:
    async def scenario(node: ClusterNode) -> None:
        await up(node, probed("web", "readiness"))
        before = node.running("web")
        node.api.go_away()
        await node.run(290)
        assert not node.said("Unhealthy")
        node.answers.always = failure("no")
        await node.run(10)
        assert len(node.said("Unhealthy")) >= 1
        await node.run(300)
        assert node.running("web") == before and node.is_ready("web"), "nobody could tell the API"
        conditions = {one["type"]: one["status"] for one in node.worker("web").status["conditions"]}
        assert conditions["Ready"] == "False"
        node.api.come_back()
        await node.until(lambda: not node.is_ready("web"), within=15)
        node.answers.always = success()
        await node.until(lambda: node.is_ready("web"), within=6)
        assert node.running("web") == before and container(node, "web")["restartCount"] == 0

    simulate_cluster(tmp_path, scenario)


def test_liveness_restarts_and_back_off_holds_as_ever(tmp_path: Path) -> None:
    async def scenario(node: ClusterNode) -> None:
        node.runtime.behave(Behaviour(exit_code=1, after_seconds=1.0), container_name="falls")
        await up(node, probed("web", "liveness"), probed("still", "readiness"))
        still = node.running("still")
        node.create(manifest("loop", "falls"))
        await node.until(lambda: node.phase("loop") == "Running")
        node.api.go_away()
        node.answers.next = [failure("stuck")] * 4  # two of each pod, whoever asks first
        await node.run(600)
        assert node.count("web", "app") == 1 and node.running("still") == still
        # Ends after 1 s each time: 10, 20, 40, 80, 160, 300 s apart, as with an API server.
        assert 5 <= node.worker("loop").state.memory("falls").restart_count <= 6
        node.api.come_back()
        await node.until(lambda: container(node, "web")["restartCount"] == 1, within=15)
        assert container(node, "still")["restartCount"] == 0
        await node.until(lambda: container(node, "loop")["restartCount"] >= 5, within=15)

    simulate_cluster(tmp_path, scenario)


def test_status_of_the_whole_outage_is_one_write_per_pod(tmp_path: Path) -> None:
    async def scenario(node: ClusterNode) -> None:
        await up(node, manifest("a"), manifest("b"))
        node.api.go_away()
        for _ in range(5):
            await node.run(100)
            node.runtime.crash(node.running("a")["app"])
        await node.run(100)
        made = node.worker("a").status["containerStatuses"][0]["restartCount"]
        asked = len(node.writes())
        node.api.come_back()
        await node.until(lambda: container(node, "a")["restartCount"] == made, within=15)
        await node.run(30)
        assert len(node.writes()) - asked == 1, "of the pod that changed, the newest"

    simulate_cluster(tmp_path, scenario)
