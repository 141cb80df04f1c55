"""Strategic merge: lists, keys and directives, against what kubectl itself answers, and as properties."""

from __future__ import annotations

import copy
import json
import time
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kube import patch
from kube.patch import MERGE, STRATEGIC_MERGE, PatchError, strategic

pytestmark = pytest.mark.pure

Json = dict[str, Any]
DEPLOYMENT = "apps_v1.Deployment"


def pod(**spec: Any) -> Json:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}, "spec": spec}


def patched(original: Json, change: Json) -> Json:
    """The spec after the patch."""
    spec: Json = strategic.apply(original, {"spec": change}, "core_v1.Pod")["spec"]
    return spec


def named(*names: str) -> list[Json]:
    return [{"name": name, "image": f"{name}:1"} for name in names]


def order(items: list[Json]) -> str:
    return "".join(item["name"] for item in items)


# Lists


def test_an_item_with_the_same_key_is_merged_and_another_is_added() -> None:
    change = {"containers": [{"name": "b", "image": "b:2"}, {"name": "new", "image": "n"}]}
    assert patched(pod(containers=[{"name": "a"}, {"name": "b", "args": ["x"]}]), change)["containers"] == [
        {"name": "a"},
        {"name": "b", "args": ["x"], "image": "b:2"},
        {"name": "new", "image": "n"},
    ]


def test_a_list_without_a_merge_key_is_replaced() -> None:
    change = {"tolerations": [{"key": "z", "operator": "Exists"}]}
    assert patched(pod(tolerations=[{"key": "k"}]), change)["tolerations"] == change["tolerations"]


def test_ports_merge_by_number_and_mounts_by_path() -> None:
    before = {
        "name": "a", "ports": [{"containerPort": 80}, {"containerPort": 443}],
        "volumeMounts": [{"mountPath": "/a", "name": "v"}],
    }  # fmt: skip
    change = {
        "name": "a", "ports": [{"containerPort": 80, "name": "http"}],
        "volumeMounts": [{"mountPath": "/a", "readOnly": True}],
    }  # fmt: skip
    (after,) = patched(pod(containers=[before]), {"containers": [change]})["containers"]
    assert after["ports"] == [{"containerPort": 80, "name": "http"}, {"containerPort": 443}]
    assert after["volumeMounts"] == [{"mountPath": "/a", "name": "v", "readOnly": True}]


def test_an_item_is_deleted_by_its_key() -> None:
    change = {"containers": [{"$patch": "delete", "name": "a"}]}
    assert order(patched(pod(containers=named("a", "b")), change)["containers"]) == "b"


def test_a_list_that_merges_can_be_replaced() -> None:
    change = {"containers": [{"name": "z"}, {"$patch": "replace"}]}
    assert patched(pod(containers=named("a", "b")), change)["containers"] == [{"name": "z"}]


def test_plain_values_merge_as_a_set_and_leave_by_name() -> None:
    original = {"metadata": {"finalizers": ["a", "b"]}}
    added = {"metadata": {"finalizers": ["c", "a"], "$deleteFromPrimitiveList/finalizers": ["b"]}}
    assert strategic.apply(original, added, "core_v1.Pod")["metadata"]["finalizers"] == ["c", "a"]


def test_a_null_deletes_a_list_whatever_its_order() -> None:
    change = {"volumes": None, "$setElementOrder/volumes": [{"name": "a"}]}
    assert patched(pod(volumes=[{"name": "a"}]), change) == {}


def test_a_list_out_of_its_own_order_is_refused() -> None:
    change = {"containers": named("b", "a"), "$setElementOrder/containers": [{"name": "a"}, {"name": "b"}]}
    with pytest.raises(PatchError, match=r"doesn't match \$setElementOrder list"):
        patched(pod(containers=named("a")), change)


# Objects


def test_null_deletes_a_member_and_is_never_kept() -> None:
    change = {"hostname": None, "subdomain": None, "securityContext": {"runAsUser": None, "fsGroup": 1}}
    assert patched(pod(hostname="h"), change) == {"securityContext": {"fsGroup": 1}}


