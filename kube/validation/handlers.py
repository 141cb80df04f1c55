"""Validate probes and lifecycle hooks: one handler each, sane numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from kube import errors
from kube.errors import FieldError
from kube.objects.core_v1 import (
    Container,
    ExecAction,
    GRPCAction,
    HTTPGetAction,
    LifecycleHandler,
    Probe,
    SleepAction,
    TCPSocketAction,
)
from kube.validation import names
from kube.validation.resources import NOT_NEGATIVE

SCHEMES = ("HTTP", "HTTPS")
PROBE_NUMBERS = (
    "initialDelaySeconds",
    "timeoutSeconds",
    "periodSeconds",
    "successThreshold",
    "failureThreshold",
)


def validate_probes(container: Container, path: str) -> Iterator[FieldError]:
    for name, probe in (
        ("livenessProbe", container.liveness_probe),
        ("readinessProbe", container.readiness_probe),
        ("startupProbe", container.startup_probe),
    ):
        if probe is not None:
            yield from _probe(probe, name, f"{path}.{name}")


def validate_lifecycle(container: Container, grace_seconds: int | None, path: str) -> Iterator[FieldError]:
    """Hooks of one container; `grace_seconds` is the pod's termination grace, which bounds `sleep`."""
    lifecycle = container.lifecycle
    if lifecycle is None:
        return
    for name, hook in (("postStart", lifecycle.post_start), ("preStop", lifecycle.pre_stop)):
        if hook is not None:
            yield from _handler(hook, grace_seconds, f"{path}.lifecycle.{name}")


def _probe(probe: Probe, name: str, path: str) -> Iterator[FieldError]:
    yield from _handler(probe, None, path)
    numbers = (
        probe.initial_delay_seconds, probe.timeout_seconds, probe.period_seconds, probe.success_threshold,
        probe.failure_threshold,
    )  # fmt: skip
    for field, number in zip(PROBE_NUMBERS, numbers, strict=True):
        if (number or 0) < 0:
            yield errors.invalid(f"{path}.{field}", number, NOT_NEGATIVE)
    grace = probe.termination_grace_period_seconds
    if name == "readinessProbe":
        if grace is not None:
            message = "must not be set for readinessProbes"
            yield errors.invalid(f"{path}.terminationGracePeriodSeconds", grace, message)
    else:
        if grace is not None and grace <= 0:
            yield errors.invalid(f"{path}.terminationGracePeriodSeconds", grace, "must be greater than 0")
        if probe.success_threshold != 1:
            yield errors.invalid(f"{path}.successThreshold", probe.success_threshold or 0, "must be 1")


def _handler(handler: Probe | LifecycleHandler, grace_seconds: int | None, path: str) -> Iterator[FieldError]:
    """Exactly one kind; more than one is reported at each further one."""
    given: list[tuple[str, Any, Callable[[Any, str], Iterator[FieldError]]]] = [
        ("exec", handler.exec, _exec),
        ("httpGet", handler.http_get, _http_get),
        ("tcpSocket", handler.tcp_socket, _tcp_socket),
    ]
    if isinstance(handler, Probe):
        given.append(("grpc", handler.grpc, _grpc))
    else:
        given.append(("sleep", handler.sleep, lambda sleep, at: _sleep(sleep, grace_seconds, at)))
    first = True
    for name, action, check in given:
        if action is None:
            continue
        if first:
            yield from check(action, f"{path}.{name}")
        else:
            yield errors.forbidden(f"{path}.{name}", "may not specify more than 1 handler type")
        first = False
    if first:
        yield errors.required(path, "must specify a handler type")


def _exec(action: ExecAction, path: str) -> Iterator[FieldError]:
    if not action.command:
        yield errors.required(f"{path}.command")


def _http_get(action: HTTPGetAction, path: str) -> Iterator[FieldError]:
    if not action.path:
        yield errors.required(f"{path}.path")
    yield from port_number_or_name(action.port, f"{path}.port")
    yield from names.one_of(f"{path}.scheme", action.scheme, SCHEMES)
    for header in action.http_headers:
        for message in names.http_header(header.name):
            yield errors.invalid(f"{path}.httpHeaders", header.name, message)


def _tcp_socket(action: TCPSocketAction, path: str) -> Iterator[FieldError]:
    yield from port_number_or_name(action.port, f"{path}.port")


def _grpc(action: GRPCAction, path: str) -> Iterator[FieldError]:
    yield from port_number_or_name(action.port, f"{path}.port")


def _sleep(action: SleepAction, grace_seconds: int | None, path: str) -> Iterator[FieldError]:
    if grace_seconds is not None and not 0 <= action.seconds <= grace_seconds:
        message = (
            f"must be non-negative and less than or equal to terminationGracePeriodSeconds ({grace_seconds})"
        )
        yield errors.invalid(path, action.seconds, message)


def port_number_or_name(port: int | str, path: str) -> Iterator[FieldError]:
    if isinstance(port, str):
        for message in names.port_name(port):
            yield errors.invalid(path, port, message)
    else:
        for message in names.port_number(port):
            yield errors.invalid(path, port, message)
