"""Validate requests and limits, of containers and of whole pods."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from kube import errors, quantity
from kube.errors import FieldError
from kube.objects.core_v1 import PodSpec, ResourceRequirements
from kube.quantity import Quantity
from kube.validation import names

HUGE_PAGES = "hugepages-"
CONTAINER_RESOURCES = frozenset(("cpu", "memory", "ephemeral-storage"))
# Names without a domain that mean something somewhere (helper.standardResources).
STANDARD_RESOURCES = CONTAINER_RESOURCES | {
    "storage", "pods", "services", "replicationcontrollers", "resourcequotas", "secrets", "configmaps",
    "persistentvolumeclaims", "services.nodeports", "services.loadbalancers",
    "requests.cpu", "requests.memory", "requests.storage", "requests.ephemeral-storage",
    "limits.cpu", "limits.memory", "limits.ephemeral-storage",
}  # fmt: skip
POD_LEVEL_RESOURCES = ("cpu", "memory")
NOT_NEGATIVE = "must be greater than or equal to 0"


def is_huge_page(name: str) -> bool:
    return name.startswith(HUGE_PAGES)


def is_extended(name: str) -> bool:
    """A resource some device plugin or operator counts: it has a domain, and not Kubernetes' own."""
    domain, slash, _ = name.partition("/")
    own = domain == "kubernetes.io" or domain.endswith(".kubernetes.io")
    return bool(slash) and not own and not name.startswith("requests.")


def may_overcommit(name: str) -> bool:
    """Whether limits may be above requests."""
    return not is_extended(name) and not is_huge_page(name)


def validate_container_resources(
    resources: ResourceRequirements, claims: Iterable[str], path: str
) -> Iterator[FieldError]:
    """Requests and limits of one container; `claims` are the names in spec.resourceClaims."""
    for kind, amounts in (("limits", resources.limits), ("requests", resources.requests)):
        for name, text in amounts.items():
            at = f"{path}.{kind}[{name}]"
            yield from _container_resource_name(name, at)
            yield from validate_amount(name, text, at)
    yield from _requests_fit_limits(resources, path)
    if _huge_pages_alone(resources):
        yield errors.forbidden(path, "HugePages require cpu or memory")
    yield from _claims(resources, frozenset(claims), path)


def validate_amount(name: str, text: str, path: str) -> Iterator[FieldError]:
    amount = quantity.parse(text)
    if amount.nanos < 0:
        yield errors.invalid(path, text, NOT_NEGATIVE)
    if amount.nanos % quantity.NANOS_PER_UNIT and not may_overcommit(name):
        yield errors.invalid(path, text, "must be an integer")


def _container_resource_name(name: str, path: str) -> Iterator[FieldError]:
    yield from names.each(path, name, names.qualified_name)
    if "/" not in name:
        if name not in STANDARD_RESOURCES and not is_huge_page(name):
            yield errors.invalid(path, name, "must be a standard resource type or fully qualified")
        if name not in CONTAINER_RESOURCES and not is_huge_page(name):
            yield errors.invalid(path, name, "must be a standard resource for containers")
    elif not is_extended(name):
        yield errors.invalid(path, name, "doesn't follow extended resource name standard")


def _requests_fit_limits(resources: ResourceRequirements, path: str) -> Iterator[FieldError]:
    for name, text in resources.requests.items():
        if name not in resources.limits:
            if not may_overcommit(name):
                yield errors.required(f"{path}.limits", "Limit must be set for non overcommitable resources")
            continue
        limit, request = quantity.parse(resources.limits[name]), quantity.parse(text)
        if request != limit and not may_overcommit(name):
            message = f"must be equal to {name} limit of {limit}"
            yield errors.invalid(f"{path}.requests", str(request), message)
        elif request > limit:
            message = f"must be less than or equal to {name} limit of {limit}"
            yield errors.invalid(f"{path}.requests", str(request), message)


def _huge_pages_alone(resources: ResourceRequirements) -> bool:
    used = resources.limits.keys() | resources.requests.keys()
    return any(map(is_huge_page, used)) and not used & {"cpu", "memory"}


def _claims(resources: ResourceRequirements, known: frozenset[str], path: str) -> Iterator[FieldError]:
    seen: set[tuple[str, str]] = set()
    for index, claim in enumerate(resources.claims):
        at = f"{path}.claims[{index}]"
        key = (claim.name, claim.request or "")
        if not claim.name:
            yield errors.required(f"{at}.name")
        elif key in seen:
            yield errors.duplicate(at, "/".join(filter(None, key)))
        elif claim.name not in known:
            yield errors.not_found(f"{at}.name", claim.name)
        seen.add(key)


def validate_pod_resources(spec: PodSpec, path: str) -> Iterator[FieldError]:
    """Requests and limits of the pod as a whole, which its containers must fit in."""
    level = spec.resources
    if level is None:
        return
    if level.claims:
        yield errors.forbidden(f"{path}.claims", "claims cannot be set for Resources at pod-level")
    for kind, amounts in (("limits", level.limits), ("requests", level.requests)):
        for name, text in amounts.items():
            at = f"{path}.{kind}[{name}]"
            if name not in POD_LEVEL_RESOURCES and not is_huge_page(name):
                yield errors.not_supported(at, name, (*POD_LEVEL_RESOURCES, HUGE_PAGES))
            yield from validate_amount(name, text, at)
    yield from _requests_fit_limits(level, path)
    asked = _sum(box.resources.requests for box in spec.containers if box.resources)
    for name, amount in asked.items():
        if name in level.requests and quantity.parse(level.requests[name]) < amount:
            message = f"must be greater than or equal to aggregate container requests of {amount}"
            yield errors.invalid(f"{path}.requests[{name}]", level.requests[name], message)
    for kind, boxes in (("initContainers", spec.init_containers), ("containers", spec.containers)):
        for index, box in enumerate(boxes):
            at = f"spec.{kind}[{index}].resources.limits"
            yield from _limits_fit_pod(box.resources, level.limits, at)


def _limits_fit_pod(
    resources: ResourceRequirements | None, most: Mapping[str, str], path: str
) -> Iterator[FieldError]:
    for name, text in resources.limits.items() if resources else ():
        if name in most and quantity.parse(text) > quantity.parse(most[name]):
            message = f"must be less than or equal to pod limits of {quantity.parse(most[name])}"
            yield errors.invalid(f"{path}[{name}]", text, message)


def _sum(lists: Iterable[Mapping[str, str]]) -> dict[str, Quantity]:
    total: dict[str, Quantity] = {}
    for amounts in lists:
        for name, text in amounts.items():
            total[name] = total.get(name, quantity.ZERO) + quantity.parse(text)
    return total