def test_an_object_can_be_replaced_emptied_and_merged_by_directive() -> None:
    before = pod(securityContext={"runAsUser": 1, "fsGroup": 2})
    for directive, after in (
        ("replace", {"runAsUser": 5}),
        ("delete", {}),
        ("merge", {"runAsUser": 5, "fsGroup": 2}),
    ):
        change = {"securityContext": {"$patch": directive, "runAsUser": 5}}
        assert patched(before, change)["securityContext"] == after


def test_retain_keys_clears_every_other_member() -> None:
    before = {"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}}
    change = {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}
    assert strategic.apply(before, change, DEPLOYMENT) == {"spec": {"strategy": {"type": "Recreate"}}}
    volume = {"name": "v", "$retainKeys": ["name", "emptyDir"], "emptyDir": {}}
    after = patched(pod(volumes=[{"name": "v", "configMap": {"name": "c"}}]), {"volumes": [volume]})
    assert after["volumes"] == [{"name": "v", "emptyDir": {}}]


def test_a_selector_of_a_disruption_budget_is_replaced() -> None:
    before = {"spec": {"selector": {"matchLabels": {"a": "1"}}}}
    change = {"spec": {"selector": {"matchLabels": {"b": "2"}}}}
    assert strategic.apply(before, change, "policy_v1.PodDisruptionBudget") == change


def test_directives_in_a_part_that_is_new_are_not_stored() -> None:
    change = {
        "containers": [
            {"name": "a", "env": [{"name": "X", "value": None}, {"$patch": "delete", "name": "Y"}]}
        ],
        "$setElementOrder/containers": [{"name": "a"}],
        "volumes": [{"name": "v", "$retainKeys": ["name"]}],
    }
    assert patched(pod(), change) == {
        "containers": [{"name": "a", "env": [{"name": "X"}]}], "volumes": [{"name": "v"}],
    }  # fmt: skip


# Refusals


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        ({"containers": [{"image": "x"}]}, 422, "does not contain declared merge key: name"),
        ({"containers": [{"$patch": "delete"}]}, 422, "does not contain declared merge key: name"),
        ({"containers": ["a"]}, 422, "list element types are not identical"),
        ({"containers": [["a"]]}, 422, "lists of lists are not supported"),
        ({"containers": [{"$patch": "mend", "name": "a"}]}, 422, "unknown patch type: mend"),
        ({"$patch": "mend"}, 422, "unknown patch type: mend"),
        ({"$retainKeys": "a"}, 400, "invalid patch format of retainKeys"),
        ({"$retainKeys": ["a"], "b": 1}, 400, "invalid patch format of retainKeys"),
        ({"$setElementOrder/containers": {}}, 400, "invalid patch format of setElementOrder list"),
        ({"$deleteFromPrimitiveList/containers": [{}]}, 400, "invalid patch format of primitive list"),
    ],
)
def test_what_is_no_patch_or_does_not_fit_is_refused(change: Json, code: int, words: str) -> None:
    with pytest.raises(PatchError) as caught:
        patched(pod(containers=named("a")), change)
    assert caught.value.code == code and words in str(caught.value)


def test_a_custom_resource_has_no_strategic_merge() -> None:
    with pytest.raises(PatchError) as caught:
        patch.apply(STRATEGIC_MERGE, {}, {}, "")
    assert caught.value.code == 415


@pytest.mark.parametrize("content_type", [MERGE, STRATEGIC_MERGE])
def test_a_patch_nested_without_end_is_refused(content_type: str) -> None:
    deep: Json = {}
    for _ in range(5000):
        deep = {"a": deep}
    with pytest.raises(PatchError) as caught:
        patch.apply(content_type, {}, deep, "core_v1.Pod")
    assert caught.value.code == 400


