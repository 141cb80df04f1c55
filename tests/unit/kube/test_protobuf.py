"""Protobuf bodies: recorded from a Go client, made by hand, every kind there and back, and broken ones."""

from __future__ import annotations

import base64
import time
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kube import protobuf, schema, structure
from kube.protobuf import ProtobufError, UnknownKind, tables
from kube.schema import TypeRef
from tests.unit.kube.kubectl_bodies import BODIES

pytestmark = pytest.mark.pure

Json = dict[str, Any]
NO_FORM = ("apiextensions_v1",)
NO_BODY = ("APIGroup", "APIGroupList", "APIResourceList", "APIVersions")
KINDS = sorted(
    f"{file}.{name}"
    for file in schema.files()
    for name, fact in schema.load_file(file).items()
    if fact.gvk and file not in NO_FORM and name not in NO_BODY
)
# What a small cluster serves, with the reviews and the bodies of subresources.
SERVED = """
    v1/Namespace v1/Node v1/Pod v1/Event v1/ConfigMap v1/Secret v1/ServiceAccount v1/Service v1/Endpoints
    v1/ReplicationController v1/Binding apps/v1/Deployment apps/v1/ReplicaSet coordination.k8s.io/v1/Lease
    discovery.k8s.io/v1/EndpointSlice events.k8s.io/v1/Event rbac.authorization.k8s.io/v1/Role
    rbac.authorization.k8s.io/v1/ClusterRole rbac.authorization.k8s.io/v1/RoleBinding
    rbac.authorization.k8s.io/v1/ClusterRoleBinding scheduling.k8s.io/v1/PriorityClass
    node.k8s.io/v1/RuntimeClass policy/v1/Eviction autoscaling/v1/Scale authentication.k8s.io/v1/TokenRequest
    authentication.k8s.io/v1/TokenReview authentication.k8s.io/v1/SelfSubjectReview
    authorization.k8s.io/v1/SubjectAccessReview authorization.k8s.io/v1/SelfSubjectAccessReview
    authorization.k8s.io/v1/LocalSubjectAccessReview authorization.k8s.io/v1/SelfSubjectRulesReview
""".split()  # noqa: SIM905


# By hand


def field(number: int, data: bytes | str) -> bytes:
    """A length-delimited field, for bodies small enough to write down."""
    raw = data.encode() if isinstance(data, str) else data
    assert number < 16 and len(raw) < 128
    return bytes([number << 3 | 2, len(raw)]) + raw


def body(api_version: str, kind: str, message: bytes) -> bytes:
    return b"k8s\0" + field(1, field(1, api_version) + field(2, kind)) + field(2, message)


def pod(spec: bytes) -> bytes:
    return body("v1", "Pod", field(2, spec))


def container(data: bytes) -> bytes:
    return pod(field(2, data))


def spec_of(data: bytes) -> Json:
    spec: Json = protobuf.decode(data)["spec"]
    return spec


@pytest.mark.parametrize("kind", BODIES)
def test_bodies_that_kubectl_sent_are_what_its_flags_asked_for(kind: str) -> None:
    sent, wanted = BODIES[kind]
    assert protobuf.decode(sent) == wanted


@pytest.mark.parametrize("kind", BODIES)
def test_written_as_go_writes_they_are_the_same_bytes(kind: str) -> None:
    sent, wanted = BODIES[kind]
    assert protobuf.encode(wanted, go_zeros=True).hex() == sent.hex()


def test_a_zero_behind_a_pointer_is_kept_and_any_other_dropped() -> None:
    # terminationGracePeriodSeconds 4, nodeName 10, hostNetwork 11, securityContext 14
    spec = spec_of(pod(b"\x20\x00" + field(10, "") + b"\x58\x00" + field(14, b"")))
    assert spec == {"terminationGracePeriodSeconds": 0, "securityContext": {}}


def test_fields_of_an_inline_message_stand_in_the_outer_object() -> None:
    # Volume: name 1, volumeSource 2 (emptyDir 2, secret 6)
    empty_dir = field(1, field(1, "tmp") + field(2, field(2, b"")))
    secret = field(1, field(1, "s") + field(2, field(6, field(1, "token") + b"\x18\x80\x02")))
    assert spec_of(pod(empty_dir + secret))["volumes"] == [
        {"name": "tmp", "emptyDir": {}},
        {"name": "s", "secret": {"secretName": "token", "defaultMode": 256}},
    ]
    # ConfigMapKeySelector: localObjectReference 1, key 2
    key = field(1, field(1, "settings")) + field(2, "mode")
    env = field(7, field(1, "MODE") + field(3, field(3, key)))
    assert spec_of(container(env))["containers"][0]["env"] == [
        {"name": "MODE", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "mode"}}}
    ]


