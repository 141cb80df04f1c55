"""Seeded churn under virtual time: manifests come and go, things crash, calls fail, the agent is killed.

Whatever happened, when it is quiet again the node runs exactly what is wanted, and when nothing is wanted
nothing is left. A failure names its seed: run it again with `-k seed-N`.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from cri.errors import CriError, DeadlineExceeded
from cri.fake import Abandoned, Behaviour
from kubelet.model import Stage
from tests.simnode import HOUR_SECONDS, SimNode, manifest, simulate

pytestmark = pytest.mark.sim

SEEDS = (*range(40), 1126, 1326)  # the last two found a look older than it seemed
STEPS = 60
NAMES = ("a", "b", "c", "d")
FALLIBLE = (
    "run_pod_sandbox",
    "create_container",
    "start_container",
    "stop_container",
    "stop_pod_sandbox",
    "remove_pod_sandbox",
    "remove_container",
    "container_status",
    "list_containers",
)
HOOK = {"exec": {"command": ["hook"]}}


class Churn:
    def __init__(self, node: SimNode, seed: int) -> None:
        self.node = node
        self.random = random.Random(seed)
        self.edits = 0

    async def one(self) -> None:
        """One thing happens."""
        doing = self.random.choices(
            [
                self.put,
                self.take_away,
                self.crash,
                self.lose_sandbox,
                self.trouble,
                self.outage,
                self.kill_agent,
                self.restart_runtime,
            ],
            weights=[6, 3, 6, 2, 5, 1, 3, 1],
        )[0]
        await doing()
        await self.node.run(self.random.choice([0.0, 0.001, 0.01, 0.1, 1.0, 5.0, 20.0]))

    async def put(self) -> None:
        self.edits += 1
        name = self.random.choice(NAMES)
        sidecar = {"name": "side", "restartPolicy": "Always", "lifecycle": {"preStop": HOOK}}
        app = {"name": "app", "lifecycle": {"postStart": HOOK}} if self.random.random() < 0.3 else "app"
        self.node.want(
            manifest(
                name,
                app,
                initContainers=[sidecar] if self.random.random() < 0.4 else [],
                hostname=f"edit-{self.edits}",
                terminationGracePeriodSeconds=self.random.choice([0, 2, 8]),
                volumes=[{"name": "v", "emptyDir": {}}],
            )
        )

    async def take_away(self) -> None:
        if self.node.pods:
            self.node.unwant(self.random.choice(sorted(self.node.pods)))

    async def crash(self) -> None:
        running = [
            key
            for key, record in self.node.runtime.world.containers.items()
            if record.process is not None and record.process.is_running
        ]
        if running:
            self.node.runtime.crash(self.random.choice(running), self.random.choice([0, 1, 137]))

    async def lose_sandbox(self) -> None:
        if self.node.runtime.world.sandboxes:
            self.node.runtime.lose_sandbox(self.random.choice(sorted(self.node.runtime.world.sandboxes)))

    async def trouble(self) -> None:
        call = self.random.choice(FALLIBLE)
        error: CriError = CriError("something is wrong", call=call)
        is_lost = self.random.random() < 0.5
        if is_lost:
            error = DeadlineExceeded("context deadline exceeded", call=call)
        self.node.runtime.fail(
            call,
            error,
            times=self.random.randint(1, 3),
            is_answer_lost=is_lost,
            delay_seconds=self.random.choice([0.0, 0.0, 0.5, 3.0]),
        )

    async def outage(self) -> None:
        self.node.runtime.go_down()
        await self.node.run(self.random.choice([0.1, 3.0, 40.0]))
        self.node.runtime.come_up()

    async def restart_runtime(self) -> None:
        self.node.runtime.restart()

    async def kill_agent(self) -> None:
        self.node.runtime.abandoned = Abandoned(
            seconds=self.random.choice([0.0, 0.1, 2.0]), completes=self.random.random() < 0.5
        )
        await self.node.kill()
        await self.node.run_without_agent(self.random.choice([0.0, 0.05, 1.0, 10.0]))
        self.node.runtime.faults.clear()
        await self.node.start()
        self.node.deliver()


def running(node: SimNode) -> list[tuple[str, str]]:
    """Pod uid and container name of everything that runs."""
    return sorted(
        (record.sandbox.config.metadata.uid, record.config.metadata.name)
        for record in node.runtime.world.containers.values()
        if record.process is not None and record.process.is_running
    )


def is_as_wanted(node: SimNode) -> bool:
    """Every wanted pod runs all its containers once, in one sandbox, and nothing else runs."""
    expected = {
        (pod.metadata.uid, one.name)
        for pod in node.pods.values()
        for one in (*pod.spec.init_containers, *pod.spec.containers)
    }
    stages = {worker.uid: worker.state.stage for worker in node.workers.all()}
    return (
        running(node) == sorted(expected)
        and node.ready_sandboxes() == len(node.pods)
        and stages == {pod.metadata.uid: Stage.SYNCING for pod in node.pods.values()}
    )


@pytest.mark.parametrize("seed", SEEDS, ids=lambda seed: f"seed-{seed}")
def test_after_any_churn_the_node_runs_what_is_wanted_and_nothing_else(tmp_path: Path, seed: int) -> None:
    async def scenario(node: SimNode) -> None:
        node.runtime.behave(Behaviour(on_term=0, term_seconds=1.0), container_name="app")
        node.deliver()
        churn = Churn(node, seed)
        for _ in range(STEPS):
            await churn.one()
            now = running(node)
            assert len(now) == len(set(now)), f"seed {seed}: a container runs twice: {now}"
        node.runtime.faults.clear()
        await node.until(lambda: is_as_wanted(node), within=400, what=f"seed {seed}: as wanted")
        attempts = {
            key: record.config.metadata.attempt for key, record in node.runtime.world.containers.items()
        }
        await node.run(700)
        assert is_as_wanted(node), f"seed {seed}: it did not stay as wanted"
        after = {key: record.config.metadata.attempt for key, record in node.runtime.world.containers.items()}
        assert attempts.keys() >= after.keys(), f"seed {seed}: something restarted in the quiet"
        node.unwant(*list(node.pods))
        await node.until(lambda: len(node.workers) == 0, within=60, what=f"seed {seed}: all gone")
        await node.run(2)
        assert node.is_clean(), f"seed {seed}: something is left: {node.left()}"

    simulate(tmp_path, scenario, relist_seconds=HOUR_SECONDS)