# Recorded from kubectl 1.32 (`kubectl patch --local --type=strategic`): names of the items before, of those
# in the patch, of those in its order, and of the items after. New ones come first; those only the server has
# stay before what they stood before.
RECORDED = [
    ("containers", "db", "a", "", "adb"),
    ("containers", "abc", "ca", "", "bca"),
    ("containers", "ab", "bn", "", "abn"),
    ("containers", "ab", "c", "", "cab"),
    ("containers", "abc", "db", "dab", "dabc"),
    ("containers", "abc", "", "ca", "bca"),
    ("containers", "sab", "", "ba", "sba"),
    ("containers", "asb", "", "ab", "asb"),
    ("containers", "abs", "", "ba", "bas"),
    ("volumes", "cab", "d", "dac", "dacb"),
    ("volumes", "xay", "nya", "nya", "nxya"),
]


@pytest.mark.parametrize(("field", "before", "items", "given_order", "after"), RECORDED)
def test_lists_end_up_in_the_order_kubectl_puts_them_in(
    field: str, before: str, items: str, given_order: str, after: str
) -> None:
    change: Json = {field: [{"name": name} for name in items]} if items else {}
    if given_order:
        change[f"$setElementOrder/{field}"] = [{"name": name} for name in given_order]
    assert order(patched(pod(**{field: named(*before)}), change)[field]) == after


# Properties

_NAMES = st.lists(st.sampled_from("abcd"), unique=True, max_size=3)


def _keyed(key: str, values: st.SearchStrategy[Any], rest: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    def named(name: Any) -> st.SearchStrategy[Json]:
        return rest.map(lambda made: {key: name} | made)

    keys = st.lists(values, unique=True, max_size=3)
    return keys.flatmap(lambda found: st.tuples(*map(named, found)))


_ENV = _keyed("name", st.sampled_from("ABC"), st.sampled_from(({}, {"value": "1"}, {"value": "2"}))).map(list)
_PORTS = st.lists(
    st.sampled_from([{"containerPort": p, "protocol": q} for p in (80, 53) for q in ("TCP", "UDP")]),
    max_size=3, unique_by=lambda port: port["containerPort"],
)  # fmt: skip
_CONTAINER = st.fixed_dictionaries(
    {},
    optional={
        "image": st.sampled_from(("x:1", "x:2")), "args": st.lists(st.sampled_from("pq"), max_size=2),
        "env": _ENV, "ports": _PORTS, "resources": st.sampled_from(({}, {"limits": {"cpu": "1"}})),
    },
)  # fmt: skip
_VOLUME = st.sampled_from(({"emptyDir": {}}, {"configMap": {"name": "m"}}, {"secret": {"secretName": "s"}}))
_SPEC = st.fixed_dictionaries(
    {},
    optional={
        "containers": _keyed("name", st.sampled_from("abcd"), _CONTAINER).map(list),
        "volumes": _keyed("name", st.sampled_from("vwx"), _VOLUME).map(list),
        "tolerations": st.lists(st.sampled_from(({"key": "a"}, {"key": "b"})), max_size=2),
        "nodeSelector": st.dictionaries(st.sampled_from("xyz"), st.sampled_from("12"), max_size=2),
    },
)
_DEPLOYMENTS = st.fixed_dictionaries(
    {
        "metadata": st.fixed_dictionaries(
            {"name": st.just("web")},
            optional={
                "labels": st.dictionaries(st.sampled_from("abc"), st.sampled_from("12"), max_size=2),
                "finalizers": _NAMES,
            },
        ),
        "spec": st.fixed_dictionaries(
            {"template": st.fixed_dictionaries({"spec": _SPEC})},
            optional={
                "replicas": st.integers(0, 2), "paused": st.booleans(),
                "strategy": st.sampled_from(
                    ({"type": "Recreate"}, {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}, {})
                ),
            },
        ),
    }
)  # fmt: skip
thorough = settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))


