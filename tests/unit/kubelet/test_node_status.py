"""The status of a Node from what is so on the machine, in the runtime and in the configuration."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cri.types import (
    Image,
    RuntimeCondition,
    RuntimeFeatures,
    RuntimeHandler,
    RuntimeHandlerFeatures,
    RuntimeStatus,
    StatusResponse,
)
from kube import objects
from kube.objects.cluster_v1 import Node
from kube.patch import STRATEGIC_MERGE
from kube.patch import apply as apply_patch
from kubelet import events
from kubelet.node import conditions as c
from kubelet.node.model import Machine, NodeSettings, Pressure, Readings, Reservations
from kubelet.node.status import has_changed, images, node_status, patch_of

pytestmark = pytest.mark.pure

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = NOW + timedelta(seconds=10)
MACHINE = Machine(
    cpus=2, memory_bytes=4_039_004 * 1024, disk_bytes=61_255_492 * 1024, hugepages={"hugepages-2Mi": 0},
    machine_id="m1", system_uuid="s1", boot_id="b1", kernel_version="6.1.0", os_image="Debian GNU/Linux 12",
)  # fmt: skip
SETTINGS = NodeSettings(
    "n1",
    runtime_version="containerd://1.6.20",
    reservations=Reservations(
        eviction_hard={"memory.available": "100Mi", "nodefs.available": "10%", "nodefs.inodesFree": "5%"}
    ),
)


def answer(*, network: bool = True, runtime: bool = True) -> StatusResponse:
    return StatusResponse(
        RuntimeStatus(
            (
                RuntimeCondition("RuntimeReady", runtime),
                RuntimeCondition("NetworkReady", True)
                if network
                else RuntimeCondition("NetworkReady", False, "NetworkPluginNotReady", "cni not initialized"),
            )
        )
    )


GOOD = Readings(("192.0.2.7",), answer(), 0.1)


def status_of(readings: Readings = GOOD, previous: dict[str, Any] | None = None) -> dict[str, Any]:
    return node_status(SETTINGS, MACHINE, readings, previous or {}, NOW)


def ready(readings: Readings) -> tuple[str, str, str]:
    last = status_of(readings)["conditions"][-1]
    assert last["type"] == "Ready"
    return last["status"], last["reason"], last["message"]


def test_a_whole_status_is_what_kubernetes_reports() -> None:
    status = status_of()
    info = status.pop("nodeInfo")
    found = status.pop("conditions")
    assert status == {
        "addresses": [
            {"type": "InternalIP", "address": "192.0.2.7"},
            {"type": "Hostname", "address": "n1"},
        ],
        "capacity": {
            "cpu": "2",
            "memory": "4039004Ki",
            "pods": "110",
            "ephemeral-storage": "61255492Ki",
            "hugepages-2Mi": "0",
        },
        # as a node of Kubernetes with this disk and memory reports it, float32 share and all
        "allocatable": {
            "cpu": "2",
            "memory": "3936604Ki",
            "pods": "110",
            "ephemeral-storage": "56453061334",
            "hugepages-2Mi": "0",
        },
        "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
        "declaredFeatures": ["ExtendWebSocketsToKubelet"],
        "features": {"supplementalGroupsPolicy": False},
    }
    assert info == {
        "machineID": "m1",
        "systemUUID": "s1",
        "bootID": "b1",
        "kernelVersion": "6.1.0",
        "osImage": "Debian GNU/Linux 12",
        "containerRuntimeVersion": "containerd://1.6.20",
        "kubeletVersion": "v1.36.2",
        "kubeProxyVersion": "",
        "operatingSystem": "linux",
        "architecture": "amd64",
    }
    assert [(one["type"], one["status"], one["reason"], one["message"]) for one in found] == [
        (
            "MemoryPressure",
            "False",
            "KubeletHasSufficientMemory",
            "kubelet has sufficient memory available",
        ),
        ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        ("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
    ]
    assert {one["lastTransitionTime"] for one in found} == {"2026-01-01T00:00:00Z"}


@pytest.mark.parametrize(
    ("readings", "message"),
    [
        (replace(GOOD, silent_seconds=30.0), "container runtime is down"),
        (
            replace(GOOD, runtime=answer(network=False)),
            "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady "
            "message:cni not initialized",
        ),
        (
            replace(GOOD, runtime=answer(runtime=False)),
            "container runtime not ready: RuntimeReady=false reason: message:",
        ),
        (
            Readings(("192.0.2.7",)),
            "[container runtime status check may not have completed yet, network state unknown]",
        ),
        (
            replace(GOOD, problems=(c.relist_problem(700, 600),)),
            "PLEG is not healthy: pleg was last seen active 700s ago; threshold is 600s",
        ),
        (
            replace(GOOD, silent_seconds=31.0, problems=("node is shutting down",)),
            "[container runtime is down, node is shutting down]",
        ),
        (
            replace(GOOD, runtime=StatusResponse()),
            "[container runtime not ready: <nil>, container runtime network not ready: <nil>]",
        ),
    ],
    ids=["silent", "network", "runtime", "never", "relist", "several", "no conditions"],
)
def test_a_node_says_why_it_is_not_ready(readings: Readings, message: str) -> None:
    assert ready(readings) == ("False", "KubeletNotReady", message)


def test_a_machine_that_tells_no_memory_is_not_ready() -> None:
    status = node_status(SETTINGS, replace(MACHINE, memory_bytes=0), GOOD, {}, NOW)
    assert status["conditions"][-1]["message"] == "missing node capacity for resources: memory"


def test_pressure_is_a_condition() -> None:
    status = status_of(replace(GOOD, pressures=frozenset({Pressure.DISK})))
    assert [(one["type"], one["status"], one["reason"]) for one in status["conditions"]][1] == (
        "DiskPressure", "True", "KubeletHasDiskPressure",
    )  # fmt: skip


def test_a_transition_time_moves_only_with_the_status() -> None:
    before = status_of(replace(GOOD, runtime=answer(network=False)))
    after = node_status(SETTINGS, MACHINE, GOOD, before, LATER)
    times = {
        one["type"]: (one["lastTransitionTime"], one["lastHeartbeatTime"]) for one in after["conditions"]
    }
    assert times["MemoryPressure"] == ("2026-01-01T00:00:00Z", "2026-01-01T00:00:10Z")
    assert times["Ready"] == ("2026-01-01T00:00:10Z", "2026-01-01T00:00:10Z")


def test_conditions_and_resources_of_others_stay() -> None:
    theirs = {"type": "NetworkUnavailable", "status": "False", "reason": "RouteCreated", "message": "routes"}
    before = {
        "conditions": [theirs],
        "capacity": {"example.com/dongle": "4", "hugepages-1Gi": "1Gi", "cpu": "64"},
        "volumesAttached": [{"name": "v", "devicePath": "/dev/x"}],
    }
    after = status_of(previous=before)
    assert after["conditions"][0] == theirs
    assert after["conditions"][-1]["type"] == "Ready"
    assert after["capacity"]["example.com/dongle"] == "4"
    assert after["allocatable"]["example.com/dongle"] == "4"
    assert "hugepages-1Gi" not in after["capacity"]
    assert after["capacity"]["cpu"] == "2"
    assert after["volumesAttached"] == before["volumesAttached"]


def test_only_what_differs_is_sent_and_gives_the_wanted_status() -> None:
    before = status_of(replace(GOOD, runtime=answer(network=False)))
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}, "status": before}
    after = node_status(SETTINGS, MACHINE, GOOD, before, LATER)
    patch = patch_of(node, after)
    assert patch.keys() == {"status"}
    assert {key for key in patch["status"] if not key.startswith("$")} == {"conditions"}
    assert apply_patch(STRATEGIC_MERGE, node, patch, "cluster_v1.Node")["status"] == after


def test_two_addresses_of_one_type_arrive_both() -> None:
    before = status_of()
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}, "status": before}
    after = status_of(replace(GOOD, addresses=("192.0.2.7", "2001:db8::7")), before)
    patched = apply_patch(STRATEGIC_MERGE, node, patch_of(node, after), "cluster_v1.Node")
    assert [one["address"] for one in patched["status"]["addresses"]] == ["192.0.2.7", "2001:db8::7", "n1"]


def test_a_heartbeat_alone_is_no_change() -> None:
    before = status_of()
    assert not has_changed(before, node_status(SETTINGS, MACHINE, GOOD, before, LATER))
    assert has_changed(before, status_of(replace(GOOD, addresses=("192.0.2.8",)), before))
    assert has_changed(before, status_of(replace(GOOD, problems=("x",)), before))


def test_the_largest_images_come_first_with_five_names_each() -> None:
    tags = tuple(f"t:{number}" for number in range(7))
    present = [
        Image("1", ("small:1",), ("small@sha256:1",), 10),
        Image("2", tags, (), 30),
        Image("3", ("mid:1",), (), 20),
        Image("4", (), (), 99),
    ]
    assert images(present, 2) == [
        {"names": list(tags[:5]), "sizeBytes": 30},
        {"names": ["mid:1"], "sizeBytes": 20},
    ]
    assert images(present, -1)[2] == {"names": ["small@sha256:1", "small:1"], "sizeBytes": 10}
    assert images(present, 0) == []


def test_handlers_and_features_are_the_runtimes() -> None:
    handlers = (
        RuntimeHandler("runc", RuntimeHandlerFeatures(True, True)),
        RuntimeHandler("", RuntimeHandlerFeatures(True, False)),
    )
    told = replace(
        answer(), runtime_handlers=handlers, features=RuntimeFeatures(supplemental_groups_policy=True)
    )
    status = status_of(replace(GOOD, runtime=told))
    assert status["runtimeHandlers"] == [
        {"name": "", "features": {"recursiveReadOnlyMounts": True, "userNamespaces": False}},
        {"name": "runc", "features": {"recursiveReadOnlyMounts": True, "userNamespaces": True}},
    ]
    assert status["features"] == {"supplementalGroupsPolicy": True}


def test_swap_and_volumes_are_told_where_there_are_any() -> None:
    status = node_status(
        SETTINGS, replace(MACHINE, swap_bytes=1024), replace(GOOD, volumes_in_use=("b", "a")), {}, NOW
    )
    assert status["nodeInfo"]["swap"] == {"capacity": 1024}
    assert status["volumesInUse"] == ["a", "b"]


def test_the_status_reads_as_a_node() -> None:
    node = objects.convert({"metadata": {"name": "n1"}, "status": status_of()}, Node)
    assert node.status.node_info is not None
    assert node.status.node_info.boot_id == "b1"


@pytest.mark.parametrize(
    ("told", "ready_now", "expected"),
    [
        ({}, True, ["NodeHasSufficientMemory", "NodeHasNoDiskPressure", "NodeHasSufficientPID", "NodeReady"]),
        ({}, False, ["NodeHasSufficientMemory", "NodeHasNoDiskPressure", "NodeHasSufficientPID"]),
        ({"MemoryPressure": "False", "DiskPressure": "True", "PIDPressure": "False", "Ready": "True"}, False,
         ["NodeHasNoDiskPressure", "NodeNotReady"]),
        ({"MemoryPressure": "False", "DiskPressure": "False", "PIDPressure": "False", "Ready": "Unknown"},
         True, ["NodeReady"]),
        ({"MemoryPressure": "False", "DiskPressure": "False", "PIDPressure": "False", "Ready": "True"},
         True, []),
    ],
    ids=["start ready", "start not ready", "lost", "back", "same"],
)  # fmt: skip
def test_transitions_are_told_once(told: dict[str, str], expected: list[str], *, ready_now: bool) -> None:
    found = status_of(replace(GOOD, runtime=answer(network=ready_now)))["conditions"]
    assert [name for _, name in c.transitions(told, found)] == expected


def test_events_of_the_node_use_kubernetes_words() -> None:
    ref = events.node_ref("n1")
    assert c.starting(ref).message == "Starting kubelet."
    assert c.status_is_now(ref, "NodeReady").message == "Node n1 status is now: NodeReady"
    assert c.rebooted(ref, "b2") == events.Event(
        "Warning", "Rebooted", "Node n1 has been rebooted, boot id: b2", ref
    )
