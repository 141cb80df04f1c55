"""The environment of a container, in Kubernetes' order and with its error texts.

Service variables come first, `envFrom` in its order over them, `env` last and stronger; a value sees every
variable before it (kubelet_pods.go makeEnvironmentVariables). ConfigMaps and Secrets are asked of an
`ObjectLookup`, so that an agent without an API server refuses them in upstream's words.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from kube.objects.core_v1 import EnvFromSource, EnvVarSource, Pod
from kube.validation.names import env_name
from kubelet.podspec.downward import DownwardFacts, field_value, resource_value
from kubelet.podspec.errors import ContainerConfigError, ObjectNotFound
from kubelet.podspec.expansion import expand_with
from kubelet.podspec.names import AnyContainer


class ObjectLookup(Protocol):
    """The API objects that a pod may read. Both raise ObjectNotFound, or ContainerConfigError."""

    def config_map(self, namespace: str, name: str) -> Mapping[str, str]:
        """`data` of the ConfigMap."""
        ...

    def secret(self, namespace: str, name: str) -> Mapping[str, bytes]:
        """Decoded `data` of the Secret."""
        ...


class NoObjects:
    """An agent without an API server: every reference is refused."""

    def config_map(self, namespace: str, name: str) -> Mapping[str, str]:
        raise ContainerConfigError(f"couldn't get configMap {namespace}/{name}, no kubeClient defined")

    def secret(self, namespace: str, name: str) -> Mapping[str, bytes]:
        raise ContainerConfigError(f"couldn't get secret {namespace}/{name}, no kubeClient defined")


def container_env(
    pod: Pod,
    container: AnyContainer,
    facts: DownwardFacts,
    lookup: ObjectLookup,
    service_env: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Every variable of the container, in a stable order. Raises ContainerConfigError."""
    services = service_env or {}
    own: dict[str, str] = {}
    namespace = pod.metadata.namespace
    for source in container.env_from:
        own.update(_from_source(source, namespace, lookup))
    for variable in container.env:
        value: str | None = variable.value or ""
        if value:
            value = expand_with(value, own, services)
        elif variable.value_from is not None:
            value = _from_reference(variable.value_from, pod, container, facts, lookup)
        if value is not None:
            own[variable.name] = value
    return {**{name: value for name, value in services.items() if name not in own}, **own}


def static_env(container: AnyContainer) -> dict[str, str]:
    """Only what the spec itself says, expanded: what an exec probe's command may refer to."""
    own: dict[str, str] = {}
    for variable in container.env:
        if variable.value_from is None:
            own[variable.name] = expand_with(variable.value or "", own)
    return own


def _from_source(source: EnvFromSource, namespace: str, lookup: ObjectLookup) -> dict[str, str]:
    prefix = source.prefix or ""
    if source.config_map_ref is not None:
        reference = source.config_map_ref
        found = _config_map(namespace, reference.name or "", lookup, optional=bool(reference.optional))
        return {prefix + key: value for key, value in (found or {}).items() if is_variable(prefix + key)}
    if source.secret_ref is not None:
        wanted = source.secret_ref
        data = _secret(namespace, wanted.name or "", lookup, optional=bool(wanted.optional))
        kept = {key: value for key, value in (data or {}).items() if is_variable(prefix + key)}
        return {prefix + key: _text(value) for key, value in kept.items()}
    return {}


def is_variable(name: str) -> bool:
    """Whether a key may become a variable: printable ASCII but "=" (RelaxedEnvironmentVariableValidation)."""
    return not env_name(name)


def skipped_keys(container: AnyContainer, namespace: str, lookup: ObjectLookup) -> tuple[str, ...]:
    """What to tell of keys that `envFrom` leaves out, a sentence per source. Raises ContainerConfigError."""
    told: list[str] = []
    for source in container.env_from:
        prefix, name, kind = source.prefix or "", "", ""
        found: Mapping[str, str | bytes] | None = None
        if source.config_map_ref is not None:
            kind, name = "configMap", source.config_map_ref.name or ""
            found = _config_map(namespace, name, lookup, optional=bool(source.config_map_ref.optional))
        elif source.secret_ref is not None:
            kind, name = "secret", source.secret_ref.name or ""
            found = _secret(namespace, name, lookup, optional=bool(source.secret_ref.optional))
        bad = sorted(prefix + key for key in found or () if not is_variable(prefix + key))
        if bad:
            told.append(
                f"Keys [{', '.join(bad)}] from the EnvFrom {kind} {namespace}/{name} were skipped since they "
                "are considered invalid environment variable names."
            )
    return tuple(told)


def _from_reference(
    source: EnvVarSource, pod: Pod, container: AnyContainer, facts: DownwardFacts, lookup: ObjectLookup
) -> str | None:
    """The referenced value; None = an optional one that is missing, so the variable is left out."""
    namespace = pod.metadata.namespace
    if source.field_ref is not None:
        return field_value(source.field_ref, pod, facts)
    if source.resource_field_ref is not None:
        return resource_value(source.resource_field_ref, pod, container, facts)
    if source.config_map_key_ref is not None:
        reference = source.config_map_key_ref
        name, optional = reference.name or "", bool(reference.optional)
        found = _config_map(namespace, name, lookup, optional=optional)
        if found is None or (reference.key not in found and optional):
            return None
        if reference.key not in found:
            raise ContainerConfigError(f"couldn't find key {reference.key} in ConfigMap {namespace}/{name}")
        return found[reference.key]
    if source.secret_key_ref is not None:
        wanted = source.secret_key_ref
        name, optional = wanted.name or "", bool(wanted.optional)
        data = _secret(namespace, name, lookup, optional=optional)
        if data is None or (wanted.key not in data and optional):
            return None
        if wanted.key not in data:
            raise ContainerConfigError(f"couldn't find key {wanted.key} in Secret {namespace}/{name}")
        return _text(data[wanted.key])
    if source.file_key_ref is not None:
        raise ContainerConfigError("environment variables from files (fileKeyRef) are not supported yet")
    return ""


def _config_map(
    namespace: str, name: str, lookup: ObjectLookup, *, optional: bool
) -> Mapping[str, str] | None:
    try:
        return lookup.config_map(namespace, name)
    except ObjectNotFound as missing:
        if optional:
            return None
        raise ContainerConfigError(str(missing) or f'configmap "{name}" not found') from missing


def _secret(namespace: str, name: str, lookup: ObjectLookup, *, optional: bool) -> Mapping[str, bytes] | None:
    try:
        return lookup.secret(namespace, name)
    except ObjectNotFound as missing:
        if optional:
            return None
        raise ContainerConfigError(str(missing) or f'secret "{name}" not found') from missing


def _text(value: bytes) -> str:
    """Bytes that are not UTF-8 keep their value: `surrogateescape` is undone when CRI bytes are made."""
    return value.decode("utf-8", "surrogateescape")
