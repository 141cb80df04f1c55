"""A node that is about to be switched off: its pods end in order, and the cluster keeps them as they were."""

from __future__ import annotations

from pathlib import Path

import pytest

from cri.fake import Behaviour
from kube.client import resources
from tests.simcluster import NAMESPACE, ClusterNode, simulate_cluster
from tests.simnode import manifest

pytestmark = pytest.mark.sim

OBEYS_IN_5 = Behaviour(on_term=0, term_seconds=5.0)


def test_drained_node_ends_its_pods_with_their_grace_and_runs_the_same_ones_again(tmp_path: Path) -> None:
    async def scenario(node: ClusterNode) -> None:
        node.runtime.behave(OBEYS_IN_5, container_name="app")
        node.create(manifest("web"))
        node.want(manifest("local"))
        await node.until(lambda: node.is_ready("web") and bool(node.running("local")), what="both run")
        before = node.pod("web")
        node.api.go_away()
        node.desired.drain()
        await node.run(4)
        assert node.running("web") and node.running("local"), "they have their grace"
        await node.until(lambda: not node.workers.all(), within=10, what="every pod has ended")
        assert node.is_clean()
        node.want(manifest("local"), manifest("late"))
        await node.run(60)
        assert not node.workers.all(), "a source has its way again"
        await node.stop()

        node.api.come_back()
        kept = node.pod("web")
        assert kept["metadata"]["uid"] == before["metadata"]["uid"]
        assert "deletionTimestamp" not in kept["metadata"]
        assert kept["status"]["phase"] == "Running", "nobody has noted its end"
        await node.start()
        node.deliver()
        await node.until(lambda: bool(node.running("web") and node.running("late")), what="they run again")
        assert node.api.object(resources.PODS, "web", NAMESPACE)["metadata"]["uid"] == kept["metadata"]["uid"]

    simulate_cluster(tmp_path, scenario, with_files=True)
