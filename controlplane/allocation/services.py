"""What a Service is given: a cluster address and node ports (pkg/registry/core/service/storage/alloc.go).

`allocate` fills a Service that is about to be written, and says what it took; when the write fails, `undo`
gives that back, and when it is done, `settle` frees what the old object held and the new one does not.
`hold_all` fills empty pools from what is stored.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from controlplane.allocation.pool import Full, Pool, Range, addresses
from kube import errors
from kube.errors import FieldError, InvalidObject

Json = dict[str, Any]
NONE = "None"
SINGLE = "SingleStack"
_FAMILY = ("ipFamilies", "ipFamilyPolicy")
WITH_PORTS = ("NodePort", "LoadBalancer")


@dataclass(frozen=True, slots=True)
class Taken:
    """Numbers that a Service took and did not hold before."""

    owner: str
    addresses: tuple[int, ...] = ()
    ports: tuple[int, ...] = ()


@dataclass
class _Work:
    service: Json
    owner: str
    taken_addresses: list[int] = field(default_factory=list)
    taken_ports: list[int] = field(default_factory=list)
    errors: list[FieldError] = field(default_factory=list)


class Services:
    """The two pools of a cluster. `network` is the service range (IPv4 or IPv6)."""

    def __init__(self, network: str, node_ports: Range, random_number: Callable[[], int]) -> None:
        self.network = network
        self.addresses = Pool(addresses(network))
        self.ports = Pool(node_ports)
        self._random = random_number

    def allocate(self, service: Json, old: Json | None = None) -> Taken:
        """Fill in `service`. InvalidObject when it asks for what it cannot have; nothing is taken then."""
        if old is not None:
            keep(service, old)
        work = _Work(service, _owner(service))
        self._address(work)
        self._ports(work)
        taken = Taken(work.owner, tuple(work.taken_addresses), tuple(work.taken_ports))
        if work.errors:
            self.undo(taken)
            raise InvalidObject(work.errors, "Service", service["metadata"].get("name", ""))
        return taken

    def undo(self, taken: Taken) -> None:
        for number in taken.addresses:
            self.addresses.release(number, taken.owner)
        for number in taken.ports:
            self.ports.release(number, taken.owner)

    def settle(self, old: Json | None, new: Json | None) -> None:
        """The write from `old` to `new` is done (None: there was, or is, no such object)."""
        kept_addresses = set(_addresses(new)) if new else set()
        kept_ports = set(_node_ports(new)) if new else set()
        if old is None:
            return
        self.undo(
            Taken(
                _owner(old),
                tuple(number for number in _addresses(old) if number not in kept_addresses),
                tuple(number for number in _node_ports(old) if number not in kept_ports),
            )
        )

    def hold_all(self, services: Iterable[Json]) -> list[str]:
        """Hold what stored Services have; what is wrong with them, as sentences for the log."""
        wrong = []
        for service in services:
            owner = _owner(service)
            for label, pool, numbers in (
                ("address", self.addresses, _addresses(service)),
                ("node port", self.ports, _node_ports(service)),
            ):
                for number in dict.fromkeys(numbers):
                    shown = str(ipaddress.ip_address(number)) if label == "address" else str(number)
                    if number not in pool.range:
                        wrong.append(f'{label} {shown} of service "{owner}" is not in the range')
                    elif not pool.hold(number, owner):
                        other = pool.owner(number)
                        wrong.append(f'{label} {shown} of service "{owner}" is held by service "{other}"')
        return wrong

    def _address(self, work: _Work) -> None:
        spec = work.service.setdefault("spec", {})
        self._families(work, spec)
        if spec.get("type") == "ExternalName" or spec.get("clusterIP") == NONE:
            if spec.get("clusterIP") == NONE:
                spec["clusterIPs"] = [NONE]
            return
        asked = spec.get("clusterIP") or next(iter(spec.get("clusterIPs") or ()), "")
        if not asked:
            try:
                number = self.addresses.take(work.owner, self._random())
            except Full:
                work.errors.append(
                    _internal("spec.clusterIPs", "failed to allocate a serviceIP: range is full")
                )
                return
            work.taken_addresses.append(number)
            asked = str(ipaddress.ip_address(number))
        else:
            self._hold_address(work, asked)
        spec["clusterIP"], spec["clusterIPs"] = asked, [asked]

    def _families(self, work: _Work, spec: Json) -> None:
        """One family, that of the service range (defaultOnRead and initIPFamilyFields of a single-stack
        cluster)."""
        if spec.get("type") == "ExternalName":
            return
        mine = f"IPv{ipaddress.ip_network(self.network).version}"
        if spec.setdefault("ipFamilyPolicy", SINGLE) == "RequireDualStack":
            detail = "this cluster is not configured for dual-stack services"
            work.errors.append(errors.invalid("spec.ipFamilyPolicy", spec["ipFamilyPolicy"], detail))
        if not spec.get("ipFamilies"):
            spec["ipFamilies"] = [mine]
        for index, family in enumerate(spec["ipFamilies"]):
            if family != mine:
                detail = "not configured on this cluster"
                work.errors.append(errors.invalid(f"spec.ipFamilies[{index}]", family, detail))

    def _hold_address(self, work: _Work, asked: str) -> None:
        try:
            parsed = ipaddress.ip_address(asked)
        except ValueError:
            # Validation names what is wrong with it.
            return
        number = int(parsed)
        because = ""
        if parsed not in ipaddress.ip_network(self.network) or number not in self.addresses.range:
            because = (
                f"the provided network does not match the current range or the provided IP ({asked}) is not "
                f"in the valid range. The range of valid IPs is {self.network}"
            )
        elif self.addresses.owner(number) is None:
            self.addresses.hold(number, work.owner)
            work.taken_addresses.append(number)
        elif self.addresses.owner(number) != work.owner:
            because = "provided IP is already allocated"
        if because:
            message = f"failed to allocate IP {asked}: {because}"
            work.errors.append(errors.invalid("spec.clusterIPs", [asked], message))

    def _ports(self, work: _Work) -> None:
        spec = work.service["spec"]
        if spec.get("type") not in WITH_PORTS:
            return
        if spec["type"] == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts") is False:
            return
        # TCP and UDP of one port number share a node port.
        given: dict[tuple[int, str], int] = {}
        listed = list(enumerate(spec.get("ports") or ()))
        for index, port in listed:
            if port.get("nodePort"):
                self._hold_port(work, index, port["nodePort"])
                given[port.get("port", 0), port.get("protocol", "TCP")] = port["nodePort"]
        for _, port in listed:
            if not port.get("nodePort"):
                self._take_port(work, port, given)

    def _hold_port(self, work: _Work, index: int, number: int) -> None:
        path = f"spec.ports[{index}].nodePort"
        if number not in self.ports.range:
            valid = f"{self.ports.range.first}-{self.ports.range.last}"
            message = f"provided port is not in the valid range. The range of valid ports is {valid}"
            work.errors.append(errors.invalid(path, number, message))
        elif self.ports.owner(number) is None:
            self.ports.hold(number, work.owner)
            work.taken_ports.append(number)
        elif self.ports.owner(number) != work.owner:
            work.errors.append(errors.invalid(path, number, "provided port is already allocated"))

    def _take_port(self, work: _Work, port: Json, given: dict[tuple[int, str], int]) -> None:
        number, protocol = port.get("port", 0), port.get("protocol", "TCP")
        shared = next(
            (node for (other, its), node in given.items() if other == number and its != protocol), 0
        )
        if not shared:
            try:
                shared = self.ports.take(work.owner, self._random())
            except Full:
                message = "failed to allocate a nodePort: range is full"
                work.errors.append(_internal("spec.ports", message))
                return
            work.taken_ports.append(shared)
        port["nodePort"] = given[number, protocol] = shared


def keep(service: Json, old: Json) -> None:
    """What an update leaves out and the Service has already stays (patchAllocatedValues); what its new type
    does not have goes (dropTypeDependentFields)."""
    spec, before = service.setdefault("spec", {}), old.get("spec", {})
    if spec.get("clusterIP") != before.get("clusterIP") and spec.get("clusterIPs") == before.get(
        "clusterIPs"
    ):
        # The single address was changed and the list was not thought of (NormalizeClusterIPs).
        spec.pop("clusterIPs", None)
    if spec.get("type") != "ExternalName":
        if before.get("type") != "ExternalName" and not spec.get("clusterIP") and not spec.get("clusterIPs"):
            for key in ("clusterIP", "clusterIPs"):
                if key in before:
                    spec[key] = before[key]
        for key in _FAMILY:
            if key in before and not spec.get(key):
                spec[key] = before[key]
    else:
        if spec.get("clusterIP") == before.get("clusterIP"):
            spec.pop("clusterIP", None)
            spec.pop("clusterIPs", None)
        for key in _FAMILY:
            if spec.get(key) == before.get(key):
                spec.pop(key, None)
    known = {(port.get("port"), port.get("protocol", "TCP")): port.get("nodePort") for port in
             before.get("ports") or ()}  # fmt: skip
    has_ports, had_ports = spec.get("type") in WITH_PORTS, before.get("type") in WITH_PORTS
    wanted = {port.get("nodePort") for port in spec.get("ports") or ()}
    for port in spec.get("ports") or ():
        mine = known.get((port.get("port"), port.get("protocol", "TCP")))
        if has_ports and had_ports and not port.get("nodePort") and mine and mine not in wanted:
            port["nodePort"] = mine
        if had_ports and not has_ports and port.get("nodePort") and port["nodePort"] == mine:
            del port["nodePort"]
    for key, has_it in _OF_TYPES.items():
        if has_it(before) and not has_it(spec) and spec.get(key) == before.get(key):
            spec.pop(key, None)


def _reaches_out(spec: Mapping[str, Any]) -> bool:
    return spec.get("type") in WITH_PORTS or bool(spec.get("externalIPs"))


def _is_balanced(spec: Mapping[str, Any]) -> bool:
    return spec.get("type") == "LoadBalancer"


# Fields that go, unless they are changed at once, with the type that has them.
_OF_TYPES: dict[str, Callable[[Mapping[str, Any]], bool]] = {
    "externalTrafficPolicy": _reaches_out,
    "internalTrafficPolicy": lambda spec: spec.get("type") != "ExternalName",
    "allocateLoadBalancerNodePorts": _is_balanced,
    "loadBalancerClass": _is_balanced,
    "healthCheckNodePort": lambda spec: _is_balanced(spec) and spec.get("externalTrafficPolicy") == "Local",
}


def _owner(service: Mapping[str, Any]) -> str:
    """By UID: a Service that is made anew under the name of another holds nothing of it."""
    meta = service["metadata"]
    return f"{meta.get('namespace', '')}/{meta.get('name', '')}/{meta.get('uid', '')}"


def _addresses(service: Mapping[str, Any]) -> Iterator[int]:
    spec = service.get("spec") or {}
    if spec.get("type") == "ExternalName":
        return
    for text in spec.get("clusterIPs") or (spec.get("clusterIP"),):
        if text and text != NONE:
            yield int(ipaddress.ip_address(text))


def _node_ports(service: Mapping[str, Any]) -> Iterator[int]:
    for port in (service.get("spec") or {}).get("ports") or ():
        if port.get("nodePort"):
            yield port["nodePort"]


def _internal(path: str, message: str) -> FieldError:
    kind = errors.ErrorKind.INTERNAL
    return FieldError(path, f"{kind.text}: {message}", kind)
