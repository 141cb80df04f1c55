"""Objects through the whole pipeline: create, read, change, delete, and every refusal on the way."""

from __future__ import annotations

import asyncio

import pytest

from controlplane.api.model import MAX_BODY_BYTES, Attributes, View
from kube import protobuf, status
from kube.errors import Status
from tests.unit.controlplane.api_world import (
    DEPLOYMENTS,
    MAPS,
    POD,
    PODS,
    Json,
    World,
    config_map,
    deployment,
    in_world,
    world,
)

pytestmark = pytest.mark.pure


@in_world
async def test_created_object_has_what_the_server_adds(api: World) -> None:
    made = await api.do("POST", PODS, POD, code=201)
    meta = made["metadata"]
    assert meta["namespace"] == "default"
    assert len(meta["uid"]) == 36
    assert meta["generation"] == 1
    assert meta["creationTimestamp"].endswith("Z")
    assert int(meta["resourceVersion"]) > 1
    assert made["status"] == {"phase": "Pending", "qosClass": "BestEffort"}
    assert made["spec"]["restartPolicy"] == "Always"
    assert made["spec"]["containers"][0]["imagePullPolicy"] == "IfNotPresent"
    assert await api.do("GET", f"{PODS}/web") == made


@in_world
async def test_name_that_is_taken_is_refused(api: World) -> None:
    await api.do("POST", MAPS, config_map("a"))
    refused = await api.do("POST", MAPS, config_map("a"), code=409)
    assert refused["reason"] == "AlreadyExists"
    assert refused["message"] == 'configmaps "a" already exists'
    assert refused["details"] == {"name": "a", "kind": "configmaps"}


@in_world
async def test_generated_names_have_the_prefix_and_differ(api: World) -> None:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "x-"}}
    names = {(await api.do("POST", MAPS, body))["metadata"]["name"] for _ in range(5)}
    assert len(names) == 5
    assert all(name.startswith("x-") and len(name) == 7 for name in names)


@in_world
async def test_missing_object_and_unknown_resource_are_told_apart(api: World) -> None:
    refused = await api.do("GET", f"{DEPLOYMENTS}/x", code=404)
    assert refused["message"] == 'deployments.apps "x" not found'
    assert refused["details"] == {"name": "x", "kind": "deployments", "group": "apps"}
    refused = await api.do("GET", "/api/v1/namespaces/default/unicorns/x", code=404)
    assert refused["message"] == "the server could not find the requested resource"


@in_world
async def test_stale_version_is_refused_and_an_equal_write_changes_nothing(api: World) -> None:
    made = await api.do("POST", MAPS, config_map("a", x="1"))
    changed = await api.do("PUT", f"{MAPS}/a", {**made, "data": {"x": "2"}})
    assert changed["metadata"]["resourceVersion"] != made["metadata"]["resourceVersion"]
    refused = await api.do("PUT", f"{MAPS}/a", {**made, "data": {"x": "3"}}, code=409)
    assert refused["reason"] == "Conflict"
    assert "the object has been modified" in refused["message"]
    again = await api.do("PUT", f"{MAPS}/a", changed)
    assert again["metadata"]["resourceVersion"] == changed["metadata"]["resourceVersion"]


@in_world
async def test_writers_without_a_version_all_get_through(api: World) -> None:
    await api.do("POST", MAPS, config_map("a"))
    patches = [
        api.do("PATCH", f"{MAPS}/a", {"data": {f"k{n}": "v"}}, content_type="application/merge-patch+json")
        for n in range(6)
    ]
    await asyncio.gather(*patches)
    assert set((await api.do("GET", f"{MAPS}/a"))["data"]) == {f"k{n}" for n in range(6)}


@in_world
async def test_status_and_spec_are_written_apart(api: World) -> None:
    made = await api.do("POST", DEPLOYMENTS, deployment("d"))
    wished = {**made, "status": {"replicas": 7}, "spec": {**made["spec"], "replicas": 5}}
    stated = await api.do("PUT", f"{DEPLOYMENTS}/d/status", wished)
    assert (stated["spec"]["replicas"], stated["status"]) == (2, {"replicas": 7})
    assert stated["metadata"]["generation"] == 1
    wished["metadata"] = stated["metadata"]
    wished["status"] = {}
    specified = await api.do("PUT", f"{DEPLOYMENTS}/d", wished)
    assert (specified["spec"]["replicas"], specified["status"]) == (5, {"replicas": 7})
    assert specified["metadata"]["generation"] == 2


