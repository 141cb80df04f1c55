"""What a cluster starts with against what is stored: which records to create or change (pure).

At every start the same: what is missing is created, the addresses of the API server and the CA are put right,
roles and bindings get back what they lack. Everything else that somebody changed stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from controlplane.api import codec
from controlplane.api.registry.model import Registry
from controlplane.bootstrap import objects, roles
from controlplane.store.model import Create, Operation, Update
from kube import rules
from kube.client.model import JsonObject
from kube.client.resources import Resource, of_kind

DEFAULT_ACCOUNT = "default"
_RBAC = frozenset(("Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding"))
# What is ours to say about an object that exists already.
_OURS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "Endpoints": (("subsets",),),
    "EndpointSlice": (("addressType",), ("endpoints",), ("ports",)),
    "ConfigMap": (("data",),),
    "Service": (("spec", "ports"),),
}

Find = Callable[[Resource, str, str], JsonObject | None]
"""The object of that namespace and name as it is stored now, with its resourceVersion."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """`addresses` and `port` are where the API server is reached from pods; `ca` is PEM."""

    service_network: str
    addresses: tuple[str, ...]
    port: int
    ca: str


def wanted(cluster: Cluster) -> list[JsonObject]:
    """Every object, namespaces first."""
    return [
        *objects.namespaces(),
        *roles.objects(),
        *objects.priority_classes(),
        *reachable(cluster),
        *(_account(namespace) for namespace in objects.NAMESPACES),
        *(objects.root_ca(namespace, cluster.ca) for namespace in objects.NAMESPACES),
        objects.client_ca(cluster.ca),
    ]


def reachable(cluster: Cluster) -> list[JsonObject]:
    """By which pods reach the API server."""
    port, addresses = cluster.port, list(cluster.addresses)
    return [
        objects.kubernetes_service(cluster.service_network, port),
        objects.kubernetes_endpoints(addresses, port),
        objects.kubernetes_endpoint_slice(addresses, port),
    ]


def operations(
    registry: Registry,
    find: Find,
    objects_wanted: Iterable[JsonObject],
    now: datetime,
    new_uid: Callable[[], str],
) -> list[Operation]:
    """The writes after which all of it is there; none when it is already."""
    found: list[Operation] = []
    for item in objects_wanted:
        resource = of_kind(item["apiVersion"], item["kind"])
        kind = registry.find(resource.group, resource.version, resource.plural)
        if kind is None:
            raise KeyError(f"{resource.qualified} is not served")
        namespace, name = item["metadata"].get("namespace", ""), item["metadata"]["name"]
        existing = find(resource, namespace, name)
        key = kind.key(namespace, name)
        if existing is None:
            value = rules.created(resource, item, namespace, rules.Moment(now, new_uid()))
            if "status" in item:
                value["status"] = item["status"]
            kind.default(value)
            found.append(Create(key, codec.to_stored(kind, value)))
        elif (changed := _changed(item, existing)) is not None:
            version = int(existing["metadata"]["resourceVersion"])
            found.append(Update(key, codec.to_stored(kind, changed), version))
    return found


def _changed(item: JsonObject, existing: JsonObject) -> JsonObject | None:
    """None when `existing` says all that is ours to say."""
    if item["kind"] in _RBAC:
        return roles.reconcile(item, existing)
    changed = existing
    for path in _OURS.get(item["kind"], ()):
        if _at(existing, path) != _at(item, path):
            changed = _put(changed, path, _at(item, path))
    return None if changed is existing else changed


def _at(value: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        value = (value or {}).get(name)
    return value


def _put(value: JsonObject, path: tuple[str, ...], content: Any) -> JsonObject:
    """A changed copy; what is not changed is shared."""
    name, *rest = path
    return {**value, name: _put(value.get(name) or {}, tuple(rest), content) if rest else content}


def _account(namespace: str) -> JsonObject:
    metadata = {"name": DEFAULT_ACCOUNT, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}
