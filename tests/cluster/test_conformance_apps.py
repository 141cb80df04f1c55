"""Workloads and Services, as Kubernetes' conformance suite drives them through the API.

Sources: test/e2e/apps/{rc,replica_set,deployment}.go, test/e2e/network/{service,endpointslice}.go and
test/e2e/scheduling/predicates.go of Kubernetes 1.36, without what needs a network between nodes.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from tests.cluster.clusters import wait_until
from tests.cluster.stranger import MERGE, Place, container, path_to, pod_of

pytestmark = pytest.mark.cluster

KINDS = {
    "replicasets": "ReplicaSet",
    "deployments": "Deployment",
    "replicationcontrollers": "ReplicationController",
}


def workload(kind: str, name: str, count: int, **spec: Any) -> dict[str, Any]:
    labels = {"w": name}
    is_old = kind == "replicationcontrollers"
    template = {"metadata": {"labels": labels}, "spec": pod_of("x")["spec"]}
    selector = labels if is_old else {"matchLabels": labels}
    return {
        "apiVersion": "v1" if is_old else "apps/v1", "kind": KINDS[kind],
        "metadata": {"name": name, "labels": labels},
        "spec": {"replicas": count, "selector": selector, "template": template, **spec},
    }  # fmt: skip


def pods_of(room: Place, name: str) -> list[Any]:
    return [
        one
        for one in room.items("pods", labelSelector=f"w={name}")
        if "deletionTimestamp" not in one["metadata"]
    ]


def owner_of(one: dict[str, Any]) -> str:
    rows = [row for row in one["metadata"].get("ownerReferences", ()) if row.get("controller")]
    return rows[0]["name"] if rows else ""


@pytest.mark.parametrize("kind", ["replicasets", "replicationcontrollers"])
def test_pods_are_adopted_by_label_and_released_without_it(room: Place, kind: str) -> None:
    name = f"adopt-{kind[-6:]}"
    room.make("pods", pod_of(f"{name}-stray", labels={"w": name}))
    room.make(kind, workload(kind, name, 1))
    room.until("pods", f"{name}-stray", lambda one: owner_of(one) == name)
    room.api.patch(room.at("pods", f"{name}-stray"), {"metadata": {"labels": {"w": "another"}}})
    room.until("pods", f"{name}-stray", lambda one: not owner_of(one))
    wait_until(lambda: [owner_of(one) for one in pods_of(room, name)] == [name], "another pod in its place")
    room.api.delete(room.at("pods", f"{name}-stray"))


@pytest.mark.parametrize("kind", KINDS)
def test_scale_and_status_are_read_replaced_and_patched(room: Place, kind: str) -> None:
    name = f"scale-{kind[-6:]}"
    room.make(kind, workload(kind, name, 1))
    room.until(kind, name, lambda one: one["status"].get("readyReplicas") == 1)
    at = room.at(kind, name, "scale")
    scale = room.api.get(at)
    assert (scale["kind"], scale["spec"]["replicas"], scale["status"]["replicas"]) == ("Scale", 1, 1)
    assert scale["status"]["selector"] == f"w={name}"
    scale["spec"]["replicas"] = 2
    assert room.api.replace(at, scale)["spec"]["replicas"] == 2
    room.until(kind, name, lambda one: one["status"].get("readyReplicas") == 2)
    assert room.api.patch(at, {"spec": {"replicas": 3}}, MERGE)["spec"]["replicas"] == 3
    assert room.find(kind, name)["spec"]["replicas"] == 3
    row = {"type": "StatusPatched", "status": "True", "reason": "E2E", "message": "set"}
    patched = room.api.patch(room.at(kind, name, "status"), {"status": {"conditions": [row]}}, MERGE)
    assert row.items() <= patched["status"]["conditions"][-1].items()

    def added() -> bool:
        again = room.api.get(room.at(kind, name, "status"))
        again["status"]["conditions"] = [row, {**row, "type": "StatusUpdate"}]
        reply = room.api.ask("PUT", room.at(kind, name, "status"), again)
        return reply.code == 200 and len(reply.json["status"]["conditions"]) == 2

    wait_until(added, "a write between two of the controller's")
    room.api.must(
        room.api.ask("DELETE", room.at(kind), {"propagationPolicy": "Background"}, labelSelector=f"w={name}")
    )
    wait_until(lambda: room.api.is_gone(room.at(kind, name)), "it is gone")
    wait_until(lambda: not pods_of(room, name), "and its pods")


def test_rollout_replaces_all_pods_and_keeps_the_history_it_may(room: Place) -> None:
    room.make("deployments", workload("deployments", "roll", 2, revisionHistoryLimit=1))
    for number in range(3):
        change = {"spec": {"template": {"metadata": {"annotations": {"n": str(number)}}}}}
        room.api.patch(room.at("deployments", "roll"), change)
        room.until("deployments", "roll", _is_done)
    wait_until(lambda: len(room.items("replicasets", labelSelector="w=roll")) == 2, "one old, one new")
    found = room.find("deployments", "roll")
    assert found["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "4"
    rows = {row["type"]: row["reason"] for row in found["status"]["conditions"]}
    assert rows == {"Available": "MinimumReplicasAvailable", "Progressing": "NewReplicaSetAvailable"}


def _is_done(one: dict[str, Any]) -> bool:
    state, wanted = one["status"], one["spec"]["replicas"]
    counts = [state.get(name, 0) for name in ("replicas", "updatedReplicas", "availableReplicas")]
    return state.get("observedGeneration") == one["metadata"]["generation"] and counts == [wanted] * 3


def test_recreate_has_no_two_versions_at_once(room: Place) -> None:
    room.make("deployments", workload("deployments", "recreate", 2, strategy={"type": "Recreate"}))
    room.until("deployments", "recreate", _is_done)
    first = {one["metadata"]["uid"] for one in pods_of(room, "recreate")}
    start = room.api.get(room.at("pods"))["metadata"]["resourceVersion"]
    room.api.patch(
        room.at("deployments", "recreate"), {"spec": {"template": {"metadata": {"annotations": {"n": "1"}}}}}
    )
    room.until("deployments", "recreate", _is_done)
    alive, new = set(first), set()
    with room.api.watch(room.at("pods"), resourceVersion=start, labelSelector="w=recreate") as events:
        for event in events:
            uid = event["object"]["metadata"]["uid"]
            if event["type"] == "DELETED":
                alive.discard(uid)
            elif uid not in first:
                assert not alive, "a new pod beside an old one"
                new.add(uid)
            if len(new) == 2:
                break


def test_scaling_in_the_middle_of_a_rollout_is_shared_in_proportion(room: Place) -> None:
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 3, "maxUnavailable": 2}}
    body = workload("deployments", "share", 10, strategy=rolling)
    room.make("deployments", body)
    room.until("deployments", "share", _is_done)
    bad = {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "localhost/none:none"}]}}}}
    room.api.patch(room.at("deployments", "share"), bad)

    def counts() -> list[int]:
        found = room.items("replicasets", labelSelector="w=share")
        return sorted(one["spec"]["replicas"] for one in found)

    wait_until(lambda: counts() == [5, 8], "5 new, 8 old")
    room.api.patch(room.at("deployments", "share", "scale"), {"spec": {"replicas": 30}}, MERGE)
    wait_until(lambda: counts() == [13, 20], "33 in proportion")
    room.api.delete(room.at("deployments", "share"), propagationPolicy="Background")


def test_services_change_their_type_and_live(room: Place) -> None:
    spec = {"selector": {"a": "b"}, "ports": [{"port": 80, "targetPort": 8080, "protocol": "TCP"}]}
    path = room.at("services", "changes")
    made = room.make("services", {"metadata": {"name": "changes", "labels": {"s": "1"}}, "spec": spec})
    assert made["spec"]["type"] == "ClusterIP" and made["spec"]["sessionAffinity"] == "None"
    outer = room.api.patch(path, {"spec": {"type": "NodePort"}})
    assert 30000 <= outer["spec"]["ports"][0]["nodePort"] < 32768
    assert outer["spec"]["clusterIP"] == made["spec"]["clusterIP"]
    inner = room.api.patch(path, {"spec": {"type": "ClusterIP", "ports": [{"port": 80, "nodePort": None}]}})
    assert "nodePort" not in inner["spec"]["ports"][0]
    alias = {"type": "ExternalName", "externalName": "example.com", "clusterIP": None, "clusterIPs": None}
    named = room.api.patch(path, {"spec": alias}, MERGE)
    assert named["spec"].get("clusterIP", "") == ""
    back = room.api.patch(path, {"spec": {"type": "ClusterIP", "externalName": None}}, MERGE)
    assert back["spec"]["clusterIP"].startswith("10.")
    sticky = room.api.patch(path, {"spec": {"sessionAffinity": "ClientIP"}})
    assert sticky["spec"]["sessionAffinityConfig"] == {"clientIP": {"timeoutSeconds": 10800}}
    balanced = {"status": {"loadBalancer": {"ingress": [{"ip": "203.0.113.1"}]}}}
    room.api.patch(room.at("services", "changes", "status"), balanced, MERGE)
    room.api.must(room.api.ask("DELETE", room.at("services"), labelSelector="s=1"))
    wait_until(lambda: room.api.is_gone(path), "it is gone")


def test_slices_and_endpoints_follow_services_and_pods(room: Place) -> None:
    ports = [{"name": "web", "port": 80, "targetPort": "http"}, {"name": "raw", "port": 81, "targetPort": 81}]
    room.make(
        "services", {"metadata": {"name": "backs"}, "spec": {"selector": {"app": "back"}, "ports": ports}}
    )
    box = container(ports=[{"name": "http", "containerPort": 8080}])
    room.make("pods", pod_of("back", box))
    address = room.ready("back")["status"]["podIP"]

    def slices() -> list[Any]:
        return room.items("endpointslices", labelSelector="kubernetes.io/service-name=backs")

    wait_until(
        lambda: any(one["conditions"]["ready"] for row in slices() for one in row["endpoints"] or ()), "ready"
    )
    (found,) = slices()
    assert found["endpoints"][0]["addresses"] == [address]
    assert {row["name"]: row["port"] for row in found["ports"]} == {"web": 8080, "raw": 81}
    old = room.find("endpoints", "backs")["subsets"][0]
    assert old["addresses"][0]["targetRef"]["name"] == "back"
    room.api.delete(found_path := room.at("endpointslices", found["metadata"]["name"]))
    wait_until(lambda: slices() and slices()[0]["metadata"]["uid"] != found["metadata"]["uid"], found_path)
    room.api.delete(room.at("services", "backs"))
    wait_until(lambda: not slices(), "its slices are gone")
    wait_until(partial(room.api.is_gone, room.at("endpoints", "backs")), "its endpoints are gone")


def test_kubernetes_itself_is_a_service(room: Place) -> None:
    default = Place(room.api, "default")
    assert default.find("services", "kubernetes")["spec"]["ports"][0]["port"] == 443
    assert default.find("endpoints", "kubernetes")["subsets"]
    assert default.items("endpointslices", labelSelector="kubernetes.io/service-name=kubernetes")


@pytest.mark.parametrize(
    ("name", "spec", "message"),
    [
        ("wide", {"containers": [container(resources={"requests": {"cpu": "1000"}})]}, "Insufficient cpu"),
        ("picky", {"nodeSelector": {"no": "where"}}, "didn't match Pod's node affinity/selector"),
        ("second", {"containers": [container(ports=[{"containerPort": 80, "hostPort": 54321}])]},
         "didn't have free ports for the requested pod ports"),
    ],
)  # fmt: skip
def test_pods_that_fit_nowhere_say_why(room: Place, name: str, spec: dict[str, Any], message: str) -> None:
    if name == "second":
        room.make("pods", pod_of("first", **spec))
        room.ready("first")
        other = container(ports=[{"containerPort": 80, "hostPort": 54321, "protocol": "UDP"}])
        room.make("pods", pod_of("udp", containers=[other]))
        room.ready("udp")
    body = pod_of(name)
    body["spec"] |= spec
    room.make("pods", body)

    def said(one: dict[str, Any]) -> str:
        rows = [row for row in one["status"].get("conditions", ()) if row["type"] == "PodScheduled"]
        return str(rows[0].get("message", "")) if rows else ""

    room.until("pods", name, lambda one: message in said(one))
    wait_until(
        lambda: room.items("events", fieldSelector=f"involvedObject.name={name},reason=FailedScheduling"),
        "an event",
    )
    if name == "picky":
        (node,) = room.api.get(path_to("nodes"))["items"]
        path = path_to("nodes", name=node["metadata"]["name"])
        room.api.patch(path, {"metadata": {"labels": {"no": "where"}}})
        room.ready(name)
        room.api.patch(path, {"metadata": {"labels": {"no": None}}})


def test_server_reaches_pods_and_services_for_who_asks(room: Place) -> None:
    script = "mkdir /w; echo page > /w/index.html; exec httpd -f -p 8080 -h /w"
    room.make("pods", pod_of("web", container(script, ports=[{"name": "http", "containerPort": 8080}])))
    service = {"selector": {"app": "web"}, "ports": [{"name": "p", "port": 80, "targetPort": "http"}]}
    room.make("services", {"metadata": {"name": "web"}, "spec": service})
    room.ready("web")
    assert room.api.text(room.at("pods", "web:8080", "proxy") + "/") == "page\n"
    for name in ("web", "web:p", "web:80", "http:web:80"):
        path = room.at("services", name, "proxy") + "/index.html"
        wait_until(partial(_is_served, room, path), name, 15)
        assert room.api.text(path) == "page\n"
    assert room.api.ask("GET", room.at("pods", "web:8080", "proxy") + "/none", accept="*/*").code == 404


def _is_served(room: Place, path: str) -> bool:
    return room.api.ask("GET", path, accept="*/*").code == 200


def test_pods_are_patched_replaced_evicted_and_their_status_too(room: Place) -> None:
    room.make("pods", pod_of("life", labels={"n": "1"}))
    ready = room.ready("life")
    room.api.patch(room.at("pods", "life"), {"metadata": {"labels": {"n": "2"}}})
    row = {"type": "Test", "status": "True", "reason": "E2E", "message": "x"}
    room.api.patch(room.at("pods", "life", "status"), {"status": {"conditions": [row]}})
    kept = room.api.get(room.at("pods", "life", "status"))
    assert row.items() <= next(one for one in kept["status"]["conditions"] if one["type"] == "Test").items()
    change = [{"name": "main", "env": [{"name": "A", "value": "b"}]}]
    refused = room.api.ask(
        "PATCH", room.at("pods", "life"), {"spec": {"containers": change}},
        send="application/strategic-merge-patch+json",
    )  # fmt: skip
    assert refused.code == 422 and "pod updates may not change fields other than" in refused.text
    stale = room.find("pods", "life")
    stale["metadata"] |= {"resourceVersion": ready["metadata"]["resourceVersion"], "labels": {"n": "3"}}
    assert room.api.ask("PUT", room.at("pods", "life"), stale).code == 409
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "life"}}
    room.api.create(room.at("pods", "life", "eviction"), eviction)
    wait_until(lambda: room.api.is_gone(room.at("pods", "life")), "it is gone")
