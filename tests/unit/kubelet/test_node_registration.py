"""The Node that is registered, what is corrected on one that exists, and which labels it may have."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from controlplane.admission.noderestriction import may_label
from kubelet.configuration import InvalidConfiguration, effect
from kubelet.configuration.load import combine
from kubelet.configuration.types import KubeletConfiguration, Taint
from kubelet.flags import parse
from kubelet.node.facts import read_node
from kubelet.node.labels import may_set, problems
from kubelet.node.limits import api_limits, event_limits, lease_limits
from kubelet.node.machine import read_machine
from kubelet.node.model import Machine, NodeSettings, Readings, node_settings
from kubelet.node.registration import CONTROLLER_ATTACHES, correction, new_node
from kubelet.node.status import node_status

pytestmark = pytest.mark.pure

MACHINE = Machine(cpus=1, memory_bytes=1024, architecture="arm64")
LABELS = {
    "kubernetes.io/hostname": "n1", "kubernetes.io/os": "linux", "kubernetes.io/arch": "arm64",
    "beta.kubernetes.io/os": "linux", "beta.kubernetes.io/arch": "arm64",
}  # fmt: skip


def existing(node: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {**node, "metadata": {**node["metadata"], **changes}}


def test_a_plain_node_has_the_labels_of_its_machine() -> None:
    assert new_node(NodeSettings("n1"), MACHINE) == {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": "n1", "labels": LABELS, "annotations": {CONTROLLER_ATTACHES: "true"}},
        "spec": {},
    }


def test_a_node_is_registered_as_configured() -> None:
    settings = NodeSettings(
        "n1", labels={"zone": "a"}, taints=(Taint(key="k", effect="NoExecute", value="v"),),
        schedulable=False, provider_id="x://1", controller_attaches=False,
    )  # fmt: skip
    node = new_node(settings, MACHINE)
    assert node["metadata"]["labels"] == {**LABELS, "zone": "a"}
    assert node["metadata"]["annotations"] == {}
    assert node["spec"] == {
        "providerID": "x://1",
        "unschedulable": True,
        "taints": [
            {"key": "k", "value": "v", "effect": "NoExecute"},
            {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"},
        ],
    }


def test_a_node_that_is_as_it_should_be_is_left_alone() -> None:
    node = new_node(NodeSettings("n1"), MACHINE)
    theirs = {**node["metadata"]["labels"], "team": "shop"}
    assert correction(existing(node, labels=theirs), node) == {}


def test_default_labels_and_the_annotation_are_corrected_and_nothing_else() -> None:
    wanted = new_node(
        NodeSettings("n1", labels={"zone": "new", "node.kubernetes.io/instance-type": "big"}), MACHINE
    )
    was = existing(wanted, labels={**LABELS, "kubernetes.io/arch": "amd64", "zone": "old"}, annotations={})
    assert correction(was, wanted) == {
        "metadata": {
            "labels": {"kubernetes.io/arch": "arm64", "node.kubernetes.io/instance-type": "big"},
            "annotations": {CONTROLLER_ATTACHES: "true"},
        }
    }


def test_the_annotation_goes_when_the_node_attaches_itself() -> None:
    wanted = new_node(NodeSettings("n1", controller_attaches=False), MACHINE)
    was = new_node(NodeSettings("n1"), MACHINE)
    assert correction(was, wanted) == {"metadata": {"annotations": {CONTROLLER_ATTACHES: None}}}


@pytest.mark.parametrize(
    ("label", "allowed"),
    [
        ("team", True),
        ("example.com/team", True),
        ("kubernetes.io/hostname", True),
        ("node.kubernetes.io/anything", True),
        ("sub.kubelet.kubernetes.io/x", True),
        ("topology.kubernetes.io/zone", True),
        ("node-role.kubernetes.io/worker", False),
        ("kubernetes.io/other", False),
        ("k8s.io/x", False),
        ("notkubernetes.io/x", True),
    ],
)
def test_labels_of_kubernetes_own_domains_are_limited(label: str, allowed: bool) -> None:
    assert may_set(label) is allowed
    # what the agent lets through, the API server's NodeRestriction must not refuse
    assert not allowed or may_label(label)


def test_bad_labels_are_named() -> None:
    found = problems({"node-role.kubernetes.io/worker": "", "b d": "x", "good": "-"})
    assert found[0].startswith(
        "unknown 'kubernetes.io' or 'k8s.io' labels specified with --node-labels: "
        "['node-role.kubernetes.io/worker']\n"
    )
    assert [text.partition(":")[0] for text in found[1:]] == ["invalid node labels", "invalid node labels"]


def test_settings_come_from_flags_and_configuration() -> None:
    flags = parse(["--node-labels=a=b,c=d", "--register-schedulable=false"])
    config = KubeletConfiguration(
        max_pods=7, provider_id="p", system_reserved={"cpu": "1"}, node_lease_duration_seconds=20, port=1234
    )
    settings = node_settings(flags, config, "n1", "containerd://1.7")
    assert settings.labels == {"a": "b", "c": "d"}
    assert (settings.schedulable, settings.max_pods, settings.provider_id) == (False, 7, "p")
    assert (settings.lease_seconds, settings.port) == (20, 1234)
    assert settings.reservations.system == {"cpu": "1"}
    assert settings.reservations.eviction_hard["nodefs.available"] == "10%"
    assert settings.version.startswith("v1.36.2")


def test_eviction_may_be_left_out_of_allocatable() -> None:
    flags = parse(["--experimental-allocatable-ignore-eviction"])
    assert node_settings(flags, KubeletConfiguration(), "n1", "").reservations.eviction_hard == {}


def test_each_client_has_limits_of_its_own() -> None:
    config = KubeletConfiguration(
        kube_api_qps=0, kube_api_burst=9, event_record_qps=0, event_burst=3, node_status_update_frequency=4.0
    )
    assert (api_limits(config).qps, api_limits(config).burst) == (5.0, 9)
    assert (event_limits(config).qps, event_limits(config).burst) == (0, 3)
    assert (lease_limits(config).qps, lease_limits(config).request_seconds) == (0.0, 4.0)


@pytest.mark.parametrize(
    ("argument", "fault"),
    [
        ("--node-ip=192.0.2.1", ""),
        ("--node-ip=192.0.2.1,2001:db8::1", ""),
        ("--node-ip=here", 'bad --node-ip "here": "here" is not an IP address'),
        (
            "--node-ip=192.0.2.1,192.0.2.2",
            'bad --node-ip "192.0.2.1,192.0.2.2": must contain either a single IP or a dual-stack pair',
        ),
        (
            "--node-labels=k8s.io/x=y",
            "unknown 'kubernetes.io' or 'k8s.io' labels specified with --node-labels",
        ),
    ],
)
def test_flags_that_make_no_node_are_refused(argument: str, fault: str) -> None:
    if not fault:
        assert combine([], parse([argument])).warnings == ()
        return
    with pytest.raises(InvalidConfiguration) as caught:
        combine([], parse([argument]))
    assert fault in str(caught.value)


def test_settings_that_work_only_in_part_say_so() -> None:
    given = KubeletConfiguration(eviction_hard={"memory.available": "1Gi"}, max_pods=3, register_node=False)
    assert list(effect.warnings(given)) == [
        'Configuration field "evictionHard" takes room from allocatable, and evicts no pod in this agent yet'
    ]


def test_the_facts_of_pods_and_the_status_of_the_node_agree(tmp_path: Path) -> None:
    flags = parse([f"--root-dir={tmp_path}", "--node-ip=192.0.2.9", "--hostname-override=N1"])
    config = KubeletConfiguration(system_reserved={"memory": "100Mi"}, max_pods=12)
    facts = read_node(flags, config)
    settings = node_settings(flags, config, facts.node_name, "x://1")
    status = node_status(
        settings, read_machine(flags.root_dir), Readings(facts.node_ips), {}, datetime.now(UTC)
    )
    assert status["allocatable"] == facts.allocatable
    assert [one["address"] for one in status["addresses"]] == ["192.0.2.9", "n1"]
