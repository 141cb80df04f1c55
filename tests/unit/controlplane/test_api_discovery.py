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
    assert [group["name"] for group in groups][:2] == ["apps", "rbac.authorization.k8s.io"]
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
