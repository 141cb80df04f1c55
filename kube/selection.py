"""What a list or a watch selects: by namespace, labels and the fields each resource offers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from kube import selectors, status
from kube.client.model import JsonObject
from kube.client.resources import (
    CERTIFICATE_SIGNING_REQUESTS,
    EVENTS,
    JOBS,
    NAMESPACES,
    NODES,
    PODS,
    REPLICA_SETS,
    REPLICATION_CONTROLLERS,
    RESOURCE_SLICES,
    SECRETS,
    SERVICES,
    Resource,
)

T = TypeVar("T")
_INVOLVED = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")
# Selectable besides metadata.name and metadata.namespace (SelectableFields of each registry).
FIELDS: dict[Resource, tuple[str, ...]] = {
    PODS: (
        "spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName",
        "spec.hostNetwork", "status.phase", "status.podIP", "status.nominatedNodeName",
    ),
    NODES: ("spec.unschedulable",),
    NAMESPACES: ("status.phase",),
    SECRETS: ("type",),
    SERVICES: ("spec.clusterIP", "spec.type"),
    EVENTS: (
        *(f"involvedObject.{name}" for name in _INVOLVED), "reason", "reportingComponent", "source", "type",
    ),
    REPLICATION_CONTROLLERS: ("status.replicas",),
    REPLICA_SETS: ("status.replicas",),
    JOBS: ("status.successful",),
    CERTIFICATE_SIGNING_REQUESTS: ("spec.signerName",),
    RESOURCE_SLICES: ("spec.nodeName", "spec.driver"),
}  # fmt: skip
# Where a name is not the path.
_PATHS = {"source": "source.component"}
# Values that stand for "not set" where Go has a zero value to compare with.
_UNSET = {"spec.hostNetwork": "false", "spec.unschedulable": "false", "status.replicas": "0"}


@dataclass(frozen=True, slots=True)
class Selection:
    resource: Resource
    namespace: str
    labels: selectors.Selector
    fields: tuple[selectors.FieldRequirement, ...]

    @property
    def has_selectors(self) -> bool:
        return bool(self.labels.requirements or self.fields)

    def holds(self, value: JsonObject) -> bool:
        meta = value["metadata"]
        if self.namespace and meta.get("namespace", "") != self.namespace:
            return False
        if not self.labels.matches(meta.get("labels") or {}):
            return False
        wanted = {requirement.field: field_value(value, requirement.field) for requirement in self.fields}
        return all(requirement.matches(wanted) for requirement in self.fields)


def select(resource: Resource, namespace: str, label_selector: str, field_selector: str) -> Selection:
    """Parsed and checked. BadRequest for selectors that cannot be read or fields that are not offered."""
    labels = _parse(selectors.parse, label_selector)
    fields = _parse(selectors.parse_fields, field_selector)
    offered = ("metadata.name", "metadata.namespace", *FIELDS.get(resource, ()))
    for requirement in fields:
        if requirement.field not in offered:
            raise status.bad_request(f"field label not supported: {requirement.field}")
    return Selection(resource, namespace if resource.namespaced else "", labels, fields)


def _parse(parse: Callable[[str], T], text: str) -> T:
    try:
        return parse(text)
    except selectors.SelectorError as error:
        raise status.bad_request(str(error)) from error


def field_value(value: JsonObject, path: str) -> str:
    """One field as selectors compare it: text, a boolean in words, nothing as Go's zero value."""
    found: Any = value
    for name in _PATHS.get(path, path).split("."):
        found = found.get(name) if isinstance(found, dict) else None
    if found is None:
        return _UNSET.get(path, "")
    if isinstance(found, bool):
        return "true" if found else "false"
    return str(found)
