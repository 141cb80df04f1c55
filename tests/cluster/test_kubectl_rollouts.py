"""examples/web.yaml as a newcomer tries it: rollouts, bad images, scale, deleted pods, killed processes."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.clusters import Cluster, Kubectl, wait_until
from tests.cluster.kubectl import is_ready, new_namespace, started

pytestmark = pytest.mark.cluster

EXAMPLE = Path(__file__).parents[2] / "examples" / "web.yaml"
# Nothing answers there: the pull fails at once, and without leaving this host.
BAD_IMAGE = "127.0.0.1:1/none:1"
AVAILABLE = "jsonpath={.status.availableReplicas}{'\\n'}"


class Web:
    """The example, in a namespace."""

    def __init__(self, kubectl: Kubectl, namespace: str) -> None:
        self.kubectl = kubectl
        self.namespace = namespace

    def __call__(self, command: str, *words: str) -> str:
        return self.kubectl(command, "-n", self.namespace, *words)

    def rolled_out(self) -> None:
        assert "successfully rolled out" in self("rollout", "status", "deployment/web", "--timeout=60s")
        wait_until(lambda: len(self.pods()) == 3 and len(self.ready()) == 3, "three pods, all ready")

    def pods(self) -> list[dict[str, Any]]:
        listed = self.kubectl.json("get", "pods", "-n", self.namespace, "-l", "app=web")
        found: list[dict[str, Any]] = listed["items"]
        return found

    def ready(self) -> dict[str, dict[str, Any]]:
        """By name."""
        return {pod["metadata"]["name"]: pod for pod in self.pods() if is_ready(pod)}

    def deployment(self) -> Any:
        return self.kubectl.json("get", "-n", self.namespace, "deployment", "web")

    def revisions(self) -> list[int]:
        rows = self("rollout", "history", "deployment/web").splitlines()[2:]
        return [int(row.split()[0]) for row in rows if row.strip()]

    def addresses(self) -> set[str]:
        """Of the ready endpoints of its service."""
        labels = ("-l", "kubernetes.io/service-name=web")
        slices = self.kubectl.json("get", "-n", self.namespace, "endpointslices", *labels)["items"]
        points = [point for one in slices for point in one.get("endpoints") or ()]
        return {point["addresses"][0] for point in points if point["conditions"]["ready"]}


@pytest.fixture(scope="module")
def web(kubectl: Kubectl) -> Iterator[Web]:
    with new_namespace(kubectl) as name:
        made = Web(kubectl, name)
        said = made("apply", "-f", str(EXAMPLE))
        assert said.splitlines() == [
            "configmap/web created",
            "deployment.apps/web created",
            "service/web created",
        ]
        made.rolled_out()
        yield made


@pytest.fixture(autouse=True)
def at_rest(web: Web) -> None:
    """Every test finds three pods of the example as it is in its file."""
    web("apply", "-f", str(EXAMPLE))
    web("set", "env", "deployment/web", "WORD-")
    web.rolled_out()


def test_three_pods_serve_the_page_of_the_config_map_behind_one_service(web: Web) -> None:
    pods = web.ready()
    assert len(pods) == 3
    own = {pod["status"]["podIP"] for pod in pods.values()}
    wait_until(lambda: web.addresses() == own, "the service knows the three")
    for name in pods:
        assert web("exec", name, "--", "wget", "-qO-", "http://127.0.0.1:8080") == "hello from a ConfigMap\n"
        assert f"{name} serves in blue on port 8080" in web("logs", name)
    assert web("apply", "-f", str(EXAMPLE)).count("unchanged") == 3


def test_page_changes_in_the_running_pods_when_the_config_map_does(web: Web) -> None:
    names = set(web.ready())
    web("patch", "configmap", "web", "-p", '{"data": {"index.html": "changed\\n"}}')
    page = ("--", "cat", "/www/index.html")
    wait_until(lambda: {web("exec", name, *page) for name in names} == {"changed\n"}, "the new page", 20)
    assert set(web.ready()) == names


def test_rollout_replaces_one_pod_after_the_other_and_can_be_undone(web: Web) -> None:
    before = set(web.ready())
    first = web.revisions()[-1]
    with started(web.kubectl, "get", "-n", web.namespace, "deployment/web", "-w", "-o", AVAILABLE) as watch:
        web("set", "env", "deployment/web", "WORD=new")
        web.rolled_out()
        fewest = min(int(number) for number in watch.said.split())
    assert fewest == 3, "maxUnavailable is 0"
    after = web.ready()
    assert before.isdisjoint(after)
    environment = next(iter(after.values()))["spec"]["containers"][0]["env"]
    assert {"name": "WORD", "value": "new"} in environment
    revisions = web.revisions()
    assert revisions[-1] > first
    assert "WORD" in web("rollout", "history", "deployment/web", f"--revision={revisions[-1]}")
    assert web("rollout", "undo", "deployment/web") == "deployment.apps/web rolled back\n"
    web.rolled_out()
    assert web.revisions()[-1] > revisions[-1]
    assert first not in web.revisions(), "the old revision is the newest again"
    assert "WORD" not in json.dumps(web.deployment()["spec"])


def test_restart_makes_new_pods_of_the_same_template(web: Web) -> None:
    before = set(web.ready())
    web("rollout", "restart", "deployment/web")
    web.rolled_out()
    assert before.isdisjoint(web.ready())
    assert "kubectl.kubernetes.io/restartedAt" in json.dumps(web.deployment()["spec"]["template"])
    web("rollout", "undo", "deployment/web")


def test_paused_rollout_waits_until_it_is_resumed(web: Web) -> None:
    before = set(web.ready())
    web("rollout", "pause", "deployment/web")
    web("set", "env", "deployment/web", "WORD=paused")
    web("scale", "deployment/web", "--replicas=4")
    wait_until(lambda: len(web.ready()) == 4, "a paused deployment is scaled all the same")
    assert before <= set(web.ready())
    assert "DeploymentPaused" in web("describe", "deployment", "web")
    web("scale", "deployment/web", "--replicas=3")
    web("rollout", "resume", "deployment/web")
    web.rolled_out()
    assert before.isdisjoint(web.ready())


def test_bad_image_is_shown_disturbs_nothing_and_is_rolled_back(web: Web) -> None:
    before = set(web.ready())
    web("set", "image", "deployment/web", f"server={BAD_IMAGE}")
    shown = wait_until(
        lambda: re.search(r"(web-\S+) +0/1 +(ImagePullBackOff)", web("get", "pods")),
        "the image is not pulled",
    )
    assert set(web.ready()) == before
    said = web("describe", "pod", shown[1])
    assert re.search(r"Warning +Failed .*Failed to pull image \"127\.0\.0\.1:1/none:1\"", said)
    assert re.search(r"Warning +Failed .*Error: ErrImagePull", said)
    assert re.search(r"Normal +BackOff .*Back-off pulling image", said)
    waiting = web.kubectl.run(
        "rollout", "status", "-n", web.namespace, "deployment/web", "--timeout=1s", check=False
    )
    assert "1 out of 3 new replicas have been updated" in waiting.stdout
    refused = web.kubectl.run("logs", "-n", web.namespace, shown[1], check=False)
    assert 'container "server" in pod' in refused.stderr
    assert "is waiting to start: trying and failing to pull image" in refused.stderr
    web("rollout", "undo", "deployment/web")
    web.rolled_out()
    assert set(web.ready()) == before


def test_scale_up_down_and_to_none(web: Web) -> None:
    oldest = set(web.ready())
    assert web("scale", "deployment", "web", "--replicas=5") == "deployment.apps/web scaled\n"
    wait_until(lambda: len(web.ready()) == 5, "five")
    web("scale", "deployment", "web", "--replicas=2", "--current-replicas=5")
    wait_until(lambda: len(web.pods()) == 2, "two are left")
    assert set(web.ready()) <= oldest, "the youngest go first"
    refused = web.kubectl.run(
        "scale", "-n", web.namespace, "deployment", "web", "--replicas=1", "--current-replicas=7", check=False
    )
    assert refused.stderr == "error: Expected replicas to be 7, was 2\n"
    web("scale", "deployment", "web", "--replicas=0")
    wait_until(lambda: not web.pods(), "none is left")
    wait_until(lambda: not web.addresses(), "nor an address of the service")


def test_deleted_pods_are_replaced(web: Web) -> None:
    before = web.ready()
    first, *others = before
    web("delete", "pod", first)
    wait_until(lambda: len(now := web.ready()) == 3 and first not in now, "another one in its place")
    assert set(others) <= set(web.ready())
    web("delete", "pods", "-l", "app=web")
    wait_until(lambda: len(now := web.ready()) == 3 and now.keys().isdisjoint(before), "three others")


def test_killed_process_is_restarted_in_its_pod(web: Web, cluster: Cluster) -> None:
    before = web.ready()
    name, pod = next(iter(before.items()))
    container = pod["status"]["containerStatuses"][0]["containerID"].removeprefix("containerd://")
    os.kill(pid_of(cluster, container), signal.SIGKILL)

    def status() -> dict[str, Any]:
        found = {one["metadata"]["name"]: one for one in web.pods()}
        shown: dict[str, Any] = found[name]["status"]["containerStatuses"][0]
        return shown

    back = wait_until(
        lambda: (now := status())["restartCount"] == 1 and now["ready"] and now, "restarted once"
    )
    assert back["containerID"].removeprefix("containerd://") != container
    ended = back["lastState"]["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (137, "Error")
    assert ended["containerID"].removeprefix("containerd://") == container
    again = web.ready()
    assert again.keys() == before.keys()
    assert again[name]["status"]["podIP"] == pod["status"]["podIP"]
    others = [again[other]["status"]["containerStatuses"][0] for other in before if other != name]
    assert [one["restartCount"] for one in others] == [0, 0]
    assert "serves in blue" in web("logs", name, "--previous")
    wait_until(lambda: len(web.addresses()) == 3, "the service has it again")


def pid_of(cluster: Cluster, container: str) -> int:
    """The first process of a container, found by the cgroup or mounts that carry its id."""
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            is_its = container in (process / "cgroup").read_text()
        except OSError:
            continue
        if is_its:
            return int(process.name)
    raise AssertionError(f"no process of {container} in {cluster.layout.root}")


def test_unready_pod_leaves_the_service_and_comes_back(web: Web) -> None:
    pods = web.ready()
    wait_until(lambda: len(web.addresses()) == 3, "all are served")
    name = next(iter(pods))
    address = pods[name]["status"]["podIP"]
    web("exec", name, "--", "sh", "-c", "kill -STOP $(pidof httpd)")
    try:
        wait_until(lambda: address not in web.addresses(), "it is left out")
        assert name not in web.ready()
    finally:
        web("exec", name, "--", "sh", "-c", "kill -CONT $(pidof httpd)")
    wait_until(lambda: address in web.addresses(), "it is back")


def test_deployment_goes_with_its_pods_or_leaves_them(web: Web) -> None:
    web("delete", "deployment", "web", "--cascade=orphan")
    kept = set(web.ready())
    assert len(kept) == 3
    web("apply", "-f", str(EXAMPLE))
    web.rolled_out()
    assert set(web.ready()) == kept, "they are adopted"
    web("delete", "deployment", "web", "--cascade=foreground")
    assert web.pods() == []
    web("apply", "-f", str(EXAMPLE))
    web.rolled_out()
    assert web("delete", "-f", str(EXAMPLE)).count("deleted") == 3
    wait_until(lambda: not web.pods(), "the collector takes them")
