"""What every object of the API does, as Kubernetes' conformance suite asks it: watches, pages, tables,
dry runs, field validation, garbage collection, discovery, namespaces, events, leases, accounts.

Sources: test/e2e/{apimachinery,auth,instrumentation,common/node/lease.go} of Kubernetes 1.36.
"""

from __future__ import annotations

import base64
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from tests.cluster.clusters import wait_until
from tests.cluster.stranger import JSON_PATCH, MERGE, Place, config_map, container, path_to, pod_of, secret

pytestmark = pytest.mark.cluster

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
PARTIAL = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"


def replicas(name: str, count: int) -> dict[str, Any]:
    labels = {"rs": name}
    pod = pod_of("x")
    return {
        "apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": name, "labels": labels},
        "spec": {"replicas": count, "selector": {"matchLabels": labels},
                 "template": {"metadata": {"labels": labels}, "spec": pod["spec"]}},
    }  # fmt: skip


# --- watches ---


def test_watch_by_label_tells_of_changes_into_and_out_of_the_selection(room: Place) -> None:
    path, labels = room.at("configmaps"), {"watch": "in"}
    start = room.api.get(path, labelSelector="watch=in")["metadata"]["resourceVersion"]
    room.make("configmaps", {**config_map("seen", {}), "metadata": {"name": "seen", "labels": labels}})
    one = room.at("configmaps", "seen")
    room.api.patch(one, {"data": {"n": "1"}})
    room.api.patch(one, {"metadata": {"labels": {"watch": "out"}}})
    room.api.patch(one, {"data": {"n": "2"}})
    room.api.patch(one, {"metadata": {"labels": labels}})
    room.api.patch(one, {"data": {"n": "3"}})
    room.api.delete(one)
    with room.api.watch(path, labelSelector="watch=in", resourceVersion=start) as events:
        seen = [
            (event["type"], event["object"].get("data", {}).get("n"))
            for _, event in zip(range(6), events, strict=False)
        ]
    assert seen == [
        ("ADDED", None), ("MODIFIED", "1"), ("DELETED", "1"),
        ("ADDED", "2"), ("MODIFIED", "3"), ("DELETED", "3"),
    ]  # fmt: skip


def test_watch_goes_on_from_the_last_version_that_was_seen(room: Place) -> None:
    made = room.make("configmaps", config_map("again", {}))
    one, path = room.at("configmaps", "again"), room.at("configmaps")
    query = {"fieldSelector": "metadata.name=again"}
    first = room.api.patch(one, {"data": {"n": "1"}})["metadata"]["resourceVersion"]
    with room.api.watch(path, resourceVersion=made["metadata"]["resourceVersion"], **query) as events:
        assert next(events)["object"]["metadata"]["resourceVersion"] == first
    room.api.patch(one, {"data": {"n": "2"}})
    room.api.delete(one)
    with room.api.watch(path, resourceVersion=first, **query) as events:
        assert [next(events)["type"], next(events)["type"]] == ["MODIFIED", "DELETED"]


def test_watches_begun_at_different_versions_see_the_same_order(room: Place) -> None:
    path = room.at("configmaps")
    start = int(room.api.get(path)["metadata"]["resourceVersion"])

    def write() -> None:
        for number in range(30):
            room.make(
                "configmaps",
                config_map(
                    f"order-{number}",
                    {},
                ),
            )
            room.api.patch(room.at("configmaps", f"order-{number}"), {"data": {"n": "1"}})
            room.api.delete(room.at("configmaps", f"order-{number}"))

    writer = threading.Thread(target=write)
    writer.start()

    def watched(version: str) -> list[str]:
        seen: list[str] = []
        with room.api.watch(path, resourceVersion=version) as events:
            for event in events:
                assert event["type"] != "ERROR", event
                seen.append(event["object"]["metadata"]["resourceVersion"])
                if event["type"] == "DELETED" and event["object"]["metadata"]["name"] == "order-29":
                    return seen
        return seen

    with ThreadPoolExecutor(8) as pool:
        first = watched(str(start))
        others = list(pool.map(watched, first[:40:5]))
    writer.join()
    assert first == sorted(first, key=int)
    for number, other in enumerate(others):
        assert other == first[number * 5 + 1 :]


# --- lists, tables ---


