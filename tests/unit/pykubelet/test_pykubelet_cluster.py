"""What the command makes of a cluster's answers: the node's state, kubectl's version, what is kept."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from pykubelet.instance.kubectl import read_version
from pykubelet.instance.layout import Layout
from pykubelet.instance.nodestate import NodeState, node_state
from pykubelet.instance.record import Component, Record
from pykubelet.instance.running import ComponentState, Condition
from pykubelet.instance.status import status_document, status_lines

pytestmark = pytest.mark.pure

STARTED = datetime(2026, 3, 4, 5, 6, 7, 500_000, tzinfo=UTC)


def node(status: str, beat: str = "2026-03-04T05:06:07Z", **more: str) -> dict[str, Any]:
    ready = {"type": "Ready", "status": status, "lastHeartbeatTime": beat, **more}
    return {"status": {"conditions": [{"type": "DiskPressure", "status": "False"}, ready]}}


def test_node_is_ready_when_its_condition_says_so() -> None:
    assert node_state(node("True")).is_ready
    waiting = node_state(node("False", reason="KubeletNotReady", message="container runtime is down"))
    assert not waiting.is_ready
    assert waiting.why == "KubeletNotReady: container runtime is down"
    assert node_state(None).why == "it is not registered"
    assert not node_state({"status": {}}).is_ready


def test_word_of_an_agent_that_was_ended_since_does_not_count() -> None:
    old = node("True", beat="2026-03-04T05:06:06Z")
    assert not node_state(old, None, STARTED).is_ready
    assert node_state(node("True"), None, STARTED).is_ready, "a condition's time is in whole seconds"
    lease = {"spec": {"renewTime": "2026-03-04T05:06:07.400000Z"}}
    assert not node_state(old, lease, STARTED).is_ready
    lease["spec"]["renewTime"] = "2026-03-04T05:06:07.600000Z"
    assert node_state(old, lease, STARTED).is_ready


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ('{"clientVersion": {"gitVersion": "v1.32.4-dispatcher"}}', (1, 32)),
        ('{"clientVersion": {"gitVersion": "1.20.2"}}', (1, 20)),
        ('{"clientVersion": {}}', (0, 0)),
        ("error: unknown flag: --client", (0, 0)),
    ],
)
def test_version_of_kubectl_is_read(text: str, version: tuple[int, int]) -> None:
    assert read_version(text) == version


LAYOUT = Layout.of("/srv/other")
COMPONENTS = (
    ComponentState("containerd", 7, 1 << 20, True),
    ComponentState("kube-controlplane", 8, 2 << 20, True),
    ComponentState("kubelet", 9, 3 << 20, True),
)
RECORD = Record(
    root="/srv/other",
    boot_id="b",
    runtime_endpoint="unix:///x.sock",
    components=(Component(name="kubelet", pid=9, started_ticks=1),),
)


def test_status_names_the_kubeconfig_and_is_ready_only_with_its_node() -> None:
    ready = status_document(LAYOUT, RECORD, Condition(COMPONENTS, NodeState(True)), [])
    assert ready["ready"] is True
    assert ready["kubeconfig"] == "/srv/other/admin.kubeconfig"
    assert [one["name"] for one in ready["components"]] == ["containerd", "kube-controlplane", "kubelet"]
    assert ready["components"][1] == {
        "name": "kube-controlplane", "pid": 8, "rss_bytes": 2 << 20, "ready": True,
    }  # fmt: skip
    waiting = Condition(COMPONENTS, NodeState(False, "it is not registered"))
    assert status_document(LAYOUT, RECORD, waiting, [])["ready"] is False
    assert any("it is not registered" in line for line in status_lines(LAYOUT, RECORD, waiting))


def test_instance_that_is_down_has_no_kubeconfig() -> None:
    down = Condition((), NodeState(False, "the control plane does not answer"))
    shown = status_document(LAYOUT, None, down, [])
    assert (shown["ready"], shown["kubeconfig"], shown["runtime_endpoint"]) == (False, None, None)
