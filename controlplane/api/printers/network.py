"""Rows of Services, Endpoints and EndpointSlices."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from controlplane.api.printers.model import (
    AGE,
    NAME,
    NONE,
    UNKNOWN,
    Cells,
    Column,
    Json,
    Printer,
    age_of,
    labels_text,
    name_of,
    shortened,
    wide,
)


def _service(item: Json, now: datetime) -> Cells:
    spec = item.get("spec") or {}
    return [
        name_of(item),
        spec.get("type", ""),
        spec.get("clusterIP") or NONE,
        _external(spec, item.get("status") or {}),
        ",".join(map(_port, spec.get("ports") or ())) or NONE,
        age_of(item, now),
        labels_text(spec.get("selector")),
    ]


def _external(spec: Json, state: Json) -> str:
    listed = list(spec.get("externalIPs") or ())
    match spec.get("type"):
        case "ClusterIP" | "NodePort":
            return ",".join(listed) or NONE
        case "LoadBalancer":
            ingress = (state.get("loadBalancer") or {}).get("ingress") or ()
            given = [one.get("ip") or one.get("hostname") or "" for one in ingress]
            return ",".join([*filter(None, given), *listed]) or "<pending>"
        case "ExternalName":
            return str(spec.get("externalName", ""))
    return UNKNOWN


def _port(port: Json) -> str:
    node_port = f":{port['nodePort']}" if port.get("nodePort") else ""
    return f"{port.get('port')}{node_port}/{port.get('protocol', 'TCP')}"


def _endpoints(item: Json, now: datetime) -> Cells:
    return [name_of(item), shortened(list(_reachable(item)), NONE), age_of(item, now)]


def _reachable(item: Json) -> Iterator[str]:
    for subset in item.get("subsets") or ():
        hosts = [one.get("ip", "") for one in subset.get("addresses") or ()]
        if not subset.get("ports"):
            yield from hosts
        for port in subset.get("ports") or ():
            yield from (f"{_in_brackets(host)}:{port.get('port')}" for host in hosts)


def _in_brackets(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _slice(item: Json, now: datetime) -> Cells:
    ports = [str(port.get("port") or port.get("name") or "*") for port in item.get("ports") or ()]
    addresses = [text for one in item.get("endpoints") or () for text in one.get("addresses") or ()]
    return [
        name_of(item),
        item.get("addressType", ""),
        shortened(ports, "<unset>"),
        shortened(addresses, "<unset>"),
        age_of(item, now),
    ]


SERVICE = Printer(
    (
        NAME,
        Column("Type", description="How the Service can be reached."),
        Column("Cluster-IP", description="The Service's address within the cluster."),
        Column("External-IP", description="Where the Service is reached from outside."),
        Column("Port(s)", description="The Service's ports."),
        AGE,
        wide("Selector", "Which pods the Service leads to."),
    ),
    _service,
)
ENDPOINTS = Printer((NAME, Column("Endpoints", description="Addresses and ports."), AGE), _endpoints)
ENDPOINT_SLICE = Printer(
    (
        NAME,
        Column("AddressType", description="What kind of addresses it holds."),
        Column("Ports", description="The ports of every endpoint."),
        Column("Endpoints", description="The addresses."),
        AGE,
    ),
    _slice,
)
