"""What files a downwardAPI or projected volume shows, computed from the pod itself. Pure.

ConfigMaps, Secrets and tokens of a projected volume come from `ProjectionSource`, which an agent without an
API server does not have.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from kube.objects.core_v1 import DownwardAPIVolumeFile, Pod, VolumeProjection
from kubelet.podspec.downward import DownwardFacts, field_value, resource_value
from kubelet.volumes.atomic_writer import FileProjection
from kubelet.volumes.plugin import VolumeError

DEFAULT_MODE = 0o644  # v1 defaults: DownwardAPIVolumeSourceDefaultMode
_GROUP_READ = 0o440  # a read-only volume's mask for fsGroup (volume_linux.go)


class ProjectionSource(Protocol):
    """The API-backed parts of a projected volume: path -> file. Raises VolumeError."""

    def files(
        self, pod: Pod, projection: VolumeProjection, default_mode: int
    ) -> Mapping[str, FileProjection]: ...


class NoProjections:
    """An agent without an API server."""

    def files(
        self, pod: Pod, projection: VolumeProjection, default_mode: int
    ) -> Mapping[str, FileProjection]:
        raise VolumeError(
            f"cannot project {_kind(projection)} of pod {pod.metadata.namespace}/{pod.metadata.name}: "
            "this agent has no API server to read it from"
        )


def downward_files(
    pod: Pod, items: Iterable[DownwardAPIVolumeFile], default_mode: int | None, facts: DownwardFacts
) -> dict[str, FileProjection]:
    """The files of downwardAPI items. Raises ContainerConfigError for an impossible reference."""
    files: dict[str, FileProjection] = {}
    for item in items:
        text = ""
        if item.field_ref is not None:
            text = field_value(item.field_ref, pod, facts)
        elif item.resource_field_ref is not None:
            text = resource_value(item.resource_field_ref, pod, None, facts)
        mode = item.mode if item.mode is not None else default_mode
        files[item.path] = FileProjection(text.encode(), DEFAULT_MODE if mode is None else mode)
    return files


def projected_files(
    pod: Pod,
    projections: Iterable[VolumeProjection],
    default_mode: int | None,
    facts: DownwardFacts,
    source: ProjectionSource,
) -> dict[str, FileProjection]:
    """All sources in order; a later one wins a path."""
    files: dict[str, FileProjection] = {}
    mode = DEFAULT_MODE if default_mode is None else default_mode
    for projection in projections:
        if projection.downward_api is not None:
            files.update(downward_files(pod, projection.downward_api.items, mode, facts))
        else:
            files.update(source.files(pod, projection, mode))
    return files


def for_group(files: Mapping[str, FileProjection], fs_group: int | None) -> dict[str, FileProjection]:
    """The same files, readable by the pod's fsGroup."""
    if fs_group is None:
        return dict(files)
    return {
        path: FileProjection(file.data, file.mode | _GROUP_READ, file.uid, fs_group)
        for path, file in files.items()
    }


def _kind(projection: VolumeProjection) -> str:
    present = (
        ("a ConfigMap", projection.config_map),
        ("a Secret", projection.secret),
        ("a service account token", projection.service_account_token),
        ("a ClusterTrustBundle", projection.cluster_trust_bundle),
        ("a pod certificate", projection.pod_certificate),
    )
    return next((name for name, value in present if value is not None), "an empty source")
