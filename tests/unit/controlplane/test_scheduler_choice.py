"""The scheduler's decisions: what fits, what is best, and the words for what does not fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from controlplane.scheduler.choose import Placed, Unplaced, choose
from controlplane.scheduler.cluster import Cluster, read_pod
from controlplane.scheduler.requests import request_of
from kube import objects
from kube.objects.cluster_v1 import Node
from kube.objects.core_v1 import Pod
from kube.selectors import Selector, parse

pytestmark = pytest.mark.pure

GI = 1024**3


def node(name: str, cpu: str = "4", memory: str = "8Gi", **spec: Any) -> Node:
    labels = {"kubernetes.io/hostname": name, **spec.pop("labels", {})}
    images = spec.pop("images", [])
    allocatable = {"cpu": cpu, "memory": memory, "pods": spec.pop("pods", "110")}
    body = {
        "metadata": {"name": name, "labels": labels}, "spec": spec,
        "status": {"allocatable": allocatable, "images": images},
    }  # fmt: skip
    return objects.convert(body, Node)


def pod(name: str = "web", on: str = "", requests: dict[str, str] | None = None, **spec: Any) -> Pod:
    metadata = {"name": name, "namespace": spec.pop("namespace", "shop"), "uid": name}
    metadata["labels"] = spec.pop("labels", {})
    container = {"name": "main", "image": "busybox:1", "resources": {"requests": requests or {}}}
    container["ports"] = spec.pop("ports", [])
    body = {"metadata": metadata, "spec": {"containers": [container], "nodeName": on, **spec}}
    return objects.convert(body, Pod)


def first(names: Sequence[str]) -> str:
    return names[0]


def decide(wanted: Pod, nodes: list[Node], pods: list[Pod] | None = None, selector: str = "") -> Any:
    chosen: Selector | None = parse(selector) if selector else None
    return choose(read_pod(wanted), Cluster(nodes, pods or []), first, chosen)


def message(wanted: Pod, nodes: list[Node], pods: list[Pod] | None = None) -> str:
    found = decide(wanted, nodes, pods)
    assert isinstance(found, Unplaced)
    return found.message


def taint(effect: str, key: str = "dedicated", value: str = "db") -> dict[str, str]:
    return {"key": key, "value": value, "effect": effect}


def near(app: str, topology: str = "zone", kind: str = "podAffinity") -> dict[str, Any]:
    term = {"labelSelector": {"matchLabels": {"app": app}}, "topologyKey": topology}
    return {kind: {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}


def test_requests_count_the_larger_of_init_containers_and_apps_with_sidecars_and_overhead() -> None:
    def container(name: str, cpu: str, **more: Any) -> dict[str, Any]:
        return {"name": name, "resources": {"requests": {"cpu": cpu, "memory": "1Gi"}}, **more}

    spec = {
        "initContainers": [
            container("sidecar", "100m", restartPolicy="Always"),
            container("setup", "2"),
        ],
        "containers": [container("a", "500m"), container("b", "1")],
        "overhead": {"cpu": "10m"},
    }
    found = request_of(objects.convert({"spec": spec}, Pod))
    assert found.exact == {"cpu": 2110, "memory": 3 * GI}
    plain = request_of(pod())
    assert plain.exact == {}
    assert (plain.cpu, plain.memory) == (100, 200 * 1024 * 1024)


def test_granted_resources_count_while_a_container_shrinks() -> None:
    body = objects.to_json(pod(requests={"cpu": "100m"}))
    body["status"] = {
        "containerStatuses": [
            {"name": "main", "image": "", "imageID": "", "ready": True, "restartCount": 0,
             "allocatedResources": {"cpu": "1"}}
        ]
    }  # fmt: skip
    assert request_of(objects.convert(body, Pod)).exact == {"cpu": 1000}


def test_pod_without_any_node_is_told_so() -> None:
    assert message(pod(), []) == "no nodes available to schedule pods"


@pytest.mark.parametrize(
    ("wanted", "there", "said"),
    [
        (pod(requests={"cpu": "5"}), node("a"), "1 Insufficient cpu"),
        (pod(requests={"cpu": "5", "memory": "9Gi"}), node("a"), "1 Insufficient cpu, 1 Insufficient memory"),
        (pod(requests={"gpu.example/x": "1"}), node("a"), "1 Insufficient gpu.example/x"),
        (pod(), node("a", pods="0"), "1 Too many pods"),
        (pod(), node("a", unschedulable=True), "1 node(s) were unschedulable"),
        (pod(), node("a", taints=[taint("NoSchedule")]), "1 node(s) had untolerated taint(s)"),
        (pod(), node("a", taints=[taint("NoExecute")]), "1 node(s) had untolerated taint(s)"),
        (pod(nodeSelector={"disk": "ssd"}), node("a"), "1 node(s) didn't match Pod's node affinity/selector"),
        (pod(on="b"), node("a"), "1 node(s) didn't match the requested node name"),
    ],
)
def test_node_refuses_in_the_words_of_kubectl_users(wanted: Pod, there: Node, said: str) -> None:
    assert message(wanted, [there]) == f"0/1 nodes are available: {said}."


def test_reasons_of_many_nodes_are_counted_and_sorted() -> None:
    nodes = [node("a", cpu="1"), node("b", cpu="1"), node("c", unschedulable=True)]
    said = message(pod(requests={"cpu": "2"}), nodes)
    assert said == "0/3 nodes are available: 1 node(s) were unschedulable, 2 Insufficient cpu."


@pytest.mark.parametrize(
    ("toleration", "fits"),
    [
        ({"key": "dedicated", "value": "db", "effect": "NoSchedule"}, True),
        ({"key": "dedicated", "operator": "Exists"}, True),
        ({"operator": "Exists"}, True),
        ({"key": "dedicated", "value": "web"}, False),
        ({"key": "dedicated", "value": "db", "effect": "NoExecute"}, False),
        ({"value": "db"}, False),
    ],
)
def test_toleration_covers_a_taint_by_key_value_and_effect(toleration: dict[str, str], fits: bool) -> None:
    found = decide(pod(tolerations=[toleration]), [node("a", taints=[taint("NoSchedule")])])
    assert isinstance(found, Placed) is fits


def test_cordoned_node_takes_a_pod_that_tolerates_it() -> None:
    toleration = {"key": "node.kubernetes.io/unschedulable", "operator": "Exists"}
    assert decide(pod(tolerations=[toleration]), [node("a", unschedulable=True)]) == Placed("a")


def test_required_node_affinity_reads_labels_and_the_name() -> None:
    terms = [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["b"]}]}]
    affinity = {
        "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
    }
    assert decide(pod(affinity=affinity), [node("a"), node("b")]) == Placed("b")


def test_host_port_is_free_once_per_address_and_protocol() -> None:
    def at(port: int, protocol: str = "TCP", address: str = "") -> list[dict[str, Any]]:
        return [{"containerPort": port, "hostPort": port, "protocol": protocol, "hostIP": address}]

    there = [pod("old", on="a", ports=at(80, address="10.0.0.1"))]
    refused = "0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports."
    assert message(pod(ports=at(80)), [node("a")], there) == refused
    assert message(pod(ports=at(80, address="10.0.0.1")), [node("a")], there) == refused
    assert decide(pod(ports=at(80, address="10.0.0.2")), [node("a")], there) == Placed("a")
    assert decide(pod(ports=at(80, "UDP")), [node("a")], there) == Placed("a")


def test_finished_pods_hold_nothing() -> None:
    done = objects.to_json(pod("old", on="a", requests={"cpu": "4"}))
    done["status"] = {"phase": "Succeeded"}
    assert decide(pod(requests={"cpu": "4"}), [node("a")], [objects.convert(done, Pod)]) == Placed("a")


def test_anti_affinity_keeps_apart_both_ways() -> None:
    nodes = [node("a", labels={"zone": "z1"}), node("b", labels={"zone": "z1"})]
    guard = pod("guard", on="a", labels={"app": "db"}, affinity=near("web", kind="podAntiAffinity"))
    words = "0/2 nodes are available: 2 node(s) didn't satisfy existing pods anti-affinity rules."
    assert message(pod(labels={"app": "web"}), nodes, [guard]) == words
    shy = pod(affinity=near("db", kind="podAntiAffinity"))
    words = "0/2 nodes are available: 2 node(s) didn't match pod anti-affinity rules."
    assert message(shy, nodes, [pod("x", on="b", labels={"app": "db"})]) == words
    assert isinstance(decide(shy, nodes, [pod("x", on="b", namespace="other", labels={"app": "db"})]), Placed)


def test_affinity_goes_to_the_zone_of_the_other_and_lets_the_first_of_a_group_in() -> None:
    nodes = [node("a", labels={"zone": "z1"}), node("b", labels={"zone": "z2"}), node("c")]
    wanted = pod(affinity=near("db"))
    assert decide(wanted, nodes, [pod("x", on="b", labels={"app": "db"})]) == Placed("b")
    words = "0/3 nodes are available: 3 node(s) didn't match pod affinity rules."
    assert message(wanted, nodes) == words
    assert isinstance(decide(pod(labels={"app": "db"}, affinity=near("db")), nodes), Placed)


def test_namespace_selector_looks_at_the_namespaces_labels() -> None:
    affinity = near("db", "kubernetes.io/hostname", "podAntiAffinity")
    term = affinity["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][0]
    term["namespaceSelector"] = {"matchLabels": {"team": "x"}}
    cluster = Cluster([node("a")], [pod("x", on="a", namespace="other", labels={"app": "db"})])
    info = read_pod(pod(affinity=affinity))
    assert choose(info, cluster, first) == Placed("a")
    cluster.namespaces["other"] = {"team": "x"}
    assert isinstance(choose(info, cluster, first), Unplaced)


def spread(skew: int = 1, **more: Any) -> dict[str, Any]:
    return {
        "maxSkew": skew, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "web"}}, **more,
    }  # fmt: skip


def test_spread_constraint_fills_the_emptier_zone_and_names_a_missing_label() -> None:
    nodes = [node("a", labels={"zone": "z1"}), node("b", labels={"zone": "z2"}), node("c")]
    there = [pod("x", on="a", labels={"app": "web"})]
    wanted = pod(labels={"app": "web"}, topologySpreadConstraints=[spread()])
    assert decide(wanted, nodes, there) == Placed("b")
    said = message(wanted, [node("a", labels={"zone": "z1"}), node("b", labels={"zone": "z2"}, cpu="0", pods="0"), nodes[2]], there)  # noqa: E501  # fmt: skip
    assert said == (
        "0/3 nodes are available: 1 Too many pods, "
        "1 node(s) didn't match pod topology spread constraints, "
        "1 node(s) didn't match pod topology spread constraints (missing required label)."
    )


def test_spread_with_too_few_domains_counts_from_zero() -> None:
    there = [pod("x", on="a", labels={"app": "web"})]
    nodes = [node("a", labels={"zone": "z1"})]
    assert decide(pod(labels={"app": "web"}, topologySpreadConstraints=[spread()]), nodes, there) == Placed(
        "a"
    )
    wanted = pod(labels={"app": "web"}, topologySpreadConstraints=[spread(minDomains=2)])
    assert isinstance(decide(wanted, nodes, there), Unplaced)


def test_emptier_node_is_preferred() -> None:
    there = [pod("x", on="a", requests={"cpu": "2", "memory": "4Gi"})]
    assert decide(pod(requests={"cpu": "1", "memory": "1Gi"}), [node("a"), node("b")], there) == Placed("b")


def test_preferred_node_affinity_and_soft_taints_outweigh_load() -> None:
    there = [pod("x", on="b", requests={"cpu": "1", "memory": "2Gi"})]
    nodes = [node("a"), node("b", labels={"disk": "ssd"})]
    term = {"matchExpressions": [{"key": "disk", "operator": "Exists"}]}
    liked = [{"weight": 10, "preference": term}]
    affinity = {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": liked}}
    assert decide(pod(affinity=affinity), nodes, there) == Placed("b")
    soft = [node("a", taints=[taint("PreferNoSchedule")]), node("b")]
    assert decide(pod(), soft, there) == Placed("b")


def test_pods_of_one_service_are_spread_over_nodes_by_default() -> None:
    there = [pod(f"x{at}", on="a", labels={"app": "web"}) for at in range(2)]
    crowded = [*there, pod("big", on="b", requests={"cpu": "1", "memory": "1Gi"})]
    nodes = [node("a", labels={"topology.kubernetes.io/zone": "z"}), node("b", labels={"topology.kubernetes.io/zone": "z"})]  # noqa: E501  # fmt: skip
    assert decide(pod(labels={"app": "web"}), nodes, crowded) == Placed("a")
    assert decide(pod(labels={"app": "web"}), nodes, crowded, "app=web") == Placed("b")


def test_preferred_anti_affinity_avoids_the_other() -> None:
    term = {"weight": 100, "podAffinityTerm": {"labelSelector": {"matchLabels": {"app": "web"}}, "topologyKey": "kubernetes.io/hostname"}}  # noqa: E501  # fmt: skip
    affinity = {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [term]}}
    assert decide(pod(affinity=affinity), [node("a"), node("b")], [pod("x", on="a", labels={"app": "web"})]) == Placed("b")  # noqa: E501  # fmt: skip


def test_node_that_has_the_image_is_preferred() -> None:
    there = [{"names": ["busybox:1"], "sizeBytes": 900 * 1024 * 1024}]
    assert decide(pod(), [node("a"), node("b", images=there)]) == Placed("b")


def test_assumed_pod_counts_until_its_binding_fails() -> None:
    cluster = Cluster([node("a", cpu="1")])
    info = read_pod(pod(requests={"cpu": "1"}))
    other = read_pod(pod("other", requests={"cpu": "1"}))
    cluster.assume(info, "a")
    cluster.set_pod(info)  # an update from before the binding
    assert isinstance(choose(other, cluster, first), Unplaced)
    cluster.forget(info.key, "somebody-else")
    assert isinstance(choose(other, cluster, first), Unplaced)
    cluster.forget(info.key, "web")
    assert choose(other, cluster, first) == Placed("a")


def test_bound_pod_is_no_longer_an_assumption_and_leaves_with_its_deletion() -> None:
    cluster = Cluster([node("a", cpu="1")])
    cluster.assume(read_pod(pod(requests={"cpu": "1"})), "a")
    cluster.set_pod(read_pod(pod(on="a", requests={"cpu": "1"})))
    assert not cluster.is_assumed("shop/web")
    cluster.forget("shop/web", "web")
    place = cluster.node("a")
    assert place is not None
    assert place.requested == {"cpu": 1000}
    cluster.drop_pod("shop/web")
    assert place.requested == {"cpu": 0}
    assert place.pods == {}
