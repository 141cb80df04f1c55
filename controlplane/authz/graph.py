"""Which objects the pods of a node reference, so what it may read (plugin/pkg/auth/authorizer/node/graph.go).

Fed with pods as they come and go; a look-up is one dictionary access. Mirror pods give their node nothing: a
node makes them itself, and could otherwise write itself a reference to any secret.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kube.meta import CONFIG_MIRROR

# (plural, namespace, name)
Reference = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class _Held:
    node: str
    references: frozenset[Reference]


class Graph:
    """Pods by their nodes, with what they reference, counted."""

    def __init__(self) -> None:
        self._pods: dict[tuple[str, str], _Held] = {}
        self._reachable: dict[str, Counter[Reference]] = {}

    def put_pod(self, pod: Mapping[str, Any]) -> None:
        """A pod as it is now (JSON); without a node it references nothing yet."""
        meta, spec = pod["metadata"], pod.get("spec", {})
        self.remove_pod(meta["namespace"], meta["name"])
        node = spec.get("nodeName", "")
        if not node:
            return
        held = _Held(node, frozenset(references(pod)))
        self._pods[meta["namespace"], meta["name"]] = held
        self._reachable.setdefault(node, Counter()).update(held.references)

    def remove_pod(self, namespace: str, name: str) -> None:
        held = self._pods.pop((namespace, name), None)
        if held is None:
            return
        reachable = self._reachable[held.node]
        for reference in held.references:
            reachable[reference] -= 1
            if not reachable[reference]:
                del reachable[reference]
        if not reachable:
            del self._reachable[held.node]

    def reaches(self, node: str, plural: str, namespace: str, name: str) -> bool:
        return (plural, namespace, name) in self._reachable.get(node, ())


def references(pod: Mapping[str, Any]) -> Iterator[Reference]:
    """What the node of a pod must read to run it, the pod itself first."""
    meta, spec = pod["metadata"], pod.get("spec", {})
    namespace = meta["namespace"]
    yield "pods", namespace, meta["name"]
    if CONFIG_MIRROR in (meta.get("annotations") or {}):
        return
    if spec.get("serviceAccountName"):
        yield "serviceaccounts", namespace, spec["serviceAccountName"]
    found = (*_pull_secrets(spec), *_of_containers(spec), *_of_volumes(spec, meta["name"]))
    for plural, name in found:
        if name:
            yield plural, namespace, name


def _pull_secrets(spec: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for item in spec.get("imagePullSecrets") or ():
        yield "secrets", item.get("name", "")


def _of_containers(spec: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for kind in ("initContainers", "containers", "ephemeralContainers"):
        for container in spec.get(kind) or ():
            for source in container.get("envFrom") or ():
                yield from _pair(source, "configMapRef", "secretRef")
            for variable in container.get("env") or ():
                yield from _pair(variable.get("valueFrom") or {}, "configMapKeyRef", "secretKeyRef")


def _pair(holder: Mapping[str, Any], config_map: str, secret: str) -> Iterator[tuple[str, str]]:
    if holder.get(config_map):
        yield "configmaps", holder[config_map].get("name", "")
    if holder.get(secret):
        yield "secrets", holder[secret].get("name", "")


# Volume sources that name a secret by `secretRef` (or, flexVolume's and csi's, by a key of their own).
_SECRET_REFS = ("cephfs", "flexVolume", "iscsi", "rbd", "scaleIO", "storageos")


def _of_volumes(spec: Mapping[str, Any], pod_name: str) -> Iterator[tuple[str, str]]:
    for volume in spec.get("volumes") or ():
        sources = [volume, *((volume.get("projected") or {}).get("sources") or ())]
        for source in sources:
            if source.get("configMap"):
                yield "configmaps", source["configMap"].get("name", "")
            if source.get("secret"):
                # A volume's says `secretName`, a projection's `name`.
                yield "secrets", source["secret"].get("secretName") or source["secret"].get("name", "")
        for kind in _SECRET_REFS:
            yield "secrets", ((volume.get(kind) or {}).get("secretRef") or {}).get("name", "")
        yield "secrets", (volume.get("azureFile") or {}).get("secretName", "")
        csi = volume.get("csi") or {}
        yield "secrets", (csi.get("nodePublishSecretRef") or {}).get("name", "")
        yield "persistentvolumeclaims", (volume.get("persistentVolumeClaim") or {}).get("claimName", "")
        if volume.get("ephemeral"):
            yield "persistentvolumeclaims", f"{pod_name}-{volume.get('name', '')}"
