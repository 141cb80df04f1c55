"""The first objects of a cluster keep to the rules of their kinds."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.allocation.pool import ports
from controlplane.allocation.services import Services
from controlplane.bootstrap import objects, roles
from kube import structure
from kube.validation import policies, services

pytestmark = pytest.mark.pure
CHECKS = {
    "Role": policies.role, "ClusterRole": policies.cluster_role,
    "RoleBinding": policies.role_binding, "ClusterRoleBinding": policies.cluster_role_binding,
}  # fmt: skip
FIRST: tuple[tuple[str, dict[str, Any]], ...] = (
    *(("cluster_v1.Namespace", item) for item in objects.namespaces()),
    *(("scheduling_v1.PriorityClass", item) for item in objects.priority_classes()),
    ("cluster_v1.Service", objects.kubernetes_service("10.96.0.0/12")),
    ("cluster_v1.Endpoints", objects.kubernetes_endpoints(["10.0.0.5"], 6443)),
    ("discovery_v1.EndpointSlice", objects.kubernetes_endpoint_slice(["10.0.0.5"], 6443)),
    ("core_v1.ConfigMap", objects.root_ca("default", "PEM")),
)


@pytest.mark.parametrize(("type_name", "item"), FIRST)
def test_every_object_has_the_fields_of_its_kind(type_name: str, item: dict[str, Any]) -> None:
    assert structure.check(item, type_name).errors == ()


def test_roles_and_bindings_have_the_fields_and_keep_to_the_rules_of_their_kinds() -> None:
    for item in roles.objects():
        assert structure.check(item, f"rbac_v1.{item['kind']}").errors == ()
        assert tuple(CHECKS[item["kind"]](item)) == ()


def test_the_service_has_the_first_address_and_can_hold_it() -> None:
    service = objects.kubernetes_service("10.96.0.0/12")
    assert service["spec"]["clusterIP"] == "10.96.0.1"
    assert services.service(service) == ()
    assert Services("10.96.0.0/12", ports(), lambda: 0).hold_all([service]) == []
    assert services.endpoints(objects.kubernetes_endpoints(["10.0.0.5"], 6443)) == ()
    assert services.endpoint_slice(objects.kubernetes_endpoint_slice(["10.0.0.5", "fd00::1"], 6443)) == ()


def test_the_system_priority_classes_are_allowed() -> None:
    for item in objects.priority_classes():
        assert policies.priority_class(item) == ()
