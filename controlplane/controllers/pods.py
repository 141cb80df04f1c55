"""What controllers read of a pod's JSON, and how they make one from a template (pure)."""

from __future__ import annotations

from datetime import datetime

from kube import meta, objects, selectors
from kube.client import JsonObject
from kube.client.resources import Resource
from kube.objects.meta_v1 import LabelSelector
from kube.selectors import Selector


def is_active(pod: JsonObject) -> bool:
    """Not over and not being deleted (controller.IsPodActive)."""
    return not is_over(pod) and "deletionTimestamp" not in pod["metadata"]


def is_over(pod: JsonObject) -> bool:
    return phase_of(pod) in ("Succeeded", "Failed")


def phase_of(pod: JsonObject) -> str:
    found: str = (pod.get("status") or {}).get("phase", "")
    return found


def condition_of(value: JsonObject, type_: str) -> JsonObject | None:
    conditions: list[JsonObject] = (value.get("status") or {}).get("conditions") or []
    return next((item for item in conditions if item["type"] == type_), None)


def is_ready(pod: JsonObject) -> bool:
    found = condition_of(pod, "Ready")
    return found is not None and found["status"] == "True"


def ready_since(pod: JsonObject) -> datetime | None:
    """None when it is not ready, or nobody said since when."""
    found = condition_of(pod, "Ready")
    if found is None or found["status"] != "True" or not found.get("lastTransitionTime"):
        return None
    return meta.parse_time(found["lastTransitionTime"])


def seconds_to_available(pod: JsonObject, least_seconds: int, now: datetime) -> float | None:
    """How long a ready pod must still stay so; 0.0 = it is available; None = it is not ready."""
    if not is_ready(pod):
        return None
    if not least_seconds:
        return 0.0
    since = ready_since(pod)
    if since is None:
        return None
    return max(0.0, least_seconds - (now - since).total_seconds())


def selector_of(value: JsonObject) -> Selector:
    """spec.selector, a LabelSelector or (of a ReplicationController) a plain map. An empty one selects
    nothing here. SelectorError when it cannot be read."""
    wanted = value["spec"].get("selector") or {}
    if wanted and not ("matchLabels" in wanted or "matchExpressions" in wanted):
        wanted = {"matchLabels": wanted}
    found = selectors.of_label_selector(objects.convert(wanted, LabelSelector))
    return found if found is not None and found.requirements else NOTHING


NOTHING = Selector((selectors.Requirement("", selectors.Operator.EXISTS),))


def labels_of(value: JsonObject) -> dict[str, str]:
    return value["metadata"].get("labels") or {}


def owner_reference(resource: Resource, owner: JsonObject) -> JsonObject:
    """By which a controller marks what is its own."""
    return {
        "apiVersion": resource.api_version, "kind": resource.kind, "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"], "controller": True, "blockOwnerDeletion": True,
    }  # fmt: skip


def from_template(resource: Resource, owner: JsonObject) -> JsonObject:
    """A pod as spec.template of `owner` describes it, named by the server (GetPodFromTemplate)."""
    template = owner["spec"]["template"]
    found = template.get("metadata") or {}
    metadata = {name: found[name] for name in ("labels", "annotations", "finalizers") if found.get(name)}
    metadata["generateName"] = f"{owner['metadata']['name']}-"
    metadata["namespace"] = owner["metadata"]["namespace"]
    metadata["ownerReferences"] = [owner_reference(resource, owner)]
    return {"metadata": metadata, "spec": template["spec"]}