def test_lists_come_in_pages_of_one_revision(room: Place) -> None:
    with ThreadPoolExecutor(8) as pool:
        names = [f"page-{number:03}" for number in range(60)]
        list(
            pool.map(
                lambda name: room.make("configmaps", {"metadata": {"name": name, "labels": {"p": "1"}}}),
                names,
            )
        )
    token, seen, versions = "", [], set()
    for limit in (1, 7, 13, 50):
        page = room.api.get(room.at("configmaps"), limit=limit, **({"continue": token} if token else {}))
        seen += [item["metadata"]["name"] for item in page["items"]]
        versions.add(page["metadata"]["resourceVersion"])
        token = page["metadata"].get("continue", "")
        if token:
            assert page["metadata"]["remainingItemCount"] > 0
            room.api.ask("DELETE", room.at("configmaps", "page-059"))
    assert not token and len(versions) == 1
    assert [name for name in seen if name.startswith("page-")] == names


def test_tables_are_served_for_lists_and_objects_and_refused_where_there_is_none(room: Place) -> None:
    room.make("configmaps", config_map("in-table", {"a": "1"}))
    table = room.api.ask("GET", room.at("configmaps", "in-table"), accept=TABLE).json
    assert table["kind"] == "Table" and table["columnDefinitions"][0]["name"] == "Name"
    assert table["rows"][0]["cells"][:2] == ["in-table", 1]
    assert table["rows"][0]["object"]["kind"] == "PartialObjectMetadata"
    page = room.api.ask("GET", room.at("configmaps"), accept=TABLE, limit=1, labelSelector="p=1").json
    assert len(page["rows"]) == 1 and page["metadata"]["continue"]
    nodes = room.api.ask("GET", path_to("nodes"), accept=TABLE).json
    assert {"Name", "Status", "Roles", "Age", "Version"} <= {
        one["name"] for one in nodes["columnDefinitions"]
    }
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
              "spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}}}  # fmt: skip
    refused = room.api.ask("POST", path_to("selfsubjectaccessreviews"), review, accept=TABLE)
    assert refused.code == 406, refused.text
    bare = room.api.ask("GET", room.at("configmaps", "in-table"), accept=PARTIAL).json
    assert bare["kind"] == "PartialObjectMetadata" and "data" not in bare


# --- writing ---


def test_dry_run_changes_nothing(room: Place) -> None:
    body = replicas("dry", 0)
    room.make("replicasets", body)
    for method, path, change, send in (
        ("PATCH", room.at("replicasets", "dry"), {"spec": {"replicas": 3}}, MERGE),
        (
            "PUT",
            room.at("replicasets", "dry"),
            {**body, "spec": {**body["spec"], "replicas": 3}},
            "application/json",
        ),
        ("DELETE", room.at("replicasets", "dry"), {"dryRun": ["All"]}, "application/json"),
    ):
        reply = room.api.ask(method, path, change, send=send, dryRun="All")
        assert reply.code == 200, reply.text
        assert room.find("replicasets", "dry")["spec"]["replicas"] == 0
    room.make("configmaps", config_map("dry-new", {}), dryRun="All")
    assert room.api.is_gone(room.at("configmaps", "dry-new"))


def test_unknown_and_duplicate_fields_are_refused_warned_of_or_dropped(room: Place) -> None:
    text = (
        b'{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"fields","unknownMeta":"x"},'
        b'"spec":{"replicas":0,"replicas":1,"unknown1":"y","selector":{"matchLabels":{"a":"b"}},"template":'
        b'{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i","unknown2":1}]}}}}'
    )
    path = room.at("deployments")
    strict = room.api.ask("POST", path, text, fieldValidation="Strict")
    assert strict.code == 400
    told = strict.json["message"].removeprefix("strict decoding error: ").split(", ")
    assert sorted(told) == [
        'duplicate field "spec.replicas"', 'unknown field "metadata.unknownMeta"',
        'unknown field "spec.template.spec.containers[0].unknown2"', 'unknown field "spec.unknown1"',
    ]  # fmt: skip
    warned = room.api.ask("POST", path, text, fieldValidation="Warn")
    assert warned.code == 201
    assert 'unknown field \\"spec.unknown1\\"' in warned.headers["Warning"]
    assert "unknown1" not in warned.json["spec"] and warned.json["spec"]["replicas"] == 1
    room.api.delete(room.at("deployments", "fields"))
    ignored = room.api.ask("POST", path, text, fieldValidation="Ignore")
    assert ignored.code == 201 and "Warning" not in ignored.headers
    one = room.at("deployments", "fields")
    patched = room.api.ask("PATCH", one, {"spec": {"foo": "x"}}, send=MERGE, fieldValidation="Strict")
    assert patched.code in (400, 422) and 'unknown field "spec.foo"' in patched.json["message"], patched.text
    room.api.delete(one, propagationPolicy="Background")