@in_world
async def test_deployment_gets_its_defaults(api: World) -> None:
    spec = (await api.do("POST", DEPLOYMENTS, deployment("d")))["spec"]
    assert spec["strategy"] == {
        "type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"},
    }  # fmt: skip
    assert (spec["revisionHistoryLimit"], spec["progressDeadlineSeconds"]) == (10, 600)
    assert spec["template"]["spec"]["dnsPolicy"] == "ClusterFirst"


@in_world
async def test_pod_that_is_running_goes_with_grace(api: World) -> None:
    await api.do("POST", PODS, POD)
    binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "web"}, "target": {"name": "n1"}}
    await api.do("POST", f"{PODS}/web/binding", binding, code=201)
    bound = await api.do("GET", f"{PODS}/web")
    assert bound["spec"]["nodeName"] == "n1" and bound["metadata"]["generation"] == 1
    assert bound["status"]["conditions"][0]["type"] == "PodScheduled"
    refused = await api.do("POST", f"{PODS}/web/binding", binding, code=409)
    assert 'already assigned to node "n1"' in refused["message"]
    left = await api.do("DELETE", f"{PODS}/web", code=200)
    assert left["metadata"]["deletionGracePeriodSeconds"] == 30
    assert (await api.do("GET", f"{PODS}/web"))["metadata"]["deletionTimestamp"]
    wrong = {"gracePeriodSeconds": 0, "preconditions": {"uid": "other"}}
    assert (await api.do("DELETE", f"{PODS}/web", wrong, code=409))["reason"] == "Conflict"
    right = {"gracePeriodSeconds": 0, "preconditions": {"uid": bound["metadata"]["uid"]}}
    await api.do("DELETE", f"{PODS}/web", right)
    await api.do("GET", f"{PODS}/web", code=404)


@in_world
async def test_finalizer_holds_an_object_until_it_is_taken_away(api: World) -> None:
    body = config_map("a")
    body["metadata"]["finalizers"] = ["example.com/x"]
    await api.do("POST", MAPS, body)
    held = await api.do("DELETE", f"{MAPS}/a")
    assert held["metadata"]["deletionTimestamp"]
    more = {"metadata": {"finalizers": ["example.com/x", "example.com/y"]}}
    refused = await api.do("PATCH", f"{MAPS}/a", more, code=422, content_type="application/merge-patch+json")
    assert "no new finalizers can be added" in refused["message"]
    free = {"metadata": {"finalizers": None}}
    await api.do("PATCH", f"{MAPS}/a", free, content_type="application/merge-patch+json")
    await api.do("GET", f"{MAPS}/a", code=404)


@in_world
async def test_deleted_object_is_answered_with_a_status(api: World) -> None:
    made = await api.do("POST", MAPS, config_map("a"))
    gone = await api.do("DELETE", f"{MAPS}/a")
    assert (gone["kind"], gone["status"]) == ("Status", "Success")
    assert gone["details"] == {"name": "a", "kind": "configmaps", "uid": made["metadata"]["uid"]}
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "a"}}
    path = "/api/v1/namespaces/default/serviceaccounts"
    await api.do("POST", path, account)
    assert (await api.do("DELETE", f"{path}/a"))["kind"] == "ServiceAccount"


@in_world
async def test_what_a_body_does_not_say_of_its_type_is_the_paths(api: World) -> None:
    made = await api.do("POST", MAPS, {"metadata": {"name": "a"}, "data": {"x": "1"}})
    assert (made["kind"], made["apiVersion"]) == ("ConfigMap", "v1")
    half = {"kind": "Deployment", **{k: v for k, v in deployment("d").items() if k != "apiVersion"}}
    assert (await api.do("POST", DEPLOYMENTS, half))["apiVersion"] == "apps/v1"


