"""Endpoints: the addresses behind each Service that has a selector, in the form of before EndpointSlices.

One object per Service, named like it. Addresses with the same ports share a subset, and those that are not
ready stand apart in it; of more than 1000 addresses the ready ones stay, and an annotation says that some are
missing (kubernetes 1.36, pkg/controller/endpoint and pkg/api/v1/endpoints).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from controlplane.controllers import pods as p
from controlplane.controllers.base import DONE, Result, View, Writer, key_of
from controlplane.controllers.endpointslice import address_of, ports_of
from kube import status
from kube.client import JsonObject
from kube.client import resources as r
from kube.client.resources import Resource

MOST_ADDRESSES = 1000
OVER_CAPACITY = "endpoints.kubernetes.io/over-capacity"
MANAGED_LABEL = "endpoints.kubernetes.io/managed-by"
MANAGER = "endpoint-controller"
HEADLESS_LABEL = "service.kubernetes.io/headless"


def subsets(service: JsonObject, pods: Iterable[JsonObject]) -> tuple[list[JsonObject], bool]:
    """(subsets, whether addresses had to be left out); the same for the same pods in any order (pure)."""
    wants_all = bool(service["spec"].get("publishNotReadyAddresses"))
    family = (service["spec"].get("ipFamilies") or ["IPv4"])[0]
    found: list[tuple[bool, JsonObject, list[JsonObject]]] = []
    for pod in pods:
        address = address_of(pod, family)
        if address is None or p.is_over(pod) or ("deletionTimestamp" in pod["metadata"] and not wants_all):
            continue
        ports = [_port(port) for port in ports_of(service, pod)]
        if ports or not service["spec"].get("ports"):
            found.append((wants_all or p.is_ready(pod), _address(service, pod, address), ports))
    # The ready ones first, so that it is the others that are left out.
    found.sort(key=lambda item: (not item[0], item[1]["ip"], item[1]["targetRef"]["uid"]))
    kept = found[:MOST_ADDRESSES]
    groups: dict[bytes, JsonObject] = {}
    for is_ready, entry, ports in kept:
        ports.sort(key=lambda port: (port.get("name", ""), port["port"], port["protocol"]))
        group = groups.setdefault(msgspec.json.encode(ports), {"ports": ports})
        group.setdefault("addresses" if is_ready else "notReadyAddresses", []).append(entry)
    return [_ordered(groups[mark]) for mark in sorted(groups)], len(found) > len(kept)


def _ordered(group: JsonObject) -> JsonObject:
    fields = ("addresses", "notReadyAddresses", "ports")
    return {field: group[field] for field in fields if group.get(field)}


def _address(service: JsonObject, pod: JsonObject, address: str) -> JsonObject:
    found, spec = pod["metadata"], pod["spec"]
    target = {"kind": "Pod", "namespace": found["namespace"], "name": found["name"], "uid": found["uid"]}
    value: JsonObject = {"ip": address, "targetRef": target}
    if spec.get("nodeName"):
        value["nodeName"] = spec["nodeName"]
    if spec.get("hostname") and spec.get("subdomain") == service["metadata"]["name"]:
        value["hostname"] = spec["hostname"]
    return value


def _port(port: JsonObject) -> JsonObject:
    """An unnamed port has no name here, where a slice has an empty one."""
    return {field: value for field, value in port.items() if value != ""}


def wanted(service: JsonObject, pods: Sequence[JsonObject], old: JsonObject | None) -> JsonObject | None:
    """The object as it should be; None when `old` is that (pure)."""
    found, is_cut = subsets(service, pods)
    labels = {**p.labels_of(service), MANAGED_LABEL: MANAGER}
    if service["spec"].get("clusterIP") == "None":
        labels[HEADLESS_LABEL] = ""
    before = (old or {}).get("metadata") or {}
    annotations = {
        key: text for key, text in (before.get("annotations") or {}).items() if key != OVER_CAPACITY
    }
    if is_cut:
        annotations[OVER_CAPACITY] = "truncated"
    metadata = {
        **before, "name": service["metadata"]["name"], "namespace": service["metadata"]["namespace"],
        "labels": labels,
    }  # fmt: skip
    metadata.pop("annotations", None)
    if annotations:
        metadata["annotations"] = annotations
    value = {**(old or {}), "metadata": metadata, "subsets": found}
    if old is not None and {**old, "subsets": old.get("subsets") or []} == value:
        return None
    return value


class EndpointsController:
    name = "endpoint-controller"
    reads = (r.SERVICES, r.PODS, r.ENDPOINTS)
    writes = (r.ENDPOINTS,)

    def keys(self, resource: Resource, value: JsonObject, view: View) -> Iterable[str]:
        if resource in (r.SERVICES, r.ENDPOINTS):
            return (key_of(value),)
        labels = p.labels_of(value)
        services = view.in_namespace(r.SERVICES, value["metadata"]["namespace"])
        return [key_of(item) for item in services if p.selector_of(item).matches(labels)]

    async def reconcile(self, key: str, view: View, api: Writer) -> Result:
        service, old = view.get(r.SERVICES, key), view.get(r.ENDPOINTS, key)
        if service is None or "deletionTimestamp" in service["metadata"]:
            # One without our label was made by hand, and is nobody's business but its maker's.
            if service is None and old is not None and p.labels_of(old).get(MANAGED_LABEL) == MANAGER:
                await _delete(old, api)
            return DONE
        if not service["spec"].get("selector") or service["spec"].get("type") == "ExternalName":
            return DONE
        selector = p.selector_of(service)
        near = view.in_namespace(r.PODS, service["metadata"]["namespace"])
        value = wanted(service, [pod for pod in near if selector.matches(p.labels_of(pod))], old)
        if value is None:
            return DONE
        if old is None:
            await api.create(r.ENDPOINTS, value)
        else:
            await api.update(r.ENDPOINTS, value)
        return DONE


async def _delete(found: JsonObject, api: Writer) -> None:
    try:
        await api.delete(r.ENDPOINTS, found)
    except status.NotFound:
        return
