"""The downward API: a pod's own fields and resources as text, for environment and files.

Rules of pkg/fieldpath, pkg/api/v1/resource and kubelet_pods.go.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kube import quantity
from kube.objects.core_v1 import ObjectFieldSelector, Pod, ResourceFieldSelector
from kubelet.podspec.errors import ContainerConfigError
from kubelet.podspec.names import AnyContainer, all_containers
from kubelet.podspec.resources import limits_of, requests_of

_SUBSCRIPT = re.compile(r"(.*)\['([^']*)'\]\Z", re.DOTALL)
_SIMPLE_ESCAPES = {
    "\a": r"\a", "\b": r"\b", "\f": r"\f", "\n": r"\n", "\r": r"\r", "\t": r"\t", "\v": r"\v",
    "\\": r"\\", '"': r"\"",
}  # fmt: skip
# Missing limits of these come from the node (resource.MergeContainerResourceLimits).
_DEFAULTED_LIMITS = ("cpu", "memory", "ephemeral-storage")


@dataclass(frozen=True, slots=True)
class DownwardFacts:
    """What fields can show beyond the Pod object: addresses (primary first), node, node allocatable."""

    node_name: str = ""
    node_ips: tuple[str, ...] = ()
    pod_ips: tuple[str, ...] = ()
    allocatable: Mapping[str, str] | None = None


def field_value(selector: ObjectFieldSelector, pod: Pod, facts: DownwardFacts) -> str:
    """The text of a fieldRef; ContainerConfigError for a path that does not exist."""
    path = selector.field_path
    runtime: dict[str, Sequence[str]] = {
        "status.hostIP": facts.node_ips[:1],
        "status.hostIPs": facts.node_ips,
        "status.podIP": facts.pod_ips[:1],
        "status.podIPs": facts.pod_ips,
    }
    if path in runtime:
        return ",".join(runtime[path])
    subscript = _SUBSCRIPT.match(path)
    if subscript is not None:
        return _subscripted(subscript[1], subscript[2], path, pod)
    meta = pod.metadata
    match path:
        case "metadata.name":
            return meta.name
        case "metadata.namespace":
            return meta.namespace
        case "metadata.uid":
            return meta.uid
        case "metadata.labels":
            return format_map(meta.labels)
        case "metadata.annotations":
            return format_map(meta.annotations)
        case "spec.nodeName":
            return pod.spec.node_name or facts.node_name
        case "spec.serviceAccountName":
            return pod.spec.service_account_name or ""
    raise ContainerConfigError(f"unsupported fieldPath: {path}")


def _subscripted(base: str, key: str, path: str, pod: Pod) -> str:
    match base:
        case "metadata.annotations":
            return pod.metadata.annotations.get(key, "")
        case "metadata.labels":
            return pod.metadata.labels.get(key, "")
    raise ContainerConfigError(f"fieldPath {go_quote(path)} does not support subscript")


def resource_value(
    selector: ResourceFieldSelector, pod: Pod, container: AnyContainer | None, facts: DownwardFacts
) -> str:
    """The text of a resourceFieldRef, in units of its divisor, rounded up.

    `container` is the one that asks; in a volume there is none and the selector names one.
    """
    target = _target(selector, pod, container)
    kind, _, name = selector.resource.partition(".")
    known = name in _DEFAULTED_LIMITS or name.startswith("hugepages-")
    if kind not in ("limits", "requests") or not known:
        raise ContainerConfigError(f"unsupported container resource : {selector.resource}")
    found = _limit(pod, target, name, facts) if kind == "limits" else requests_of(target).get(name, "0")
    amount, divisor = quantity.parse(found), quantity.parse(selector.divisor or "1")
    if divisor.nanos <= 0:
        divisor = quantity.from_int(1)
    if name == "cpu":
        return str(-(-amount.to_milli() // divisor.to_milli()))
    return str(-(-amount.to_int() // divisor.to_int()))


def _target(selector: ResourceFieldSelector, pod: Pod, container: AnyContainer | None) -> AnyContainer:
    name = selector.container_name
    if not name and container is not None:
        return container
    for candidate in all_containers(pod):
        if candidate.name == name:
            return candidate
    raise ContainerConfigError(f"container {name or ''} not found")


def _limit(pod: Pod, container: AnyContainer, name: str, facts: DownwardFacts) -> str:
    """The container's limit, else the pod's, else all that the node can give."""
    own = limits_of(container).get(name)
    if own is not None and quantity.parse(own):
        return own
    if name not in _DEFAULTED_LIMITS:
        return "0"
    level = pod.spec.resources.limits.get(name) if pod.spec.resources is not None else None
    if level is not None and quantity.parse(level):
        return level
    return (facts.allocatable or {}).get(name, "0")


def format_map(values: Mapping[str, str]) -> str:
    """Labels or annotations as lines `key="value"` in the order of keys."""
    return "\n".join(f"{key}={go_quote(values[key])}" for key in sorted(values))


def go_quote(text: str) -> str:
    """A string as Go's %q prints it."""
    return '"' + "".join(map(_quoted_char, text)) + '"'


def _quoted_char(char: str) -> str:
    if char in _SIMPLE_ESCAPES:
        return _SIMPLE_ESCAPES[char]
    if char == " " or (char.isprintable() and not char.isspace()):
        return char
    code = ord(char)
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
