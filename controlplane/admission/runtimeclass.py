"""RuntimeClass: what a class costs and where it runs is put into the pods of it
(plugin/pkg/admission/runtimeclass).
"""

from __future__ import annotations

from typing import Any

from controlplane.admission.plugin import CREATE, Plugin, denied
from controlplane.api.model import Attributes, View
from kube import quantity
from kube.client.model import JsonObject
from kube.client.resources import RUNTIME_CLASSES


class RuntimeClass(Plugin):
    name = "RuntimeClass"
    verbs = (CREATE,)
    kinds = frozenset(("/pods",))

    async def mutate(self, attributes: Attributes, view: View) -> JsonObject:
        pod = attributes.value or {}
        spec = pod.get("spec") or {}
        found = _class_of(attributes, view)
        if found is None:
            return pod
        overhead = (found.get("overhead") or {}).get("podFixed")
        if overhead:
            if spec.get("overhead") and not _same(spec["overhead"], overhead):
                message = "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead"
                raise denied(attributes, message)
            spec["overhead"] = dict(overhead)
        scheduling = found.get("scheduling") or {}
        selector = dict(spec.get("nodeSelector") or {})
        for key, value in (scheduling.get("nodeSelector") or {}).items():
            if selector.setdefault(key, value) != value:
                message = f"conflict: runtimeClass.scheduling.nodeSelector[{key}] = {value}; "
                raise denied(attributes, f"{message}pod.spec.nodeSelector[{key}] = {selector[key]}")
        if selector:
            spec["nodeSelector"] = selector
        tolerations = list(spec.get("tolerations") or ())
        for toleration in scheduling.get("tolerations") or ():
            if toleration not in tolerations:
                tolerations.append(dict(toleration))
        if tolerations:
            spec["tolerations"] = tolerations
        return pod

    async def validate(self, attributes: Attributes, view: View) -> None:
        overhead = ((attributes.value or {}).get("spec") or {}).get("overhead")
        found = _class_of(attributes, view)
        defined = ((found or {}).get("overhead") or {}).get("podFixed")
        if overhead and not defined:
            message = "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead"
            raise denied(attributes, message)


def _class_of(attributes: Attributes, view: View) -> JsonObject | None:
    name = ((attributes.value or {}).get("spec") or {}).get("runtimeClassName")
    if not name:
        return None
    found = view.get(RUNTIME_CLASSES, "", name)
    if found is None:
        raise denied(attributes, f'pod rejected: RuntimeClass "{name}" not found')
    return found


def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """As amounts: 100m is 0.1."""
    return one.keys() == other.keys() and all(
        quantity.parse(str(one[key])) == quantity.parse(str(other[key])) for key in one
    )
