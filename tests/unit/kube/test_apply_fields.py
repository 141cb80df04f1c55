"""Sets of fields: their FieldsV1 form, their names for people, and what a configuration owns."""

from __future__ import annotations

from typing import Any

import pytest

from kube.apply.errors import ApplyError
from kube.apply.owners import ANCIENT, MAX_UPDATES, Owned, Owner, decode, encode
from kube.apply.paths import Path, of_fields_v1, shown, to_fields_v1
from kube.apply.shape import Shape, of_type
from kube.apply.walk import compare, fields_of, merge, remove

pytestmark = pytest.mark.pure

Json = dict[str, Any]
POD = of_type("core_v1.Pod")
SERVICE = of_type("cluster_v1.Service")
DEPLOYMENT = of_type("apps_v1.Deployment")
MAP = of_type("core_v1.ConfigMap")


def pod(*containers: Json, **metadata: Any) -> Json:
    head = {"metadata": metadata} if metadata else {}
    return {**head, "spec": {"containers": list(containers)}}


OWNED: list[tuple[str, Shape, Json, Json]] = [
    ("a map's entries", MAP, {"data": {"x": "1"}}, {"f:data": {"f:x": {}}}),
    ("an empty map", MAP, {"data": {}}, {"f:data": {}}),
    ("an empty list of items is nothing", POD, {"spec": {"containers": []}}, {}),
    ("an atomic list", POD, pod({"name": "a", "command": ["x"]}),
     {"f:spec": {"f:containers": {'k:{"name":"a"}': {".": {}, "f:command": {}, "f:name": {}}}}}),
    ("an atomic object", DEPLOYMENT, {"spec": {"selector": {"matchLabels": {"a": "b"}}}},
     {"f:spec": {"f:selector": {}}}),
    ("an atomic map", POD, {"spec": {"nodeSelector": {"a": "b"}}}, {"f:spec": {"f:nodeSelector": {}}}),
    ("a set", POD, {"metadata": {"finalizers": ["a/b"]}},
     {"f:metadata": {"f:finalizers": {'v:"a/b"': {}}}}),
    ("a key with its default", SERVICE, {"spec": {"ports": [{"port": 80}]}},
     {"f:spec": {"f:ports": {'k:{"port":80,"protocol":"TCP"}': {".": {}, "f:port": {}}}}}),
    ("quantities by name", POD, pod({"name": "a", "resources": {"limits": {"cpu": "1"}}}),
     {"f:spec": {"f:containers": {'k:{"name":"a"}': {
         ".": {}, "f:name": {}, "f:resources": {"f:limits": {"f:cpu": {}}}}}}}),
    ("a volume without options", POD, {"spec": {"volumes": [{"name": "v", "emptyDir": {}}]}},
     {"f:spec": {"f:volumes": {'k:{"name":"v"}': {".": {}, "f:emptyDir": {}, "f:name": {}}}}}),
]  # fmt: skip


@pytest.mark.parametrize(("shape", "value", "fields"), [row[1:] for row in OWNED], ids=[o[0] for o in OWNED])
def test_a_configuration_owns(shape: Shape, value: Json, fields: Json) -> None:
    found = fields_of(value, shape)
    assert to_fields_v1(found) == fields
    assert of_fields_v1(fields) == found


def test_keys_are_equal_however_they_are_written() -> None:
    [path] = of_fields_v1({'k:{"protocol": "TCP", "port":80}': {}})
    assert path == ('k:{"port":80,"protocol":"TCP"}',)
    assert of_fields_v1({"v:1": {}, "i:0": {}}) == {("v:1",), ("i:0",)}


@pytest.mark.parametrize("value", [[], {"x": {}}, {"f:a": 1}, {"k:[1]": {}}, {"k:{": {}}])
def test_what_is_no_fields_v1_is_refused(value: Any) -> None:
    with pytest.raises(ValueError):
        of_fields_v1(value)


@pytest.mark.parametrize(("path", "text"), [
    (("f:spec", "f:replicas"), ".spec.replicas"),
    (("f:a", 'k:{"containerPort":80,"protocol":"TCP"}', "f:x"), '.a[containerPort=80,protocol="TCP"].x'),
    (("f:metadata", "f:finalizers", 'v:"a"'), '.metadata.finalizers[="a"]'),
    (("f:metadata", "f:annotations", "f:a.b/c"), ".metadata.annotations.a.b/c"),
])  # fmt: skip
def test_a_path_is_shown_as_kubernetes_shows_it(path: Path, text: str) -> None:
    assert shown(path) == text