def test_quantities_times_and_int_or_strings_are_written_as_json_writes_them() -> None:
    requests = field(8, field(2, field(1, "cpu") + field(2, field(1, "250m"))))
    tcp = field(10, field(1, field(3, field(1, b"\x08\x01\x10\x00" + field(3, "http")))))
    http = field(11, field(1, field(2, field(2, b"\x08\x00\x10\x50\x1a\x00"))))
    found = spec_of(container(requests + tcp + http))["containers"][0]
    assert found["resources"] == {"requests": {"cpu": "250m"}}
    assert found["livenessProbe"] == {"tcpSocket": {"port": "http"}}
    assert found["readinessProbe"] == {"httpGet": {"port": 80}}
    # creationTimestamp 8 of ObjectMeta: 2023-11-14T22:13:20Z, whose nanoseconds JSON does not hold
    created = field(1, field(8, b"\x08\x80\xe2\xcf\xaa\x06\x10\x05"))
    assert protobuf.decode(body("v1", "Pod", created))["metadata"] == {
        "creationTimestamp": "2023-11-14T22:13:20Z"
    }


def test_a_renewed_lease_keeps_its_microseconds() -> None:
    # LeaseSpec: renewTime 4 is a MicroTime
    spec = field(2, field(4, b"\x08\x80\xe2\xcf\xaa\x06\x10\xe8\x07"))
    lease = protobuf.decode(body("coordination.k8s.io/v1", "Lease", spec))
    assert lease["spec"] == {"renewTime": "2023-11-14T22:13:20.000001Z"}


def test_negative_numbers_and_raw_json_come_out_as_they_are() -> None:
    # ControllerRevision: data 2 (raw 1), revision 3
    revision = b"\x18" + b"\xff" * 9 + b"\x01"
    data = field(2, field(1, b'{"spec":{"a":[1,null]}}'))
    found = protobuf.decode(body("apps/v1", "ControllerRevision", data + revision))
    assert found["data"] == {"spec": {"a": [1, None]}} and found["revision"] == -1


def test_extra_values_of_a_user_are_lists() -> None:
    # TokenReviewStatus.user 2; UserInfo.extra 4: {scopes: ExtraValue{items}}
    user = field(4, field(1, "scopes") + field(2, field(1, "a") + field(1, "b")))
    review = protobuf.decode(body("authentication.k8s.io/v1", "TokenReview", field(3, field(2, user))))
    assert review["status"] == {"user": {"extra": {"scopes": ["a", "b"]}}}


def test_a_message_in_two_pieces_is_one() -> None:
    first, second = field(1, field(1, "web")), field(1, field(3, "shop"))
    assert protobuf.decode(body("v1", "Pod", first + second))["metadata"] == {
        "name": "web", "namespace": "shop",
    }  # fmt: skip


def test_fields_of_a_newer_client_are_skipped() -> None:
    newer = b"\xfa\x3f\x03abc" + b"\xf8\x3f\x7f" + b"\xf9\x3f" + bytes(8) + b"\xfd\x3f" + bytes(4)
    assert spec_of(pod(newer + field(10, "n1"))) == {"nodeName": "n1"}


def test_packed_numbers_are_read_as_well() -> None:
    # PodSecurityContext.supplementalGroups 4
    one_by_one, packed = field(14, b"\x20\x05\x20\x06"), field(14, field(4, b"\x05\x06"))
    for groups in (one_by_one, packed):
        assert spec_of(pod(groups))["securityContext"] == {"supplementalGroups": [5, 6]}


def test_delete_options_are_read_under_every_groups_version() -> None:
    # gracePeriodSeconds 1, preconditions 2 (uid 1), propagationPolicy 4
    options = b"\x08\x00" + field(2, field(1, "u-1")) + field(4, "Foreground")
    assert protobuf.decode(body("apps/v1", "DeleteOptions", options)) == {
        "apiVersion": "apps/v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0,
        "preconditions": {"uid": "u-1"}, "propagationPolicy": "Foreground",
    }  # fmt: skip


