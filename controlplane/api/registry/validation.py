"""Semantic rules of the kinds other than Pod, and which fields an update may not change.

Messages and paths are upstream's (pkg/apis/{core,apps}/validation). Metadata is checked for every kind with
the kind's own form of names.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Sequence
from typing import Any

from kube import errors, objects, selectors
from kube.client import resources as r
from kube.client.model import JsonObject
from kube.client.resources import Resource
from kube.errors import FieldError
from kube.objects.cluster_v1 import PodTemplateSpec
from kube.objects.core_v1 import Pod
from kube.objects.meta_v1 import LabelSelector, ObjectMeta
from kube.selectors import SelectorError
from kube.validation import names, validate_pod, validate_pod_spec
from kube.validation.metadata import validate_metadata

DATA_MAX_BYTES = 1024 * 1024
# Names that are DNS labels; the RBAC kinds take any path segment; the rest are subdomains.
_LABEL_NAMED = frozenset((r.NAMESPACES, r.SERVICES))
_PATH_NAMED = frozenset((r.ROLES, r.ROLE_BINDINGS, r.CLUSTER_ROLES, r.CLUSTER_ROLE_BINDINGS))
_IMMUTABLE = "field is immutable"
_POD_MAY_CHANGE = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)


def metadata(resource: Resource, value: JsonObject) -> Iterator[FieldError]:
    """What every object must keep to."""
    meta = objects.convert(value["metadata"], ObjectMeta)
    yield from validate_metadata(meta, namespaced=resource.namespaced, name=_form_of_name(resource))


def _form_of_name(resource: Resource) -> names.Check:
    if resource in _PATH_NAMED:
        return path_segment
    return names.dns_label if resource in _LABEL_NAMED else names.dns_subdomain


def path_segment(value: str) -> list[str]:
    """IsValidPathSegmentName: what may stand between two slashes."""
    if value in (".", ".."):
        return [f"may not be '{value}'"]
    return [f"may not contain '{letter}'" for letter in "/%" if letter in value]


def immutable(value: Any, old: Any, path: str) -> Iterator[FieldError]:
    if value != old:
        yield errors.invalid(path, value, _IMMUTABLE)


# --- pods ---


def pod(value: JsonObject) -> Sequence[FieldError]:
    return validate_pod(objects.convert(value, Pod))


def pod_update(value: JsonObject, old: JsonObject) -> Sequence[FieldError]:
    """ValidatePodUpdate: images, the deadline, more tolerations, gates that go; nothing else of the spec."""
    spec, before = value.get("spec") or {}, old.get("spec") or {}
    found = list(_tolerations_kept(spec, before))
    if _fixed(spec, before) != _fixed(before, before):
        found.append(errors.forbidden("spec", _POD_MAY_CHANGE))
    return found


def _tolerations_kept(spec: JsonObject, before: JsonObject) -> Iterator[FieldError]:
    now = spec.get("tolerations") or []
    if any(item not in now for item in before.get("tolerations") or []):
        yield errors.forbidden(
            "spec.tolerations", "existing toleration can not be modified except its tolerationSeconds"
        )


def _fixed(spec: JsonObject, before: JsonObject) -> JsonObject:
    """The spec with everything that may change as it was."""
    fixed = {key: item for key, item in spec.items() if key not in _FREE}
    for field in ("containers", "initContainers"):
        if field in spec:
            fixed[field] = [{**item, "image": ""} for item in spec[field]]
    if before.get("schedulingGates"):
        fixed.pop("nodeSelector", None)
    return fixed


_FREE = ("activeDeadlineSeconds", "tolerations", "schedulingGates")


# --- workloads ---


def workload(value: JsonObject) -> Sequence[FieldError]:
    """Deployment and ReplicaSet: replicas, selector, and a template that the selector finds."""
    return tuple(_workload(value["spec"]))


def _workload(spec: JsonObject) -> Iterator[FieldError]:
    yield from _not_negative(spec, "replicas", "minReadySeconds", "revisionHistoryLimit")
    selector = spec.get("selector") or {}
    if not selector.get("matchLabels") and not selector.get("matchExpressions"):
        yield errors.required("spec.selector")
        if "selector" in spec:
            yield errors.invalid("spec.selector", {}, "empty selector is invalid for deployment")
        parsed = None
    else:
        try:
            parsed = selectors.of_label_selector(objects.convert(selector, LabelSelector))
        except SelectorError as error:
            yield errors.invalid("spec.selector", selector, str(error))
            parsed = None
    yield from _template(spec, parsed)
    yield from _strategy(spec.get("strategy") or {})


def _strategy(strategy: JsonObject) -> Iterator[FieldError]:
    kind = strategy.get("type", "RollingUpdate")
    path = "spec.strategy"
    if kind == "Recreate":
        if "rollingUpdate" in strategy:
            detail = "may not be specified when strategy `type` is 'Recreate'"
            yield errors.forbidden(f"{path}.rollingUpdate", detail)
        return
    yield from names.one_of(f"{path}.type", kind, ("Recreate", "RollingUpdate"))
    rolling = strategy.get("rollingUpdate") or {}
    amounts = [rolling.get(name) for name in ("maxUnavailable", "maxSurge")]
    if amounts == [0, 0] or (rolling and all(amount in (0, "0%") for amount in amounts)):
        detail = "may not be 0 when `maxSurge` is 0"
        yield errors.invalid(f"{path}.rollingUpdate.maxUnavailable", amounts[0], detail)


def replication_controller(value: JsonObject) -> Sequence[FieldError]:
    return tuple(_replication_controller(value["spec"]))


def _replication_controller(spec: JsonObject) -> Iterator[FieldError]:
    yield from _not_negative(spec, "replicas", "minReadySeconds")
    labels = spec.get("selector") or {}
    if not labels:
        yield errors.required("spec.selector")
    wanted = objects.convert({"matchLabels": labels}, LabelSelector)
    yield from _template(spec, selectors.of_label_selector(wanted) if labels else None)


def _not_negative(spec: JsonObject, *fields: str) -> Iterator[FieldError]:
    for field in fields:
        if (spec.get(field) or 0) < 0:
            yield errors.invalid(f"spec.{field}", spec[field], "must be greater than or equal to 0")


def _template(spec: JsonObject, selector: selectors.Selector | None) -> Iterator[FieldError]:
    if "template" not in spec:
        yield errors.required("spec.template")
        return
    template = objects.convert(spec["template"], PodTemplateSpec)
    labels = template.metadata.labels if template.metadata else {}
    path = "spec.template"
    if selector is not None and not selector.matches(labels):
        detail = "`selector` does not match template `labels`"
        yield errors.invalid(f"{path}.metadata.labels", labels, detail)
    yield from names.labels(f"{path}.metadata.labels", labels)
    if template.spec is None:
        yield errors.required(f"{path}.spec.containers")
        return
    yield from validate_pod_spec(template.spec, f"{path}.spec")
    if template.spec.restart_policy not in (None, "", "Always"):
        yield errors.not_supported(f"{path}.spec.restartPolicy", template.spec.restart_policy, ("Always",))


def selector_update(value: JsonObject, old: JsonObject) -> Sequence[FieldError]:
    """A workload's selector stays what it was."""
    return tuple(immutable(value["spec"].get("selector"), old["spec"].get("selector"), "spec.selector"))


