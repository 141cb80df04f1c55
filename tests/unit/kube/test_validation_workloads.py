"""Services, endpoints, RBAC and the classes: what is refused, where, and in which words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from kube.errors import FieldError
from kube.validation import policies, services

pytestmark = pytest.mark.pure
Json = dict[str, Any]


def texts(found: Sequence[FieldError]) -> list[str]:
    return [str(error) for error in found]


def service(*listed: Json, **spec: Any) -> Json:
    ports = list(listed) or [{"port": 80, "protocol": "TCP"}]
    return {"spec": {"type": "ClusterIP", "sessionAffinity": "None", "ports": ports, **spec}}


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"type": "Other"}, 'spec.type: Unsupported value: "Other": supported values: "ClusterIP", '
         '"ExternalName", "LoadBalancer", "NodePort"'),
        ({"ports": []}, "spec.ports: Required value"),
        ({"clusterIP": "None", "type": "NodePort"},
         'spec.clusterIPs[0]: Invalid value: "None": may not be set to \'None\' for NodePort services'),
        ({"clusterIP": "10.0.0.300", "clusterIPs": ["10.0.0.300"]},
         'spec.clusterIPs[0]: Invalid value: "10.0.0.300": must be a valid IP address'),
        ({"type": "ExternalName"}, "spec.externalName: Required value"),
        ({"sessionAffinity": "Some"}, "spec.sessionAffinity: Unsupported value"),
        ({"externalIPs": ["127.0.0.1"]}, "spec.externalIPs[0]: Invalid value: \"127.0.0.1\": may not be "
         "in the loopback range"),
        ({"externalTrafficPolicy": "Local"}, "may only be set for externally-accessible services"),
        ({"selector": {"a b": "c"}}, "spec.selector: Invalid value: \"a b\": name part must consist of"),
    ],
)  # fmt: skip
def test_a_service_is_refused_by_field(spec: Json, message: str) -> None:
    found = texts(services.service(service(**spec)))
    assert any(message in text for text in found), found


@pytest.mark.parametrize(
    ("ports", "message"),
    [
        ([{"port": 0, "protocol": "TCP"}],
         "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive"),
        ([{"port": 1, "protocol": "ICMP"}], 'spec.ports[0].protocol: Unsupported value: "ICMP"'),
        ([{"port": 1, "protocol": "TCP", "targetPort": "UPPER"}], "spec.ports[0].targetPort: Invalid value"),
        ([{"port": 1, "protocol": "TCP"}, {"port": 2, "protocol": "TCP", "name": "b"}],
         "spec.ports[0].name: Required value"),
        ([{"port": 1, "protocol": "TCP", "name": "a"}, {"port": 2, "protocol": "TCP", "name": "a"}],
         'spec.ports[1].name: Duplicate value: "a"'),
        ([{"port": 1, "protocol": "TCP", "name": "a"}, {"port": 1, "protocol": "TCP", "name": "b"}],
         "spec.ports[1]: Duplicate value"),
        ([{"port": 1, "protocol": "TCP", "nodePort": 30000}],
         "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"),
    ],
)  # fmt: skip
def test_a_services_ports_are_refused_by_field(ports: list[Json], message: str) -> None:
    found = texts(services.service(service(*ports)))
    assert any(message in text for text in found), found


def test_ordinary_services_pass() -> None:
    for item in (
        service(),
        service(clusterIP="None", clusterIPs=["None"], ports=[]),
        service(type="ExternalName", externalName="example.com.", ports=[]),
        service({"port": 1, "protocol": "TCP", "targetPort": "http", "nodePort": 30000}, type="NodePort"),
    ):
        assert texts(services.service(item)) == []


def test_a_cluster_address_stays() -> None:
    old = service(clusterIP="10.96.0.5", clusterIPs=["10.96.0.5"])
    new = service(clusterIP="10.96.0.6", clusterIPs=["10.96.0.6"])
    assert texts(services.service_update(new, old)) == [
        'spec.clusterIPs[0]: Invalid value: ["10.96.0.6"]: may not change once set'
    ]
    assert services.service_update(old, old) == ()
    assert services.service_update(service(type="ExternalName", externalName="a.b"), old) == ()


def test_endpoints_and_slices_need_addresses_that_can_be_reached() -> None:
    subset = {"addresses": [{"ip": "127.0.0.1"}], "ports": [{"port": 70000, "protocol": "TCP"}]}
    found = texts(services.endpoints({"subsets": [subset, {}]}))
    assert "may not be in the loopback range" in found[0]
    assert found[1].startswith("subsets[0].ports[0].port: Invalid value: 70000")
    assert found[2] == "subsets[1]: Required value: must specify `addresses` or `notReadyAddresses`"
    wrong = {"addressType": "IPv4", "endpoints": [{"addresses": ["fe80::1"]}, {"addresses": []}],
             "ports": [{"name": "a", "protocol": "TCP"}, {"name": "a", "protocol": "TCP"}]}  # fmt: skip
    assert texts(services.endpoint_slice(wrong)) == [
        'endpoints[0].addresses[0]: Invalid value: "fe80::1": must be a valid IPv4 address',
        "endpoints[1].addresses: Required value: must contain at least 1 address",
        'ports[1].name: Duplicate value: "a"',
    ]
    good = {"addressType": "IPv6", "endpoints": [{"addresses": ["fd00::1"]}]}
    assert texts(services.endpoint_slice(good)) == []
    assert texts(services.endpoint_slice_update(wrong, good))


def test_rules_say_what_they_are_about() -> None:
    rules = [
        {"verbs": [], "apiGroups": [""], "resources": ["pods"]},
        {"verbs": ["get"]},
        {"verbs": ["get"], "nonResourceURLs": ["/x"], "resources": ["pods"]},
    ]
    assert texts(policies.cluster_role({"rules": rules})) == [
        "rules[0].verbs: Required value: verbs must contain at least one value",
        "rules[1].apiGroups: Required value: resource rules must supply at least one api group",
        "rules[1].resources: Required value: resource rules must supply at least one resource",
        'rules[2].nonResourceURLs: Invalid value: ["/x"]: rules cannot apply to both regular resources and '
        "non-resource URLs",
    ]
    url = {"rules": [{"verbs": ["get"], "nonResourceURLs": ["/x"]}]}
    assert texts(policies.cluster_role(url)) == []
    assert "namespaced rules cannot" in texts(policies.role(url))[0]


def test_a_binding_names_a_role_and_known_kinds_of_subjects_for_good() -> None:
    ref = {"apiGroup": policies.RBAC, "kind": "ClusterRole", "name": "view"}
    subjects = [
        {"kind": "ServiceAccount", "name": "bot"},
        {"kind": "User", "name": "ann"},
        {"kind": "Robot", "name": "x", "apiGroup": policies.RBAC},
    ]
    good: Json = {"roleRef": ref, "subjects": [{"kind": "User", "name": "ann", "apiGroup": policies.RBAC}]}
    assert texts(policies.cluster_role_binding(good)) == []
    found = texts(policies.cluster_role_binding({"roleRef": ref, "subjects": subjects}))
    assert found[0] == "subjects[0].namespace: Required value"
    assert found[1].startswith('subjects[1].apiGroup: Unsupported value: ""')
    assert found[2].startswith('subjects[2].kind: Unsupported value: "Robot"')
    role = {**good, "roleRef": {**ref, "kind": "Role"}}
    assert "roleRef.kind: Unsupported value" in texts(policies.cluster_role_binding(role))[0]
    assert texts(policies.role_binding(role)) == []
    assert "cannot change roleRef" in texts(policies.binding_update(role, good))[0]


@pytest.mark.parametrize(
    ("check", "value", "message"),
    [
        (policies.priority_class, {"metadata": {"name": "system-mine"}, "value": 1},
         "metadata.name: Forbidden: priority class names with 'system-' prefix are reserved"),
        (policies.priority_class, {"metadata": {"name": "huge"}, "value": 1_000_000_001},
         "value: Forbidden: maximum allowed value of a user defined priority is 1000000000"),
        (policies.runtime_class, {"handler": "Up"}, 'handler: Invalid value: "Up"'),
        (policies.runtime_class, {"handler": "runc", "overhead": {"podFixed": {"cpu": "-1"}}},
         "overhead.podFixed[cpu]: Invalid value"),
        (policies.lease, {"spec": {"leaseDurationSeconds": 0}},
         "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0"),
    ],
)  # fmt: skip
def test_classes_and_leases_are_refused_by_field(
    check: Callable[[Json], Sequence[FieldError]], value: Json, message: str
) -> None:
    assert message in texts(check(value))[0]


def test_what_pods_rely_on_does_not_change() -> None:
    system = {"metadata": {"name": "system-node-critical"}, "value": 2_000_001_000}
    assert texts(policies.priority_class(system)) == []
    assert texts(policies.priority_class_update({"value": 2}, {"value": 1})) == [
        "value: Forbidden: may not be changed in an update."
    ]
    assert texts(policies.runtime_class_update({"handler": "b"}, {"handler": "a"}))