@in_world
async def test_pages_are_there_with_a_slash_too_and_listed_at_the_root(api: World) -> None:
    for path in ("/api", "/apis", "/api/v1", "/apis/apps", "/apis/apps/v1", "/version"):
        assert await api.do("GET", f"{path}/") == await api.do("GET", path)
    listed = (await api.do("GET", "/"))["paths"]
    assert {"/api/v1", "/openapi/v2", "/openapi/v3", "/readyz", "/version"} <= set(listed)
    assert len(listed) == len(set(listed))


@in_world
async def test_namespace_goes_when_it_is_finalized(api: World) -> None:
    made = await api.do("POST", "/api/v1/namespaces", {
        "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"},
    })  # fmt: skip
    assert made["metadata"]["labels"] == {"kubernetes.io/metadata.name": "a"}
    assert (made["spec"], made["status"]) == ({"finalizers": ["kubernetes"]}, {"phase": "Active"})
    kept = await api.do("PUT", "/api/v1/namespaces/a", {**made, "spec": {}})
    assert kept["spec"] == {"finalizers": ["kubernetes"]}
    left = await api.do("DELETE", "/api/v1/namespaces/a")
    assert left["status"]["phase"] == "Terminating"
    await api.do("PUT", "/api/v1/namespaces/a/finalize", {**left, "spec": {"finalizers": []}})
    await api.do("GET", "/api/v1/namespaces/a", code=404)


@in_world
async def test_dry_run_answers_and_stores_nothing(api: World) -> None:
    made = await api.do("POST", f"{MAPS}?dryRun=All", config_map("a"), code=201)
    assert made["metadata"]["uid"]
    await api.do("GET", f"{MAPS}/a", code=404)
    await api.do("POST", MAPS, config_map("a"))
    await api.do("DELETE", f"{MAPS}/a?dryRun=All")
    await api.do("GET", f"{MAPS}/a")
    refused = await api.do("POST", f"{MAPS}?dryRun=Some", config_map("b"), code=422)
    assert refused["details"]["causes"][0]["field"] == "dryRun"


@in_world
async def test_scale_reads_and_writes_the_replicas(api: World) -> None:
    await api.do("POST", DEPLOYMENTS, deployment("d"))
    found = await api.do("GET", f"{DEPLOYMENTS}/d/scale")
    assert (found["kind"], found["spec"], found["status"]["selector"]) == ("Scale", {"replicas": 2}, "app=d")
    merged = await api.do(
        "PATCH",
        f"{DEPLOYMENTS}/d/scale",
        {"spec": {"replicas": 4}},
        content_type="application/merge-patch+json",
    )
    assert merged["spec"] == {"replicas": 4}
    assert (await api.do("GET", f"{DEPLOYMENTS}/d"))["spec"]["replicas"] == 4
    await api.do("PUT", f"{DEPLOYMENTS}/d/scale", found, code=409)


@in_world
async def test_three_kinds_of_patch_apply(api: World) -> None:
    await api.do("POST", DEPLOYMENTS, deployment("d"))
    strategic = {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "x:2"}]}}}}
    target = f"{DEPLOYMENTS}/d"
    patched = await api.do("PATCH", target, strategic, content_type="application/strategic-merge-patch+json")
    container = patched["spec"]["template"]["spec"]["containers"][0]
    assert (container["image"], container["terminationMessagePolicy"]) == ("x:2", "File")
    steps = [{"op": "replace", "path": "/spec/replicas", "value": 9}]
    patched = await api.do("PATCH", target, steps, content_type="application/json-patch+json")
    assert patched["spec"]["replicas"] == 9
    failing = [{"op": "test", "path": "/spec/replicas", "value": 1}]
    refused = await api.do("PATCH", target, failing, code=422, content_type="application/json-patch+json")
    assert refused["reason"] == "Invalid"
    refused = await api.do("PATCH", target, {}, code=415, content_type="application/apply-patch+cbor")
    assert refused["reason"] == "UnsupportedMediaType"


