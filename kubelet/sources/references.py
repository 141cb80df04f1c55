"""Whether a static pod refers to objects of the API (pure).

It may not: nobody could deliver them before an API server runs. Order and words are upstream's
HasAPIObjectReference (pkg/api/pod/util.go, gate PreventStaticPodAPIReferences).
"""

from __future__ import annotations

from collections.abc import Iterator

from kube.errors import FieldError
from kube.objects.core_v1 import Container, EphemeralContainer, Pod, PodSpec, Volume

AnyContainer = Container | EphemeralContainer
# Volume types whose own field names a secret (upstream: VisitPodSecretNames).
_SECRET_REF_VOLUMES = ("cephfs", "cinder", "flex_volume", "rbd", "scale_io", "iscsi", "storageos")


def api_reference(pod: Pod) -> FieldError | None:
    """`static pods may not reference secrets`, with the first field that does; None when there is none."""
    found = next(_references(pod.spec), None)
    if found is None:
        return None
    path, resource = found
    return FieldError(path, f"static pods may not reference {resource}")


def _references(spec: PodSpec) -> Iterator[tuple[str, str]]:
    if spec.service_account_name or spec.service_account:
        yield "spec.serviceAccountName", "serviceaccounts"
    for path in _secrets(spec):
        yield path, "secrets"
    for path in _config_maps(spec):
        yield path, "configmaps"
    if spec.resource_claims:
        yield "spec.resourceClaims", "resourceclaims"
    for index, volume in enumerate(spec.volumes):
        yield from _volume(volume, f"spec.volumes[{index}]")


def _containers(spec: PodSpec) -> Iterator[tuple[str, AnyContainer]]:
    kinds: tuple[tuple[str, tuple[AnyContainer, ...]], ...] = (
        ("initContainers", spec.init_containers),
        ("containers", spec.containers),
        ("ephemeralContainers", spec.ephemeral_containers),
    )
    for field, containers in kinds:
        for index, container in enumerate(containers):
            yield f"spec.{field}[{index}]", container


def _secrets(spec: PodSpec) -> Iterator[str]:
    if spec.image_pull_secrets:
        yield "spec.imagePullSecrets"
    for at, container in _containers(spec):
        for index, env_from in enumerate(container.env_from):
            if env_from.secret_ref is not None:
                yield f"{at}.envFrom[{index}].secretRef"
        for index, env in enumerate(container.env):
            if env.value_from is not None and env.value_from.secret_key_ref is not None:
                yield f"{at}.env[{index}].valueFrom.secretKeyRef"
    for number, volume in enumerate(spec.volumes):
        at = f"spec.volumes[{number}]"
        if volume.secret is not None or volume.azure_file is not None:
            yield at
        if volume.csi is not None and volume.csi.node_publish_secret_ref is not None:
            yield f"{at}.csi.nodePublishSecretRef"
        for name in _SECRET_REF_VOLUMES:
            if getattr(getattr(volume, name), "secret_ref", None) is not None:
                yield at
        for index, source in enumerate(volume.projected.sources if volume.projected else ()):
            if source.secret is not None:
                yield f"{at}.projected.sources[{index}].secret"


def _config_maps(spec: PodSpec) -> Iterator[str]:
    for at, container in _containers(spec):
        for index, env_from in enumerate(container.env_from):
            if env_from.config_map_ref is not None:
                yield f"{at}.envFrom[{index}].configMapRef"
        for index, env in enumerate(container.env):
            if env.value_from is not None and env.value_from.config_map_key_ref is not None:
                yield f"{at}.env[{index}].valueFrom.configMapKeyRef"
    for number, volume in enumerate(spec.volumes):
        if volume.config_map is not None:
            yield f"spec.volumes[{number}].configMap"
        for index, source in enumerate(volume.projected.sources if volume.projected else ()):
            if source.config_map is not None:
                yield f"spec.volumes[{number}].projected.sources[{index}].configMap"


def _volume(volume: Volume, at: str) -> Iterator[tuple[str, str]]:
    if volume.csi is not None:
        yield f"{at}.csi", "csidrivers (via CSI volumes)"
    if volume.glusterfs is not None:
        yield f"{at}.glusterfs", "endpoints (via glusterFS volumes)"
    if volume.persistent_volume_claim is not None:
        yield f"{at}.persistentVolumeClaim", "persistentvolumeclaims"
    if volume.ephemeral is not None:
        yield f"{at}.ephemeral", "persistentvolumeclaims (via ephemeral volumes)"
    for index, source in enumerate(volume.projected.sources if volume.projected else ()):
        path = f"{at}.projected.sources[{index}]"
        if source.service_account_token is not None:
            yield f"{path}.serviceAccountToken", "serviceaccounts (via projected volumes)"
        if source.cluster_trust_bundle is not None:
            yield f"{path}.clusterTrustBundle", "clustertrustbundles"
        if source.pod_certificate is not None:
            yield f"{path}.podCertificate", "podcertificates"
