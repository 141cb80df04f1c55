"""What the API server fills in when a Pod leaves it out (pkg/apis/core/v1/defaults.go), on the JSON value.

The functions change the value they are given, which must have passed `kube.decode` (right types, no nulls).
An empty string or a zero counts as left out wherever Go cannot tell the difference.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kube import quantity
from kube.image_reference import tag_of
from kube.quantity import Quantity

Json = dict[str, Any]

TERMINATION_GRACE_SECONDS = 30
TERMINATION_MESSAGE_PATH = "/dev/termination-log"
FILE_MODE = 0o644
TOKEN_SECONDS = 3600
PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
PROBE_DEFAULTS = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}
HOOKS = ("postStart", "preStop")


def default_pod(pod: Json) -> Json:
    """Fill in a Pod: what `default_pod_spec` does, and what only pods get (not templates)."""
    spec = pod.setdefault("spec", {"containers": []})
    default_pod_spec(spec)
    for container in _containers(spec):
        resources = container.get("resources", {})
        if resources.get("limits"):
            resources["requests"] = {**resources["limits"], **resources.get("requests", {})}
    _default_pod_requests(spec)
    spec.setdefault("enableServiceLinks", True)
    if spec.get("hostNetwork"):
        for container in (*spec.get("initContainers", ()), *spec.get("containers", ())):
            for port in container.get("ports", ()):
                _fill(port, hostPort=port.get("containerPort", 0))
    return pod


def default_pod_spec(spec: Json) -> None:
    """Fill in a PodSpec, of a pod or of a template."""
    _fill(
        spec,
        dnsPolicy="ClusterFirst",
        restartPolicy="Always",
        schedulerName="default-scheduler",
    )
    spec.setdefault("terminationGracePeriodSeconds", TERMINATION_GRACE_SECONDS)
    spec.setdefault("securityContext", {})
    # `serviceAccount` is the old name of `serviceAccountName`; both are always set alike.
    account = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if account:
        spec["serviceAccountName"] = spec["serviceAccount"] = account
    for volume in spec.get("volumes", ()):
        default_volume(volume)
    for container in _containers(spec):
        default_container(container)


def default_container(container: Json) -> None:
    _fill(
        container,
        imagePullPolicy=pull_policy(container.get("image", "")),
        terminationMessagePath=TERMINATION_MESSAGE_PATH,
        terminationMessagePolicy="File",
    )
    for port in container.get("ports", ()):
        _fill(port, protocol="TCP")
    for variable in container.get("env", ()):
        _default_field_ref(variable.get("valueFrom", {}))
    for name in PROBES:
        if name in container:
            default_probe(container[name])
    for hook in HOOKS:
        if hook in container.get("lifecycle", {}):
            _default_http_get(container["lifecycle"][hook])


def default_probe(probe: Json) -> None:
    _fill(probe, **PROBE_DEFAULTS)
    _default_http_get(probe)
    if "grpc" in probe:
        probe["grpc"].setdefault("service", "")


def default_volume(volume: Json) -> None:
    """A volume without a source is an emptyDir; sources made of files get a mode."""
    if not volume.keys() - {"name"}:
        volume["emptyDir"] = {}
    for kind in ("secret", "configMap", "downwardAPI", "projected"):
        if kind in volume:
            volume[kind].setdefault("defaultMode", FILE_MODE)
    for item in volume.get("downwardAPI", {}).get("items", ()):
        _default_field_ref(item)
    for source in volume.get("projected", {}).get("sources", ()):
        for item in source.get("downwardAPI", {}).get("items", ()):
            _default_field_ref(item)
        if "serviceAccountToken" in source:
            source["serviceAccountToken"].setdefault("expirationSeconds", TOKEN_SECONDS)
    if "hostPath" in volume:
        volume["hostPath"].setdefault("type", "")
    if "image" in volume:
        _fill(volume["image"], pullPolicy=pull_policy(volume["image"].get("reference", "")))
    claim = volume.get("ephemeral", {}).get("volumeClaimTemplate", {})
    if "spec" in claim:
        claim["spec"].setdefault("volumeMode", "Filesystem")
    _default_old_volumes(volume)


def _default_old_volumes(volume: Json) -> None:
    if "iscsi" in volume:
        _fill(volume["iscsi"], iscsiInterface="default")
    if "rbd" in volume:
        _fill(volume["rbd"], pool="rbd", user="admin", keyring="/etc/ceph/keyring")
    if "scaleIO" in volume:
        _fill(volume["scaleIO"], storageMode="ThinProvisioned", fsType="xfs")
    if "azureDisk" in volume:
        for key, value in (("cachingMode", "ReadWrite"), ("kind", "Shared"), ("fsType", "ext4")):
            volume["azureDisk"].setdefault(key, value)
        volume["azureDisk"].setdefault("readOnly", False)


def pull_policy(image: str) -> str:
    """Always for the tag `latest`, said or implied; IfNotPresent for other tags and for digests."""
    return "Always" if tag_of(image) == "latest" else "IfNotPresent"


def _containers(spec: Json) -> Iterator[Json]:
    for kind in ("initContainers", "containers", "ephemeralContainers"):
        yield from spec.get(kind, ())


def _fill(value: Json, **defaults: Any) -> None:
    """Set what is missing, empty or zero."""
    for key, default in defaults.items():
        if not value.get(key):
            value[key] = default


def _default_field_ref(value: Json) -> None:
    if "fieldRef" in value:
        _fill(value["fieldRef"], apiVersion="v1")


def _default_http_get(handler: Json) -> None:
    if "httpGet" in handler:
        _fill(handler["httpGet"], path="/", scheme="HTTP")


def is_pod_level_resource(name: str) -> bool:
    """What may stand under spec.resources (resource.IsSupportedPodLevelResource)."""
    return name in ("cpu", "memory") or name.startswith("hugepages-")


def _default_pod_requests(spec: Json) -> None:
    """Pod-level requests that are left out are what the containers ask for together, else the limit."""
    level = spec.get("resources", {})
    limits = level.get("limits", {})
    if not limits:
        return
    asked = {name: str(amount) for name, amount in _effective_requests(spec).items()}
    known = {**limits, **asked, **level.get("requests", {})}
    level["requests"] = {
        name: amount
        for name, amount in known.items()
        if is_pod_level_resource(name) or name in level.get("requests", {})
    }


def _effective_requests(spec: Json) -> dict[str, Quantity]:
    """Containers run together, and sidecars with them; init containers run one by one, each beside the
    sidecars started before it. The pod needs the larger of the two."""
    together: dict[str, Quantity] = {}
    peak: dict[str, Quantity] = {}
    for container in spec.get("initContainers", ()):
        own = _requests(container)
        if container.get("restartPolicy") == "Always":
            _add(together, own)
            own = {}
        for name, amount in _sum(together, own).items():
            peak[name] = max(peak.get(name, quantity.ZERO), amount)
    for container in spec.get("containers", ()):
        _add(together, _requests(container))
    return {
        name: max(together.get(name, quantity.ZERO), peak.get(name, quantity.ZERO))
        for name in together | peak
    }


def _requests(container: Json) -> dict[str, Quantity]:
    return {
        name: quantity.parse(text)
        for name, text in container.get("resources", {}).get("requests", {}).items()
    }


def _sum(one: dict[str, Quantity], other: dict[str, Quantity]) -> dict[str, Quantity]:
    total = dict(one)
    _add(total, other)
    return total


def _add(total: dict[str, Quantity], more: dict[str, Quantity]) -> None:
    for name, amount in more.items():
        total[name] = total.get(name, quantity.ZERO) + amount
