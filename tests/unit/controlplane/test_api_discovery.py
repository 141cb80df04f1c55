"""What the server tells about itself, in the legacy and in the aggregated form."""

from __future__ import annotations

import msgspec
import pytest

from tests.unit.controlplane.api_world import Json, World, in_world

pytestmark = pytest.mark.pure

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
# What client-go 1.32 sends.
ACCEPT = (
    f"{AGGREGATED},application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json"
)


@in_world
async def test_legacy_documents_name_groups_versions_and_resources(api: World) -> None:
    assert (await api.do("GET", "/api"))["versions"] == ["v1"]
    groups = (await api.do("GET", "/apis"))["groups"]
    assert [group["name"] for group in groups][:2] == ["apps", "authentication.k8s.io"]
    assert groups[0]["preferredVersion"] == {"groupVersion": "apps/v1", "version": "v1"}
    assert (await api.do("GET", "/apis/apps"))["kind"] == "APIGroup"
    listed = await api.do("GET", "/apis/apps/v1")
    assert listed["groupVersion"] == "apps/v1"
    entries = {entry["name"]: entry for entry in listed["resources"]}
    assert entries["deployments"]["shortNames"] == ["deploy"]
    assert entries["deployments"]["namespaced"] is True
    scale = entries["deployments/scale"]
    assert (scale["group"], scale["version"], scale["kind"]) == ("autoscaling", "v1", "Scale")
    assert "group" not in entries["deployments/status"]
    await api.do("GET", "/apis/unicorns", code=404)


@in_world
async def test_aggregated_documents_are_given_to_those_who_ask_first_for_them(api: World) -> None:
    answer = await api.ask("GET", "/apis", accept=ACCEPT)
    assert answer.content_type == AGGREGATED
    document: Json = msgspec.json.decode(answer.body)
    apps = document["items"][0]
    assert apps["metadata"] == {"name": "apps"}
    found = {entry["resource"]: entry for entry in apps["versions"][0]["resources"]}
    assert found["deployments"]["responseKind"] == {"group": "apps", "version": "v1", "kind": "Deployment"}
    assert found["deployments"]["scope"] == "Namespaced"
    assert [sub["subresource"] for sub in found["deployments"]["subresources"]] == ["status", "scale"]
    core = msgspec.json.decode((await api.ask("GET", "/api", accept=ACCEPT)).body)
    assert core["items"][0]["metadata"] == {}
    plain = await api.ask("GET", "/apis", accept="application/json")
    assert msgspec.json.decode(plain.body)["kind"] == "APIGroupList"


@in_world
async def test_known_document_is_not_sent_again(api: World) -> None:
    tag = (await api.ask("GET", "/apis", accept=ACCEPT)).headers["ETag"]
    again = await api.ask("GET", "/apis", accept=ACCEPT, if_none_match=tag)
    assert (again.code, again.body) == (304, b"")
    assert (await api.ask("GET", "/apis", accept=ACCEPT, if_none_match='"x"')).code == 200
    assert (await api.ask("POST", "/apis")).code == 405


@in_world
async def test_openapi_documents_are_found_by_their_hash(api: World) -> None:
    index = await api.do("GET", "/openapi/v3")
    target = index["paths"]["apis/apps/v1"]["serverRelativeURL"]
    answer = await api.ask("GET", target)
    assert "immutable" in answer.headers["Cache-Control"]
    path, _, digest = target.partition("?hash=")
    assert answer.headers["ETag"] == f'"{digest}"'
    moved = await api.ask("GET", f"{path}?hash=00")
    assert (moved.code, moved.headers["Location"]) == (301, target)
    assert (await api.ask("GET", path, if_none_match=f'"{digest}"')).code == 304
    await api.do("GET", "/openapi/v3/apis/unicorns/v1", code=404)


@in_world
async def test_openapi_says_how_kubectl_validates_and_patches(api: World) -> None:
    document = await api.do("GET", "/openapi/v3/apis/apps/v1")
    patch = document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"]
    assert patch["x-kubernetes-group-version-kind"] == {
        "group": "apps",
        "version": "v1",
        "kind": "Deployment",
    }
    assert "fieldValidation" in [parameter["name"] for parameter in patch["parameters"]]
    schemas = document["components"]["schemas"]
    containers = schemas["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"]
    assert containers["x-kubernetes-patch-merge-key"] == "name"
    assert containers["x-kubernetes-patch-strategy"] == "merge"
    assert containers["x-kubernetes-list-map-keys"] == ["name"]
    assert containers["items"] == {"allOf": [{"$ref": "#/components/schemas/io.k8s.api.core.v1.Container"}]}
    strategy = schemas["io.k8s.api.apps.v1.DeploymentSpec"]["properties"]["strategy"]
    assert strategy["x-kubernetes-patch-strategy"] == "retainKeys"


@in_world
async def test_every_reference_of_every_openapi_document_leads_somewhere(api: World) -> None:
    for entry in (await api.do("GET", "/openapi/v3"))["paths"].values():
        body = (await api.ask("GET", entry["serverRelativeURL"])).body
        schemas = msgspec.json.decode(body)["components"]["schemas"]
        named = {part.split('"')[0] for part in body.decode().split("#/components/schemas/")[1:]}
        assert named <= set(schemas)
        assert named


@in_world
async def test_list_of_custom_kinds_is_empty_and_read_only(api: World) -> None:
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    assert (await api.do("GET", path))["items"] == []
    await api.do("POST", path, {}, code=405)
    assert path not in (await api.do("GET", "/"))["paths"]