# --- configuration ---


def config_map(value: JsonObject) -> Sequence[FieldError]:
    return tuple(_config_map(value))


def _config_map(value: JsonObject) -> Iterator[FieldError]:
    texts, blobs = value.get("data") or {}, value.get("binaryData") or {}
    for key in (*texts, *blobs):
        field = "data" if key in texts else "binaryData"
        yield from names.each(f"{field}[{key}]", key, names.config_key)
    for key in texts:
        if key in blobs:
            yield errors.invalid(f"data[{key}]", key, "duplicate of key present in binaryData")
    size = sum(len(text.encode()) for text in texts.values()) + sum(map(_decoded_size, blobs.values()))
    if size > DATA_MAX_BYTES:
        yield errors.too_long("", DATA_MAX_BYTES)


def secret(value: JsonObject) -> Sequence[FieldError]:
    return tuple(_secret(value))


def _secret(value: JsonObject) -> Iterator[FieldError]:
    data = value.get("data") or {}
    for key in data:
        yield from names.each(f"data[{key}]", key, names.config_key)
    if sum(map(_decoded_size, data.values())) > DATA_MAX_BYTES:
        yield errors.too_long("data", DATA_MAX_BYTES)
    for key in _KEYS_OF_TYPE.get(value.get("type", ""), ()):
        if key not in data:
            yield errors.required(f"data[{key}]")


_KEYS_OF_TYPE = {
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
}


def _decoded_size(text: str) -> int:
    try:
        return len(base64.b64decode(text))
    except binascii.Error:
        return len(text)


def immutable_data(value: JsonObject, old: JsonObject) -> Sequence[FieldError]:
    """A ConfigMap or Secret that was marked immutable stays so, with what is in it."""
    return tuple(_immutable_data(value, old))


def _immutable_data(value: JsonObject, old: JsonObject) -> Iterator[FieldError]:
    if not old.get("immutable"):
        return
    if not value.get("immutable"):
        yield errors.forbidden("immutable", "field is immutable when `immutable` is set")
    for field in ("data", "binaryData"):
        if value.get(field) != old.get(field):
            yield errors.forbidden(field, "field is immutable when `immutable` is set")


def secret_update(value: JsonObject, old: JsonObject) -> Sequence[FieldError]:
    return (*immutable(value.get("type"), old.get("type"), "type"), *_immutable_data(value, old))