# What cannot be read


def refusal(data: bytes) -> ProtobufError:
    with pytest.raises(ProtobufError) as caught:
        protobuf.decode(data)
    return caught.value


@pytest.mark.parametrize(
    ("data", "path"),
    [
        (pod(field(2, b"\x0a\x05ab")), "spec.containers[0].name"),
        (
            pod(field(2, field(1, "a")) + field(2, field(6, b"\x18"))),
            "spec.containers[1].ports[0].containerPort",
        ),
        (pod(field(2, field(1, b"\xff\xfe"))), "spec.containers[0].name"),
        (pod(b"\x50\x01"), "spec.nodeName"),
        (pod(b"\x5a\x01x"), "spec.hostNetwork"),
        (pod(field(7, field(1, "zone") + b"\x12\x09x")), "spec.nodeSelector.value"),
        (
            body("v1", "Pod", field(1, field(8, b"\x08" + b"\xff" * 8 + b"\x7f"))),
            "metadata.creationTimestamp",
        ),
        (body("apps/v1", "ControllerRevision", field(2, field(1, b"{"))), "data"),
    ],
)
def test_a_field_that_cannot_be_read_is_named(data: bytes, path: str) -> None:
    assert refusal(data).path == path


@pytest.mark.parametrize(
    "data", [b"", b"k8s", b"{}", b"k8s\0\xff", b"k8s\0\x0a\x7f", b"k8s\0\x0b", b"k8s\0\x00"]
)
def test_what_is_no_envelope_is_refused(data: bytes) -> None:
    assert refusal(data).path == ""


def test_an_unknown_kind_is_said_in_the_words_of_kubernetes() -> None:
    with pytest.raises(UnknownKind, match='no kind "Widget" is registered for version "v1"'):
        protobuf.decode(body("v1", "Widget", b""))


def test_a_body_that_names_no_kind_is_of_the_kind_of_its_path() -> None:
    nameless = b"k8s\0" + field(2, field(1, field(1, "web")))
    assert protobuf.decode(nameless, ("v1", "Pod"))["metadata"] == {"name": "web"}
    with pytest.raises(UnknownKind):
        protobuf.decode(nameless)


