"""Validate Service, Endpoints and EndpointSlice (pkg/apis/{core,discovery}/validation).

On the JSON value with its defaults, after the structure check.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from kube import errors
from kube.errors import FieldError
from kube.validation import names

Json = dict[str, Any]

TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
PROTOCOLS = ("SCTP", "TCP", "UDP")
POLICIES = ("Cluster", "Local")
AFFINITIES = ("ClientIP", "None")
AFFINITY_SECONDS_MAX = 86400
NONE = "None"
ENDPOINTS_MAX = 1000
SLICE_PORTS_MAX = 20000
SLICE_ADDRESSES_MAX = 100
_MUST_BE_IP = names.ip_address


def service(value: Json) -> Sequence[FieldError]:
    return tuple(_service(value.get("spec") or {}))


def _service(spec: Json) -> Iterator[FieldError]:
    kind = spec.get("type")
    if not kind:
        yield errors.required("spec.type")
    else:
        yield from names.one_of("spec.type", kind, TYPES)
    headless = spec.get("clusterIP") == NONE
    ports = spec.get("ports") or ()
    if not ports and not headless and kind != "ExternalName":
        yield errors.required("spec.ports")
    if headless and kind in ("NodePort", "LoadBalancer"):
        detail = f"may not be set to 'None' for {kind} services"
        yield errors.invalid("spec.clusterIPs[0]", NONE, detail)
    if kind == "ExternalName":
        yield from _external_name(spec)
    yield from names.labels("spec.selector", spec.get("selector") or {})
    yield from _affinity(spec)
    yield from _addresses(spec)
    yield from _service_ports(spec, needs_name=len(ports) > 1)
    yield from _policies(spec)


def _external_name(spec: Json) -> Iterator[FieldError]:
    for field in ("clusterIP", "clusterIPs"):
        if spec.get(field):
            yield errors.forbidden(f"spec.{field}", "may not be set for ExternalName services")
    name = spec.get("externalName", "").removesuffix(".")
    if not name:
        yield errors.required("spec.externalName")
    else:
        yield from names.each("spec.externalName", name, names.dns_subdomain)


def _affinity(spec: Json) -> Iterator[FieldError]:
    affinity = spec.get("sessionAffinity")
    if not affinity:
        yield errors.required("spec.sessionAffinity")
    else:
        yield from names.one_of("spec.sessionAffinity", affinity, AFFINITIES)
    config = spec.get("sessionAffinityConfig")
    if affinity == "None" and config is not None:
        detail = "must not be set when session affinity is None"
        yield errors.forbidden("spec.sessionAffinityConfig", detail)
    seconds = ((config or {}).get("clientIP") or {}).get("timeoutSeconds")
    if affinity == "ClientIP" and seconds is not None and not 0 < seconds <= AFFINITY_SECONDS_MAX:
        detail = f"must be greater than 0 and less than {AFFINITY_SECONDS_MAX}"
        yield errors.invalid("spec.sessionAffinityConfig.clientIP.timeoutSeconds", seconds, detail)


def _addresses(spec: Json) -> Iterator[FieldError]:
    listed = spec.get("clusterIPs") or ()
    single = spec.get("clusterIP", "")
    if listed and listed[0] != single:
        yield errors.invalid("spec.clusterIPs", list(listed), "first value must match `clusterIP`")
    for index, text in enumerate(listed):
        if text == NONE:
            if len(listed) > 1:
                detail = "'None' must be the first and only value"
                yield errors.invalid("spec.clusterIPs", list(listed), detail)
        else:
            yield from names.each(f"spec.clusterIPs[{index}]", text, _MUST_BE_IP)
    if single and single != NONE and not listed:
        yield from names.each("spec.clusterIP", single, _MUST_BE_IP)
    for index, text in enumerate(spec.get("externalIPs") or ()):
        yield from _reachable(f"spec.externalIPs[{index}]", text)


def _reachable(path: str, text: str) -> Iterator[FieldError]:
    """An address that packets can go to (ValidateNonSpecialIP)."""
    wrong = _MUST_BE_IP(text)
    if wrong:
        yield from (errors.invalid(path, text, message) for message in wrong)
        return
    address = ipaddress.ip_address(text)
    if address.is_unspecified:
        yield errors.invalid(path, text, f"may not be unspecified ({text})")
    if address.is_loopback:
        yield errors.invalid(path, text, "may not be in the loopback range (127.0.0.0/8, ::1/128)")
    if address.is_link_local:
        yield errors.invalid(path, text, "may not be in the link-local range (169.254.0.0/16, fe80::/10)")


def _service_ports(spec: Json, *, needs_name: bool) -> Iterator[FieldError]:
    seen_names: set[str] = set()
    seen: set[tuple[int, str]] = set()
    node_ports: set[tuple[int, str]] = set()
    for index, port in enumerate(spec.get("ports") or ()):
        path = f"spec.ports[{index}]"
        yield from _port_name(port.get("name", ""), seen_names, path, needs_name=needs_name)
        number, protocol = port.get("port", 0), port.get("protocol", "")
        yield from _number(f"{path}.port", number)
        yield from _protocol(f"{path}.protocol", protocol)
        yield from _target(f"{path}.targetPort", port.get("targetPort", number))
        if (number, protocol) in seen:
            yield errors.duplicate(path, {"protocol": protocol, "port": number})
        seen.add((number, protocol))
        node_port = port.get("nodePort", 0)
        if not node_port:
            continue
        if spec.get("type") not in ("NodePort", "LoadBalancer"):
            detail = f"may not be used when `type` is '{spec.get('type')}'"
            yield errors.forbidden(f"{path}.nodePort", detail)
        if (node_port, protocol) in node_ports:
            yield errors.duplicate(f"{path}.nodePort", node_port)
        node_ports.add((node_port, protocol))


def _port_name(name: str, seen: set[str], path: str, *, needs_name: bool) -> Iterator[FieldError]:
    if not name:
        if needs_name:
            yield errors.required(f"{path}.name")
        return
    yield from names.each(f"{path}.name", name, names.dns_label)
    if name in seen:
        yield errors.duplicate(f"{path}.name", name)
    seen.add(name)


def _number(path: str, number: int) -> Iterator[FieldError]:
    for message in names.port_number(number):
        yield errors.invalid(path, number, message)


def _protocol(path: str, protocol: str) -> Iterator[FieldError]:
    if not protocol:
        yield errors.required(path)
    else:
        yield from names.one_of(path, protocol, PROTOCOLS)


def _target(path: str, target: int | str) -> Iterator[FieldError]:
    if isinstance(target, int):
        yield from _number(path, target)
    else:
        yield from names.each(path, target, names.port_name)


def _policies(spec: Json) -> Iterator[FieldError]:
    external = spec.get("externalTrafficPolicy")
    reaches_out = spec.get("type") in ("NodePort", "LoadBalancer") or bool(spec.get("externalIPs"))
    if external and not reaches_out:
        detail = "may only be set for externally-accessible services"
        yield errors.invalid("spec.externalTrafficPolicy", external, detail)
    elif external:
        yield from names.one_of("spec.externalTrafficPolicy", external, POLICIES)
    if spec.get("internalTrafficPolicy"):
        yield from names.one_of("spec.internalTrafficPolicy", spec["internalTrafficPolicy"], POLICIES)


def service_update(value: Json, old: Json) -> Sequence[FieldError]:
    """A cluster address stays once it is given, unless the Service turns to or from ExternalName."""
    spec, before = value.get("spec") or {}, old.get("spec") or {}
    if "ExternalName" in (spec.get("type"), before.get("type")) or not before.get("clusterIP"):
        return ()
    if spec.get("clusterIP") == before["clusterIP"]:
        return ()
    return (errors.invalid("spec.clusterIPs[0]", spec.get("clusterIPs") or [], "may not change once set"),)


def endpoints(value: Json) -> Sequence[FieldError]:
    return tuple(_endpoints(value))


def _endpoints(value: Json) -> Iterator[FieldError]:
    for index, subset in enumerate(value.get("subsets") or ()):
        path = f"subsets[{index}]"
        if not subset.get("addresses") and not subset.get("notReadyAddresses"):
            yield errors.required(path, "must specify `addresses` or `notReadyAddresses`")
        for field in ("addresses", "notReadyAddresses"):
            for place, address in enumerate(subset.get(field) or ()):
                yield from _reachable(f"{path}.{field}[{place}].ip", address.get("ip", ""))
        ports = subset.get("ports") or ()
        for place, port in enumerate(ports):
            at = f"{path}.ports[{place}]"
            yield from _port_name(port.get("name", ""), set(), at, needs_name=len(ports) > 1)
            yield from _number(f"{at}.port", port.get("port", 0))
            yield from _protocol(f"{at}.protocol", port.get("protocol", ""))


def endpoint_slice(value: Json) -> Sequence[FieldError]:
    return tuple(_endpoint_slice(value))


def _endpoint_slice(value: Json) -> Iterator[FieldError]:
    kind = value.get("addressType", "")
    if not kind:
        yield errors.required("addressType")
    else:
        yield from names.one_of("addressType", kind, ("FQDN", "IPv4", "IPv6"))
    listed = value.get("endpoints") or ()
    if len(listed) > ENDPOINTS_MAX:
        yield errors.too_many("endpoints", len(listed), ENDPOINTS_MAX)
    for index, endpoint in enumerate(listed[:ENDPOINTS_MAX]):
        path = f"endpoints[{index}].addresses"
        found = endpoint.get("addresses") or ()
        if not found:
            yield errors.required(path, "must contain at least 1 address")
        elif len(found) > SLICE_ADDRESSES_MAX:
            yield errors.too_many(path, len(found), SLICE_ADDRESSES_MAX)
        for place, address in enumerate(found[:SLICE_ADDRESSES_MAX]):
            yield from names.each(f"{path}[{place}]", address, _ADDRESSES.get(kind, _anything))
    yield from _slice_ports(value.get("ports") or ())


def _slice_ports(ports: Sequence[Json]) -> Iterator[FieldError]:
    if len(ports) > SLICE_PORTS_MAX:
        yield errors.too_many("ports", len(ports), SLICE_PORTS_MAX)
        return
    seen: set[str] = set()
    for index, port in enumerate(ports):
        name = port.get("name") or ""
        if name in seen:
            yield errors.duplicate(f"ports[{index}].name", name)
        seen.add(name)
        yield from names.optional_name(f"ports[{index}].name", name, names.dns_label)
        yield from _protocol(f"ports[{index}].protocol", port.get("protocol") or "")
        if port.get("port") is not None:
            yield from _number(f"ports[{index}].port", port["port"])


def endpoint_slice_update(value: Json, old: Json) -> Sequence[FieldError]:
    if value.get("addressType") == old.get("addressType"):
        return ()
    return (errors.invalid("addressType", value.get("addressType"), "field is immutable"),)


def _anything(text: str) -> list[str]:
    return []


def _version(wanted: int, message: str) -> Callable[[str], list[str]]:
    def check(text: str) -> list[str]:
        try:
            return [] if ipaddress.ip_address(text).version == wanted else [message]
        except ValueError:
            return [message]

    return check


_ADDRESSES = {
    "IPv4": _version(4, "must be a valid IPv4 address"),
    "IPv6": _version(6, "must be a valid IPv6 address"),
    "FQDN": names.dns_subdomain,
}
