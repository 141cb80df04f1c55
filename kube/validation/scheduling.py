"""Validate what places a pod: node selectors, affinity, tolerations, spreading, gates."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from kube import errors
from kube.errors import FieldError
from kube.objects.core_v1 import (
    Affinity,
    NodeSelectorRequirement,
    NodeSelectorTerm,
    PodAffinity,
    PodAffinityTerm,
    PodAntiAffinity,
    PodSpec,
    Toleration,
    TopologySpreadConstraint,
)
from kube.objects.meta_v1 import LabelSelector
from kube.validation import names

EFFECTS = ("NoExecute", "NoSchedule", "PreferNoSchedule")
WHEN_UNSATISFIABLE = ("DoNotSchedule", "ScheduleAnyway")
INCLUSION_POLICIES = ("Honor", "Ignore")
IN_VALUES = "must be specified when `operator` is 'In' or 'NotIn'"
NO_VALUES = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
ONE_VALUE = "must be specified single value when `operator` is 'Lt' or 'Gt'"


def validate_scheduling(spec: PodSpec, path: str) -> Iterator[FieldError]:
    yield from names.labels(f"{path}.nodeSelector", spec.node_selector)
    for field, value in (
        ("nodeName", spec.node_name),
        ("serviceAccountName", spec.service_account_name),
        ("priorityClassName", spec.priority_class_name),
        ("runtimeClassName", spec.runtime_class_name),
    ):
        yield from names.optional_name(f"{path}.{field}", value, names.dns_subdomain)
    if spec.preemption_policy is not None:
        policies = ("Never", "PreemptLowerPriority")
        yield from names.one_of(f"{path}.preemptionPolicy", spec.preemption_policy, policies)
    if spec.affinity is not None:
        yield from _affinity(spec.affinity, f"{path}.affinity")
    for index, toleration in enumerate(spec.tolerations):
        yield from validate_toleration(toleration, f"{path}.tolerations[{index}]")
    yield from _spread(spec.topology_spread_constraints, f"{path}.topologySpreadConstraints")
    for index, readiness in enumerate(spec.readiness_gates):
        at = f"{path}.readinessGates[{index}].conditionType"
        yield from names.each(at, readiness.condition_type, names.qualified_name)
    seen: set[str] = set()
    for index, gate in enumerate(spec.scheduling_gates):
        at = f"{path}.schedulingGates[{index}]"
        yield from names.each(at, gate.name, names.qualified_name)
        if gate.name in seen:
            yield errors.duplicate(at, gate.name)
        seen.add(gate.name)
    if spec.scheduling_gates and spec.node_name:
        yield errors.forbidden(
            f"{path}.nodeName", "cannot be set until all schedulingGates have been cleared"
        )


def validate_toleration(toleration: Toleration, path: str) -> Iterator[FieldError]:
    operator = toleration.operator or "Equal"
    if toleration.key:
        yield from names.each(f"{path}.key", toleration.key, names.qualified_name)
    elif operator != "Exists":
        message = 'operator must be Exists when `key` is empty, which means "match all values and all keys"'
        yield errors.invalid(f"{path}.operator", toleration.operator or "", message)
    if toleration.toleration_seconds is not None and toleration.effect != "NoExecute":
        message = "effect must be 'NoExecute' when `tolerationSeconds` is set"
        yield errors.invalid(f"{path}.effect", toleration.effect or "", message)
    if operator == "Equal":
        problems = names.label_value(toleration.value or "")
        if problems:
            yield errors.invalid(f"{path}.operator", toleration.value, ";".join(problems))
    elif operator == "Exists":
        if toleration.value:
            message = "value must be empty when `operator` is 'Exists'"
            yield errors.invalid(f"{path}.operator", toleration.value, message)
    else:
        yield errors.not_supported(f"{path}.operator", operator, ("Equal", "Exists"))
    if toleration.effect:
        yield from names.one_of(f"{path}.effect", toleration.effect, EFFECTS)


def _affinity(affinity: Affinity, path: str) -> Iterator[FieldError]:
    node = affinity.node_affinity
    if node is not None:
        at = f"{path}.nodeAffinity"
        required = node.required_during_scheduling_ignored_during_execution
        if required is not None:
            terms = f"{at}.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms"
            if not required.node_selector_terms:
                yield errors.required(terms, "must have at least one node selector term")
            for index, term in enumerate(required.node_selector_terms):
                yield from _node_term(term, f"{terms}[{index}]")
        for index, preferred in enumerate(node.preferred_during_scheduling_ignored_during_execution):
            each = f"{at}.preferredDuringSchedulingIgnoredDuringExecution[{index}]"
            yield from _weight(preferred.weight, each)
            yield from _node_term(preferred.preference, f"{each}.preference")
    if affinity.pod_affinity is not None:
        yield from _pod_affinity(affinity.pod_affinity, f"{path}.podAffinity")
    if affinity.pod_anti_affinity is not None:
        yield from _pod_affinity(affinity.pod_anti_affinity, f"{path}.podAntiAffinity")


def _weight(weight: int, path: str) -> Iterator[FieldError]:
    if not 1 <= weight <= 100:
        yield errors.invalid(f"{path}.weight", weight, "must be in the range 1-100")


def _node_term(term: NodeSelectorTerm, path: str) -> Iterator[FieldError]:
    for index, item in enumerate(term.match_expressions):
        at = f"{path}.matchExpressions[{index}]"
        yield from _node_requirement(item, at)
        yield from names.each(f"{at}.key", item.key, names.qualified_name)
    for index, item in enumerate(term.match_fields):
        at = f"{path}.matchFields[{index}]"
        if item.key != "metadata.name":
            yield errors.invalid(f"{at}.key", item.key, "not a valid field selector key")
        if item.operator not in ("In", "NotIn"):
            yield errors.invalid(f"{at}.operator", item.operator, "not a valid selector operator")
        elif len(item.values) != 1:
            message = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"
            yield errors.required(f"{at}.values", message)


def _node_requirement(item: NodeSelectorRequirement, path: str) -> Iterator[FieldError]:
    if item.operator in ("Gt", "Lt"):
        if len(item.values) != 1:
            yield errors.required(f"{path}.values", ONE_VALUE)
    else:
        yield from _operator(item.operator, item.values, path)


def _operator(operator: str, values: tuple[str, ...], path: str) -> Iterator[FieldError]:
    if operator in ("In", "NotIn"):
        if not values:
            yield errors.required(f"{path}.values", IN_VALUES)
    elif operator in ("Exists", "DoesNotExist"):
        if values:
            yield errors.forbidden(f"{path}.values", NO_VALUES)
    else:
        yield errors.invalid(f"{path}.operator", operator, "not a valid selector operator")


def validate_label_selector(selector: LabelSelector | None, path: str) -> Iterator[FieldError]:
    if selector is None:
        return
    yield from names.labels(f"{path}.matchLabels", selector.match_labels)
    for index, item in enumerate(selector.match_expressions):
        at = f"{path}.matchExpressions[{index}]"
        yield from _operator(item.operator, item.values, at)
        yield from names.each(f"{at}.key", item.key, names.qualified_name)
        for place, value in enumerate(item.values):
            yield from names.each(f"{at}.values[{place}]", value, names.label_value)


def _pod_affinity(affinity: PodAffinity | PodAntiAffinity, path: str) -> Iterator[FieldError]:
    for index, term in enumerate(affinity.required_during_scheduling_ignored_during_execution):
        yield from _pod_term(term, f"{path}.requiredDuringSchedulingIgnoredDuringExecution[{index}]")
    for index, weighted in enumerate(affinity.preferred_during_scheduling_ignored_during_execution):
        at = f"{path}.preferredDuringSchedulingIgnoredDuringExecution[{index}]"
        yield from _weight(weighted.weight, at)
        yield from _pod_term(weighted.pod_affinity_term, f"{at}.podAffinityTerm")


def _pod_term(term: PodAffinityTerm, path: str) -> Iterator[FieldError]:
    yield from validate_label_selector(term.label_selector, f"{path}.labelSelector")
    yield from validate_label_selector(term.namespace_selector, f"{path}.namespaceSelector")
    for namespace in term.namespaces:
        for message in names.dns_label(namespace):
            yield errors.invalid(f"{path}.namespaces", namespace, message)
    if not term.topology_key:
        yield errors.required(f"{path}.topologyKey", "can not be empty")
    yield from names.each(f"{path}.topologyKey", term.topology_key, names.qualified_name)


def _spread(constraints: Iterable[TopologySpreadConstraint], path: str) -> Iterator[FieldError]:
    seen: set[tuple[str, str]] = set()
    for index, constraint in enumerate(constraints):
        at = f"{path}[{index}]"
        if constraint.max_skew <= 0:
            yield errors.invalid(f"{at}.maxSkew", constraint.max_skew, "must be greater than zero")
        if constraint.topology_key:
            yield from names.each(f"{at}.topologyKey", constraint.topology_key, names.qualified_name)
        else:
            yield errors.required(f"{at}.topologyKey", "can not be empty")
        yield from names.one_of(f"{at}.whenUnsatisfiable", constraint.when_unsatisfiable, WHEN_UNSATISFIABLE)
        pair = (constraint.topology_key, constraint.when_unsatisfiable)
        if pair in seen:
            yield errors.duplicate(f"{at}.{{topologyKey, whenUnsatisfiable}}", f"{{{pair[0]}, {pair[1]}}}")
        seen.add(pair)
        yield from _spread_options(constraint, at)


def _spread_options(constraint: TopologySpreadConstraint, path: str) -> Iterator[FieldError]:
    domains = constraint.min_domains
    if domains is not None:
        if domains <= 0:
            yield errors.invalid(f"{path}.minDomains", domains, "must be greater than zero")
        if constraint.when_unsatisfiable != "DoNotSchedule":
            message = "can only use minDomains if whenUnsatisfiable=DoNotSchedule, not ScheduleAnyway"
            yield errors.invalid(f"{path}.minDomains", domains, message)
    for field, value in (
        ("nodeAffinityPolicy", constraint.node_affinity_policy),
        ("nodeTaintsPolicy", constraint.node_taints_policy),
    ):
        if value is not None:
            yield from names.one_of(f"{path}.{field}", value, INCLUSION_POLICIES)
    yield from validate_label_selector(constraint.label_selector, f"{path}.labelSelector")
