"""The scale subresource: a workload's replicas as an autoscaling/v1 Scale, read and written. Pure."""

from __future__ import annotations

from kube.client import resources as r
from kube.client.model import JsonObject, copy
from kube.client.resources import Resource


def read_scale(resource: Resource, value: JsonObject) -> JsonObject:
    """The autoscaling/v1 Scale of a workload; its version is the workload's."""
    meta_ = value["metadata"]
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    selector = (value.get("spec") or {}).get("selector") or {}
    labels = selector.get("matchLabels", {}) if resource != r.REPLICATION_CONTROLLERS else selector
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {field: meta_[field] for field in kept if field in meta_},
        "spec": {"replicas": (value.get("spec") or {}).get("replicas", 1)},
        "status": {
            "replicas": (value.get("status") or {}).get("replicas", 0),
            "selector": ",".join(f"{key}={text}" for key, text in sorted(labels.items())),
        },
    }


def with_scale(value: JsonObject, scale: JsonObject) -> JsonObject:
    """The workload that a written Scale asks for."""
    changed = copy(value)
    changed.setdefault("spec", {})["replicas"] = (scale.get("spec") or {}).get("replicas", 0)
    changed["metadata"]["resourceVersion"] = (scale.get("metadata") or {}).get("resourceVersion", "")
    return changed