def test_generated_names_collide_with_none(room: Place) -> None:
    with ThreadPoolExecutor(8) as pool:
        bodies = [{"metadata": {"generateName": "made-"}}] * 60
        made = list(pool.map(lambda body: room.make("configmaps", body)["metadata"]["name"], bodies))
    assert len(set(made)) == 60 and all(len(name) == len("made-") + 5 for name in made)


def test_collections_are_deleted_by_label(room: Place) -> None:
    for kind, make in (("configmaps", config_map), ("secrets", secret)):
        for number in range(3):
            body = make(f"many-{number}", {"a": "b"})
            room.make(kind, {**body, "metadata": {"name": f"many-{number}", "labels": {"many": "yes"}}})
        room.api.must(room.api.ask("DELETE", room.at(kind), labelSelector="many=yes"))
        wait_until(partial(_has_none, room, kind, "many=yes"), "all are gone")
    for number in range(3):
        room.make("pods", pod_of(f"many-{number}", labels={"many": "yes"}))
    room.api.ask("DELETE", room.at("pods"), {"gracePeriodSeconds": 0}, labelSelector="many=yes")
    wait_until(lambda: not room.items("pods", labelSelector="many=yes"), "the pods are gone")


def _has_none(room: Place, kind: str, selector: str) -> bool:
    return not room.items(kind, labelSelector=selector)


# --- garbage collection ---


def owned(name: str, *owners: dict[str, Any], blocks: bool = False, **metadata: Any) -> dict[str, Any]:
    rows = [
        {"apiVersion": "v1", "kind": "ConfigMap", "name": one["metadata"]["name"],
         "uid": one["metadata"]["uid"], "blockOwnerDeletion": blocks}
        for one in owners
    ]  # fmt: skip
    return {"metadata": {"name": name, "ownerReferences": rows, **metadata}}


def test_dependents_are_removed_orphaned_or_waited_for(room: Place) -> None:
    for name in ("gc-background", "gc-orphan", "gc-foreground"):
        owner = room.make("configmaps", config_map(name, {}))
        room.make("configmaps", owned(f"{name}-of", owner, blocks=True))
    held = room.api.patch(
        room.at("configmaps", "gc-foreground-of"), {"metadata": {"finalizers": ["k8s.io/held"]}}
    )
    assert held["metadata"]["finalizers"]
    room.api.delete(room.at("configmaps", "gc-background"), propagationPolicy="Background")
    room.api.delete(room.at("configmaps", "gc-orphan"), propagationPolicy="Orphan")
    room.api.delete(room.at("configmaps", "gc-foreground"), propagationPolicy="Foreground")
    wait_until(lambda: room.api.is_gone(room.at("configmaps", "gc-background-of")), "removed with its owner")
    wait_until(lambda: room.api.is_gone(room.at("configmaps", "gc-orphan")), "the orphan's owner is gone")
    assert "ownerReferences" not in room.find("configmaps", "gc-orphan-of")["metadata"]
    room.until("configmaps", "gc-foreground-of", lambda seen: "deletionTimestamp" in seen["metadata"])
    waiting = room.find("configmaps", "gc-foreground")["metadata"]
    assert waiting["finalizers"] == ["foregroundDeletion"] and waiting["deletionTimestamp"]
    room.api.patch(room.at("configmaps", "gc-foreground-of"), {"metadata": {"finalizers": None}}, MERGE)
    wait_until(lambda: room.api.is_gone(room.at("configmaps", "gc-foreground")), "then it goes")


def test_a_dependent_with_another_living_owner_stays(room: Place) -> None:
    dying = room.make("configmaps", config_map("gc-dying", {}))
    living = room.make("configmaps", config_map("gc-living", {}))
    room.make("configmaps", owned("gc-both", dying, living, blocks=True))
    room.make("configmaps", owned("gc-one", dying, blocks=True))
    room.api.delete(room.at("configmaps", "gc-dying"), propagationPolicy="Foreground")
    wait_until(lambda: room.api.is_gone(room.at("configmaps", "gc-dying")), "the dying owner is gone")
    assert room.api.is_gone(room.at("configmaps", "gc-one"))
    owners = room.find("configmaps", "gc-both")["metadata"]["ownerReferences"]
    assert [one["name"] for one in owners] == ["gc-living"]


