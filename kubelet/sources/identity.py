"""What makes a manifest a static pod of this node: its uid, name, node and annotations (pure).

Upstream's rules (pkg/kubelet/config/common.go) on the JSON document the user wrote, before defaults: the
uid is 128 bits in hex over the document and where it comes from, so any change of content is a new pod, and
the same manifest on two nodes or in two files is two pods. The hash is over the document *as written*
(canonical JSON, so comments and layout do not count): a new release of the agent with other defaults keeps
every uid. A uid that the user wrote is kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from kube.meta import CONFIG_HASH, CONFIG_SOURCE
from kubelet.sources.model import CONFIG_ORIGIN, FILE

_ENCODER = msgspec.json.Encoder(order="sorted")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a manifest comes from: `source` is "file" or "http", `location` a path or URL."""

    source: str
    location: str
    node_name: str


def static_uid(document: Mapping[str, Any], origin: Origin) -> str:
    """The uid of a manifest that names none: 32 hex digits."""
    digest = hashlib.blake2b(_ENCODER.encode(document), digest_size=16)
    if origin.source == FILE:
        digest.update(f"host:{origin.node_name}file:{origin.location}".encode())
    else:
        digest.update(f"url:{origin.location}".encode())
    return digest.hexdigest()


def static_pod(document: Mapping[str, Any], origin: Origin) -> dict[str, Any]:
    """The document of the pod as this node runs it; the given one is not changed.

    `document` must have passed the structural check: metadata and spec are maps, a name is there.
    """
    metadata: dict[str, Any] = dict(document.get("metadata") or {})
    spec: dict[str, Any] = dict(document.get("spec") or {})
    uid = metadata.get("uid") or static_uid(document, origin)
    metadata["uid"] = uid
    metadata["name"] = f"{metadata['name']}-{origin.node_name.lower()}"
    metadata["namespace"] = metadata.get("namespace") or "default"
    metadata["annotations"] = {
        **(metadata.get("annotations") or {}),
        CONFIG_HASH: uid,
        CONFIG_SOURCE: origin.source,
        CONFIG_ORIGIN: origin.location,
    }
    spec["nodeName"] = origin.node_name
    if origin.source == FILE:
        spec["tolerations"] = _with_blanket(spec.get("tolerations") or [])
    return {**document, "metadata": metadata, "spec": spec, "status": {"phase": "Pending"}}


def _with_blanket(tolerations: list[Any]) -> list[Any]:
    """Static pods stay when the node has a problem: they tolerate every NoExecute taint."""
    blanket = {"operator": "Exists", "effect": "NoExecute"}
    return tolerations if blanket in tolerations else [*tolerations, blanket]
