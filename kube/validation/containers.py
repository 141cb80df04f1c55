"""Validate containers, init containers and sidecars: names, images, ports, policies."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from kube import errors
from kube.errors import FieldError
from kube.objects.core_v1 import Container, ContainerPort, PodSpec, Volume
from kube.validation import names
from kube.validation.env import validate_env
from kube.validation.handlers import validate_lifecycle, validate_probes
from kube.validation.resources import validate_container_resources
from kube.validation.security import validate_security_context
from kube.validation.volumes import PULL_POLICIES, usable_volumes, validate_mounts

PROTOCOLS = ("SCTP", "TCP", "UDP")
MESSAGE_POLICIES = ("FallbackToLogsOnError", "File")
RESTART_POLICIES = ("Always", "Never", "OnFailure")
RULE_ACTIONS = ("Restart", "RestartAllContainers")
RULES_MAX = 20
RULE_VALUES_MAX = 255
ONLY_SIDECARS = "may not be set for init containers without restartPolicy=Always"


def validate_containers(spec: PodSpec, path: str) -> Iterator[FieldError]:
    """spec.containers and spec.initContainers."""
    volumes = usable_volumes(spec)
    if not spec.containers:
        yield errors.required(f"{path}.containers")
    seen: set[str] = set()
    for index, container in enumerate(spec.containers):
        at = f"{path}.containers[{index}]"
        yield from _container(container, spec, volumes, at)
        yield from _unique_name(container, seen, at)
        yield from validate_lifecycle(container, spec.termination_grace_period_seconds, at)
        yield from validate_probes(container, at)
    for index, container in enumerate(spec.init_containers):
        at = f"{path}.initContainers[{index}]"
        yield from _container(container, spec, volumes, at)
        yield from _unique_name(container, seen, at)
        if is_sidecar(container):
            yield from validate_lifecycle(container, spec.termination_grace_period_seconds, at)
            yield from validate_probes(container, at)
        else:
            yield from _plain_init(container, at)
    placed = [(f"{path}.containers[{index}]", box) for index, box in enumerate(spec.containers)]
    placed += [
        (f"{path}.initContainers[{index}]", box)
        for index, box in enumerate(spec.init_containers)
        if is_sidecar(box)
    ]
    yield from _host_ports(placed, spec)


def is_sidecar(container: Container) -> bool:
    """An init container that is restarted for ever, and runs beside the others."""
    return container.restart_policy == "Always"


def _unique_name(container: Container, seen: set[str], path: str) -> Iterator[FieldError]:
    if container.name in seen:
        yield errors.duplicate(f"{path}.name", container.name)
    if container.name:
        seen.add(container.name)


def _plain_init(container: Container, path: str) -> Iterator[FieldError]:
    for field, value in (
        ("lifecycle", container.lifecycle),
        ("livenessProbe", container.liveness_probe),
        ("readinessProbe", container.readiness_probe),
        ("startupProbe", container.startup_probe),
    ):
        if value is not None:
            yield errors.forbidden(f"{path}.{field}", ONLY_SIDECARS)


def _container(
    container: Container, spec: PodSpec, volumes: Mapping[str, Volume], path: str
) -> Iterator[FieldError]:
    yield from names.required_name(f"{path}.name", container.name, names.dns_label)
    image = container.image or ""
    if not image:
        yield errors.required(f"{path}.image")
    elif image != image.strip():
        yield errors.invalid(f"{path}.image", image, "must not have leading or trailing whitespace")
    policy = container.termination_message_policy
    yield from names.one_of(f"{path}.terminationMessagePolicy", policy, MESSAGE_POLICIES)
    yield from names.one_of(f"{path}.imagePullPolicy", container.image_pull_policy, PULL_POLICIES)
    yield from _ports(container.ports, f"{path}.ports")
    yield from validate_env(container, path)
    yield from validate_mounts(container, volumes, path)
    if container.resources is not None:
        claims = (claim.name for claim in spec.resource_claims)
        yield from validate_container_resources(container.resources, claims, f"{path}.resources")
    yield from validate_security_context(container, spec, path)
    yield from _restart_policy(container, path)
    yield from _resize_policy(container, spec, path)


def _ports(ports: Iterable[ContainerPort], path: str) -> Iterator[FieldError]:
    seen: set[str] = set()
    for index, port in enumerate(ports):
        at = f"{path}[{index}]"
        if port.name:
            problems = list(names.each(f"{at}.name", port.name, names.port_name))
            yield from problems
            if not problems and port.name in seen:
                yield errors.duplicate(f"{at}.name", port.name)
            seen.add(port.name)
        if port.container_port == 0:
            yield errors.required(f"{at}.containerPort")
        for field, number in (("containerPort", port.container_port), ("hostPort", port.host_port or 0)):
            for message in names.port_number(number) if number else ():
                yield errors.invalid(f"{at}.{field}", number, message)
        if not port.protocol:
            yield errors.required(f"{at}.protocol")
        else:
            yield from names.one_of(f"{at}.protocol", port.protocol, PROTOCOLS)
        yield from names.optional_name(f"{at}.hostIP", port.host_ip, names.ip_address)


def _host_ports(placed: Iterable[tuple[str, Container]], spec: PodSpec) -> Iterator[FieldError]:
    """No two containers that run together may want one port of the host."""
    seen: set[str] = set()
    for path, container in placed:
        for index, port in enumerate(container.ports):
            at = f"{path}.ports[{index}].hostPort"
            if not port.host_port:
                continue
            key = f"{port.protocol}/{port.host_ip or ''}/{port.host_port}"
            if key in seen:
                yield errors.duplicate(at, key)
            seen.add(key)
            if spec.host_network and port.host_port != port.container_port:
                message = "must match `containerPort` when `hostNetwork` is true"
                yield errors.invalid(at, port.host_port, message)


def _restart_policy(container: Container, path: str) -> Iterator[FieldError]:
    policy, rules = container.restart_policy, container.restart_policy_rules
    if policy is not None:
        yield from names.one_of(f"{path}.restartPolicy", policy, RESTART_POLICIES)
    elif rules:
        message = "must specify restartPolicy when restart rules are used"
        yield errors.required(f"{path}.restartPolicy", message)
    at = f"{path}.restartPolicyRules"
    if len(rules) > RULES_MAX:
        yield errors.too_many(at, len(rules), RULES_MAX)
    for index, rule in enumerate(rules):
        yield from names.one_of(f"{at}[{index}].action", rule.action, RULE_ACTIONS)
        if rule.exit_codes is None:
            yield errors.required(f"{at}[{index}].exitCodes", "must be specified")
            continue
        codes = f"{at}[{index}].exitCodes"
        yield from names.one_of(f"{codes}.operator", rule.exit_codes.operator, ("In", "NotIn"))
        values = rule.exit_codes.values
        if not values:
            yield errors.invalid(f"{codes}.values", list(values), "must specify at least one value")
        elif len(values) > RULE_VALUES_MAX:
            yield errors.too_many(f"{codes}.values", len(values), RULE_VALUES_MAX)
        for place, value in enumerate(values):
            if value in values[:place]:
                yield errors.duplicate(f"{codes}.values[{place}]", value)


def _resize_policy(container: Container, spec: PodSpec, path: str) -> Iterator[FieldError]:
    seen: set[str] = set()
    for index, item in enumerate(container.resize_policy):
        at = f"{path}.resizePolicy[{index}]"
        if item.resource_name in seen:
            yield errors.duplicate(at, item.resource_name)
        seen.add(item.resource_name)
        yield from names.one_of(f"{at}.resourceName", item.resource_name, ("cpu", "memory"))
        yield from names.one_of(
            f"{at}.restartPolicy", item.restart_policy, ("NotRequired", "RestartContainer")
        )
        if spec.restart_policy == "Never" and item.restart_policy == "RestartContainer":
            message = "must be 'NotRequired' when `restartPolicy` is 'Never'"
            yield errors.invalid(f"{at}.restartPolicy", item.restart_policy, message)
