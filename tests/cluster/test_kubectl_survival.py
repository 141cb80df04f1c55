"""What runs goes on running: agent and control plane killed, stopped for a while, and brought up again.

A cluster of its own with the example in it, and with a pod that counts, so that a restart cannot be hidden.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pykubelet.instance.layout import Layout
from tests.cluster.clusters import Cluster, Kubectl, wait_until
from tests.cluster.kubectl import at_rest, is_ready, pause, put, started
from tests.runtimes.fixtures import Workshop

pytestmark = pytest.mark.cluster

EXAMPLE = Path(__file__).parents[2] / "examples" / "web.yaml"
AWAY_SECONDS = 12
"""Longer than the agent's requests, leases and watches take to fail at least once."""


class Running:
    """A cluster with workloads, and what must stay the same of them."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.kubectl: Kubectl = cluster.kubectl()

    def pods(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.kubectl.json("get", "pods")["items"]
        return found

    def identities(self) -> dict[str, tuple[str, str, int]]:
        """Pod -> its address, container and restarts, of those that are ready."""
        found = {}
        for pod in self.pods():
            if is_ready(pod):
                one = pod["status"]["containerStatuses"][0]
                found[pod["metadata"]["name"]] = (
                    pod["status"]["podIP"],
                    one["containerID"],
                    one["restartCount"],
                )
        return found

    def kill(self, component: str) -> None:
        os.kill(self.cluster.pid(component), signal.SIGKILL)
        wait_until(lambda: self.cluster.run("status").returncode == 3, f"{component} is seen dead")

    def signal(self, component: str, number: int) -> None:
        os.kill(self.cluster.pid(component), number)


@pytest.fixture(scope="module")
def whole(workshop: Workshop | None) -> Iterator[Running]:
    if os.geteuid() != 0 or workshop is None:
        pytest.skip("a real runtime needs root")
    made = Cluster(Layout.of(str(workshop.base / "survival")), dict(os.environ))
    workshop.bridges.add(made.layout.bridge)
    try:
        made.up()
        running = Running(made)
        running.kubectl("apply", "-f", str(EXAMPLE))
        put(running.kubectl, "default", at_rest("alone"))
        running.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
        running.kubectl("wait", "pod/alone", "--for=condition=Ready", "--timeout=60s")
        yield running
    finally:
        made.down("--purge", "--timeout", "5")


@pytest.fixture
def running(whole: Running) -> Iterator[Running]:
    """Four pods are ready before a test; and after it they are the same, in the same containers."""
    wait_until(lambda: len(whole.identities()) == 4, "four pods are ready")
    before = whole.identities()
    yield whole
    whole.cluster.up()
    wait_until(lambda: whole.identities() == before, "the same pods in the same containers")


def test_killed_agent_finds_everything_as_it_was(running: Running) -> None:
    before = running.identities()
    running.kill("kubelet")
    assert running.identities() == before, "the API shows what it was told last"
    running.cluster.up()
    assert running.identities() == before
    assert running.kubectl("exec", "alone", "--", "hostname") == "alone\n"


def test_killed_control_plane_disturbs_nothing_and_remembers_all(running: Running) -> None:
    running.kubectl("create", "configmap", "remembered", "--from-literal=a=1")
    versions = {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in running.pods()}
    running.kill("kube-controlplane")
    refused = running.kubectl.run("get", "pods", check=False)
    assert refused.returncode == 1
    assert "was refused" in refused.stderr
    running.cluster.up()
    assert {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in running.pods()} == versions
    running.kubectl("delete", "configmap", "remembered")


def test_both_killed_at_once_come_back_to_the_same_pods(running: Running) -> None:
    running.signal("kubelet", signal.SIGKILL)
    running.kill("kube-controlplane")
    running.cluster.up()


def test_what_was_asked_for_while_the_agent_was_away_is_done_when_it_is_back(running: Running) -> None:
    put(running.kubectl, "default", at_rest("unwanted"))
    running.kubectl("wait", "pod/unwanted", "--for=condition=Ready", "--timeout=60s")
    running.kill("kubelet")
    running.kubectl("delete", "pod", "unwanted", "--wait=false")
    put(running.kubectl, "default", at_rest("wanted"))
    running.cluster.up()
    running.kubectl("wait", "pod/unwanted", "--for=delete", "--timeout=60s")
    running.kubectl("wait", "pod/wanted", "--for=condition=Ready", "--timeout=60s")
    running.kubectl("delete", "pod", "wanted")


def test_server_that_does_not_answer_for_a_while_changes_nothing_that_runs(running: Running) -> None:
    """Stopped, not dead: connections stay open and nothing comes back."""
    before = running.identities()
    node = running.kubectl.json("get", "nodes")["items"][0]["metadata"]["name"]
    running.signal("kube-controlplane", signal.SIGSTOP)
    try:
        pause(AWAY_SECONDS)
        listed = running.cluster.run("ps").stdout
        assert listed.count(" Running ") == 4
    finally:
        running.signal("kube-controlplane", signal.SIGCONT)
    running.kubectl("wait", f"node/{node}", "--for=condition=Ready", "--timeout=30s")
    assert running.identities() == before
    put(running.kubectl, "default", at_rest("after"))
    running.kubectl("wait", "pod/after", "--for=condition=Ready", "--timeout=60s")
    running.kubectl("delete", "pod", "after")


def test_container_that_dies_without_a_server_is_restarted_and_told_later(running: Running) -> None:
    kubectl = running.kubectl
    put(kubectl, "default", at_rest("dies"))
    kubectl("wait", "pod/dies", "--for=condition=Ready", "--timeout=60s")
    try:
        with started(
            kubectl, "exec", "dies", "--", "sh", "-c", "echo here; sleep 2; kill -KILL -1; kill 1"
        ) as last:
            last.wait_for("here")
            running.kill("kube-controlplane")
            wait_until(
                lambda: " Exited " in running.cluster.run("ps", "-a").stdout,
                "it has ended, and there is no server",
            )
        running.cluster.up()
        shown = "jsonpath={.status.containerStatuses[0].restartCount}"
        wait_until(lambda: kubectl("get", "pod", "dies", "-o", shown) == "1", "its restart is told")
        kubectl("wait", "pod/dies", "--for=condition=Ready", "--timeout=60s")
    finally:
        kubectl("delete", "pod", "dies", "--ignore-not-found")
