"""The bytes of a manifest to static pods of this node, or to everything that is wrong with it (pure)."""

from __future__ import annotations

from functools import partial

from kube.decode import read_manifests
from kube.errors import FieldError, InvalidObject, at_lines
from kube.objects.core_v1 import Pod
from kubelet.sources.identity import Origin, static_pod
from kubelet.sources.model import Decode
from kubelet.sources.references import api_reference


def decoder(source: str, node_name: str) -> Decode:
    """The `Decode` of one source on this node."""

    def decode(data: bytes, location: str) -> tuple[Pod, ...]:
        return decode_static_pods(data, Origin(source, location, node_name))

    return decode


def decode_static_pods(data: bytes, origin: Origin) -> tuple[Pod, ...]:
    """The pods of one manifest: a Pod, a PodList, or several documents.

    One faulty pod refuses the whole manifest, with the faults of all its pods.
    """
    pods: list[Pod] = []
    faults: list[FieldError] = []
    for manifest in read_manifests(data):
        try:
            pod = manifest.accept(partial(static_pod, origin=origin))
        except InvalidObject as err:
            faults += err.errors
            continue
        refused = api_reference(pod)
        if refused is not None:
            faults += at_lines([refused], manifest.lines)
        pods.append(pod)
    if faults:
        raise InvalidObject(faults, "Pod", pods[0].metadata.name if pods else "")
    return tuple(pods)
