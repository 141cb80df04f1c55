"""Variables that tell a container where services are (kubelet/envvars, the Docker link form)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

MASTER_NAMESPACE = "default"
MASTER_SERVICE = "kubernetes"


@dataclass(frozen=True, slots=True)
class ServiceEndpoint:
    """A service as environment variables show it. Ports are (name, protocol, number)."""

    namespace: str
    name: str
    cluster_ip: str
    ports: tuple[tuple[str, str, int], ...]


def service_variables(
    services: Iterable[ServiceEndpoint], namespace: str, *, service_links: bool
) -> dict[str, str]:
    """The variables for a pod of `namespace`: its own services if it wants links, `kubernetes` always."""
    chosen: dict[str, ServiceEndpoint] = {}
    for service in services:
        if service.cluster_ip in ("", "None"):
            continue
        if service.namespace == namespace and service_links:
            chosen[service.name] = service
        elif service.namespace == MASTER_NAMESPACE and service.name == MASTER_SERVICE:
            chosen.setdefault(service.name, service)
    variables: dict[str, str] = {}
    for name in sorted(chosen):
        variables.update(_variables(chosen[name]))
    return variables


def _variables(service: ServiceEndpoint) -> dict[str, str]:
    if not service.ports:
        return {f"{_variable_name(service.name)}_SERVICE_HOST": service.cluster_ip}
    prefix = _variable_name(service.name)
    found = {
        f"{prefix}_SERVICE_HOST": service.cluster_ip,
        f"{prefix}_SERVICE_PORT": str(service.ports[0][2]),
    }
    for port_name, _, number in service.ports:
        if port_name:
            found[f"{prefix}_SERVICE_PORT_{_variable_name(port_name)}"] = str(number)
    found.update(_links(prefix, service.cluster_ip, service.ports))
    return found


def _links(prefix: str, address: str, ports: Sequence[tuple[str, str, int]]) -> dict[str, str]:
    host = f"[{address}]" if ":" in address else address
    found: dict[str, str] = {}
    for index, (_, raw_protocol, number) in enumerate(ports):
        protocol = raw_protocol or "TCP"
        url = f"{protocol.lower()}://{host}:{number}"
        if index == 0:
            found[f"{prefix}_PORT"] = url
        stem = f"{prefix}_PORT_{number}_{protocol.upper()}"
        found[stem] = url
        found[f"{stem}_PROTO"] = protocol.lower()
        found[f"{stem}_PORT"] = str(number)
        found[f"{stem}_ADDR"] = address
    return found


def _variable_name(name: str) -> str:
    return name.upper().replace("-", "_")
