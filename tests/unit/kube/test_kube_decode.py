"""From manifest text to a Pod: strictness, lines, lists, and that nothing can crash it."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kube import decode, objects, structure
from kube.errors import ErrorKind, InvalidObject, invalid_status
from kube.objects.core_v1 import Pod
from tests import strategies

pytestmark = pytest.mark.pure

BAD = """\
apiVersion: v1
kind: Pod
metadata:
  name: web
  namespace: shop
  labels:
    a: 5
    a: b
spec:
  foo: 1
  containers:
  - name: a
    image: nginx
    ports:
    - containerPort: 80
      hostPort: "x"
    env:
    - name: A
      value: 8080
    livenessProbe:
      exec: {command: [x]}
      periodSeconds: -1
    volumeMounts:
    - name: data
      mountPath: /d
  - name: a
    resources:
      requests: {cpu: 2, memory: ten}
      limits: {cpu: 1}
"""


def in_namespace(pod: Pod) -> Pod:
    if pod.metadata.namespace:
        return pod
    return msgspec.structs.replace(pod, metadata=msgspec.structs.replace(pod.metadata, namespace="default"))


def refusal(text: str | bytes) -> InvalidObject:
    with pytest.raises(InvalidObject) as caught:
        decode.decode_pod(text)
    return caught.value


def test_everything_wrong_is_reported_at_once_with_file_line_and_field() -> None:
    assert list(refusal(BAD).located("web.yaml")) == [
        'web.yaml:8: duplicate field "metadata.labels.a" (first on line 7)',
        'web.yaml:8: metadata.labels.a: must be a string: write "5", in quotes',
        'web.yaml:10: unknown field "spec.foo"',
        "web.yaml:16: spec.containers[0].ports[0].hostPort: must be an integer",
        'web.yaml:19: spec.containers[0].env[0].value: must be a string: write "8080", in quotes',
        "web.yaml:22: spec.containers[0].livenessProbe.periodSeconds: "
        "Invalid value: -1: must be greater than or equal to 0",
        'web.yaml:24: spec.containers[0].volumeMounts[0].name: Not found: "data"',
        "web.yaml:26: spec.containers[1].image: Required value",
        'web.yaml:26: spec.containers[1].name: Duplicate value: "a"',
        'web.yaml:28: spec.containers[1].resources.requests.memory: Invalid value: "ten": quantities must '
        "match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        'web.yaml:28: spec.containers[1].resources.requests: Invalid value: "2": '
        "must be less than or equal to cpu limit of 1",
    ]


def test_json_manifest_is_reported_with_lines_too() -> None:
    text = '{"kind": "Pod", "apiVersion": "v1",\n "metadata": {"name": "a", "namespace": "b"},\n "spec": 5}'
    errors = [str(error) for error in refusal(text).errors]
    assert errors == ["spec: must be an object"]
    assert refusal(text).errors[0].line == 3


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "there is no object in it"),
        ("# only a comment\n", "there is no object in it"),
        ("hello", "must be an object"),
        ("a: [", "cannot read YAML: because while parsing a flow node"),
        ('{"a": 1]', "cannot read JSON: because a comma or '}' is expected"),
        (b"\xff\xfe", "cannot read text: because byte 0xff is not UTF-8"),
        ("metadata: {}", 'kind: Required value: must be "Pod"'),
        ("kind: Deployment\napiVersion: apps/v1", 'kind: Unsupported value: "Deployment": supported values:'),
        ("kind: Pod\napiVersion: v2", 'apiVersion: Unsupported value: "v2"'),
        (
            "kind: Pod\napiVersion: v1\n---\nkind: Pod\napiVersion: v1",
            "there are 2 pods in it, and one is expected",
        ),
        ("kind: List\napiVersion: v1\nitems: 5", "items: must be a list"),
        ("kind: List\napiVersion: v1\nitem: []", 'unknown field "item"'),
    ],
)
def test_text_that_is_no_pod_is_refused_with_a_reason(text: str | bytes, expected: str) -> None:
    assert str(refusal(text).errors[0]).startswith(expected)


def test_lists_and_documents_give_pods_that_are_judged_one_by_one() -> None:
    text = """\
kind: PodList
apiVersion: v1
items:
- metadata: {name: good, namespace: d}
  spec: {containers: [{name: a, image: i}]}
- metadata: {name: bad, namespace: d}
  spec: {containers: [{name: a, imag: i}]}