def test_an_object_that_does_not_fit_is_not_written_and_says_where() -> None:
    with pytest.raises(ProtobufError) as caught:
        protobuf.encode(
            {"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [{"name": "a"}, {"name": 5}]}}
        )
    assert caught.value.path == "spec.containers[1].name"


# Every kind


def test_every_served_kind_has_a_form() -> None:
    for gvk in SERVED:
        api_version, _, kind = gvk.rpartition("/")
        type_name = schema.find_kind(api_version, kind)
        assert type_name in KINDS, gvk


@pytest.mark.parametrize("type_name", KINDS)
def test_every_field_of_every_kind_has_a_number(type_name: str) -> None:
    seen: set[str] = set()
    todo = [type_name]
    while todo:
        name = todo.pop()
        if name in seen:
            continue
        seen.add(name)
        found = {found.name for found in _flat(tables.message(name))}
        facts = schema.load(name).fields
        assert found == set(facts) - {"apiVersion", "kind"} or _own_kind(name, found, set(facts)), name
        todo += [fact.type.name for fact in facts.values() if "." in fact.type.name]


def _own_kind(name: str, found: set[str], facts: set[str]) -> bool:
    # Of types that are no kinds, apiVersion and kind are fields like others (ObjectReference).
    return not schema.load(name).gvk and found == facts


def _flat(message: tables.Message) -> list[tables.Field]:
    numbers = [item.number for item in message.fields]
    assert len(set(numbers)) == len(numbers) and all(number > 0 for number in numbers)
    flat: list[tables.Field] = []
    for item in message.fields:
        flat += [item] if item.inline is None else _flat(item.inline)
    return flat


_VALUES: dict[str, st.SearchStrategy[Any]] = {
    "string": st.sampled_from(("a", "ümläut", "x" * 200)),
    "bool": st.just(True),
    "int32": st.sampled_from((1, -1, 127, 128, 2**31 - 1, -(2**31))),
    "int64": st.sampled_from((1, -1, 300, 2**63 - 1, -(2**63))),
    "double": st.sampled_from((0.5, -1e300)),
    "bytes": st.binary(min_size=1, max_size=5).map(lambda raw: base64.b64encode(raw).decode()),
    "Quantity": st.sampled_from(("250m", "1Gi", "128974848")),
    "Time": st.sampled_from(("1970-01-01T00:00:01Z", "2026-02-28T23:59:59Z", "0001-01-01T00:00:01Z")),
    "MicroTime": st.sampled_from(("2026-02-28T23:59:59.000001Z", "1969-12-31T23:59:59.999999Z")),
    "IntOrString": st.sampled_from((1, -1, 80, "http", "25%")),
    "object": st.sampled_from(({"f:a": {}}, {"a": [1, {"b": None}]})),
    "any": st.sampled_from((5, "x", {"a": 1})),
}
_ZEROS = {"string": "", "bool": False, "int32": 0, "int64": 0, "Quantity": "0", "IntOrString": 0}


@st.composite
def _objects(draw: st.DrawFn, type_name: str, depth: int = 0) -> Json:
    """An object as Go would print it: required fields, and of the others some, the deeper the fewer."""
    fields = [item for item in _flat(tables.message(type_name)) if item.name]
    needed = [item for item in fields if schema.load(type_name).fields[item.name].required]
    most = max(0, 4 - depth)
    chosen = draw(st.lists(st.sampled_from(fields), max_size=most)) if fields and most else []
    made: Json = {}
    for item in {item.name: item for item in (*needed, *chosen)}.values():
        value = draw(_value(item.type, depth, zero=item.keep and item not in needed))
        if item.keep or value not in ({}, []):
            made[item.name] = value
    return made


def _value(ref: TypeRef, depth: int, *, zero: bool = False) -> st.SearchStrategy[Any]:
    if ref.wrap:
        inner = _value(ref.inner(), depth + 1)
        if ref.wrap[0] == "map":
            return st.dictionaries(st.sampled_from(("", "a", "b.example/c")), inner, min_size=1, max_size=2)
        return st.lists(inner, min_size=1, max_size=2)
    if ref.is_scalar:
        values = _VALUES[ref.name]
        return values | st.just(_ZEROS[ref.name]) if zero and ref.name in _ZEROS else values
    return _objects(ref.name, depth + 1)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_object_comes_back_as_it_was_written_also_by_go(data: st.DataObject) -> None:
    type_name = data.draw(st.sampled_from(KINDS))
    made = data.draw(_objects(type_name))
    assert not structure.check(made, type_name).errors
    assert protobuf.decode_message(protobuf.encode_message(made, type_name), type_name) == made
    as_go = protobuf.decode_message(protobuf.encode_message(made, type_name, go_zeros=True), type_name)
    assert _without_zeros(as_go, type_name) == _without_zeros(made, type_name)


def _without_zeros(value: Any, type_name: str) -> Any:
    """Go writes values nobody set, also required ones; an object where they were not set is the same."""
    kept: Json = {}
    for field_ in _flat(tables.message(type_name)):
        item, inner = value.get(field_.name), field_.type.name
        if item is not None and "." in inner:
            item = _each(item, field_.type, inner)
        if item is not None and (field_.pointer or item not in ("", 0, False, {}, "0")):
            kept[field_.name] = item
    return kept


def _each(item: Any, ref: TypeRef, inner: str) -> Any:
    if ref.wrap == ("list",):
        return [_without_zeros(each, inner) for each in item]
    if ref.wrap:
        return {name: _without_zeros(each, inner) for name, each in item.items()}
    return _without_zeros(item, inner)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(BODIES)), st.data())
def test_a_damaged_body_is_read_or_refused_never_anything_else(kind: str, data: st.DataObject) -> None:
    sent = bytearray(BODIES[kind][0])
    for at in data.draw(st.lists(st.integers(4, len(sent) - 1), max_size=4)):
        sent[at] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(4, len(sent)))
    try:
        found = protobuf.decode(bytes(sent[:cut]))
    except ProtobufError as error:
        assert str(error).startswith("cannot read protobuf")
    else:
        assert set(found) >= {"apiVersion", "kind"}


def test_a_deployment_of_an_ordinary_size_is_read_in_well_under_a_millisecond() -> None:
    sent = BODIES["Deployment"][0]
    protobuf.decode(sent)
    spent = []
    for _ in range(20):
        before = time.perf_counter()
        protobuf.decode(sent)
        spent.append(time.perf_counter() - before)
    assert min(spent) < 0.001
