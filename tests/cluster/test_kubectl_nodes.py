"""The node as its administrator has it: cordon, drain, taints, and what is said of pods that wait."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster.clusters import Kubectl, wait_until
from tests.cluster.kubectl import at_rest, deployment, is_ready, new_namespace, put

pytestmark = pytest.mark.cluster

TAINT = "tests.example/kept"


@pytest.fixture
def node(kubectl: Kubectl) -> Iterator[str]:
    """The one node; open for pods again, whatever a test did."""
    name = kubectl("get", "nodes", "-o", "jsonpath={.items[0].metadata.name}")
    yield name
    kubectl("uncordon", name)
    if any(taint["key"] == TAINT for taint in kubectl.json("get", "node", name)["spec"].get("taints", ())):
        kubectl("taint", "node", name, f"{TAINT}-")


@pytest.fixture
def place(kubectl: Kubectl, node: str) -> Iterator[str]:
    with new_namespace(kubectl) as name:
        yield name


def pods(kubectl: Kubectl, place: str, app: str) -> dict[str, dict[str, Any]]:
    found = kubectl.json("get", "pods", "-n", place, "-l", f"app={app}")["items"]
    return {pod["metadata"]["name"]: pod for pod in found}


def why_it_waits(kubectl: Kubectl, place: str, name: str) -> str:
    """The scheduler's last word on a pod."""

    def said() -> str:
        conditions = kubectl.json("get", "pod", "-n", place, name)["status"].get("conditions", ())
        return next((one.get("message", "") for one in conditions if one["type"] == "PodScheduled"), "")

    return str(wait_until(said, f"{name} is looked at"))


def test_cordoned_node_takes_no_pod_until_it_is_open_again(kubectl: Kubectl, node: str, place: str) -> None:
    assert kubectl("cordon", node) == f"node/{node} cordoned\n"
    assert "Ready,SchedulingDisabled" in kubectl("get", "node", node)
    assert kubectl("cordon", node) == f"node/{node} already cordoned\n"
    put(kubectl, place, at_rest("late"))
    assert why_it_waits(kubectl, place, "late").startswith(
        "0/1 nodes are available: 1 node(s) were unschedulable."
    )
    assert "FailedScheduling" in kubectl("describe", "pod", "-n", place, "late")
    assert kubectl("uncordon", node) == f"node/{node} uncordoned\n"
    kubectl("wait", "-n", place, "pod/late", "--for=condition=Ready", "--timeout=60s")


def test_drained_node_is_empty_and_workloads_come_back_with_it(
    kubectl: Kubectl, node: str, place: str
) -> None:
    holder = at_rest("holder", volumes=[{"name": "v", "emptyDir": {}}])
    put(kubectl, place, deployment("drained", 2), holder)
    kubectl("rollout", "status", "-n", place, "deployment/drained", "--timeout=60s")
    kubectl("wait", "-n", place, "pod/holder", "--for=condition=Ready", "--timeout=60s")
    before = pods(kubectl, place, "drained")
    refused = kubectl.run("drain", node, "--timeout=5s", check=False)
    assert refused.returncode == 1
    assert (
        f"cannot delete Pods with local storage (use --delete-emptydir-data to override): {place}/holder"
        in (refused.stderr)
    )
    said = kubectl("drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--force", "--timeout=60s")
    assert f"node/{node} drained" in said
    assert all(f"pod/{name} evicted" in said for name in (*before, "holder"))
    waiting = pods(kubectl, place, "drained")
    assert before.keys().isdisjoint(waiting)
    assert [pod["status"]["phase"] for pod in waiting.values()] == ["Pending"] * 2
    assert "not found" in kubectl.run("get", "pod", "-n", place, "holder", check=False).stderr
    kubectl("uncordon", node)
    wait_until(
        lambda: [is_ready(pod) for pod in pods(kubectl, place, "drained").values()] == [True] * 2,
        "the two run again",
    )