def test_a_circle_of_owners_does_not_hold_itself(room: Place) -> None:
    made = [room.make("configmaps", config_map(f"circle-{number}", {})) for number in range(3)]
    for number in range(3):
        body = owned("x", made[number - 1], blocks=True)["metadata"]["ownerReferences"]
        room.api.patch(
            room.at("configmaps", f"circle-{number}"), {"metadata": {"ownerReferences": body}}, MERGE
        )
    room.api.delete(room.at("configmaps", "circle-0"), propagationPolicy="Foreground")
    for number in range(3):
        wait_until(partial(room.api.is_gone, room.at("configmaps", f"circle-{number}")), f"circle-{number}")


def test_workloads_take_their_pods_along_or_leave_them(room: Place) -> None:
    for name in ("rs-along", "rs-leaves"):
        room.make("replicasets", replicas(name, 2))
        room.until("replicasets", name, lambda one: one["status"].get("replicas") == 2)
    room.api.delete(room.at("replicasets", "rs-along"), propagationPolicy="Background")
    room.api.delete(room.at("replicasets", "rs-leaves"), propagationPolicy="Orphan")
    wait_until(lambda: not room.items("pods", labelSelector="rs=rs-along"), "the pods go along")
    wait_until(lambda: room.api.is_gone(room.at("replicasets", "rs-leaves")), "the owner is gone")
    left = room.items("pods", labelSelector="rs=rs-leaves")
    assert len(left) == 2 and not any(one["metadata"].get("ownerReferences") for one in left)
    room.api.ask("DELETE", room.at("pods"), labelSelector="rs=rs-leaves")


# --- namespaces ---


def test_namespaces_take_all_with_them_and_wait_for_finalizers(room: Place) -> None:
    api, name = room.api, f"{room.namespace}-gone"
    spaces = path_to("namespaces", name=name)
    api.create(path_to("namespaces"), {"metadata": {"name": name}})
    wait_until(lambda: not api.is_gone(path_to("serviceaccounts", name, "default")), "its account")
    assert api.get(spaces)["metadata"]["labels"]["kubernetes.io/metadata.name"] == name
    api.patch(spaces, {"metadata": {"labels": {"patched": "yes"}}})
    there = Place(api, name)
    there.make("pods", pod_of("lives"))
    there.make("services", {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}})
    there.make("configmaps", {"metadata": {"name": "held", "finalizers": ["k8s.io/held"]}})
    api.delete(spaces)
    stuck = api.until(spaces, lambda seen: any(
        one["type"] == "NamespaceFinalizersRemaining" and one["status"] == "True"
        for one in seen["status"].get("conditions", ())))  # fmt: skip
    assert stuck["status"]["phase"] == "Terminating"
    refused = api.ask("POST", there.at("configmaps"), config_map("late", {}))
    assert refused.code == 403
    assert refused.json["details"]["causes"][0]["reason"] == "NamespaceTerminating"
    api.patch(there.at("configmaps", "held"), {"metadata": {"finalizers": None}}, MERGE)
    wait_until(lambda: api.is_gone(spaces), "the namespace is gone")


def test_namespaces_keep_their_status_and_finalizers_apart(room: Place) -> None:
    api, name = room.api, f"{room.namespace}-own"
    path = path_to("namespaces", name=name)
    api.create(path_to("namespaces"), {"metadata": {"name": name}})
    row = {"type": "StatusPatch", "status": "True", "reason": "E2E", "message": "Patched"}
    patched = api.patch(path_to("namespaces", name=name, subresource="status"), {
        "metadata": {"annotations": {"e2e": "x"}}, "status": {"conditions": [row]}}, MERGE)  # fmt: skip
    assert patched["status"]["conditions"][-1]["message"] == "Patched"
    ours = api.get(path)
    ours["spec"]["finalizers"] = ["e2e.example.com/fake", "kubernetes"]
    done = api.replace(path_to("namespaces", name=name, subresource="finalize"), ours)
    assert set(done["spec"]["finalizers"]) == {"e2e.example.com/fake", "kubernetes"}
    done["spec"]["finalizers"] = ["kubernetes"]
    api.replace(path_to("namespaces", name=name, subresource="finalize"), done)
    api.delete(path)
    wait_until(lambda: api.is_gone(path), "the namespace is gone")


