"""What of a pod's story is kept: what a later agent still knows, and what was said already."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cri.fake import Behaviour
from kubelet.model import Key
from tests.simcluster import ClusterNode, simulate_cluster
from tests.simnode import IMAGE, manifest

pytestmark = pytest.mark.sim

OTHER_IMAGE = "docker.io/library/busybox:1.36"
SLOW = Behaviour(on_term=0, term_seconds=5.0)


async def edited(node: ClusterNode) -> None:
    """A pod that is never restarted, whose container is being stopped for another image."""
    node.runtime.images.add(OTHER_IMAGE)
    node.runtime.behave(SLOW, container_name="app")
    one: dict[str, Any] = {"name": "app", "image": IMAGE}
    node.create(manifest("web", one, restartPolicy="Never"))
    await node.until(lambda: node.is_ready("web"))
    node.change("web", spec={"containers": [{**one, "image": OTHER_IMAGE}]})
    await node.until(lambda: bool(node.calls("stop_container")))


def images(node: ClusterNode) -> list[str]:
    """What runs of the pod was made for."""
    records = node.runtime.world.containers
    return [records[key].config.image.user_specified_image for key in node.running("web").values()]


@pytest.mark.parametrize("away_seconds", [0.0, 10.0])
def test_container_that_was_being_replaced_comes_back(tmp_path: Path, away_seconds: float) -> None:
    async def scenario(node: ClusterNode) -> None:
        await edited(node)
        await node.kill()
        await node.run_without_agent(away_seconds)
        await node.start()
        await node.until(lambda: images(node) == [OTHER_IMAGE], within=20)
        assert node.count("web", "app") == 1
        await node.until(lambda: node.is_ready("web") and node.phase("web") == "Running")

    simulate_cluster(tmp_path, scenario)


def test_what_fails_in_the_same_way_again_is_said_loud_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def scenario(node: ClusterNode) -> None:
        one = {"name": "app", "image": "docker.io/library/absent:1", "imagePullPolicy": "Never"}
        node.create(manifest("web", one))
        await node.run(300)
        tries = node.worker("web").state.retry[Key("EnsureImage", "app")].failures
        assert tries > 20, "it is tried again and again"

    simulate_cluster(tmp_path, scenario)
    said = capsys.readouterr().err
    assert said.count("Action failed") == 1
    assert "is not present with pull policy of Never" in said
