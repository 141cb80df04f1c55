"""What an apply makes of an object and of its owners: conflicts, shared fields, and what is given up."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kube.apply import ApplyConflicts, Change, Owner, Owners, apply, encode, untracked, update
from kube.apply.config import read
from kube.apply.ownership import LAST_APPLIED, Applied
from kube.apply.paths import shown
from kube.apply.shape import of_type

pytestmark = pytest.mark.pure

Json = dict[str, Any]
DEPLOYMENT = of_type("apps_v1.Deployment")
POD = of_type("core_v1.Pod")
EMPTY: Json = {"metadata": {"name": "a"}}


def by(manager: str, operation: str = "Apply", time: str = "1", shape: Any = POD) -> Change:
    version = "" if operation == "Apply" else "v1"
    return Change(Owner(manager, operation, "", version), shape, "v1", time)


def config(*containers: Json, **spec: Any) -> Json:
    if containers:
        spec["containers"] = list(containers)
    return {**EMPTY, "spec": spec} if spec else EMPTY


def applied(before: Applied, body: Json, manager: str, **how: Any) -> Applied:
    return apply(before.value, body, before.owners, by(manager), **how)


NOTHING = Applied({}, {})


def names(made: Applied) -> list[str]:
    return [one["name"] for one in made.value.get("spec", {}).get("containers", ())]


def fields(owners: Owners, manager: str) -> set[str]:
    return {
        shown(path) for owner, owned in owners.items() if owner.manager == manager for path in owned.fields
    }


def test_disjoint_appliers_share_an_object() -> None:
    one = applied(NOTHING, config({"name": "a", "image": "1"}), "one")
    two = applied(one, config({"name": "b", "image": "2"}), "two")
    assert names(two) == ["a", "b"]
    assert names(applied(two, config(), "two")) == ["a"]
    assert names(applied(two, config(), "one")) == ["b"]


def test_an_item_two_have_applied_stays_until_both_give_it_up() -> None:
    both = applied(applied(NOTHING, config({"name": "a", "image": "1"}), "one"), config({"name": "a"}), "two")
    left = applied(both, config(), "one")
    assert left.value["spec"]["containers"] == [{"name": "a"}]
    assert applied(left, config(), "two").value == EMPTY


def test_what_the_server_filled_in_goes_with_the_item() -> None:
    one = applied(NOTHING, config({"name": "a"}, {"name": "b"}), "one")
    one.value["spec"]["containers"][0]["imagePullPolicy"] = "Always"
    assert applied(one, config({"name": "b"}), "one").value["spec"]["containers"] == [{"name": "b"}]


def test_what_the_server_filled_in_elsewhere_stays() -> None:
    one = applied(NOTHING, config({"name": "a"}, hostname="x"), "one")
    one.value["spec"]["dnsPolicy"] = "Default"
    left = applied(one, config({"name": "a"}), "one")
    assert left.value["spec"] == {"containers": [{"name": "a"}], "dnsPolicy": "Default"}


def test_an_emptied_object_stays_when_it_is_still_wanted() -> None:
    volume = {"name": "v", "emptyDir": {"medium": "Memory"}}
    one = applied(NOTHING, config(volumes=[volume]), "one")
    left = applied(one, config(volumes=[{"name": "v", "emptyDir": {}}]), "one")
    assert left.value["spec"]["volumes"] == [{"name": "v", "emptyDir": {}}]


def test_equal_values_are_shared_and_others_are_conflicts() -> None:
    one = applied(NOTHING, config({"name": "a", "image": "1"}), "one")
    applied(one, config({"name": "a", "image": "1"}), "two")
    with pytest.raises(ApplyConflicts) as refused:
        applied(one, config({"name": "a", "image": "2"}), "two")
    assert str(refused.value) == (
        'Apply failed with 1 conflict: conflict with "one": .spec.containers[name="a"].image'
    )
    forced = applied(one, config({"name": "a", "image": "2"}), "two", is_forced=True)
    image = '.spec.containers[name="a"].image'
    assert image in fields(forced.owners, "two")
    assert image not in fields(forced.owners, "one")


def test_giving_up_a_field_that_was_forced_away_changes_nothing() -> None:
    one = applied(NOTHING, config({"name": "a", "image": "1"}), "one")
    forced = applied(one, config({"name": "a", "image": "2"}), "two", is_forced=True)
    assert applied(forced, config({"name": "a"}), "one").value == forced.value


def test_a_writer_owns_what_it_changes_and_loses_what_goes() -> None:
    one = applied(NOTHING, config({"name": "a", "image": "1"}), "one")
    new = {
        "metadata": {"name": "a", "uid": "x"},
        "spec": {"containers": [{"name": "a", "image": "2"}], "hostname": "h"},
    }
    owners = update(one.value, new, one.owners, by("ed", "Update", "2"))
    assert fields(owners, "ed") == {'.spec.containers[name="a"].image', ".spec.hostname"}
    assert '.spec.containers[name="a"].image' not in fields(owners, "one")
    gone = update(new, EMPTY, owners, by("rm", "Update", "3"))
    assert gone == {}
    assert update(new, new, owners, by("no", "Update", "4")) is owners


def test_a_time_changes_with_what_it_is_of() -> None:
    one = applied(NOTHING, config({"name": "a"}), "one")
    assert apply(one.value, config({"name": "a"}), one.owners, by("one", time="2")) == one
    changed = apply(one.value, config({"name": "a", "image": "x"}), one.owners, by("one", time="2"))
    assert encode(changed.owners)[0]["time"] == "2"


def test_what_was_there_belongs_to_the_older_apply_or_to_nobody_known() -> None:
    last = config({"name": "a", "image": "1"}, hostname="h")
    live = config({"name": "a", "image": "2"}, hostname="h", dnsPolicy="Default")
    live["metadata"] = {"name": "a", "annotations": {LAST_APPLIED: "{...}"}}
    owners = untracked(live, last, by("kubectl"))
    older = fields(owners, "kubectl-client-side-apply")
    assert {".spec.hostname", f".metadata.annotations.{LAST_APPLIED}"} <= older
    assert '.spec.containers[name="a"].image' not in older
    assert {".spec.dnsPolicy", '.spec.containers[name="a"].image'} <= fields(owners, "before-first-apply")
    assert fields(untracked(live, None, by("kubectl")), "kubectl-client-side-apply") == set()


def test_a_configuration_says_what_is_in_it_and_no_more() -> None:
    container = {"name": "a", "image": None, "resources": {"limits": {"cpu": 1}}}
    body = {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"creationTimestamp": None, "x": 1},
        "spec": {"template": {"spec": {"containers": [container]}}},
        "status": {},
    }  # fmt: skip
    found = read(body, "apps_v1.Deployment")
    assert found.unknown == ("metadata.x",)
    assert found.value["metadata"] == {}
    assert found.value["spec"] == {
        "template": {"spec": {"containers": [{"name": "a", "resources": {"limits": {"cpu": "1"}}}]}}
    }
    assert read({"spec": {"replicas": "x"}}, "apps_v1.Deployment").wrong


# --- whatever is applied ---

_Strategy = st.SearchStrategy[Any]
_text: _Strategy = st.sampled_from(["", "1", "2"])
_container: _Strategy = st.fixed_dictionaries(
    {"name": st.sampled_from("abc")},
    optional={
        "image": _text,
        "command": st.lists(_text, max_size=2),
        "env": st.lists(
            st.fixed_dictionaries({"name": st.sampled_from("XYZ")}, optional={"value": _text}),
            unique_by=lambda one: one["name"], max_size=3,
        ),
        "ports": st.lists(
            st.fixed_dictionaries(
                {"containerPort": st.sampled_from([80, 81])}, optional={"protocol": st.just("UDP")}
            ),
            unique_by=lambda one: (one["containerPort"], one.get("protocol")), max_size=3,
        ),
    },
)  # fmt: skip
_config: _Strategy = st.fixed_dictionaries(
    {
        "metadata": st.fixed_dictionaries(
            {"name": st.just("a")},
            optional={
                "labels": st.dictionaries(st.sampled_from("lmn"), _text, max_size=3),
                "finalizers": st.lists(st.sampled_from("fgh"), unique=True, max_size=3),
            },
        )
    },
    optional={
        "spec": st.fixed_dictionaries({}, optional={
            "hostname": _text,
            "nodeSelector": st.dictionaries(st.sampled_from("lm"), _text, max_size=2),
            "containers": st.lists(_container, unique_by=lambda one: one["name"], max_size=3),
        }),
    },
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(_config, _config, _config)
@example(
    {"metadata": {"name": "a"}, "spec": {}}, {"metadata": {"name": "a"}},
    {"metadata": {"name": "a"}, "spec": {"containers": []}},
)  # fmt: skip
def test_an_apply_again_changes_nothing(first: Json, other: Json, again: Json) -> None:
    made = applied(NOTHING, first, "one")
    made = applied(made, other, "two", is_forced=True)
    made = applied(made, again, "one", is_forced=True)
    assert apply(made.value, again, made.owners, by("one", time="2")) == made


@settings(max_examples=150, deadline=None)
@given(_config, _config)
def test_one_applier_s_object_is_what_it_last_applied(first: Json, second: Json) -> None:
    fresh = applied(NOTHING, second, "one")
    changed = applied(applied(NOTHING, first, "one"), second, "one")
    assert _bare(changed.value) == _bare(fresh.value)
    assert changed.owners == fresh.owners


@settings(max_examples=150, deadline=None)
@given(_config, _config)
def test_appliers_of_disjoint_fields_converge_in_any_order(one: Json, two: Json) -> None:
    two = _renamed(two)
    forth = applied(applied(NOTHING, one, "one"), two, "two")
    back = applied(applied(NOTHING, two, "two"), one, "one")
    assert _sorted(forth.value) == _sorted(back.value)
    assert forth.owners == back.owners
    assert _bare(_sorted(applied(forth, EMPTY, "two").value)) == _bare(
        _sorted(applied(NOTHING, one, "one").value)
    )


def _renamed(value: Json) -> Json:
    """The same with other labels, finalizers, and containers, and without what has but one value."""
    meta = value["metadata"]
    made: Json = {"metadata": {"name": "a"}}
    if meta.get("labels"):
        made["metadata"]["labels"] = {f"{name}2": text for name, text in meta["labels"].items()}
    if meta.get("finalizers"):
        made["metadata"]["finalizers"] = [f"{name}2" for name in meta["finalizers"]]
    if containers := value.get("spec", {}).get("containers"):
        made["spec"] = {"containers": [{**one, "name": one["name"] + "2"} for one in containers]}
    return made


def _bare(value: Any) -> Any:
    """Without empty containers, which come and go with what was in them."""
    if isinstance(value, dict):
        parts = {key: _bare(item) for key, item in value.items()}
        return {key: item for key, item in parts.items() if item not in ({}, [])}
    return [_bare(item) for item in value] if isinstance(value, list) else value


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(item) for key, item in value.items()}
    return sorted(map(_sorted, value), key=str) if isinstance(value, list) else value
