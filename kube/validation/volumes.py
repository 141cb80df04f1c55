"""Validate volumes and the mounts of containers that use them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

import msgspec

from kube import errors, quantity
from kube.errors import FieldError
from kube.objects.core_v1 import (
    ConfigMapProjection,
    ConfigMapVolumeSource,
    Container,
    DownwardAPIProjection,
    DownwardAPIVolumeFile,
    DownwardAPIVolumeSource,
    EmptyDirVolumeSource,
    EphemeralVolumeSource,
    GitRepoVolumeSource,
    HostPathVolumeSource,
    ImageVolumeSource,
    KeyToPath,
    NFSVolumeSource,
    PodSpec,
    ProjectedVolumeSource,
    SecretProjection,
    SecretVolumeSource,
    ServiceAccountTokenProjection,
    Volume,
    VolumeMount,
    VolumeProjection,
)
from kube.validation import names, paths
from kube.validation.env import VOLUME_FIELDS, validate_field_ref, validate_resource_ref

HOST_PATH_TYPES = (
    "", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket",
)  # fmt: skip
PULL_POLICIES = ("Always", "IfNotPresent", "Never")
PROPAGATIONS = ("Bidirectional", "HostToContainer", "None")
READ_ONLY_DEPTHS = ("Disabled", "Enabled", "IfPossible")
MODE_TEXT = "must be a number between 0 and 0777 (octal), both inclusive"
ONE_SOURCE = "may not specify more than 1 volume type"
# Bounds of a projected token's life (validateProjectionSources).
TOKEN_MIN_SECONDS = 600
TOKEN_MAX_SECONDS = 1 << 32


# msgspec evaluates the annotations of a struct anew each time.
_fields = lru_cache(maxsize=None)(msgspec.structs.fields)


def sources_of(holder: Volume | VolumeProjection) -> list[tuple[str, Any]]:
    """The sources that are set, by JSON name, in the order of the schema."""
    fields = _fields(type(holder))
    found = [(field.encode_name, getattr(holder, field.name)) for field in fields if field.name != "name"]
    return [(name, source) for name, source in found if source is not None]


def validate_volumes(spec: PodSpec, path: str) -> Iterator[FieldError]:
    """Names and sources of spec.volumes; a volume with an error does not exist for mounts, as upstream."""
    seen: set[str] = set()
    for index, volume in enumerate(spec.volumes):
        problems = list(_volume(volume, seen, f"{path}[{index}]"))
        if not problems:
            seen.add(volume.name)
        yield from problems


def usable_volumes(spec: PodSpec) -> dict[str, Volume]:
    """The volumes that mounts may name."""
    usable: dict[str, Volume] = {}
    for volume in spec.volumes:
        if not any(_volume(volume, usable, "")):
            usable[volume.name] = volume
    return usable


def _volume(volume: Volume, seen: Iterable[str], path: str) -> Iterator[FieldError]:
    given = sources_of(volume)
    for name, _ in given[1:]:
        yield errors.forbidden(f"{path}.{name}", ONE_SOURCE)
    for name, source in given[:1]:
        yield from _SOURCES.get(type(source), _required_strings)(source, f"{path}.{name}")
    if not given:
        yield errors.required(path, "must specify a volume type")
    yield from names.required_name(f"{path}.name", volume.name, names.dns_label)
    if volume.name in seen:
        yield errors.duplicate(f"{path}.name", volume.name)


def _required_strings(source: msgspec.Struct, path: str) -> Iterator[FieldError]:
    """For the sources that have no rules of their own here: what is required must not be empty."""
    for field in _fields(type(source)):
        if field.required and getattr(source, field.name) in ("", ()):
            yield errors.required(f"{path}.{field.encode_name}")


def _empty_dir(source: EmptyDirVolumeSource, path: str) -> Iterator[FieldError]:
    if source.size_limit is not None and quantity.parse(source.size_limit).nanos < 0:
        yield errors.forbidden(f"{path}.sizeLimit", "SizeLimit field must be a valid resource quantity")


def _host_path(source: HostPathVolumeSource, path: str) -> Iterator[FieldError]:
    if not source.path:
        yield errors.required(f"{path}.path")
        return
    yield from paths.no_backsteps(f"{path}.path", source.path)
    if source.type is not None:
        yield from names.one_of(f"{path}.type", source.type, HOST_PATH_TYPES)


def _mode(value: int | None, path: str) -> Iterator[FieldError]:
    if value is not None and not 0 <= value <= 0o777:
        yield errors.invalid(path, value, MODE_TEXT)


def _items(items: Iterable[KeyToPath], path: str) -> Iterator[FieldError]:
    for index, item in enumerate(items):
        at = f"{path}.items[{index}]"
        if not item.key:
            yield errors.required(f"{at}.key")
        yield from paths.required_below(f"{at}.path", item.path)
        yield from _mode(item.mode, f"{at}.mode")


def _config_map(source: ConfigMapVolumeSource | ConfigMapProjection, path: str) -> Iterator[FieldError]:
    if not source.name:
        yield errors.required(f"{path}.name")
    if isinstance(source, ConfigMapVolumeSource):
        yield from _mode(source.default_mode, f"{path}.defaultMode")
    yield from _items(source.items, path)


def _secret(source: SecretVolumeSource, path: str) -> Iterator[FieldError]:
    if not source.secret_name:
        yield errors.required(f"{path}.secretName")
    yield from _mode(source.default_mode, f"{path}.defaultMode")
    yield from _items(source.items, path)


def _secret_projection(source: SecretProjection, path: str) -> Iterator[FieldError]:
    if not source.name:
        yield errors.required(f"{path}.name")
    yield from _items(source.items, path)


def _downward_api(source: DownwardAPIVolumeSource | DownwardAPIProjection, path: str) -> Iterator[FieldError]:
    if isinstance(source, DownwardAPIVolumeSource):
        yield from _mode(source.default_mode, f"{path}.defaultMode")
    for index, file in enumerate(source.items):
        yield from _downward_file(file, f"{path}.items[{index}]")


def _downward_file(file: DownwardAPIVolumeFile, path: str) -> Iterator[FieldError]:
    yield from paths.required_below(f"{path}.path", file.path)
    if file.field_ref is not None:
        yield from validate_field_ref(file.field_ref, VOLUME_FIELDS, f"{path}.fieldRef")
        if file.resource_field_ref is not None:
            message = "fieldRef and resourceFieldRef can not be specified simultaneously"
            yield errors.invalid(path, "resource", message)
    elif file.resource_field_ref is not None:
        yield from validate_resource_ref(file.resource_field_ref, f"{path}.resourceFieldRef", in_volume=True)
    else:
        yield errors.required(path, "one of fieldRef and resourceFieldRef is required")
    yield from _mode(file.mode, f"{path}.mode")


def _token(source: ServiceAccountTokenProjection, path: str) -> Iterator[FieldError]:
    seconds = source.expiration_seconds
    if seconds is None:
        yield errors.required(f"{path}.expirationSeconds")
    elif seconds < TOKEN_MIN_SECONDS:
        message = "may not specify a duration less than 10 minutes"
        yield errors.invalid(f"{path}.expirationSeconds", seconds, message)
    elif seconds > TOKEN_MAX_SECONDS:
        message = "may not specify a duration larger than 2^32 seconds"
        yield errors.invalid(f"{path}.expirationSeconds", seconds, message)
    yield from paths.required_below(f"{path}.path", source.path)


def _projected(source: ProjectedVolumeSource, path: str) -> Iterator[FieldError]:
    yield from _mode(source.default_mode, f"{path}.defaultMode")
    seen: set[str] = set()
    for index, projection in enumerate(source.sources):
        at = f"{path}.sources[{index}]"
        given = sources_of(projection)
        if not given:
            yield errors.required(at, "must specify a projected volume source")
        for name, _ in given[1:]:
            yield errors.forbidden(f"{at}.{name}", ONE_SOURCE)
        for name, part in given[:1]:
            yield from _SOURCES.get(type(part), _required_strings)(part, f"{at}.{name}")
            for file in _paths_of(part):
                if file in seen:
                    yield errors.invalid(path, file, "conflicting duplicate paths")
                seen.add(file)


def _paths_of(part: Any) -> Iterator[str]:
    for item in getattr(part, "items", ()):
        yield item.path
    if isinstance(part, ServiceAccountTokenProjection):
        yield part.path


def _nfs(source: NFSVolumeSource, path: str) -> Iterator[FieldError]:
    yield from _required_strings(source, path)
    if source.path:
        yield from paths.absolute(f"{path}.path", source.path)


def _git_repo(source: GitRepoVolumeSource, path: str) -> Iterator[FieldError]:
    yield from _required_strings(source, path)
    yield from paths.below(f"{path}.directory", source.directory or "")


def _image(source: ImageVolumeSource, path: str) -> Iterator[FieldError]:
    if not source.reference:
        yield errors.required(f"{path}.reference")
    yield from names.one_of(f"{path}.pullPolicy", source.pull_policy, PULL_POLICIES)


def _ephemeral(source: EphemeralVolumeSource, path: str) -> Iterator[FieldError]:
    if source.volume_claim_template is None:
        yield errors.required(f"{path}.volumeClaimTemplate")
    elif not source.volume_claim_template.spec.access_modes:
        at = f"{path}.volumeClaimTemplate.spec.accessModes"
        yield errors.required(at, "at least 1 access mode is required")


_SOURCES: dict[type, Callable[[Any, str], Iterator[FieldError]]] = {
    EmptyDirVolumeSource: _empty_dir,
    HostPathVolumeSource: _host_path,
    ConfigMapVolumeSource: _config_map,
    ConfigMapProjection: _config_map,
    SecretVolumeSource: _secret,
    SecretProjection: _secret_projection,
    DownwardAPIVolumeSource: _downward_api,
    DownwardAPIProjection: _downward_api,
    ServiceAccountTokenProjection: _token,
    ProjectedVolumeSource: _projected,
    NFSVolumeSource: _nfs,
    GitRepoVolumeSource: _git_repo,
    ImageVolumeSource: _image,
    EphemeralVolumeSource: _ephemeral,
}


def validate_mounts(container: Container, volumes: Mapping[str, Volume], path: str) -> Iterator[FieldError]:
    """volumeMounts and volumeDevices of one container; `volumes` are the pod's usable ones."""
    device_names = {device.name for device in container.volume_devices}
    device_paths = {device.device_path for device in container.volume_devices}
    seen: set[str] = set()
    for index, mount in enumerate(container.volume_mounts):
        at = f"{path}.volumeMounts[{index}]"
        if not mount.name:
            yield errors.required(f"{at}.name")
        if mount.name not in volumes:
            yield errors.not_found(f"{at}.name", mount.name)
        if not mount.mount_path:
            yield errors.required(f"{at}.mountPath")
        if mount.mount_path in seen:
            yield errors.invalid(f"{at}.mountPath", mount.mount_path, "must be unique")
        seen.add(mount.mount_path)
        if mount.name in device_names:
            yield errors.invalid(f"{at}.name", mount.name, "must not already exist in volumeDevices")
        if mount.mount_path in device_paths:
            message = "must not already exist as a path in volumeDevices"
            yield errors.invalid(f"{at}.mountPath", mount.mount_path, message)
        yield from _sub_paths(mount, at)
        yield from _propagation(mount, container, at)
    yield from _devices(container, volumes, path)