@in_world
async def test_unknown_and_duplicate_fields_are_treated_as_asked(api: World) -> None:
    text = (
        b'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","labels":{"x":"1","x":"2"}},"dta":{}}'
    )
    refused = await api.do("POST", f"{MAPS}?fieldValidation=Strict", text, code=400)
    both = 'duplicate field "metadata.labels.x", unknown field "dta"'
    assert refused["message"] == f"strict decoding error: {both}"
    unknown = {**config_map("a"), "dta": {}}
    refused = await api.do("POST", f"{MAPS}?fieldValidation=Strict", unknown, code=400)
    assert refused["message"] == 'strict decoding error: unknown field "dta"'
    warned = await api.ask("POST", MAPS, text)
    assert warned.code == 201
    assert warned.headers["Warning"] == (
        '299 - "duplicate field \\"metadata.labels.x\\"", 299 - "unknown field \\"dta\\""'
    )
    assert "dta" not in await api.do("GET", f"{MAPS}/a")
    ignored = await api.ask("POST", f"{MAPS}?fieldValidation=Ignore", {**config_map("b"), "dta": {}})
    assert (ignored.code, ignored.headers) == (201, {})


@in_world
async def test_yaml_and_protobuf_bodies_are_read(api: World) -> None:
    text = b"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  x: 'yes'\n"
    made = await api.do("POST", MAPS, text, content_type="application/yaml")
    assert made["data"] == {"x": "yes"}
    body = protobuf.encode(deployment("d"))
    made = await api.do("POST", DEPLOYMENTS, body, content_type=protobuf.CONTENT_TYPE)
    assert made["spec"]["replicas"] == 2
    options = protobuf.encode({"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0})
    await api.do("DELETE", f"{DEPLOYMENTS}/d", options, content_type=protobuf.CONTENT_TYPE)
    await api.do("GET", f"{DEPLOYMENTS}/d", code=404)


@pytest.mark.parametrize(
    ("body", "content_type", "code", "reason"),
    [
        (b"{", "application/json", 400, "BadRequest"),
        (
            b'{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"\xff"}}',
            "application/json",
            400,
            "BadRequest",
        ),
        (b"[1]", "application/json", 400, "BadRequest"),
        (b"[" * 100_000, "application/json", 400, "BadRequest"),
        (b"", "application/json", 400, "BadRequest"),
        (b"k8s\x00\x0a\xff", "application/vnd.kubernetes.protobuf", 400, "BadRequest"),
        (b"{}", "text/html", 415, "UnsupportedMediaType"),
        (b'{"kind":"Pod","apiVersion":"v1"}', "application/json", 400, "BadRequest"),
        (b'{"kind":"ConfigMap","apiVersion":"v1","metadata":[]}', "application/json", 400, "BadRequest"),
        (b'{"kind":"ConfigMap","apiVersion":"v1","data":3}', "application/json", 400, "BadRequest"),
        (b'{"kind":"ConfigMap","apiVersion":"v1"}', "application/json", 422, "Invalid"),
        (
            b'{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"A_B"}}',
            "application/json",
            422,
            "Invalid",
        ),
        (b" " * (MAX_BODY_BYTES + 1), "application/json", 413, "RequestEntityTooLarge"),
    ],
)
def test_bad_bodies_are_refused(body: bytes, content_type: str, code: int, reason: str) -> None:
    async def inside() -> None:
        async with world() as api:
            refused = await api.do("POST", MAPS, body, code=code, content_type=content_type)
            assert refused["reason"] == reason
            assert (await api.do("GET", MAPS))["items"] == []

    asyncio.run(inside())


@in_world
async def test_semantic_errors_name_their_fields(api: World) -> None:
    body: Json = {**POD, "spec": {"containers": [{"name": "a", "image": "x"}, {"name": "a", "image": "x"}]}}
    refused = await api.do("POST", PODS, body, code=422)
    assert refused["message"] == 'Pod "web" is invalid: spec.containers[1].name: Duplicate value: "a"'
    causes = refused["details"]["causes"]
    assert causes == [
        {
            "reason": "FieldValueDuplicate",
            "message": 'Duplicate value: "a"',
            "field": "spec.containers[1].name",
        }
    ]
    wrong = deployment("d")
    wrong["spec"]["template"]["metadata"]["labels"] = {"app": "other"}
    refused = await api.do("POST", DEPLOYMENTS, wrong, code=422)
    assert "`selector` does not match template `labels`" in refused["message"]
    await api.do("POST", DEPLOYMENTS, deployment("d"))
    moved = {"spec": {"selector": {"matchLabels": {"app": "d", "x": "y"}}}}
    refused = await api.do(
        "PATCH", f"{DEPLOYMENTS}/d", moved, code=422, content_type="application/merge-patch+json"
    )
    assert "field is immutable" in refused["message"]


@in_world
async def test_pods_spec_does_not_change_but_for_its_images(api: World) -> None:
    made = await api.do("POST", PODS, POD)
    made["spec"]["containers"][0]["image"] = "x:2"
    changed = await api.do("PUT", f"{PODS}/web", made)
    assert changed["metadata"]["generation"] == 2
    changed["spec"]["hostNetwork"] = True
    refused = await api.do("PUT", f"{PODS}/web", changed, code=422)
    assert "pod updates may not change fields other than" in refused["message"]


@in_world
async def test_put_creates_a_lease_but_no_configmap(api: World) -> None:
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "n"}, "spec": {}}
    await api.do("PUT", "/apis/coordination.k8s.io/v1/namespaces/default/leases/n", lease, code=201)
    await api.do("PUT", f"{MAPS}/a", config_map("a"), code=404)
    await api.do("POST", MAPS, config_map("a"))
    refused = await api.do("PUT", f"{MAPS}/a", config_map("b"), code=400)
    assert refused["message"] == "the name of the object (b) does not match the name on the URL (a)"


