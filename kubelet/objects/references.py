"""Which ConfigMaps and Secrets a pod reads, and where. Pure.

What is counted is what this agent reads itself: volumes, environment and pull secrets. The secrets of volume
kinds that the agent does not have are nobody's business here.
"""

from __future__ import annotations

from collections.abc import Iterator

from kube.objects.core_v1 import Pod, Volume
from kubelet.objects.model import Kind, ObjectKey
from kubelet.podspec.names import AnyContainer, all_containers


def of_pod(pod: Pod) -> frozenset[ObjectKey]:
    """Every object that the pod reads anywhere."""
    found = set(pull_secrets(pod))
    for volume in pod.spec.volumes:
        found.update(of_volume(pod.metadata.namespace, volume))
    for container in all_containers(pod):
        found.update(of_container(pod.metadata.namespace, container))
    return frozenset(found)


def pull_secrets(pod: Pod) -> tuple[ObjectKey, ...]:
    """`imagePullSecrets` in their order; entries without a name are nobody's."""
    namespace = pod.metadata.namespace
    return tuple(
        ObjectKey(Kind.SECRET, namespace, one.name) for one in pod.spec.image_pull_secrets if one.name
    )


def of_volume(namespace: str, volume: Volume) -> frozenset[ObjectKey]:
    return frozenset(ObjectKey(kind, namespace, name) for kind, name in _volume(volume) if name)


def of_container(namespace: str, container: AnyContainer) -> frozenset[ObjectKey]:
    """What its environment is made of."""
    return frozenset(ObjectKey(kind, namespace, name) for kind, name in _container(container) if name)


def _volume(volume: Volume) -> Iterator[tuple[Kind, str | None]]:
    if volume.config_map is not None:
        yield Kind.CONFIG_MAP, volume.config_map.name
    if volume.secret is not None:
        yield Kind.SECRET, volume.secret.secret_name
    for source in volume.projected.sources if volume.projected is not None else ():
        if source.config_map is not None:
            yield Kind.CONFIG_MAP, source.config_map.name
        if source.secret is not None:
            yield Kind.SECRET, source.secret.name


def _container(container: AnyContainer) -> Iterator[tuple[Kind, str | None]]:
    for source in container.env_from:
        if source.config_map_ref is not None:
            yield Kind.CONFIG_MAP, source.config_map_ref.name
        if source.secret_ref is not None:
            yield Kind.SECRET, source.secret_ref.name
    for variable in container.env:
        value = variable.value_from
        if value is not None and value.config_map_key_ref is not None:
            yield Kind.CONFIG_MAP, value.config_map_key_ref.name
        if value is not None and value.secret_key_ref is not None:
            yield Kind.SECRET, value.secret_key_ref.name
