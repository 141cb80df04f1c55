"""The status of a Node from what is so right now (pure).

`node_status(settings, machine, readings, previous, now)` gives the whole status; `patch_of` what has to be
sent of it, and `has_changed` whether anything but the heartbeat is new. Fields: kubelet 1.36,
pkg/kubelet/nodestatus/setters.go.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from ipaddress import ip_address
from typing import Any

from cri.types import Image, StatusResponse
from kube import meta
from kube.patch import strategic
from kube.patch.values import same
from kube.quantity import is_valid, parse
from kubelet.node.conditions import conditions
from kubelet.node.model import Machine, NodeSettings, Readings
from kubelet.node.resources import PodLimits, Resources, allocatable, capacity, texts

JsonObject = dict[str, Any]
# pkg/kubelet/nodestatus: MaxNamesPerImageInNodeStatus
MOST_NAMES_PER_IMAGE = 5
_TYPE = "cluster_v1.Node"


def node_status(
    settings: NodeSettings, machine: Machine, readings: Readings, previous: Mapping[str, Any], now: datetime
) -> JsonObject:
    """The whole status; `previous` (the status the API has, {} for none) gives transition times and what
    others wrote there, which stays."""
    everything = {**extended(previous.get("capacity") or {}), **own_capacity(settings, machine)}
    ours: JsonObject = {
        "addresses": addresses(settings.name, readings.addresses),
        "allocatable": texts(allocatable(everything, settings.reservations)),
        "capacity": texts(everything),
        "conditions": conditions(
            readings, texts(everything), previous.get("conditions") or (), meta.format_time(now)
        ),
        "daemonEndpoints": {"kubeletEndpoint": {"Port": settings.port}},
        "images": images(readings.images, settings.max_images),
        "nodeInfo": node_info(settings, machine),
        "declaredFeatures": sorted(settings.declared_features),
        "volumesInUse": sorted(readings.volumes_in_use),
    }
    if readings.runtime is not None:
        ours["runtimeHandlers"] = runtime_handlers(readings.runtime)
        ours["features"] = {"supplementalGroupsPolicy": readings.runtime.features.supplemental_groups_policy}
    for name in ("images", "declaredFeatures", "volumesInUse", "runtimeHandlers"):
        if not ours.get(name):
            ours.pop(name, None)
    kept = {name: value for name, value in previous.items() if name not in _OURS}
    return kept | ours


_OURS = frozenset({
    "addresses", "allocatable", "capacity", "conditions", "daemonEndpoints", "images", "nodeInfo",
    "declaredFeatures", "volumesInUse", "runtimeHandlers", "features",
})  # fmt: skip


def own_capacity(settings: NodeSettings, machine: Machine) -> Resources:
    limits = PodLimits(settings.max_pods, settings.pods_per_core, settings.local_storage)
    return capacity(machine, limits)


def extended(capacity: Mapping[str, str]) -> Resources:
    """Resources that somebody else declared on the Node (`example.com/dongle`); they are kept."""
    return {
        name: parse(text)
        for name, text in capacity.items()
        if "/" in name and not name.partition("/")[0].endswith("kubernetes.io") and is_valid(text)
    }


def addresses(hostname: str, ips: Iterable[str]) -> list[JsonObject]:
    """InternalIPs, primary first, then the Hostname."""
    found = [{"type": "InternalIP", "address": str(ip_address(ip))} for ip in ips]
    return [*found, {"type": "Hostname", "address": hostname}]


def images(present: Iterable[Image], most: int) -> list[JsonObject]:
    """The largest first, at most `most` of them (-1 = all), each with up to five names."""
    named = [image for image in present if image.repo_tags or image.repo_digests]
    named.sort(key=lambda image: (-image.size, image.id))
    found = []
    for image in named if most < 0 else named[:most]:
        names = [*image.repo_digests, *image.repo_tags][:MOST_NAMES_PER_IMAGE]
        found.append({"names": names, "sizeBytes": image.size})
    return found


def node_info(settings: NodeSettings, machine: Machine) -> JsonObject:
    info: JsonObject = {
        "machineID": machine.machine_id, "systemUUID": machine.system_uuid, "bootID": machine.boot_id,
        "kernelVersion": machine.kernel_version, "osImage": machine.os_image,
        "containerRuntimeVersion": settings.runtime_version, "kubeletVersion": settings.version,
        "kubeProxyVersion": "", "operatingSystem": "linux", "architecture": machine.architecture,
    }  # fmt: skip
    if machine.swap_bytes:
        info["swap"] = {"capacity": machine.swap_bytes}
    return info


def runtime_handlers(runtime: StatusResponse) -> list[JsonObject]:
    """In the order of their names, the default one ("") first."""
    return [
        {
            "name": handler.name,
            "features": {
                "recursiveReadOnlyMounts": handler.features.recursive_read_only_mounts,
                "userNamespaces": handler.features.user_namespaces,
            },
        }
        for handler in sorted(runtime.runtime_handlers, key=lambda handler: handler.name)
    ]


def has_changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Whether two statuses differ in more than heartbeats."""
    return not same(_without_heartbeats(before), _without_heartbeats(after))


def _without_heartbeats(status: Mapping[str, Any]) -> JsonObject:
    bare = [
        {name: value for name, value in one.items() if name != "lastHeartbeatTime"}
        for one in status.get("conditions") or ()
    ]
    return {**status, "conditions": bare}


def patch_of(node: JsonObject, status: JsonObject) -> JsonObject:
    """The strategic merge patch that gives `node` this status; {} when it has it."""
    return strategic.diff(node, {**node, "status": status}, _TYPE)