- 5
---
kind: List
apiVersion: v1
items:
- {kind: Service, apiVersion: v1}
"""
    good, bad, number, service = decode.read_manifests(text)
    assert good.accept().metadata.name == "good"
    with pytest.raises(InvalidObject) as caught:
        bad.accept()
    assert caught.value.located("f") == (
        'f:7: unknown field "items[1].spec.containers[0].imag"',
        "f:7: items[1].spec.containers[0].image: Required value",
    )
    with pytest.raises(InvalidObject, match=r"items\[2\]: must be an object"):
        number.accept()
    with pytest.raises(InvalidObject, match=r'items\[0\].kind: Unsupported value: "Service"'):
        service.accept()


def test_adaptation_comes_before_validation() -> None:
    text = "{kind: Pod, apiVersion: v1, metadata: {name: a}, spec: {containers: [{name: a, image: i}]}}"
    assert decode.decode_pod(text, in_namespace).metadata.namespace == "default"
    assert str(refusal(text).errors[0]) == "metadata.namespace: Required value"


def test_refusal_becomes_a_status_with_causes() -> None:
    status = invalid_status(
        refusal("{kind: Pod, apiVersion: v1, metadata: {name: a, namespace: d}, spec: {}}")
    ).to_json()
    assert (status["code"], status["reason"]) == (422, "Invalid")
    assert status["message"] == 'Pod "a" is invalid: spec.containers: Required value'
    assert status["details"]["causes"] == [
        {"reason": "FieldValueRequired", "message": "Required value", "field": "spec.containers"}
    ]


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("hostNetwork", "yes", "must be true or false"),
        ("hostNetwork", 1, "must be true or false"),
        ("priority", 2**31, "must be an integer between -2147483648 and 2147483647"),
        ("priority", True, "must be an integer"),
        ("priority", 1.5, "must be an integer"),
        ("terminationGracePeriodSeconds", 2**63, "must be an integer between"),
        ("containers", {}, "must be a list"),
        ("nodeSelector", [], "must be a map"),
        ("securityContext", [], "must be an object"),
        ("nodeName", None, ""),
        ("overhead", {"cpu": True}, "must be a quantity, such as 500m or 1Gi"),
        ("overhead", {"cpu": 1.5}, ""),
    ],
)
def test_wrong_types_are_named(field: str, value: Any, message: str) -> None:
    checked = structure.check({"spec": {"containers": [], field: value}}, "core_v1.Pod")
    assert [error.message[: len(message)] for error in checked.errors] == ([message] if message else [])


def test_wrong_item_keeps_the_places_of_the_others() -> None:
    checked = structure.check({"containers": [5, {"name": "a", "x": 1}]}, "core_v1.PodSpec", "spec")
    assert [str(error) for error in checked.errors] == [
        "spec.containers[0]: must be an object",
        'unknown field "spec.containers[1].x"',
    ]
    assert checked.value["containers"][1] == {"name": "a"}


@pytest.mark.parametrize(
    ("text", "ok"), [("2026-11-20T10:00:00Z", True), ("yesterday", False), ("2026-11-20T10:00:00", False)]
)
def test_times_are_checked(text: str, ok: bool) -> None:
    checked = structure.check({"creationTimestamp": text}, "meta_v1.ObjectMeta")
    assert bool(checked.errors) is not ok


def test_secret_data_must_be_base64() -> None:
    assert structure.check({"data": {"a": "%"}}, "core_v1.Secret").errors[0].path == "data.a"
    assert not structure.check({"data": {"a": "aGk="}}, "core_v1.Secret").errors


@settings(max_examples=80, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(strategies.valid_pods())
def test_generated_good_pods_are_accepted_and_survive_a_round_trip(value: dict[str, Any]) -> None:
    pod = decode.decode_pod(json.dumps(value), in_namespace)
    assert objects.decode(objects.encode(pod), Pod) == pod
    # Defaults are stable: a pod with defaults gets no more of them.
    again = decode.decode_pod(objects.encode(pod))
    assert again == pod


@settings(max_examples=120, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(strategies.broken_pods())
def test_generated_broken_pods_are_accepted_or_refused_with_reasons(value: dict[str, Any]) -> None:
    try:
        decode.decode_pod(json.dumps(value), in_namespace)
    except InvalidObject as refused:
        assert refused.errors
        for error in refused.errors:
            assert error.line == 1 or error.kind is ErrorKind.DECODE
            assert error.message


@settings(max_examples=150)
@given(strategies.json_values())
def test_any_json_value_as_a_pod_decodes_or_is_refused(value: Any) -> None:
    shaped = {"kind": "Pod", "apiVersion": "v1", "spec": value, "metadata": value}
    for candidate in (value, shaped, {**shaped, "spec": {"containers": [value], "volumes": value}}):
        try:
            decode.decode_pod(json.dumps(candidate), in_namespace)
        except InvalidObject as refused:
            assert str(refused)


@settings(max_examples=150)
@given(st.text(alphabet="{}[]:,-&*!|>'\"# \n\tabc<1\\u~", max_size=60) | st.binary(max_size=40))
def test_any_text_decodes_or_is_refused(text: str | bytes) -> None:
    try:
        decode.decode_pod(text)
    except InvalidObject as refused:
        assert str(refused)
