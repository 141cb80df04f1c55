"""Names, times, QoS classes, conditions and selectors."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kube import conditions, meta, objects, qos, selectors
from kube.objects import core_v1, meta_v1
from kube.objects.core_v1 import Pod, PodCondition

pytestmark = pytest.mark.pure

NOW = datetime(2026, 11, 20, 10, 0, 0, 123456, tzinfo=UTC)


def pod_of(**spec: Any) -> Pod:
    value = {"metadata": {"name": "web", "namespace": "shop"}, "spec": {"containers": [], **spec}}
    return objects.convert(value, Pod)


def box(limits: dict[str, str] | None = None, requests: dict[str, str] | None = None) -> dict[str, Any]:
    return {"name": "c", "resources": {"limits": limits or {}, "requests": requests or {}}}


BOTH = {"cpu": "1", "memory": "1Gi"}


@pytest.mark.parametrize(
    ("containers", "expected"),
    [
        ([{"name": "c"}], "BestEffort"),
        ([box(requests={"ephemeral-storage": "1Gi"})], "BestEffort"),
        ([box(requests={"cpu": "0"})], "BestEffort"),
        ([box(BOTH, BOTH)], "Guaranteed"),
        ([box(BOTH, {"cpu": "1000m", "memory": "1024Mi"})], "Guaranteed"),
        ([box(BOTH, BOTH), {"name": "d"}], "Burstable"),
        ([box({"cpu": "1"}, {"cpu": "1"})], "Burstable"),
        ([box(BOTH, {"cpu": "500m", "memory": "1Gi"})], "Burstable"),
        ([box(requests={"cpu": "1"})], "Burstable"),
    ],
)
def test_qos_class_follows_requests_and_limits(containers: list[dict[str, Any]], expected: str) -> None:
    assert qos.of_pod(pod_of(containers=containers)) == expected


def test_qos_class_counts_init_containers_and_obeys_pod_level_resources() -> None:
    assert qos.of_pod(pod_of(containers=[box(BOTH, BOTH)], initContainers=[{"name": "i"}])) == "Burstable"
    level = {"limits": BOTH, "requests": BOTH}
    assert qos.of_pod(pod_of(containers=[{"name": "c"}], resources=level)) == "Guaranteed"


def test_recorded_qos_class_wins() -> None:
    value = {"spec": {"containers": []}, "status": {"qosClass": "Guaranteed"}}
    assert qos.of_pod(objects.convert(value, Pod)) is qos.QOSClass.GUARANTEED


def test_names_and_sources_of_pods() -> None:
    pod = pod_of()
    assert meta.full_name(pod) == "web_shop"
    assert meta.display_name(pod) == "shop/web"
    assert meta.source_of(pod) == "api"
    assert not meta.is_static(pod)
    assert meta.is_critical(pod_of(priority=2_000_000_000))
    static = objects.convert(
        {"metadata": {"annotations": {meta.CONFIG_SOURCE: "file"}}, "spec": {"containers": []}}, Pod
    )
    assert meta.is_static(static)
    assert meta.is_critical(static)


def test_deletion_times_come_from_stamp_and_grace() -> None:
    value = {"metadata": {"deletionTimestamp": "2026-11-20T10:00:30Z", "deletionGracePeriodSeconds": 30}}
    pod = objects.convert(value, Pod)
    assert meta.is_deleting(pod)
    assert meta.deletion_deadline(pod) == datetime(2026, 11, 20, 10, 0, 30, tzinfo=UTC)
    assert meta.deletion_requested_at(pod) == datetime(2026, 11, 20, 10, 0, 0, tzinfo=UTC)
    assert meta.deletion_requested_at(pod_of()) is None


def test_times_read_and_write_as_the_api_does() -> None:
    assert meta.format_time(NOW) == "2026-11-20T10:00:00Z"
    assert meta.format_micro_time(NOW) == "2026-11-20T10:00:00.123456Z"
    assert meta.parse_time("2026-11-20T12:00:00.123456789+02:00") == NOW
    plus_two = NOW.astimezone(timezone(timedelta(hours=2)))
    assert meta.format_time(plus_two) == "2026-11-20T10:00:00Z"


@pytest.mark.parametrize("text", ["", "2026-11-20", "2026-13-20T10:00:00Z", "0001-01-01T00:00:00+23:00", "x"])
def test_time_that_is_none_is_refused_by_name(text: str) -> None:
    with pytest.raises(ValueError, match="cannot read time"):
        meta.parse_time(text)


@given(st.datetimes(timezones=st.just(UTC), min_value=datetime(1000, 1, 1)))  # noqa: DTZ001
def test_micro_time_round_trips(when: datetime) -> None:
    assert meta.parse_time(meta.format_micro_time(when)) == when


def test_condition_keeps_its_transition_time_until_the_status_changes() -> None:
    old = PodCondition(type="Ready", status="False", last_transition_time="2026-01-01T00:00:00Z")
    other = PodCondition(type="Initialized", status="True")
    same = conditions.set_condition((old, other), PodCondition(type="Ready", status="False", reason="x"), NOW)
    assert [item.type for item in same] == ["Ready", "Initialized"]
    assert (same[0].last_transition_time, same[0].reason) == ("2026-01-01T00:00:00Z", "x")
    changed = conditions.set_condition(same, PodCondition(type="Ready", status="True"), NOW)
    assert changed[0].last_transition_time == "2026-11-20T10:00:00Z"
    added = conditions.set_condition((), PodCondition(type="Ready", status="True"), NOW)
    assert conditions.is_true(added, "Ready")
    assert conditions.find(added, "Initialized") is None


LABELS = {"app": "web", "tier": "front", "n": "5"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", True),
        ("app=web", True),
        ("app==web,tier!=back", True),
        ("app in (web, db),tier notin (back)", True),
        ("missing!=x", True),
        ("missing notin (x)", True),
        ("missing", False),
        ("!missing,app", True),
        ("n>4,n<6", True),
        ("n>5", False),
        ("app>5", False),
        ("app=", False),
        ("app in (,db)", False),
    ],
)
def test_label_selector_text_matches_as_upstream(text: str, expected: bool) -> None:
    assert selectors.parse(text).matches(LABELS) is expected


@pytest.mark.parametrize(
    "text", ["=web", "app in web", "app in (web", "a b", "a,,b", "a,", "!", "a=b=c", "(a)"]
)
def test_malformed_label_selector_is_refused(text: str) -> None:
    with pytest.raises(selectors.SelectorError):
        selectors.parse(text)


@given(st.text(alphabet="ab=!,() <>in", max_size=15))
def test_any_text_is_a_selector_or_a_selector_error(text: str) -> None:
    try:
        assert selectors.parse(text).matches(LABELS) in (True, False)
    except selectors.SelectorError as error:
        assert str(error)


def test_label_selector_object_none_is_nothing_and_empty_is_everything() -> None:
    assert selectors.of_label_selector(None) is None
    everything = selectors.of_label_selector(meta_v1.LabelSelector())
    assert everything is not None
    assert everything.matches({})
    some = objects.convert(
        {"matchLabels": {"app": "web"}, "matchExpressions": [{"key": "x", "operator": "DoesNotExist"}]},
        meta_v1.LabelSelector,
    )
    selector = selectors.of_label_selector(some)
    assert selector is not None
    assert selector.matches(LABELS)
    assert not selector.matches({**LABELS, "x": ""})


def test_field_selectors_compare_only() -> None:
    terms = selectors.parse_fields(r"spec.nodeName=n1,status.phase!=Failed,x=a\,b")
    fields = {"spec.nodeName": "n1", "status.phase": "Running", "x": "a,b"}
    assert all(term.matches(fields) for term in terms)
    with pytest.raises(selectors.SelectorError):
        selectors.parse_fields("spec.nodeName")


def test_node_selector_terms_are_or_and_empty_terms_match_nothing() -> None:
    def selector(*terms: dict[str, Any]) -> core_v1.NodeSelector:
        return objects.convert({"nodeSelectorTerms": list(terms)}, core_v1.NodeSelector)

    name = {"metadata.name": "n1"}
    by_name = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n1"]}]}
    by_label = {"matchExpressions": [{"key": "n", "operator": "Gt", "values": ["9"]}]}
    assert selectors.node_matches(selector(by_label, by_name), LABELS, name)
    assert not selectors.node_matches(selector(by_label), LABELS, name)
    assert not selectors.node_matches(selector({}), LABELS, name)
