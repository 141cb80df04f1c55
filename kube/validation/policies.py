"""Validate the kinds that say who may what and how pods are treated: RBAC, PriorityClass, RuntimeClass, Lease
(pkg/apis/{rbac,scheduling,node,coordination}/validation), on the JSON value after the structure check.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kube import errors, objects
from kube.errors import FieldError
from kube.objects.meta_v1 import LabelSelector
from kube.validation import names
from kube.validation.resources import validate_amount
from kube.validation.scheduling import validate_label_selector

Json = dict[str, Any]

RBAC = "rbac.authorization.k8s.io"
SYSTEM_PREFIX = "system-"
USER_PRIORITY_MAX = 1_000_000_000
# The classes that may be above it, and what they are (scheduling/v1/helpers.go).
SYSTEM_CLASSES = {"system-node-critical": 2_000_001_000, "system-cluster-critical": 2_000_000_000}
PREEMPTION = ("Never", "PreemptLowerPriority")
_IMMUTABLE = "field is immutable"


def role(value: Json) -> Sequence[FieldError]:
    return tuple(_rules(value, namespaced=True))


def cluster_role(value: Json) -> Sequence[FieldError]:
    return (*_rules(value, namespaced=False), *_aggregation(value))


def _aggregation(value: Json) -> Iterator[FieldError]:
    rule = value.get("aggregationRule")
    if rule is None:
        return
    path = "aggregationRule.clusterRoleSelectors"
    selectors = rule.get("clusterRoleSelectors") or ()
    if not selectors:
        detail = "at least one clusterRoleSelector required if aggregationRule is non-nil"
        yield errors.required(path, detail)
    for index, selector in enumerate(selectors):
        yield from validate_label_selector(objects.convert(selector, LabelSelector), f"{path}[{index}]")


def _rules(value: Json, *, namespaced: bool) -> Iterator[FieldError]:
    for index, rule in enumerate(value.get("rules") or ()):
        yield from _rule(rule, f"rules[{index}]", namespaced=namespaced)


def _rule(rule: Mapping[str, Any], path: str, *, namespaced: bool) -> Iterator[FieldError]:
    if not rule.get("verbs"):
        yield errors.required(f"{path}.verbs", "verbs must contain at least one value")
    if rule.get("nonResourceURLs"):
        if namespaced:
            detail = "namespaced rules cannot apply to non-resource URLs"
            yield errors.invalid(f"{path}.nonResourceURLs", rule["nonResourceURLs"], detail)
        if any(rule.get(field) for field in ("apiGroups", "resources", "resourceNames")):
            detail = "rules cannot apply to both regular resources and non-resource URLs"
            yield errors.invalid(f"{path}.nonResourceURLs", rule["nonResourceURLs"], detail)
        return
    if not rule.get("apiGroups"):
        yield errors.required(f"{path}.apiGroups", "resource rules must supply at least one api group")
    if not rule.get("resources"):
        yield errors.required(f"{path}.resources", "resource rules must supply at least one resource")


def role_binding(value: Json) -> Sequence[FieldError]:
    return tuple(_binding(value, ("ClusterRole", "Role"), namespaced=True))


def cluster_role_binding(value: Json) -> Sequence[FieldError]:
    return tuple(_binding(value, ("ClusterRole",), namespaced=False))


def _binding(value: Json, kinds: tuple[str, ...], *, namespaced: bool) -> Iterator[FieldError]:
    ref = value.get("roleRef") or {}
    yield from names.one_of("roleRef.apiGroup", ref.get("apiGroup", ""), (RBAC,))
    yield from names.one_of("roleRef.kind", ref.get("kind", ""), kinds)
    if not ref.get("name"):
        yield errors.required("roleRef.name")
    elif ref["name"] in (".", "..") or "/" in ref["name"] or "%" in ref["name"]:
        yield errors.invalid("roleRef.name", ref["name"], "may not be '.', '..', or contain '/' or '%'")
    for index, subject in enumerate(value.get("subjects") or ()):
        yield from _subject(subject, f"subjects[{index}]", namespaced=namespaced)


def _subject(subject: Mapping[str, Any], path: str, *, namespaced: bool) -> Iterator[FieldError]:
    kind, name, group = subject.get("kind", ""), subject.get("name", ""), subject.get("apiGroup", "")
    if not name:
        yield errors.required(f"{path}.name")
    if kind == "ServiceAccount":
        if name:
            yield from names.each(f"{path}.name", name, names.dns_subdomain)
        if group:
            yield errors.not_supported(f"{path}.apiGroup", group, ("",))
        if not namespaced and not subject.get("namespace"):
            yield errors.required(f"{path}.namespace")
    elif kind in ("User", "Group"):
        if group != RBAC:
            yield errors.not_supported(f"{path}.apiGroup", group, (RBAC,))
    else:
        yield errors.not_supported(f"{path}.kind", kind, ("ServiceAccount", "User", "Group"))


def binding_update(value: Json, old: Json) -> Sequence[FieldError]:
    """A binding stays with its role: who may change its subjects may not make it another's."""
    if value.get("roleRef") == old.get("roleRef"):
        return ()
    return (errors.invalid("roleRef", value.get("roleRef"), "cannot change roleRef"),)


