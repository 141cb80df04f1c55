"""What files a configMap, secret, downwardAPI or projected volume shows. Pure.

Computed from the pod and from what was gathered for it. Errors are upstream's (pkg/volume/configmap, secret,
projected, downwardapi): a single fault in its own words, several of a projected volume in brackets.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from aio.errors import Rejected, Retry
from kube.objects.core_v1 import (
    ConfigMapProjection,
    ConfigMapVolumeSource,
    DownwardAPIVolumeFile,
    KeyToPath,
    Pod,
    ProjectedVolumeSource,
    SecretProjection,
    SecretVolumeSource,
    ServiceAccountTokenProjection,
    VolumeProjection,
)
from kubelet.objects.model import ApiObject, Kind
from kubelet.podspec.downward import DownwardFacts, field_value, resource_value
from kubelet.volumes.atomic_writer import FileProjection
from kubelet.volumes.inputs import VolumeInputs, token_wish
from kubelet.volumes.plugin import VolumeError

Files = dict[str, FileProjection]

DEFAULT_MODE = 0o644  # v1 defaults: DownwardAPIVolumeSourceDefaultMode and its like
_PRIVATE_MODE = 0o600  # projected.go: a token, when somebody other than root is to read it
_GROUP_READ = 0o440  # a read-only volume's mask for fsGroup (volume_linux.go)
_MISSING_KEY = {
    Kind.CONFIG_MAP: "configmap references non-existent config key: {}",
    Kind.SECRET: "references non-existent secret key: {}",
}


def downward_files(
    pod: Pod, items: Iterable[DownwardAPIVolumeFile], default_mode: int | None, facts: DownwardFacts
) -> Files:
    """The files of downwardAPI items. Raises ContainerConfigError for an impossible reference."""
    files: Files = {}
    for item in items:
        text = ""
        if item.field_ref is not None:
            text = field_value(item.field_ref, pod, facts)
        elif item.resource_field_ref is not None:
            text = resource_value(item.resource_field_ref, pod, None, facts)
        files[item.path] = FileProjection(text.encode(), _mode(item.mode, default_mode))
    return files


def config_map_files(
    pod: Pod,
    source: ConfigMapVolumeSource | ConfigMapProjection,
    default_mode: int | None,
    inputs: VolumeInputs,
) -> Files:
    """Raises ObjectError or VolumeError."""
    optional = bool(source.optional)
    found = inputs.object(Kind.CONFIG_MAP, pod.metadata.namespace, source.name or "", optional=optional)
    return object_files(found, source.items, default_mode, optional=optional)


def secret_files(
    pod: Pod, source: SecretVolumeSource | SecretProjection, default_mode: int | None, inputs: VolumeInputs
) -> Files:
    """Raises ObjectError or VolumeError."""
    optional = bool(source.optional)
    name = source.secret_name if isinstance(source, SecretVolumeSource) else source.name
    found = inputs.object(Kind.SECRET, pod.metadata.namespace, name or "", optional=optional)
    return object_files(found, source.items, default_mode, optional=optional)


def object_files(
    found: ApiObject, items: Iterable[KeyToPath], default_mode: int | None, *, optional: bool
) -> Files:
    """All keys, or those that `items` name. VolumeError for a named key that is not there."""
    chosen = tuple(items)
    if not chosen:
        mode = _mode(None, default_mode)
        return {key: FileProjection(data, mode) for key, data in found.data.items()}
    files: Files = {}
    for item in chosen:
        data = found.data.get(item.key)
        if data is not None:
            files[item.path] = FileProjection(data, _mode(item.mode, default_mode))
        elif not optional:
            raise VolumeError(_MISSING_KEY[found.key.kind].format(item.key))
    return files


def projected_files(
    pod: Pod, source: ProjectedVolumeSource, facts: DownwardFacts, inputs: VolumeInputs
) -> Files:
    """All sources in order; a later one wins a path. VolumeError names every source that fails."""
    files: Files = {}
    faults: list[str] = []
    for projection in source.sources:
        try:
            files.update(_projection_files(pod, projection, source.default_mode, facts, inputs))
        except (Retry, Rejected) as fault:
            faults.append(fault.message)
    if faults:
        raise VolumeError(faults[0] if len(faults) == 1 else f"[{', '.join(faults)}]")
    return files


def _projection_files(
    pod: Pod, projection: VolumeProjection, mode: int | None, facts: DownwardFacts, inputs: VolumeInputs
) -> Files:
    if projection.downward_api is not None:
        return downward_files(pod, projection.downward_api.items, mode, facts)
    if projection.config_map is not None:
        return config_map_files(pod, projection.config_map, mode, inputs)
    if projection.secret is not None:
        return secret_files(pod, projection.secret, mode, inputs)
    if projection.service_account_token is not None:
        return _token_file(pod, projection.service_account_token, mode, inputs)
    if projection.cluster_trust_bundle is not None:
        raise VolumeError("cannot project a ClusterTrustBundle: this agent does not support it")
    if projection.pod_certificate is not None:
        raise VolumeError("cannot project a pod certificate: this agent does not support it")
    return {}


def _token_file(
    pod: Pod, projection: ServiceAccountTokenProjection, mode: int | None, inputs: VolumeInputs
) -> Files:
    context = pod.spec.security_context
    owner = file_owner(pod)
    is_private = owner is not None or (context is not None and context.fs_group is not None)
    mode = _PRIVATE_MODE if is_private else _mode(None, mode)
    text = inputs.token(token_wish(projection))
    return {projection.path: FileProjection(text.encode(), mode, owner)}


def file_owner(pod: Pod) -> int | None:
    """The one user that all containers run as, by the definition; None when there is none (FsUserFrom)."""
    context = pod.spec.security_context
    default = context.run_as_user if context is not None else None
    users = set()
    for container in (*pod.spec.init_containers, *pod.spec.containers):
        own = container.security_context
        users.add(own.run_as_user if own is not None and own.run_as_user is not None else default)
    return users.pop() if len(users) == 1 else None


def for_group(files: Mapping[str, FileProjection], fs_group: int | None) -> Files:
    """The same files, readable by the pod's fsGroup."""
    if fs_group is None:
        return dict(files)
    return {
        path: FileProjection(file.data, file.mode | _GROUP_READ, file.uid, fs_group)
        for path, file in files.items()
    }


def _mode(own: int | None, default: int | None) -> int:
    mode = own if own is not None else default
    return DEFAULT_MODE if mode is None else mode