@thorough
@given(_DEPLOYMENTS, _DEPLOYMENTS)
def test_a_diff_applied_is_the_modified_object_and_applied_again_changes_nothing(
    one: Json, two: Json
) -> None:
    before = json.dumps([one, two])
    change = strategic.diff(one, two, DEPLOYMENT)
    kept = json.dumps(change)
    after = strategic.apply(one, change, DEPLOYMENT)
    assert after == two
    assert strategic.apply(after, change, DEPLOYMENT) == after
    assert json.dumps([one, two]) == before and json.dumps(change) == kept
    assert strategic.diff(two, two, DEPLOYMENT) == {} and (one == two) == (change == {})


@thorough
@given(_DEPLOYMENTS, _DEPLOYMENTS, _DEPLOYMENTS)
def test_a_three_way_patch_does_all_the_author_asks_and_converges(last: Json, new: Json, live: Json) -> None:
    change = strategic.diff(live, new, DEPLOYMENT, last)
    after = strategic.apply(live, change, DEPLOYMENT)
    assert strategic.diff(after, new, DEPLOYMENT, new) == {}
    assert after["spec"].get("replicas") == new["spec"].get(
        "replicas", None if "replicas" in last["spec"] else live["spec"].get("replicas")
    )


@thorough
@given(_DEPLOYMENTS, _DEPLOYMENTS)
def test_the_result_shares_nothing_with_object_and_patch(one: Json, two: Json) -> None:
    change = strategic.diff(one, two, DEPLOYMENT)
    kept = copy.deepcopy((one, change))
    _scribble(strategic.apply(one, change, DEPLOYMENT))
    assert (one, change) == kept


def _scribble(value: Any) -> None:
    inner = list(value.values()) if isinstance(value, dict) else list(value)
    for item in inner:
        if isinstance(item, dict | list):
            _scribble(item)
    if isinstance(value, dict):
        value["scribble"] = 1
    else:
        value.append("scribble")


def test_what_others_added_stays_and_what_the_author_dropped_goes() -> None:
    last = pod(containers=named("a", "b"), nodeSelector={"disk": "ssd"})
    new = pod(containers=[{"name": "a", "image": "a:2"}])
    live = pod(containers=[*named("a", "b"), {"name": "sidecar"}], nodeSelector={"disk": "ssd", "zone": "1"})
    change = strategic.diff(live, new, "core_v1.Pod", last)
    assert change == {
        "spec": {
            "containers": [{"image": "a:2", "name": "a"}, {"$patch": "delete", "name": "b"}],
            "$setElementOrder/containers": [{"name": "a"}],
            "nodeSelector": None,
        }
    }
    after = strategic.apply(live, change, "core_v1.Pod")
    assert after["spec"] == {"containers": [{"name": "a", "image": "a:2"}, {"name": "sidecar"}]}


def test_ports_with_the_same_number_and_two_protocols_are_patched_as_a_whole() -> None:
    both = [{"containerPort": 53, "protocol": "UDP"}, {"containerPort": 53, "protocol": "TCP"}]
    one, two = (
        pod(containers=[{"name": "dns", "ports": both}]),
        pod(containers=[{"name": "dns", "ports": both[:1]}]),
    )
    for before, wanted in ((one, two), (two, one)):
        change = strategic.diff(before, wanted, "core_v1.Pod")
        assert strategic.apply(before, change, "core_v1.Pod") == wanted


def test_a_deployment_is_patched_in_well_under_a_millisecond() -> None:
    env = [{"name": f"V{n}", "value": "x"} for n in range(20)]
    web = {"name": "web", "image": "web:1", "env": env, "ports": [{"containerPort": 80}]}
    before = {"metadata": {"name": "web", "labels": {"a": "b"}}, "spec": {"template": pod(containers=[web])}}
    change = {
        "spec": {"template": {"spec": {
            "$setElementOrder/containers": [{"name": "web"}],
            "containers": [{"name": "web", "image": "web:2"}],
        }}}
    }  # fmt: skip
    spent = []
    for _ in range(20):
        start = time.perf_counter()
        after = strategic.apply(before, change, DEPLOYMENT)
        spent.append(time.perf_counter() - start)
    assert after["spec"]["template"]["spec"]["containers"][0]["image"] == "web:2"
    assert min(spent) < 0.001