@pytest.mark.parametrize(("containers", "message"), [
    ([{"image": "a"}], 'omits key field "name"'),
    ([{"name": "a"}, {"name": "a"}], 'duplicate entries for key [name="a"]'),
])  # fmt: skip
def test_items_without_a_clear_key_are_refused(containers: list[Json], message: str) -> None:
    with pytest.raises(ApplyError) as refused:
        fields_of(pod(*containers), POD)
    assert str(refused.value).startswith(".spec.containers: ")
    assert message in str(refused.value)


def test_a_difference_names_containers_that_came_and_went() -> None:
    old = pod({"name": "a", "image": "1"}, labels={"x": "1"})
    new = pod({"name": "a", "image": "2"}, {"name": "b"}, annotations={"y": "1"})
    found = compare(old, new, POD)
    assert to_fields_v1(found.added) == {
        "f:metadata": {"f:annotations": {".": {}, "f:y": {}}},
        "f:spec": {"f:containers": {'k:{"name":"b"}': {".": {}, "f:name": {}}}},
    }
    assert to_fields_v1(found.modified) == {"f:spec": {"f:containers": {'k:{"name":"a"}': {"f:image": {}}}}}
    assert to_fields_v1(found.removed) == {"f:metadata": {"f:labels": {".": {}, "f:x": {}}}}


def test_live_items_that_cannot_be_told_apart_are_one_leaf() -> None:
    twice = [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]
    old, new = pod({"name": "a", "env": twice}), pod({"name": "a", "env": twice[:1]})
    found = compare(old, new, POD)
    assert [shown(path) for path in found.modified] == ['.spec.containers[name="a"].env']
    config = pod({"name": "a", "env": [{"name": "A", "value": "3"}]})
    assert merge(old, config, POD)["spec"]["containers"][0]["env"] == [{"name": "A", "value": "3"}]


@pytest.mark.parametrize(("live", "config", "made"), [
    ("ab", "ba", "ba"), ("axb", "ba", "xba"), ("xa", "na", "xna"), ("ax", "an", "axn"), ("", "ab", "ab"),
    ("abc", "", "abc"), ("cab", "acb", "acb"), ("abc", "cxb", "acxb"),
])  # fmt: skip
def test_a_merged_list_keeps_the_configuration_s_order(live: str, config: str, made: str) -> None:
    merged = merge({"metadata": {"finalizers": list(live)}}, {"metadata": {"finalizers": list(config)}}, POD)
    assert "".join(merged["metadata"]["finalizers"]) == made


def test_removing_the_last_part_removes_the_whole_unless_it_is_kept() -> None:
    value = {"spec": {"volumes": [{"name": "v", "emptyDir": {"medium": "Memory"}}]}}
    volume = ("f:spec", "f:volumes", 'k:{"name":"v"}', "f:emptyDir")
    medium = frozenset({(*volume, "f:medium")})
    assert remove(value, medium, POD) == {"spec": {"volumes": [{"name": "v"}]}}
    kept = remove(value, medium, POD, frozenset({volume}))
    assert kept == {"spec": {"volumes": [{"name": "v", "emptyDir": {}}]}}
    assert value["spec"]["volumes"][0]["emptyDir"], "what went in stays as it is"


def test_the_oldest_of_too_many_writers_become_one() -> None:
    owners = {
        Owner(f"m{n:02}", "Update", "", "v1"): Owned(
            frozenset({("f:data", f"f:{n}")}), "v1", f"2026-01-{n:02}"
        )
        for n in range(1, MAX_UPDATES + 4)
    }
    entries = encode({**owners, Owner("a"): Owned(frozenset({("f:data",)}), "v1", "")})
    assert entries[0]["manager"] == "a"
    updates = entries[1:]
    assert len(updates) == MAX_UPDATES
    assert updates[0] == {
        "manager": ANCIENT, "operation": "Update", "apiVersion": "v1", "time": "2026-01-04",
        "fieldsType": "FieldsV1", "fieldsV1": {"f:data": {"f:1": {}, "f:2": {}, "f:3": {}, "f:4": {}}},
    }  # fmt: skip
    again = decode(entries)
    assert again is not None
    assert encode(again) == entries


@pytest.mark.parametrize("entry", [
    {}, "x", {"operation": "Apply"}, {"operation": "Apply", "apiVersion": "v1", "fieldsType": "FieldsV2"},
    {"operation": "Update", "apiVersion": "v1", "fieldsV1": {"bad": {}}},
])  # fmt: skip
def test_entries_that_cannot_be_read_are_no_owners(entry: Any) -> None:
    assert decode([entry]) is None