def test_taint_keeps_pods_away_and_drives_out_those_that_run(kubectl: Kubectl, node: str, place: str) -> None:
    tolerant = at_rest("tolerant", tolerations=[{"key": TAINT, "operator": "Exists"}])
    put(kubectl, place, at_rest("plain"), tolerant)
    kubectl("wait", "-n", place, "pod", "plain", "tolerant", "--for=condition=Ready", "--timeout=60s")
    assert kubectl("taint", "node", node, f"{TAINT}=x:NoSchedule") == f"node/{node} tainted\n"
    put(kubectl, place, at_rest("late"))
    assert "1 node(s) had untolerated taint" in why_it_waits(kubectl, place, "late")
    assert is_ready(kubectl.json("get", "pod", "-n", place, "plain")), "it was there before"
    kubectl("taint", "node", node, f"{TAINT}=x:NoExecute")
    kubectl("wait", "-n", place, "pod/plain", "--for=delete", "--timeout=60s")
    assert is_ready(kubectl.json("get", "pod", "-n", place, "tolerant"))
    assert kubectl("taint", "node", node, f"{TAINT}-") == f"node/{node} untainted\n"
    kubectl("wait", "-n", place, "pod/late", "--for=condition=Ready", "--timeout=60s")


def test_pod_waits_for_the_node_that_it_wants_and_is_told_why(
    kubectl: Kubectl, node: str, place: str
) -> None:
    much = {"resources": {"requests": {"memory": "4Ti"}}}
    wanted = {
        "label": (at_rest("label", nodeSelector={TAINT: "yes"}), "didn't match Pod's node affinity/selector"),
        "memory": (at_rest("memory", container=much), "Insufficient memory"),
    }  # fmt: skip
    put(kubectl, place, *(body for body, _ in wanted.values()))
    for name, (_, words) in wanted.items():
        assert words in why_it_waits(kubectl, place, name)
        assert " Pending " in kubectl("get", "pod", "-n", place, name)
    kubectl("label", "node", node, f"{TAINT}=yes")
    try:
        kubectl("wait", "-n", place, "pod/label", "--for=condition=Ready", "--timeout=60s")
    finally:
        kubectl("label", "node", node, f"{TAINT}-")


def test_host_port_is_for_one_pod_of_a_node(kubectl: Kubectl, place: str) -> None:
    ports = [{"containerPort": 80, "hostPort": 65321}]
    first, second = (at_rest(name, container={"ports": ports}) for name in ("first", "second"))
    put(kubectl, place, first)
    kubectl("wait", "-n", place, "pod/first", "--for=condition=PodScheduled", "--timeout=60s")
    put(kubectl, place, second)
    assert "1 node(s) didn't have free ports for the requested pod ports" in why_it_waits(
        kubectl, place, "second"
    )
    kubectl("delete", "pod", "-n", place, "first")
    kubectl("wait", "-n", place, "pod/second", "--for=condition=PodScheduled", "--timeout=60s")


def test_priority_and_runtime_class_are_looked_up(kubectl: Kubectl, place: str) -> None:
    name = f"high-{place}"
    kubectl("create", "priorityclass", name, "--value=1000", "--description=tests")
    try:
        put(kubectl, place, at_rest("ranked", priorityClassName=name))
        assert kubectl.json("get", "pod", "-n", place, "ranked")["spec"]["priority"] == 1000
        bad = json.dumps(at_rest("bad", priorityClassName="no-such-class"))
        refused = kubectl.run("create", "-n", place, "-f", "-", text=bad, check=False)
        assert "no PriorityClass with name no-such-class was found" in refused.stderr
        bad = json.dumps(at_rest("bad", runtimeClassName="no-such-class"))
        refused = kubectl.run("create", "-n", place, "-f", "-", text=bad, check=False)
        assert 'RuntimeClass "no-such-class" not found' in refused.stderr
    finally:
        kubectl("delete", "priorityclass", name)