def priority_class(value: Json) -> Sequence[FieldError]:
    return tuple(_priority_class(value))


def _priority_class(value: Json) -> Iterator[FieldError]:
    name, priority = value["metadata"].get("name", ""), value.get("value", 0)
    if name.startswith(SYSTEM_PREFIX):
        if SYSTEM_CLASSES.get(name) != priority:
            detail = (
                f"priority class names with '{SYSTEM_PREFIX}' prefix are reserved for system use only. "
                f"error: {name} is not a known system priority class"
            )
            yield errors.forbidden("metadata.name", detail)
    elif priority > USER_PRIORITY_MAX:
        detail = f"maximum allowed value of a user defined priority is {USER_PRIORITY_MAX}"
        yield errors.forbidden("value", detail)
    if value.get("preemptionPolicy"):
        yield from names.one_of("preemptionPolicy", value["preemptionPolicy"], PREEMPTION)


def priority_class_update(value: Json, old: Json) -> Sequence[FieldError]:
    wrong = []
    if value.get("value", 0) != old.get("value", 0):
        wrong.append(errors.forbidden("value", "may not be changed in an update."))
    if value.get("preemptionPolicy") != old.get("preemptionPolicy"):
        wrong.append(errors.invalid("preemptionPolicy", value.get("preemptionPolicy"), _IMMUTABLE))
    return tuple(wrong)


def runtime_class(value: Json) -> Sequence[FieldError]:
    return tuple(_runtime_class(value))


def _runtime_class(value: Json) -> Iterator[FieldError]:
    yield from names.required_name("handler", value.get("handler"), names.dns_label)
    for name, text in ((value.get("overhead") or {}).get("podFixed") or {}).items():
        path = f"overhead.podFixed[{name}]"
        yield from names.each(path, name, names.qualified_name)
        yield from validate_amount(name, text, path)
    selector = (value.get("scheduling") or {}).get("nodeSelector") or {}
    yield from names.labels("scheduling.nodeSelector", selector)


def runtime_class_update(value: Json, old: Json) -> Sequence[FieldError]:
    if value.get("handler") == old.get("handler"):
        return ()
    return (errors.invalid("handler", value.get("handler"), _IMMUTABLE),)


def lease(value: Json) -> Sequence[FieldError]:
    return tuple(_lease(value.get("spec") or {}))


def _lease(spec: Mapping[str, Any]) -> Iterator[FieldError]:
    seconds, transitions = spec.get("leaseDurationSeconds"), spec.get("leaseTransitions")
    if seconds is not None and seconds <= 0:
        yield errors.invalid("spec.leaseDurationSeconds", seconds, "must be greater than 0")
    if transitions is not None and transitions < 0:
        detail = "must be greater than or equal to 0"
        yield errors.invalid("spec.leaseTransitions", transitions, detail)
