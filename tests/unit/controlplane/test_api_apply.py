"""Server-side apply through the whole API server: who owns what, who is refused, and what is sent."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aio.clock import SystemClock
from controlplane.api.model import Decision, RequestInfo, UserInfo, Verdict
from controlplane.api.server import Access, ApiServer
from controlplane.store.memory import MemoryStore
from tests.unit.controlplane.api_world import (
    DEPLOYMENTS,
    MAPS,
    PODS,
    Json,
    World,
    config_map,
    deployment,
    in_world,
    world,
)

pytestmark = pytest.mark.pure

APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
LAST = "kubectl.kubernetes.io/last-applied-configuration"


async def apply(made: World, target: str, body: Any, manager: str = "me", **more: Any) -> Json:
    mark = "&" if "?" in target else "?"
    return await made.do("PATCH", f"{target}{mark}fieldManager={manager}", body, content_type=APPLY, **more)


def owners(value: Json) -> dict[tuple[str, str, str], Json]:
    """The fields by manager, operation and subresource."""
    return {
        (entry["manager"], entry["operation"], entry.get("subresource", "")): entry["fieldsV1"]
        for entry in value["metadata"].get("managedFields", ())
    }


@in_world
async def test_apply_creates_and_says_who_owns_what(made: World) -> None:
    body = config_map("a", x="1")
    answer = await made.ask("PATCH", f"{MAPS}/a?fieldManager=me", body, APPLY)
    assert answer.code == 201
    [entry] = msgspec.json.decode(answer.body)["metadata"]["managedFields"]
    assert entry.pop("time").endswith("Z")
    assert entry == {
        "manager": "me", "operation": "Apply", "apiVersion": "v1", "fieldsType": "FieldsV1",
        "fieldsV1": {"f:data": {"f:x": {}}},
    }  # fmt: skip


@in_world
async def test_apply_of_yaml_without_a_name_takes_the_path_s(made: World) -> None:
    body = b"apiVersion: v1\nkind: ConfigMap\ndata:\n  x: '1'\n"
    assert (await apply(made, f"{MAPS}/y", body, code=201))["metadata"]["name"] == "y"


@in_world
async def test_an_apply_again_changes_nothing_and_is_no_new_version(made: World) -> None:
    first = await apply(made, f"{DEPLOYMENTS}/web", deployment("web"))
    assert await apply(made, f"{DEPLOYMENTS}/web", deployment("web")) == first


@in_world
async def test_what_an_applier_leaves_out_goes_unless_others_own_it(made: World) -> None:
    await apply(made, f"{MAPS}/a", config_map("a", mine="1", ours="1"))
    await apply(made, f"{MAPS}/a", config_map("a", ours="1"), "other")
    left = await apply(made, f"{MAPS}/a", config_map("a"))
    assert left["data"] == {"ours": "1"}
    assert set(owners(left)) == {("other", "Apply", "")} | (
        {("me", "Apply", "")} if ("me", "Apply", "") in owners(left) else set()
    )


@in_world
async def test_a_default_that_is_given_up_is_filled_in_anew(made: World) -> None:
    body = deployment("web", replicas=3)
    await apply(made, f"{DEPLOYMENTS}/web", body)
    del body["spec"]["replicas"]
    assert (await apply(made, f"{DEPLOYMENTS}/web", body))["spec"]["replicas"] == 1


@in_world
async def test_another_writer_s_change_is_a_conflict_until_it_is_forced(made: World) -> None:
    await apply(made, f"{DEPLOYMENTS}/web", deployment("web"))
    await made.do(
        "PATCH", f"{DEPLOYMENTS}/web?fieldManager=kubectl-edit", {"spec": {"replicas": 5}}, content_type=MERGE
    )
    refused = await apply(made, f"{DEPLOYMENTS}/web", deployment("web"), code=409)
    assert refused["reason"] == "Conflict"
    assert refused["message"] == (
        'Apply failed with 1 conflict: conflict with "kubectl-edit" using apps/v1: .spec.replicas'
    )
    assert refused["details"]["causes"] == [{
        "reason": "FieldManagerConflict", "message": 'conflict with "kubectl-edit" using apps/v1',
        "field": ".spec.replicas",
    }]  # fmt: skip
    forced = await apply(made, f"{DEPLOYMENTS}/web?force=true", deployment("web"))
    assert forced["spec"]["replicas"] == 2
    assert set(owners(forced)) == {("me", "Apply", "")}


@in_world
async def test_several_conflicts_are_told_owner_by_owner(made: World) -> None:
    await apply(made, f"{MAPS}/a", config_map("a", x="1", y="1"), "one")
    await apply(made, f"{MAPS}/a", config_map("a", z="1"), "two")
    refused = await apply(made, f"{MAPS}/a", config_map("a", x="2", y="2", z="2"), code=409)
    assert refused["message"] == (
        'Apply failed with 3 conflicts: conflicts with "one":\n- .data.x\n- .data.y\n'
        'conflicts with "two":\n- .data.z'
    )


@in_world
async def test_an_object_that_was_never_applied_carries_nothing(made: World) -> None:
    await made.do("POST", MAPS, config_map("a", x="1"))
    changed = await made.do("PATCH", f"{MAPS}/a", {"data": {"x": "2"}}, content_type=MERGE)
    assert "managedFields" not in changed["metadata"]


@in_world
async def test_what_was_there_before_the_first_apply_has_an_owner(made: World) -> None:
    await made.do("POST", MAPS, config_map("a", x="1", y="1"))
    refused = await apply(made, f"{MAPS}/a", config_map("a", x="2"), code=409)
    assert 'conflict with "before-first-apply" using v1: .data.x' in refused["message"]
    shared = await apply(made, f"{MAPS}/a", config_map("a", x="1"))
    assert owners(shared)["before-first-apply", "Update", ""] == {"f:data": {".": {}, "f:x": {}, "f:y": {}}}


@in_world
async def test_other_writers_are_named_by_query_or_user_agent(made: World) -> None:
    await apply(made, f"{MAPS}/a", config_map("a", x="1"))
    change = {"data": {"y": "1"}}
    await made.do("PATCH", f"{MAPS}/a", change, content_type=MERGE, user_agent="curl/7.88 (linux)")
    found = await made.do("GET", f"{MAPS}/a")
    assert owners(found)["curl", "Update", ""] == {"f:data": {"f:y": {}}}
    found["data"]["z"] = "1"
    found = await made.do("PUT", f"{MAPS}/a?fieldManager=put", found)
    assert owners(found)["put", "Update", ""] == {"f:data": {"f:z": {}}}


@in_world
async def test_scale_and_status_are_entries_of_their_own(made: World) -> None:
    body = deployment("web")
    del body["spec"]["replicas"]
    await apply(made, f"{DEPLOYMENTS}/web", body)
    scale = {"spec": {"replicas": 7}}
    await made.do("PATCH", f"{DEPLOYMENTS}/web/scale?fieldManager=scaler", scale, content_type=MERGE)
    state = {"status": {"replicas": 7}}
    found = await made.do("PATCH", f"{DEPLOYMENTS}/web/status?fieldManager=loop", state, content_type=MERGE)
    assert owners(found)["scaler", "Update", "scale"] == {"f:spec": {"f:replicas": {}}}
    assert owners(found)["loop", "Update", "status"] == {"f:status": {"f:replicas": {}}}
    body["spec"]["replicas"] = 2
    refused = await apply(made, f"{DEPLOYMENTS}/web", body, code=409)
    assert 'conflict with "scaler" with subresource "scale" using apps/v1' in refused["message"]


@in_world
async def test_scale_can_be_applied(made: World) -> None:
    body = deployment("web")
    del body["spec"]["replicas"]
    await apply(made, f"{DEPLOYMENTS}/web", body)
    scale = {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {}, "spec": {"replicas": 4}}
    assert (await apply(made, f"{DEPLOYMENTS}/web/scale", scale, "scaler"))["spec"]["replicas"] == 4
    found = await made.do("GET", f"{DEPLOYMENTS}/web")
    assert owners(found)["scaler", "Apply", "scale"] == {"f:spec": {"f:replicas": {}}}
    assert found["spec"]["replicas"] == 4


@in_world
async def test_status_is_applied_by_its_own_path_alone(made: World) -> None:
    await made.do("POST", PODS, {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"},
        "spec": {"containers": [{"name": "main", "image": "a"}]},
    })  # fmt: skip
    body: Json = {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"},
        "spec": {"nodeName": "elsewhere"},
        "status": {"conditions": [{"type": "Mine", "status": "True"}]},
    }  # fmt: skip
    found = await apply(made, f"{PODS}/web/status", body)
    assert "nodeName" not in found["spec"]
    assert [one["type"] for one in found["status"]["conditions"]] == ["Mine"]
    assert owners(found)["me", "Apply", "status"] == {
        "f:status": {"f:conditions": {'k:{"type":"Mine"}': {".": {}, "f:status": {}, "f:type": {}}}}
    }
    del body["spec"]
    body["status"]["conditions"] = []
    found = await apply(made, f"{PODS}/web/status", body)
    assert not found["status"].get("conditions")
    ignored = await apply(made, f"{PODS}/web?force=true", {**body, "status": {"phase": "Failed"}}, "main")
    assert ignored["status"]["phase"] == "Pending"


@in_world
async def test_dry_run_tells_and_stores_nothing(made: World) -> None:
    told = await apply(made, f"{MAPS}/a?dryRun=All", config_map("a", x="1"), code=201)
    assert told["data"] == {"x": "1"}
    await made.do("GET", f"{MAPS}/a", code=404)
    await apply(made, f"{MAPS}/a", config_map("a", x="1"))
    assert (await apply(made, f"{MAPS}/a?dryRun=All", config_map("a", x="2")))["data"] == {"x": "2"}
    assert (await made.do("GET", f"{MAPS}/a"))["data"] == {"x": "1"}


@in_world
async def test_owners_are_forgotten_on_request_and_by_no_accident(made: World) -> None:
    await apply(made, f"{MAPS}/a", config_map("a", x="1"))
    nothing: list[Any] = [[], None]
    for harmless in nothing:
        patch = {"metadata": {"managedFields": harmless}}
        kept = await made.do("PATCH", f"{MAPS}/a", patch, content_type=MERGE)
        assert owners(kept) == {("me", "Apply", ""): {"f:data": {"f:x": {}}}}
    patch = {"metadata": {"managedFields": [{"manager": "x", "operation": "nonsense"}]}}
    kept = await made.do("PATCH", f"{MAPS}/a", patch, content_type=MERGE)
    assert set(owners(kept)) == {("me", "Apply", "")}
    gone = await made.do("PATCH", f"{MAPS}/a", {"metadata": {"managedFields": [{}]}}, content_type=MERGE)
    assert "managedFields" not in gone["metadata"]


@in_world
async def test_kubectl_takes_over_from_its_older_apply_without_conflicts(made: World) -> None:
    said = {**config_map("a", x="1", y="1"), "metadata": {"name": "a", "annotations": {}}}
    there = config_map("a", x="1", y="1", z="other")
    there["metadata"]["annotations"] = {LAST: msgspec.json.encode(said).decode()}
    await made.do("POST", MAPS, there)
    new = config_map("a", x="2", y="1")
    assert "kubectl-client-side-apply" in (await apply(made, f"{MAPS}/a", new, code=409))["message"]
    found = await apply(made, f"{MAPS}/a", new, "kubectl")
    assert found["data"] == {"x": "2", "y": "1", "z": "other"}
    assert msgspec.json.decode(found["metadata"]["annotations"][LAST])["data"] == new["data"]
    assert owners(found)["kubectl-client-side-apply", "Update", ""]["f:data"] == {".": {}, "f:y": {}}
    wanted = {**new, "data": {"z": "2"}}
    refused = await apply(made, f"{MAPS}/a", wanted, "kubectl", code=409)
    assert 'conflict with "before-first-apply" using v1: .data.z' in refused["message"]


WRONG: list[tuple[str, Any, int, str]] = [
    ("", config_map("a"), 422, "fieldManager: Required value: is required for apply patch"),
    (f"?fieldManager={'x' * 129}", config_map("a"), 422, "fieldManager: Too long"),
    ("?fieldManager=a\x07", config_map("a"), 422, "should only contain printable characters"),
    ("?fieldManager=m", [1], 400, "is not an object"),
    ("?fieldManager=m", b"a: [", 400, "error converting YAML to JSON"),
    ("?fieldManager=m", {**config_map("a"), "apiVersion": "v2"}, 400,
     "incorrect version specified in apply patch"),
    ("?fieldManager=m", {"data": {}}, 400, "Object 'Kind' is missing"),
    ("?fieldManager=m", config_map("b"), 400, "does not match the name on the URL"),
    ("?fieldManager=m", {**config_map("a"), "metadata": {"managedFields": []}}, 400,
     "metadata.managedFields must be nil"),
    ("?fieldManager=m", {**config_map("a"), "data": {"x": 1}}, 400,
     "failed to create typed patch object (/a; /v1"),
    ("?fieldManager=m&fieldValidation=Strict", {**config_map("a"), "foo": 1}, 400,
     ".foo: field not declared in schema"),
    ("?fieldManager=m", {**config_map("a"), "metadata": {"name": "a", "uid": "u"}}, 409, "uid mismatch"),
]  # fmt: skip


@pytest.mark.parametrize(("query", "body", "code", "message"), WRONG)
def test_what_cannot_be_applied_is_refused(query: str, body: Any, code: int, message: str) -> None:
    async def run() -> None:
        async with world() as made:
            refused = await made.do("PATCH", f"{MAPS}/a{query}", body, content_type=APPLY, code=code)
            assert message in refused["message"]

    asyncio.run(run())


@in_world
async def test_items_that_cannot_be_told_apart_are_refused(made: World) -> None:
    body = deployment("web")
    container = body["spec"]["template"]["spec"]["containers"][0]
    container["env"] = [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]
    refused = await apply(made, f"{DEPLOYMENTS}/web", body, code=400)
    assert refused["message"] == (
        "failed to create typed patch object (/web; apps/v1, Kind=Deployment): "
        '.spec.template.spec.containers[name="main"].env: duplicate entries for key [name="A"]'
    )


@in_world
async def test_unknown_fields_are_warned_of_and_left_out(made: World) -> None:
    body = {**config_map("a", x="1"), "foo": 1}
    answer = await made.ask("PATCH", f"{MAPS}/a?fieldManager=m", body, APPLY)
    assert answer.headers["Warning"] == '299 - "unknown field \\"foo\\""'
    assert "foo" not in msgspec.json.decode(answer.body)
    quiet = await made.ask("PATCH", f"{MAPS}/a?fieldManager=m&fieldValidation=Ignore", body, APPLY)
    assert "Warning" not in quiet.headers


@in_world
async def test_other_forms_of_apply_and_force_elsewhere_are_refused(made: World) -> None:
    await made.do("POST", MAPS, config_map("a"))
    for form in ("application/apply-patch+json", "application/apply-patch+cbor"):
        refused = await made.do(
            "PATCH", f"{MAPS}/a?fieldManager=m", config_map("a"), content_type=form, code=415
        )
        assert APPLY in refused["message"]
    refused = await made.do("PATCH", f"{MAPS}/a?force=true", {}, content_type=MERGE, code=422)
    assert "force: Forbidden: may not be specified for non-apply patch" in refused["message"]


@in_world
async def test_an_older_version_in_the_configuration_is_a_conflict(made: World) -> None:
    first = await apply(made, f"{MAPS}/a", config_map("a", x="1"))
    await apply(made, f"{MAPS}/a", config_map("a", x="2"))
    stale = config_map("a", x="3")
    stale["metadata"]["resourceVersion"] = first["metadata"]["resourceVersion"]
    refused = await apply(made, f"{MAPS}/a", stale, code=409)
    assert "the object has been modified" in refused["message"]


@in_world
async def test_an_apply_of_what_is_stored_in_another_form_is_no_new_version(made: World) -> None:
    secret = {
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"a": "b"},
    }  # fmt: skip
    target = "/api/v1/namespaces/default/secrets/s"
    first = await apply(made, target, secret)
    assert first["data"] == {"a": "Yg=="}
    assert await apply(made, target, secret) == first


@in_world
async def test_a_default_inside_an_atomic_list_is_no_conflict(made: World) -> None:
    body = deployment("web")
    sources = [{"serviceAccountToken": {"path": "t"}}]
    body["spec"]["template"]["spec"]["volumes"] = [{"name": "v", "projected": {"sources": sources}}]
    await made.do("POST", DEPLOYMENTS, body)
    first = await apply(made, f"{DEPLOYMENTS}/web", body)
    [volume] = first["spec"]["template"]["spec"]["volumes"]
    assert volume["projected"]["sources"][0]["serviceAccountToken"]["expirationSeconds"] == 3600
    assert await apply(made, f"{DEPLOYMENTS}/web", body) == first


@in_world
async def test_a_namespace_is_applied_as_anything_else(made: World) -> None:
    body: Json = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n", "labels": {"a": "b"}}}
    await apply(made, "/api/v1/namespaces/n", body, code=201)
    del body["metadata"]["labels"]
    left = await apply(made, "/api/v1/namespaces/n", body)
    assert left["metadata"]["labels"] == {"kubernetes.io/metadata.name": "n"}
    assert left["spec"] == {"finalizers": ["kubernetes"]}


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3)
    | st.sampled_from(["a", "v1", "Pod", "Apply", "Update", "f:a", 'k:{"name":"a"}', "v:", "i:x", "{}"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["a", ".", "f:metadata", 'k:{"name":"a"}', "v:1", "name", "containers", "env"]),
        inner, max_size=4,
    ),
    max_leaves=8,
)  # fmt: skip


@settings(max_examples=120, deadline=None)
@given(_json, _json, _json)
def test_whatever_is_applied_the_server_answers(spec: Any, metadata: Any, entry: Any) -> None:
    async def run() -> None:
        async with world() as made:
            body = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
            target = f"{PODS}/a?fieldManager=m&force=true"
            first = await made.ask("PATCH", target, body, APPLY)
            assert first.code < 500, first.body
            await made.do("POST", MAPS, config_map("a", x="1"))
            owners = [{"operation": "Apply", "apiVersion": "v1", "manager": "m", "fieldsV1": entry}]
            given = await made.ask("PATCH", f"{MAPS}/a", {"metadata": {"managedFields": owners}}, MERGE)
            assert given.code < 500, given.body
            second = await made.ask("PATCH", f"{MAPS}/a?fieldManager=m", config_map("a", y="1"), APPLY)
            assert second.code in (200, 409), second.body

    asyncio.run(run())


class MayPatch:
    """Who may change what is there, and make nothing."""

    async def authenticate(self, request: Any) -> UserInfo:
        return UserInfo("system:serviceaccount:default:patcher")

    async def authorize(self, user: UserInfo, info: RequestInfo) -> Verdict:
        may = info.verb in ("patch", "update", "get")
        return Verdict(Decision.ALLOWED if may else Decision.DENIED)


def test_making_an_object_by_apply_or_put_takes_the_permission_to_create() -> None:
    async def run() -> None:
        clock = SystemClock()
        store = MemoryStore(clock=clock)
        server = ApiServer(store, clock, Access(MayPatch(), MayPatch()))
        await server.start()
        made = World(server, store)
        refused = await apply(made, f"{MAPS}/a", config_map("a"), code=403)
        assert 'cannot create resource "configmaps"' in refused["message"]
        lease = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": "a"},
            "spec": {},
        }
        target = "/apis/coordination.k8s.io/v1/namespaces/default/leases/a"
        await made.do("PUT", target, lease, code=403)
        await server.stop()
        await store.close()

    asyncio.run(run())


@in_world
async def test_bottomless_copies_and_entries_are_none(made: World) -> None:
    """What clients leave in an object for the server to read, nested deeper than anything can be read."""
    deep = "[" * 5000 + "]" * 5000
    body = config_map("a", x="1")
    body["metadata"]["annotations"] = {LAST: deep}
    await made.do("POST", MAPS, body)
    applied = await apply(made, f"{MAPS}/a", config_map("a", y="2"), "kubectl")
    assert applied["data"] == {"x": "1", "y": "2"}
    known = owners(applied)
    [entry, *_] = applied["metadata"]["managedFields"]
    entry["fieldsV1"] = {f"v:{deep}": {}}
    assert owners(await made.do("PUT", f"{MAPS}/a", applied)) == known
