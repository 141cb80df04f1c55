"""EndpointSlices: the addresses behind each Service that has a selector.

Endpoints stay in the slice they are in, so that a change touches as few slices as it can; a slice holds at
most 100. Pods whose named ports resolve differently are in slices of their own. A Service without a pod has
one empty slice, by which readers know that it was looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from controlplane.controllers import pods as p
from controlplane.controllers.base import DONE, Result, View, Writer, key_of
from kube import status
from kube.client import JsonObject
from kube.client import resources as r
from kube.client.resources import Resource

MOST_ENDPOINTS = 100
SERVICE_LABEL = "kubernetes.io/service-name"
MANAGED_LABEL = "endpointslice.kubernetes.io/managed-by"
MANAGER = "endpointslice-controller.k8s.io"
HEADLESS_LABEL = "service.kubernetes.io/headless"
ZONE_LABEL = "topology.kubernetes.io/zone"


@dataclass(frozen=True, slots=True)
class Plan:
    """Bodies to create and to write over what is there, slices to delete."""

    create: tuple[JsonObject, ...] = ()
    update: tuple[JsonObject, ...] = ()
    delete: tuple[JsonObject, ...] = ()


@dataclass(frozen=True, slots=True)
class _Group:
    """Endpoints that share a slice's type and ports."""

    family: str
    ports: tuple[JsonObject, ...]
    endpoints: dict[str, JsonObject]


def decide(
    service: JsonObject, pods: Iterable[JsonObject], slices: Iterable[JsonObject], zones: Mapping[str, str]
) -> Plan:
    """`pods` match the service, `slices` are ours for it, `zones` by node name."""
    groups = _groups(service, pods, zones)
    by_kind: dict[bytes, list[JsonObject]] = {}
    for item in sorted(slices, key=lambda found: found["metadata"]["name"]):
        by_kind.setdefault(_mark(item["addressType"], item.get("ports") or ()), []).append(item)
    create: list[JsonObject] = []
    update: list[JsonObject] = []
    delete: list[JsonObject] = []
    for mark, group in groups.items():
        made, changed, emptied = _fit(service, group, by_kind.pop(mark, []))
        create += made
        update += changed
        delete += emptied
    delete += [item for left in by_kind.values() for item in left]
    return Plan(tuple(create), tuple(update), tuple(delete))


def _groups(service: JsonObject, pods: Iterable[JsonObject], zones: Mapping[str, str]) -> dict[bytes, _Group]:
    found: dict[bytes, _Group] = {}
    chosen = [pod for pod in pods if not p.is_over(pod)]
    for family in service["spec"].get("ipFamilies") or ["IPv4"]:
        filled = False
        for pod in chosen:
            address = address_of(pod, family)
            if address is None:
                continue
            ports = tuple(ports_of(service, pod))
            group = found.setdefault(_mark(family, ports), _Group(family, ports, {}))
            group.endpoints[pod["metadata"]["uid"]] = endpoint(service, pod, address, zones)
            filled = True
        if not filled:
            found[_mark(family, ())] = _Group(family, (), {})
    return found


def _fit(
    service: JsonObject, group: _Group, slices: Sequence[JsonObject]
) -> tuple[list[JsonObject], list[JsonObject], list[JsonObject]]:
    """(new, changed, superfluous) slices of one group."""
    waiting = dict(group.endpoints)
    kept = [
        [waiting.pop(uid) for uid in _uids(item) if uid in waiting] for item in slices
    ]  # fmt: skip
    for endpoints in kept:
        while waiting and endpoints and len(endpoints) < MOST_ENDPOINTS:
            endpoints.append(waiting.pop(next(iter(waiting))))
    rest = list(waiting.values())
    has_any = bool(rest) or any(kept)
    changed: list[JsonObject] = []
    emptied: list[JsonObject] = []
    for item, endpoints in zip(slices, kept, strict=True):
        is_placeholder = not has_any and item is slices[0]
        if not endpoints and rest:
            endpoints, rest = rest[:MOST_ENDPOINTS], rest[MOST_ENDPOINTS:]
        if not endpoints and not is_placeholder:
            emptied.append(item)
        elif (item.get("endpoints") or []) != endpoints or not _is_labelled(service, item):
            body = _body(service, group, endpoints)
            changed.append({**item, **body, "metadata": {**item["metadata"], "labels": _labels(service)}})
    parts = [rest[at : at + MOST_ENDPOINTS] for at in range(0, len(rest), MOST_ENDPOINTS)]
    if not parts and not slices and not has_any:
        parts = [[]]
    return (
        [{**_body(service, group, part), "metadata": _metadata(service)} for part in parts],
        changed,
        emptied,
    )


def endpoint(service: JsonObject, pod: JsonObject, address: str, zones: Mapping[str, str]) -> JsonObject:
    """One pod as an endpoint: ready = serving and not on its way out, unless the service wants all."""
    found, spec = pod["metadata"], pod["spec"]
    is_serving = p.is_ready(pod)
    is_leaving = "deletionTimestamp" in found
    wants_all = bool(service["spec"].get("publishNotReadyAddresses"))
    target = {"kind": "Pod", "namespace": found["namespace"], "name": found["name"], "uid": found["uid"]}
    value: JsonObject = {
        "addresses": [address],
        "conditions": {
            "ready": wants_all or (is_serving and not is_leaving), "serving": is_serving,
            "terminating": is_leaving,
        },
        "targetRef": target,
    }  # fmt: skip
    if node := spec.get("nodeName"):
        value["nodeName"] = node
        if zone := zones.get(node):
            value["zone"] = zone
    if spec.get("hostname") and spec.get("subdomain") == service["metadata"]["name"]:
        value["hostname"] = spec["hostname"]
    return value