# --- events, leases, accounts ---


def test_events_are_made_patched_found_by_field_and_deleted_together(room: Place) -> None:
    source = {"kind": "Pod", "namespace": room.namespace, "name": "somebody"}
    names = [f"event-{number}" for number in range(3)]
    for name in names:
        metadata = {"name": name, "labels": {"set": "events"}}
        body = {
            "metadata": metadata,
            "type": "Normal",
            "reason": "Test",
            "involvedObject": source,
            "message": "1",
        }
        room.make("events", body)
    changed = room.api.patch(room.at("events", names[0]), {"message": "2", "reason": "Tried"}, MERGE)
    assert (changed["message"], changed["reason"]) == ("2", "Tried")
    stamp = {"message": "3", "series": {"count": 100, "lastObservedTime": "2024-01-02T03:04:05.678901Z"}}
    assert room.api.patch(room.at("events", names[0]), stamp)["series"] == stamp["series"]
    everywhere = room.api.get(path_to("events"), labelSelector="set=events")["items"]
    assert [one["metadata"]["name"] for one in everywhere] == names
    assert len(room.items("events", fieldSelector="involvedObject.name=somebody,reason=Test")) == 2
    room.api.must(room.api.ask("DELETE", room.at("events"), labelSelector="set=events"))
    assert not room.items("events", labelSelector="set=events")


def test_leases_live(room: Place) -> None:
    spec = {
        "holderIdentity": "holder", "leaseDurationSeconds": 30, "leaseTransitions": 0,
        "acquireTime": "2024-01-02T03:04:05.000000Z", "renewTime": "2024-01-02T03:04:05.123456Z",
    }  # fmt: skip
    made = room.make("leases", {"metadata": {"name": "lease"}, "spec": spec})
    assert made["spec"] == spec
    made["spec"] |= {"leaseDurationSeconds": 50, "leaseTransitions": 1}
    room.api.replace(room.at("leases", "lease"), made)
    room.api.patch(room.at("leases", "lease"), {"spec": {"holderIdentity": "other"}})
    assert room.find("leases", "lease")["spec"]["holderIdentity"] == "other"
    (node,) = room.api.get(path_to("nodes"))["items"]
    beat = room.api.get(path_to("leases", "kube-node-lease", node["metadata"]["name"]))
    assert beat["spec"]["leaseDurationSeconds"] == 40
    assert beat["metadata"]["ownerReferences"][0]["uid"] == node["metadata"]["uid"]


