"""What the API server fills in for kinds other than Pod (pkg/apis/{core,apps,discovery,scheduling}/v1/
defaults.go), on the JSON value, in place. Values have passed the structure check.
"""

from __future__ import annotations

import base64
from typing import Any

from kube.client.model import JsonObject
from kube.defaults import default_pod_spec

REVISION_HISTORY_LIMIT = 10
PROGRESS_DEADLINE_SECONDS = 600
ROLLING_UPDATE = {"maxSurge": "25%", "maxUnavailable": "25%"}
METADATA_NAME_LABEL = "kubernetes.io/metadata.name"


def default_namespace(value: JsonObject) -> None:
    """The label by which selectors find a namespace by name."""
    metadata = value["metadata"]
    if name := metadata.get("name"):
        metadata["labels"] = {**metadata.get("labels", {}), METADATA_NAME_LABEL: name}


def default_secret(value: JsonObject) -> None:
    if not value.get("type"):
        value["type"] = "Opaque"
    if texts := value.pop("stringData", None):
        value["data"] = {**value.get("data", {}), **{key: _base64(text) for key, text in texts.items()}}


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def default_service(value: JsonObject) -> None:
    spec = value.setdefault("spec", {})
    value.setdefault("status", {}).setdefault("loadBalancer", {})
    _fill(spec, sessionAffinity="None", type="ClusterIP")
    if spec["type"] in ("NodePort", "LoadBalancer"):
        _fill(spec, externalTrafficPolicy="Cluster")
    if spec["type"] != "ExternalName":
        _fill(spec, internalTrafficPolicy="Cluster")
    if spec["sessionAffinity"] == "ClientIP":
        config = spec.setdefault("sessionAffinityConfig", {}).setdefault("clientIP", {})
        config.setdefault("timeoutSeconds", 10800)
    for port in spec.get("ports", ()):
        _fill(port, protocol="TCP")
        if port.get("targetPort") in (None, "", 0):
            port["targetPort"] = port.get("port", 0)


def default_endpoints(value: JsonObject) -> None:
    for subset in value.get("subsets", ()):
        for port in subset.get("ports", ()):
            _fill(port, protocol="TCP")


def default_endpoint_slice(value: JsonObject) -> None:
    for port in value.get("ports", ()):
        port.setdefault("name", "")
        port.setdefault("protocol", "TCP")


def default_priority_class(value: JsonObject) -> None:
    _fill(value, preemptionPolicy="PreemptLowerPriority")


def default_replicas(value: JsonObject) -> None:
    """A ReplicaSet: one replica, and the template's defaults."""
    spec = value.setdefault("spec", {})
    spec.setdefault("replicas", 1)
    _default_template(spec)


def default_replication_controller(value: JsonObject) -> None:
    """Labels and selector come from the template when they are left out."""
    default_replicas(value)
    spec = value["spec"]
    labels = _template_labels(spec)
    if labels:
        if not spec.get("selector"):
            spec["selector"] = dict(labels)
        if not value["metadata"].get("labels"):
            value["metadata"]["labels"] = dict(labels)


def default_deployment(value: JsonObject) -> None:
    default_replicas(value)
    spec = value["spec"]
    spec.setdefault("revisionHistoryLimit", REVISION_HISTORY_LIMIT)
    spec.setdefault("progressDeadlineSeconds", PROGRESS_DEADLINE_SECONDS)
    strategy = spec.setdefault("strategy", {})
    _fill(strategy, type="RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        strategy["rollingUpdate"] = ROLLING_UPDATE | strategy.get("rollingUpdate", {})


def _default_template(spec: JsonObject) -> None:
    template = spec.get("template")
    if template is not None:
        default_pod_spec(template.setdefault("spec", {"containers": []}))


def _template_labels(spec: JsonObject) -> dict[str, str]:
    labels: dict[str, str] = ((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}
    return labels


def _fill(value: JsonObject, **defaults: Any) -> None:
    for name, default in defaults.items():
        if not value.get(name):
            value[name] = default
