"""JSON patch with the words and limits of the API server (messages recorded from kubectl 1.32), and merge
patch by the examples of its RFC."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kube import patch
from kube.patch import JSON_PATCH, PatchError, jsonpatch, merge
from tests import strategies

pytestmark = pytest.mark.pure

Json = dict[str, Any]
CONFIG: Json = {
    "metadata": {"name": "c", "finalizers": ["a", "b", "c"]},
    "data": {"k": "v", "x/y": "1", "~": "2"},
}


def op(kind: str, path: str, **rest: Any) -> Json:
    # `from` is a word of Python's.
    return {"op": kind, "path": path} | {("from" if key == "source" else key): rest[key] for key in rest}


def finalizers(*operations: Json) -> list[str]:
    found: list[str] = jsonpatch.apply(CONFIG, list(operations))["metadata"]["finalizers"]
    return found


def test_list_items_are_added_in_front_of_an_index_and_at_the_end() -> None:
    path = "/metadata/finalizers"
    assert finalizers(op("add", f"{path}/1", value="n")) == ["a", "n", "b", "c"]
    assert finalizers(op("add", f"{path}/3", value="n")) == ["a", "b", "c", "n"]
    assert finalizers(op("add", f"{path}/-", value="n")) == ["a", "b", "c", "n"]
    assert finalizers(op("remove", f"{path}/0"), op("replace", f"{path}/0", value="z")) == ["z", "c"]


def test_a_negative_index_counts_from_the_end_as_upstream() -> None:
    assert finalizers(op("remove", "/metadata/finalizers/-1")) == ["a", "b"]
    assert finalizers(op("add", "/metadata/finalizers/-1", value="n")) == ["a", "b", "c", "n"]


def test_members_are_added_replaced_moved_and_copied() -> None:
    after = jsonpatch.apply(
        CONFIG,
        [
            op("add", "/data/new", value={"a": 1}),
            op("replace", "/data/k", value="w"),
            op("replace", "/data/unset", value="u"),
            op("move", "/moved", source="/data/x~1y"),
            op("copy", "/data/copied", source="/metadata/finalizers"),
            op("remove", "/data/~0"),
        ],
    )
    assert after["data"] == {"k": "w", "new": {"a": 1}, "unset": "u", "copied": ["a", "b", "c"]}
    assert after["moved"] == "1"


def test_a_test_that_holds_lets_the_rest_happen() -> None:
    tests = [op("test", "/data/k", value="v"), op("test", "/data/absent", value=None)]
    assert jsonpatch.apply(CONFIG, [*tests, op("add", "/ok", value=1)])["ok"] == 1


@pytest.mark.parametrize(
    ("operation", "message"),
    [
        (op("test", "/data/k", value="w"), "testing value /data/k failed: test failed"),
        (op("test", "/data/zz", value="1"), "testing value /data/zz failed: test failed"),
        (
            op("test", "/zz/y", value="1"),
            "test operation does not apply: is missing path: /zz/y: missing value",
        ),
        (
            op("test", "/metadata/finalizers/7", value="q"),
            "error in test for path: '/metadata/finalizers/7': "
            "Unable to access invalid index: 7: invalid index referenced",
        ),
        (
            op("add", "/zz/y", value="1"),
            'add operation does not apply: doc is missing path: "/zz/y": missing value',
        ),
        (
            op("add", "/metadata/finalizers/9", value="d"),
            "error in add for path: '/metadata/finalizers/9': "
            "Unable to access invalid index: 9: invalid index referenced",
        ),
        (
            op("remove", "/zz"),
            "error in remove for path: '/zz': Unable to remove nonexistent key: zz: missing value",
        ),
        (op("remove", "/a/b"), 'remove operation does not apply: doc is missing path: "/a/b": missing value'),
        (
            op("replace", "/a/zz", value=1),
            "replace operation does not apply: doc is missing path: /a/zz: missing value",
        ),
        (
            op("copy", "/yy", source="/q/zz"),
            "copy operation does not apply: doc is missing from path: /q/zz: missing value",
        ),
        (op("frob", "/yy"), "Unexpected kind: frob"),
        ({"path": "/yy"}, "Unexpected kind: unknown"),
    ],
)
def test_an_operation_that_does_not_apply_is_refused_in_the_words_of_kubernetes(
    operation: Json, message: str
) -> None:
    with pytest.raises(PatchError) as caught:
        jsonpatch.apply(CONFIG, [operation])
    assert (caught.value.code, str(caught.value)) == (422, message)


@pytest.mark.parametrize(
    "operation",
    [
        op("move", "/metadata/inside", source="/metadata"),
        op("move", "/zz", source="/zz"),
        op("copy", "/yy", source="/data/zz"),
        op("add", "/data/y"),
        op("replace", "/data/k"),
        op("remove", ""),
        op("replace", "", value=5),
        op("add", "/metadata/finalizers/x", value="d"),
        op("add", "/metadata/finalizers/01", value="d"),
        op("add", "/data/k/below", value="d"),
    ],
)
def test_what_would_leave_no_object_or_has_no_place_is_refused(operation: Json) -> None:
    with pytest.raises(PatchError) as caught:
        jsonpatch.apply(CONFIG, [operation])
    assert caught.value.code == 422


@pytest.mark.parametrize(
    "body", [{}, "x", None, [1], [{"op": "add", "value": 1}], [op("remove", "data")], [op("move", "/a")]]
)
def test_what_is_no_list_of_operations_is_a_bad_request(body: Any) -> None:
    with pytest.raises(PatchError) as caught:
        jsonpatch.apply(CONFIG, body)
    assert caught.value.code == 400


def test_true_is_not_one() -> None:
    for stored, asked in ((1, True), (0, False), (True, 1), ([1], [True]), ({"a": 0}, {"a": False})):
        with pytest.raises(PatchError):
            jsonpatch.apply({"v": stored}, [op("test", "/v", value=asked)])
    assert jsonpatch.apply({"v": 1}, [op("test", "/v", value=1.0)]) == {"v": 1}


def test_more_than_ten_thousand_operations_are_too_many() -> None:
    most = [op("test", "/v", value=1)] * 10_000
    assert jsonpatch.apply({"v": 1}, most) == {"v": 1}
    with pytest.raises(PatchError, match="maximum operations in a JSON patch is 10000, got 10001") as caught:
        jsonpatch.apply({"v": 1}, [*most, most[0]])
    assert caught.value.code == 413


def test_copies_that_would_grow_without_bound_are_stopped() -> None:
    doubling = [op("copy", f"/v/{number}", source="/v") for number in range(40)]
    with pytest.raises(PatchError, match="exceeding the limit 3145728"):
        jsonpatch.apply({"v": {"text": "x" * 1000}}, doubling)


def test_nothing_of_a_patch_happens_when_its_last_operation_fails_and_nothing_is_shared() -> None:
    original, change = copy.deepcopy(CONFIG), [op("add", "/data/n", value={"deep": []}), op("remove", "/zz")]
    kept = copy.deepcopy(change)
    with pytest.raises(PatchError):
        jsonpatch.apply(original, change)
    after = jsonpatch.apply(original, change[:1])
    after["data"]["n"]["deep"].append(1)
    after["metadata"]["finalizers"].append("x")
    assert original == CONFIG and change == kept


_OPERATIONS = st.builds(
    lambda kind, path, source, value: {"op": kind, "path": path, "from": source, "value": value},
    st.sampled_from(("add", "remove", "replace", "move", "copy", "test")),
    st.sampled_from(
        ("", "/data", "/data/k", "/data/n", "/metadata/finalizers/0", "/metadata/finalizers/-", "/a/b")
    ),
    st.sampled_from(("", "/data", "/data/k", "/metadata/finalizers", "/metadata/finalizers/1", "/a")),
    strategies.json_values(max_leaves=5),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(_OPERATIONS, max_size=5) | strategies.json_values())
def test_any_patch_applies_to_a_copy_or_is_refused(change: Any) -> None:
    original = copy.deepcopy(CONFIG)
    try:
        after = patch.apply(JSON_PATCH, original, change)
    except PatchError as error:
        assert error.code in (400, 422)
    else:
        assert isinstance(after, dict)
    assert original == CONFIG


@pytest.mark.parametrize("kind", ["add", "remove", "replace", "move", "copy", "test"])
def test_nothing_is_found_in_a_document_that_was_replaced_by_none(kind: str) -> None:
    change = [
        {"op": "replace", "path": "", "value": None},
        {"op": kind, "path": "/data", "from": "/data", "value": 1},
    ]
    with pytest.raises(PatchError):
        patch.apply(JSON_PATCH, CONFIG, change)


# RFC 7386, appendix A: the cases whose document and patch are objects.
@pytest.mark.parametrize(
    ("original", "change", "after"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_a_merge_patch_does_as_its_rfc_says(original: Json, change: Json, after: Json) -> None:
    assert merge.apply(original, change) == after


@pytest.mark.parametrize("change", [[1], "x", None, 5, True])
def test_a_merge_patch_is_an_object(change: Any) -> None:
    with pytest.raises(PatchError, match="Invalid JSON Patch") as caught:
        merge.apply({}, change)
    assert caught.value.code == 400


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return value


_OBJECTS = st.dictionaries(st.sampled_from("abc"), strategies.json_values(8), max_size=3).map(_without_nulls)


@settings(max_examples=100, deadline=None)
@given(_OBJECTS, _OBJECTS)
def test_a_merge_diff_applied_is_the_modified_object_once_and_again(one: Json, two: Json) -> None:
    kept = copy.deepcopy((one, two))
    change = merge.diff(one, two)
    after = merge.apply(one, change)
    assert after == two and merge.apply(after, change) == two
    assert merge.diff(two, two) == {} and (one, two) == kept


def test_a_three_way_merge_keeps_what_others_added() -> None:
    live = {"spec": {"size": 3, "status": "ok", "old": 1}, "added": True}
    change = merge.diff(live, {"spec": {"size": 5}}, {"spec": {"size": 3, "old": 1}})
    assert change == {"spec": {"size": 5, "old": None}}
    assert merge.apply(live, change) == {"spec": {"size": 5, "status": "ok"}, "added": True}