def address_of(pod: JsonObject, family: str) -> str | None:
    state = pod.get("status") or {}
    known = [item["ip"] for item in state.get("podIPs") or []] or (
        [state["podIP"]] if state.get("podIP") else []
    )
    return next((text for text in known if (":" in text) == (family == "IPv6")), None)


def ports_of(service: JsonObject, pod: JsonObject) -> Iterator[JsonObject]:
    for port in service["spec"].get("ports") or []:
        protocol = port.get("protocol", "TCP")
        number = _target(pod, port.get("targetPort") or port["port"], protocol)
        if number is None:
            continue
        value = {"name": port.get("name", ""), "port": number, "protocol": protocol}
        if port.get("appProtocol"):
            value["appProtocol"] = port["appProtocol"]
        yield value


def _target(pod: JsonObject, target: int | str, protocol: str) -> int | None:
    """A number, or what a container of the pod calls by that name (FindPort)."""
    if isinstance(target, int):
        return target
    sidecars = [
        item for item in pod["spec"].get("initContainers") or [] if item.get("restartPolicy") == "Always"
    ]
    for container in (*(pod["spec"].get("containers") or []), *sidecars):
        for port in container.get("ports") or []:
            if port.get("name") == target and port.get("protocol", "TCP") == protocol:
                number: int = port["containerPort"]
                return number
    return None


def _mark(family: str, ports: Iterable[JsonObject]) -> bytes:
    """Equal for slices that may hold the same endpoints."""
    fields = ("name", "port", "protocol", "appProtocol")
    shown: list[list[Any]] = sorted([str(port.get(field) or "") for field in fields] for port in ports)
    return msgspec.json.encode([family, shown])


def _uids(item: JsonObject) -> Iterator[str]:
    for found in item.get("endpoints") or []:
        yield (found.get("targetRef") or {}).get("uid", "")


def _labels(service: JsonObject) -> JsonObject:
    labels = {**p.labels_of(service), SERVICE_LABEL: service["metadata"]["name"], MANAGED_LABEL: MANAGER}
    if service["spec"].get("clusterIP") == "None":
        labels[HEADLESS_LABEL] = ""
    return labels


def _is_labelled(service: JsonObject, item: JsonObject) -> bool:
    return p.labels_of(item) == _labels(service)


def _metadata(service: JsonObject) -> JsonObject:
    found = service["metadata"]
    return {
        "generateName": f"{found['name']}-", "namespace": found["namespace"], "labels": _labels(service),
        "ownerReferences": [p.owner_reference(r.SERVICES, service)],
    }  # fmt: skip


def _body(service: JsonObject, group: _Group, endpoints: Sequence[JsonObject]) -> JsonObject:
    return {"addressType": group.family, "ports": list(group.ports), "endpoints": list(endpoints)}


class EndpointSliceController:
    name = "endpointslice-controller"
    reads = (r.SERVICES, r.PODS, r.ENDPOINT_SLICES, r.NODES)
    writes = (r.ENDPOINT_SLICES,)

    def keys(self, resource: Resource, value: JsonObject, view: View) -> Iterable[str]:
        if resource == r.SERVICES:
            return (key_of(value),)
        if resource == r.NODES:
            return ()  # a node is there before its pods are
        namespace = value["metadata"]["namespace"]
        if resource == r.ENDPOINT_SLICES:
            name = p.labels_of(value).get(SERVICE_LABEL)
            return (f"{namespace}/{name}",) if name and _is_ours(value) else ()
        labels = p.labels_of(value)
        services = view.in_namespace(r.SERVICES, namespace)
        return [key_of(item) for item in services if p.selector_of(item).matches(labels)]

    async def reconcile(self, key: str, view: View, api: Writer) -> Result:
        service = view.get(r.SERVICES, key)
        # Of a deleted service the garbage collector takes the slices.
        if service is None or "deletionTimestamp" in service["metadata"]:
            return DONE
        spec, namespace = service["spec"], service["metadata"]["namespace"]
        if not spec.get("selector") or spec.get("type") == "ExternalName":
            return DONE
        selector = p.selector_of(service)
        pods = [pod for pod in view.in_namespace(r.PODS, namespace) if selector.matches(p.labels_of(pod))]
        name = service["metadata"]["name"]
        slices = [
            item for item in view.in_namespace(r.ENDPOINT_SLICES, namespace)
            if _is_ours(item) and p.labels_of(item).get(SERVICE_LABEL) == name
        ]  # fmt: skip
        zones = {node: zone for node in _nodes_of(pods) if (zone := _zone(view.get(r.NODES, node)))}
        plan = decide(service, pods, slices, zones)
        for body in plan.create:
            await api.create(r.ENDPOINT_SLICES, body)
        for body in plan.update:
            await api.update(r.ENDPOINT_SLICES, body)
        for item in plan.delete:
            await _delete(item, api)
        return DONE


def _is_ours(item: JsonObject) -> bool:
    return p.labels_of(item).get(MANAGED_LABEL) == MANAGER


def _nodes_of(pods: Iterable[JsonObject]) -> set[str]:
    return {pod["spec"]["nodeName"] for pod in pods if pod["spec"].get("nodeName")}


def _zone(node: JsonObject | None) -> str:
    return p.labels_of(node).get(ZONE_LABEL, "") if node is not None else ""


async def _delete(item: JsonObject, api: Writer) -> None:
    try:
        await api.delete(r.ENDPOINT_SLICES, item)
    except status.NotFound:
        return