def _sub_paths(mount: VolumeMount, path: str) -> Iterator[FieldError]:
    yield from paths.below(f"{path}.subPath", mount.sub_path or "")
    if mount.sub_path_expr:
        if mount.sub_path:
            message = "subPathExpr and subPath are mutually exclusive"
            yield errors.invalid(f"{path}.subPathExpr", mount.sub_path_expr, message)
        yield from paths.below(f"{path}.subPathExpr", mount.sub_path_expr)


def _propagation(mount: VolumeMount, container: Container, path: str) -> Iterator[FieldError]:
    propagation, depth = mount.mount_propagation, mount.recursive_read_only
    if propagation is not None:
        yield from names.one_of(f"{path}.mountPropagation", propagation, PROPAGATIONS)
        privileged = container.security_context is not None and container.security_context.privileged
        if propagation == "Bidirectional" and not privileged:
            message = "Bidirectional mount propagation is available only to privileged containers"
            yield errors.forbidden(f"{path}.mountPropagation", message)
    if depth is None or depth == "Disabled":
        return
    yield from names.one_of(f"{path}.recursiveReadOnly", depth, READ_ONLY_DEPTHS)
    if not mount.read_only:
        yield errors.forbidden(f"{path}.recursiveReadOnly", "may only be specified when readOnly is true")
    if propagation not in (None, "None"):
        message = "may only be specified when mountPropagation is None or not specified"
        yield errors.forbidden(f"{path}.recursiveReadOnly", message)


def _devices(container: Container, volumes: Mapping[str, Volume], path: str) -> Iterator[FieldError]:
    seen_names: set[str] = set()
    seen_paths: set[str] = set()
    for index, device in enumerate(container.volume_devices):
        at = f"{path}.volumeDevices[{index}]"
        if not device.name:
            yield errors.required(f"{at}.name")
        if device.name in seen_names:
            yield errors.invalid(f"{at}.name", device.name, "must be unique")
        volume = volumes.get(device.name)
        if volume is None:
            yield errors.not_found(f"{at}.name", device.name)
        elif volume.persistent_volume_claim is None and volume.ephemeral is None:
            message = "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode"
            yield errors.invalid(f"{at}.name", device.name, message)
        if not device.device_path:
            yield errors.required(f"{at}.devicePath")
        elif device.device_path in seen_paths:
            yield errors.invalid(f"{at}.devicePath", device.device_path, "must be unique")
        yield from paths.no_backsteps(f"{at}.devicePath", device.device_path)
        seen_names.add(device.name)
        seen_paths.add(device.device_path)