@in_world
async def test_methods_that_a_resource_lacks_are_refused(api: World) -> None:
    assert (await api.do("DELETE", "/api/v1/namespaces", code=405))["reason"] == "MethodNotAllowed"
    assert (await api.do("POST", "/api/v1/pods", POD, code=405))["reason"] == "MethodNotAllowed"
    await api.do("GET", f"{PODS}/web/unicorn", code=404)
    await api.do("GET", "/api/v1/namespaces/a/nodes/x", code=404)
    refused = await api.do("GET", MAPS, code=406, accept="application/json;as=Unicorn;g=meta.k8s.io;v=v1")
    assert refused["reason"] == "NotAcceptable"


@in_world
async def test_health_and_version_are_told(api: World) -> None:
    assert (await api.ask("GET", "/healthz")).body == b"ok"
    shown = (await api.ask("GET", "/readyz?verbose")).body
    assert shown == b"[+]ping ok\n[+]watch-cache ok\nreadyz check passed\n"
    assert (await api.ask("GET", "/livez/ping")).body == b"ok"
    assert (await api.ask("GET", "/livez/x")).code == 404
    assert (await api.do("GET", "/version"))["major"] == "1"


class _Lifecycle:
    """Refuses namespace "closed", and marks what it lets through."""

    name = "Lifecycle"

    def handles(self, attributes: Attributes) -> bool:
        return attributes.value is not None and attributes.old is None

    async def mutate(self, attributes: Attributes, view: View) -> Json:
        value = attributes.value
        assert value is not None
        value["metadata"]["labels"] = {"seen": str(len(view.list(attributes.resource)))}
        return value

    async def validate(self, attributes: Attributes, view: View) -> None:
        if attributes.info.namespace == "closed":
            raise status.error_of(Status(403, "Forbidden", "it is closed"))


def test_admission_changes_and_refuses() -> None:
    async def inside() -> None:
        async with world(_Lifecycle()) as api:
            made = await api.do("POST", MAPS, config_map("a"))
            assert made["metadata"]["labels"] == {"seen": "0"}
            target = "/api/v1/namespaces/closed/configmaps"
            assert (await api.do("POST", target, config_map("a"), code=403))["message"] == "it is closed"
            assert (await api.do("GET", "/api/v1/configmaps"))["items"] == [made]

    asyncio.run(inside())
