"""Semantic rules of Deployments, ReplicaSets and ReplicationControllers (pkg/apis/{apps,core}/validation)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from kube import errors, objects, selectors
from kube.client.model import JsonObject
from kube.errors import FieldError
from kube.objects.cluster_v1 import PodTemplateSpec
from kube.objects.meta_v1 import LabelSelector
from kube.selectors import SelectorError
from kube.validation import names, validate_pod_spec
from kube.validation.metadata import validate_annotations
from kube.validation.scheduling import validate_label_selector

_PERCENT = re.compile(r"[0-9]+%", re.ASCII)
_NOT_NEGATIVE = "must be greater than or equal to 0"


def deployment(value: JsonObject) -> Sequence[FieldError]:
    return tuple(_deployment(value["spec"]))


def _deployment(spec: JsonObject) -> Iterator[FieldError]:
    yield from _workload(spec, "deployment")
    yield from _not_negative(spec, "revisionHistoryLimit", "progressDeadlineSeconds")
    yield from _strategy(spec.get("strategy") or {})
    deadline = spec.get("progressDeadlineSeconds")
    if deadline is not None and 0 <= deadline <= (spec.get("minReadySeconds") or 0):
        yield errors.invalid("spec.progressDeadlineSeconds", deadline, "must be greater than minReadySeconds")


def replica_set(value: JsonObject) -> Sequence[FieldError]:
    return tuple(_workload(value["spec"], "ReplicaSet"))


def _workload(spec: JsonObject, kind: str) -> Iterator[FieldError]:
    """Replicas, a selector, and a template that the selector finds."""
    yield from _not_negative(spec, "replicas", "minReadySeconds")
    selector = spec.get("selector")
    parsed = None
    if selector is None:
        yield errors.required("spec.selector")
    elif not selector.get("matchLabels") and not selector.get("matchExpressions"):
        # Upstream says deployment for a ReplicaSet too.
        yield errors.invalid("spec.selector", selector, "empty selector is invalid for deployment")
    else:
        typed = objects.convert(selector, LabelSelector)
        yield from validate_label_selector(typed, "spec.selector")
        try:
            parsed = selectors.of_label_selector(typed)
        except SelectorError:
            yield errors.invalid("spec.selector", selector, "invalid label selector")
    yield from _template(spec, parsed, kind)


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
    for field in ("maxUnavailable", "maxSurge"):
        yield from _amount(f"{path}.rollingUpdate.{field}", rolling.get(field))
    unavailable, surge = rolling.get("maxUnavailable"), rolling.get("maxSurge")
    if _percent(unavailable) > 100:
        detail = "must not be greater than 100%"
        yield errors.invalid(f"{path}.rollingUpdate.maxUnavailable", unavailable, detail)
    if rolling and all(amount in (0, "0%") for amount in (unavailable, surge)):
        detail = "may not be 0 when `maxSurge` is 0"
        yield errors.invalid(f"{path}.rollingUpdate.maxUnavailable", unavailable, detail)


def _amount(path: str, amount: Any) -> Iterator[FieldError]:
    """ValidatePositiveIntOrPercent."""
    if isinstance(amount, str) and not _PERCENT.fullmatch(amount):
        detail = (
            "a valid percent string must be a numeric string followed by an ending '%' "
            f"(e.g. '1%',  or '93%', regex used for validation is '{_PERCENT.pattern}')"
        )
        yield errors.invalid(path, amount, detail)
    if isinstance(amount, int) and amount < 0:
        yield errors.invalid(path, amount, _NOT_NEGATIVE)


def _percent(amount: Any) -> int:
    return int(amount[:-1]) if isinstance(amount, str) and _PERCENT.fullmatch(amount) else 0


def replication_controller(value: JsonObject) -> Sequence[FieldError]:
    return tuple(_replication_controller(value["spec"]))


def _replication_controller(spec: JsonObject) -> Iterator[FieldError]:
    yield from _not_negative(spec, "replicas", "minReadySeconds")
    labels = spec.get("selector") or {}
    if not labels:
        yield errors.required("spec.selector")
    wanted = objects.convert({"matchLabels": labels}, LabelSelector)
    parsed = selectors.of_label_selector(wanted) if labels else None
    yield from _template(spec, parsed, "ReplicationController")


def _not_negative(spec: JsonObject, *fields: str) -> Iterator[FieldError]:
    for field in fields:
        if (spec.get(field) or 0) < 0:
            yield errors.invalid(f"spec.{field}", spec[field], _NOT_NEGATIVE)


def _template(spec: JsonObject, selector: selectors.Selector | None, kind: str) -> Iterator[FieldError]:
    if "template" not in spec:
        yield errors.required("spec.template")
        return
    template = objects.convert(spec["template"], PodTemplateSpec)
    labels = template.metadata.labels if template.metadata else {}
    path = "spec.template"
    if selector is not None and not selector.matches(labels):
        detail = "`selector` does not match template `labels`"
        yield errors.invalid(f"{path}.metadata.labels", labels, detail)
    yield from names.labels(f"{path}.labels", labels)
    if template.metadata:
        yield from validate_annotations(template.metadata.annotations, f"{path}.annotations")
    if template.spec is None:
        yield errors.required(f"{path}.spec.containers")
        return
    yield from validate_pod_spec(template.spec, f"{path}.spec")
    if template.spec.ephemeral_containers:
        detail = "ephemeral containers not allowed in pod template"
        yield errors.forbidden(f"{path}.spec.ephemeralContainers", detail)
    if template.spec.restart_policy not in (None, "", "Always"):
        yield errors.not_supported(f"{path}.spec.restartPolicy", template.spec.restart_policy, ("Always",))
    if template.spec.active_deadline_seconds is not None:
        detail = f"activeDeadlineSeconds in {'ReplicaSet' if kind == 'deployment' else kind} is not Supported"
        yield errors.forbidden(f"{path}.spec.activeDeadlineSeconds", detail)


def selector_update(value: JsonObject, old: JsonObject) -> Sequence[FieldError]:
    """A workload's selector stays what it was."""
    now, before = value["spec"].get("selector"), old["spec"].get("selector")
    return () if now == before else (errors.invalid("spec.selector", now, "field is immutable"),)