def test_service_accounts_live_and_their_tokens_hold(room: Place) -> None:
    one = room.at("serviceaccounts", "robot")
    room.make("serviceaccounts", {"metadata": {"name": "robot", "labels": {"robot": "yes"}}})
    room.api.patch(one, {"automountServiceAccountToken": False})
    assert [x["metadata"]["name"] for x in room.items("serviceaccounts", labelSelector="robot=yes")] == [
        "robot"
    ]
    asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
             "spec": {"expirationSeconds": 3600}}  # fmt: skip
    token = room.api.create(room.at("serviceaccounts", "robot", "token"), asked)["status"]["token"]
    theirs = room.api.holder(token)
    who = theirs.create("/apis/authentication.k8s.io/v1/selfsubjectreviews",
                        {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"})  # fmt: skip
    assert who["status"]["userInfo"]["username"] == f"system:serviceaccount:{room.namespace}:robot"
    issuer = theirs.get("/.well-known/openid-configuration")
    payload = token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    assert claims["iss"] == issuer["issuer"]
    assert claims["sub"] == who["status"]["userInfo"]["username"]
    keys = [key["kid"] for key in theirs.get("/openid/v1/jwks")["keys"]]
    header = token.split(".")[0]
    assert json.loads(base64.urlsafe_b64decode(header + "=" * (-len(header) % 4)))["kid"] in keys
    assert theirs.ask("GET", room.at("secrets")).code == 403
    room.api.delete(one)
    assert theirs.ask("GET", "/version").code == 401


def test_root_certificate_comes_back_when_changed_or_deleted(room: Place) -> None:
    path = room.at("configmaps", "kube-root-ca.crt")
    right = room.api.get(path)["data"]
    room.api.delete(path)
    wait_until(lambda: not room.api.is_gone(path), "it is back")
    room.api.patch(path, [{"op": "replace", "path": "/data/ca.crt", "value": "wrong"}], JSON_PATCH)
    room.api.until(path, lambda seen: seen["data"] == right)


def test_secrets_keep_bytes_and_types(room: Place) -> None:
    made = room.make("secrets", secret("typed", {"a": "b"}, type="example.com/own"))
    assert made["data"] == {"a": "Yg=="} and made["type"] == "example.com/own" and "stringData" not in made
    changed = room.api.ask("PATCH", room.at("secrets", "typed"), {"type": "other"}, send=MERGE)
    assert changed.code == 422 and changed.json["details"]["causes"][0]["field"] == "type"


# --- discovery ---


def test_discovery_agrees_with_itself(room: Place) -> None:
    api = room.api
    groups = api.get("/apis")["groups"]
    for group in groups:
        name, preferred = group["name"], group["preferredVersion"]
        alone = api.get(f"/apis/{name}")
        assert alone["preferredVersion"] == preferred and preferred in alone["versions"]
        for version in group["versions"]:
            listed = api.get(f"/apis/{version['groupVersion']}")
            assert listed["groupVersion"] == version["groupVersion"] and listed["resources"]
    expected = {
        ("", "Namespace"), ("", "Pod"), ("", "Service"), ("", "Secret"), ("apps", "Deployment"),
        ("apps", "ReplicaSet"), ("discovery.k8s.io", "EndpointSlice"),
        ("coordination.k8s.io", "Lease"), ("authentication.k8s.io", "TokenReview"),
    }  # fmt: skip
    aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    found = set()
    for path in ("/api", "/apis"):
        listed = api.ask("GET", path, accept=aggregated).json
        assert listed["kind"] == "APIGroupDiscoveryList"
        for group in listed["items"]:
            for version in group["versions"]:
                for row in version["resources"]:
                    found.add((group["metadata"].get("name", ""), row["responseKind"]["kind"]))
    assert expected <= found, expected - found


def test_server_says_its_version(room: Place) -> None:
    version = room.api.get("/version")
    assert version["major"] == "1" and version["minor"].isdecimal()
    assert version["gitVersion"].startswith(f"v1.{version['minor']}.")
    assert version["platform"].startswith("linux/")


def test_priorities_are_taken_from_classes(room: Place) -> None:
    name = f"{room.namespace}-high"
    path = path_to("priorityclasses", name=name)
    room.api.create(path_to("priorityclasses"), {"metadata": {"name": name}, "value": 1000,
                                                 "preemptionPolicy": "Never"})  # fmt: skip
    try:
        made = room.make("pods", pod_of("important", container(), priorityClassName=name))
        assert made["spec"]["priority"] == 1000 and made["spec"]["preemptionPolicy"] == "Never"
        refused = room.api.ask("PATCH", path, {"value": 2000}, send=MERGE)
        assert refused.code == 422 and refused.json["details"]["causes"][0]["field"] == "value", refused.text
        room.api.patch(path, {"description": "new"}, MERGE)
    finally:
        room.api.delete(path)
    unknown = room.api.ask("POST", room.at("pods"), pod_of("none", priorityClassName="no-such"))
    assert (unknown.code, "no PriorityClass with name no-such was found" in unknown.text) == (403, True)


def test_runtime_classes_are_served_and_asked_for(room: Place) -> None:
    name = f"{room.namespace}-class"
    path = path_to("runtimeclasses", name=name)
    body = {"metadata": {"name": name}, "handler": "not-there", "overhead": {"podFixed": {"cpu": "10m"}}}
    room.api.create(path_to("runtimeclasses"), body)
    try:
        assert any(
            row["name"] == "runtimeclasses" for row in room.api.get("/apis/node.k8s.io/v1")["resources"]
        )
        made = room.make("pods", pod_of("overhead", runtimeClassName=name))
        assert made["spec"]["overhead"] == {"cpu": "10m"}
        refused = room.api.ask("POST", room.at("pods"), pod_of("nothing", runtimeClassName="not-known"))
        assert refused.code == 403
        assert 'RuntimeClass "not-known" not found' in refused.json["message"]
        wait_until(
            lambda: any("not-there" in one.get("message", "") for one in room.items(
                "events", fieldSelector="involvedObject.name=overhead,reason=FailedCreatePodSandBox")),
            "the runtime does not know the handler",
        )  # fmt: skip
    finally:
        room.api.delete(room.at("pods", "overhead"))
        room.api.delete(path)
