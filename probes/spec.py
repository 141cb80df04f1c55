"""A probe as the prober needs it: what to check, when, and how often before it counts (pure).

`build_spec` makes it from a container's `Probe` with upstream's defaults (pkg/apis/core/v1/defaults.go) and
named ports resolved against the container, and raises `Rejected` with the field's path where that cannot
work. The pod's address is not part of a spec: it comes with the target, since a pod may get it late.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from aio.errors import Rejected
from kube.objects.core_v1 import ContainerPort, HTTPGetAction, Probe

DEFAULT_PERIOD_SECONDS = 10
DEFAULT_TIMEOUT_SECONDS = 1
DEFAULT_SUCCESS_THRESHOLD = 1
DEFAULT_FAILURE_THRESHOLD = 3


@dataclass(frozen=True, slots=True)
class HttpCheck:
    """`host` empty: the pod's address. `headers` as written, names may repeat."""

    port: int
    path: str = "/"
    host: str = ""
    scheme: str = "http"
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class TcpCheck:
    port: int
    host: str = ""


@dataclass(frozen=True, slots=True)
class GrpcCheck:
    port: int
    service: str = ""


@dataclass(frozen=True, slots=True)
class ExecCheck:
    command: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BrokenCheck:
    """A probe that can never be carried out; each try is an error of the prober, and `reason` says why."""

    reason: str


Check = HttpCheck | TcpCheck | GrpcCheck | ExecCheck | BrokenCheck


@dataclass(frozen=True, slots=True)
class ProbeSpec:
    """Durations in seconds. `termination_grace_period_seconds` is for the kill that a failure causes."""

    check: Check
    initial_delay: float = 0.0
    period: float = DEFAULT_PERIOD_SECONDS
    timeout: float = DEFAULT_TIMEOUT_SECONDS
    success_threshold: int = DEFAULT_SUCCESS_THRESHOLD
    failure_threshold: int = DEFAULT_FAILURE_THRESHOLD
    termination_grace_period_seconds: int | None = None


def build_spec(
    probe: Probe,
    ports: Sequence[ContainerPort],
    *,
    path: str = "probe",
    expand: Callable[[str], str] | None = None,
) -> ProbeSpec:
    """`path` is the field path for errors; `expand` resolves `$(VAR)` in each argument of an exec command."""
    return _spec_of(probe, _build_check(probe, ports, path, expand))


def broken_spec(probe: Probe, reason: str) -> ProbeSpec:
    """For a probe that `build_spec` rejected: each try says why it cannot be, and never counts."""
    return _spec_of(probe, BrokenCheck(reason))


def _spec_of(probe: Probe, check: Check) -> ProbeSpec:
    return ProbeSpec(
        check=check,
        initial_delay=float(probe.initial_delay_seconds or 0),
        period=float(probe.period_seconds or DEFAULT_PERIOD_SECONDS),
        timeout=float(probe.timeout_seconds or DEFAULT_TIMEOUT_SECONDS),
        success_threshold=probe.success_threshold or DEFAULT_SUCCESS_THRESHOLD,
        failure_threshold=probe.failure_threshold or DEFAULT_FAILURE_THRESHOLD,
        termination_grace_period_seconds=probe.termination_grace_period_seconds,
    )


def _build_check(
    probe: Probe, ports: Sequence[ContainerPort], path: str, expand: Callable[[str], str] | None
) -> Check:
    if probe.exec is not None:
        command = probe.exec.command
        return ExecCheck(tuple(map(expand, command)) if expand else tuple(command))
    if probe.http_get is not None:
        return _http_check(probe.http_get, ports, f"{path}.httpGet")
    if probe.tcp_socket is not None:
        port = resolve_port(probe.tcp_socket.port, ports, f"{path}.tcpSocket.port")
        return TcpCheck(port, probe.tcp_socket.host or "")
    if probe.grpc is not None:
        return GrpcCheck(resolve_port(probe.grpc.port, ports, f"{path}.grpc.port"), probe.grpc.service or "")
    raise Rejected(f"{path}: must specify a handler type")


def _http_check(action: HTTPGetAction, ports: Sequence[ContainerPort], path: str) -> HttpCheck:
    return HttpCheck(
        port=resolve_port(action.port, ports, f"{path}.port"),
        path=action.path or "/",
        host=action.host or "",
        scheme=(action.scheme or "http").lower(),
        headers=tuple((header.name, header.value) for header in action.http_headers),
    )


def resolve_port(port: int | str, ports: Sequence[ContainerPort], path: str) -> int:
    """A number, or the number of the container's port of that name; a name of digits is a number too.

    Source: kubernetes pkg/probe/util.go ResolveContainerPort.
    """
    number: int | None
    if isinstance(port, int):
        number = port
    else:
        number = next((known.container_port for known in ports if known.name == port), None)
        if number is None:
            if not port.isascii() or not port.isdigit():
                raise Rejected(f'{path}: no port of this container is named "{port}"')
            number = int(port)
    if not 0 < number < 65536:
        raise Rejected(f"{path}: invalid port number: {number}")
    return number
