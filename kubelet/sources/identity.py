"""What makes a manifest a static pod of this node: its uid, name, node and annotations (pure).

Upstream's rules (pkg/kubelet/config/common.go): the uid is 128 bits in hex over the pod with its defaults
and over where it comes from, so any change of content is a new pod, and the same manifest on two nodes or in
two files is two pods. Comments and layout do not count. A uid that the user wrote is kept.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import msgspec

from kube.meta import CONFIG_HASH, CONFIG_SOURCE
from kube.objects.core_v1 import Pod, PodStatus, Toleration
from kubelet.sources.model import CONFIG_ORIGIN, FILE

_ENCODER = msgspec.json.Encoder(order="sorted")
# Static pods stay when the node has a problem.
_BLANKET = Toleration(operator="Exists", effect="NoExecute")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a manifest comes from: `source` is "file" or "http", `location` a path or URL."""

    source: str
    location: str
    node_name: str


def static_uid(pod: Pod, origin: Origin) -> str:
    """The uid of a manifest that names none: 32 hex digits."""
    digest = hashlib.blake2b(_ENCODER.encode(pod), digest_size=16)
    if origin.source == FILE:
        digest.update(f"host:{origin.node_name}file:{origin.location}".encode())
    else:
        digest.update(f"url:{origin.location}".encode())
    return digest.hexdigest()


def static_pod(pod: Pod, origin: Origin) -> Pod:
    """The pod as this node runs it. A pod without a name is left without: validation says so."""
    meta = pod.metadata
    uid = meta.uid or static_uid(pod, origin)
    metadata = msgspec.structs.replace(
        meta,
        uid=uid,
        name=f"{meta.name}-{origin.node_name.lower()}" if meta.name else "",
        namespace=meta.namespace or "default",
        annotations={
            **meta.annotations,
            CONFIG_HASH: uid,
            CONFIG_SOURCE: origin.source,
            CONFIG_ORIGIN: origin.location,
        },
    )
    spec = msgspec.structs.replace(pod.spec, node_name=origin.node_name)
    if origin.source == FILE and _BLANKET not in spec.tolerations:
        spec = msgspec.structs.replace(spec, tolerations=(*spec.tolerations, _BLANKET))
    return msgspec.structs.replace(pod, metadata=metadata, spec=spec, status=PodStatus(phase="Pending"))
