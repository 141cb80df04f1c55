"""Validate environment variables, and the references of the downward API that volumes share with them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kube import errors, quantity
from kube.errors import FieldError
from kube.objects.core_v1 import (
    Container,
    EnvFromSource,
    EnvVar,
    EnvVarSource,
    ObjectFieldSelector,
    ResourceFieldSelector,
)
from kube.validation import names, paths

ENV_FIELDS = (
    "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName",
    "status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs",
)  # fmt: skip
VOLUME_FIELDS = (
    "metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid",
)  # fmt: skip
# What has a name at all (ConvertDownwardAPIFieldLabel); others are not even "unsupported here".
KNOWN_FIELDS = frozenset(
    (*ENV_FIELDS, *VOLUME_FIELDS, "spec.restartPolicy", "spec.schedulerName", "spec.host", "status.phase")
)
RESOURCE_FIELDS = tuple(
    f"{kind}.{name}" for kind in ("limits", "requests") for name in ("cpu", "memory", "ephemeral-storage")
)
_HUGE_PAGE_FIELDS = ("limits.hugepages-", "requests.hugepages-")
_BYTE_DIVISORS = ["1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"]
_SUBSCRIPT = re.compile(r"(.+)\['([^']*)'\]")

ONE_SOURCE = "may not have more than one field specified at a time"


def validate_env(container: Container, path: str) -> Iterator[FieldError]:
    """`env` and `envFrom` of one container; `path` is the container's."""
    for index, variable in enumerate(container.env):
        at = f"{path}.env[{index}]"
        yield from names.required_name(f"{at}.name", variable.name, names.env_name)
        if variable.value_from is not None:
            yield from _value_from(variable, variable.value_from, f"{at}.valueFrom")
    for index, source in enumerate(container.env_from):
        yield from _env_from(source, f"{path}.envFrom[{index}]")


def _value_from(variable: EnvVar, source: EnvVarSource, path: str) -> Iterator[FieldError]:
    if source.field_ref is not None:
        yield from validate_field_ref(source.field_ref, ENV_FIELDS, f"{path}.fieldRef")
    if source.resource_field_ref is not None:
        yield from validate_resource_ref(
            source.resource_field_ref, f"{path}.resourceFieldRef", in_volume=False
        )
    for field, reference in (
        ("configMapKeyRef", source.config_map_key_ref),
        ("secretKeyRef", source.secret_key_ref),
    ):
        if reference is not None:
            for message in names.dns_subdomain(reference.name or ""):
                yield errors.invalid(f"{path}.{field}.name", reference.name or "", message)
            yield from names.required_name(f"{path}.{field}.key", reference.key, names.config_key)
    if source.file_key_ref is not None:
        reference_path = f"{path}.fileKeyRef"
        yield from names.required_name(f"{reference_path}.key", source.file_key_ref.key, names.env_name)
        yield from names.required_name(
            f"{reference_path}.volumeName", source.file_key_ref.volume_name, names.dns_label
        )
        yield from paths.required_below(f"{reference_path}.path", source.file_key_ref.path)
    given = (
        source.field_ref, source.resource_field_ref, source.config_map_key_ref, source.secret_key_ref,
        source.file_key_ref,
    )  # fmt: skip
    count = sum(item is not None for item in given)
    if count == 0:
        choice = "`fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
        yield errors.invalid(path, "", f"must specify one of: {choice}")
    elif variable.value:
        yield errors.invalid(path, "", "may not be specified when `value` is not empty")
    elif count > 1:
        yield errors.invalid(path, "", ONE_SOURCE)


def _env_from(source: EnvFromSource, path: str) -> Iterator[FieldError]:
    if source.prefix:
        yield from names.each(f"{path}.prefix", source.prefix, names.env_name)
    given = 0
    for field, reference in (("configMapRef", source.config_map_ref), ("secretRef", source.secret_ref)):
        if reference is not None:
            given += 1
            yield from names.required_name(f"{path}.{field}.name", reference.name, names.dns_subdomain)
    if given == 0:
        yield errors.invalid(path, "", "must specify one of: `configMapRef` or `secretRef`")
    elif given > 1:
        yield errors.invalid(path, "", ONE_SOURCE)


def split_subscript(field_path: str) -> tuple[str, str | None]:
    """`metadata.labels['app']` -> ("metadata.labels", "app"); a path without one has None."""
    match = _SUBSCRIPT.fullmatch(field_path)
    return (match[1], match[2]) if match else (field_path, None)


def validate_field_ref(
    reference: ObjectFieldSelector, allowed: tuple[str, ...], path: str
) -> Iterator[FieldError]:
    """A `fieldRef` of a variable or a file; `allowed` are the plain paths it may name."""
    if not reference.api_version:
        yield errors.required(f"{path}.apiVersion")
        return
    if not reference.field_path:
        yield errors.required(f"{path}.fieldPath")
        return
    field, key = split_subscript(reference.field_path)
    reason = ""
    if reference.api_version != "v1":
        reason = f"unsupported pod version: {reference.api_version}"
    elif key is not None and field not in ("metadata.annotations", "metadata.labels"):
        reason = f"field label does not support subscript: {field}"
    elif field not in KNOWN_FIELDS:
        reason = f"field label not supported: {field}"
    if reason:
        message = f"error converting fieldPath: {reason}"
        yield errors.invalid(f"{path}.fieldPath", reference.field_path, message)
    elif key is not None:
        lowered = key.lower() if field == "metadata.annotations" else key
        for message in names.qualified_name(lowered):
            yield errors.invalid(path, key, message)
    elif field.replace("spec.host", "spec.nodeName") not in allowed and field not in allowed:
        yield errors.not_supported(f"{path}.fieldPath", field, allowed)


def validate_resource_ref(
    reference: ResourceFieldSelector, path: str, *, in_volume: bool
) -> Iterator[FieldError]:
    """A `resourceFieldRef`; one in a volume must name its container."""
    resource = reference.resource
    if in_volume and not reference.container_name:
        yield errors.required(f"{path}.containerName")
    elif not resource:
        yield errors.required(f"{path}.resource")
    elif resource not in RESOURCE_FIELDS and not resource.startswith(_HUGE_PAGE_FIELDS):
        yield errors.not_supported(f"{path}.resource", resource, RESOURCE_FIELDS)
    divisor = quantity.parse(reference.divisor or "0")
    name = resource.partition(".")[2]
    allowed = ["1m", "1"] if name == "cpu" else _BYTE_DIVISORS
    if divisor and str(divisor) not in allowed:
        shown = "1m and 1" if name == "cpu" else ", ".join(_BYTE_DIVISORS)
        label = "local ephemeral storage" if name == "ephemeral-storage" else name
        message = f"only divisor's values {shown} are supported with the {label} resource"
        yield errors.invalid(f"{path}.divisor", resource, message)
