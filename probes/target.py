"""What the prober is told and what it tells: keys, declarative targets, results (pure)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

from probes.outcome import Outcome, ProbeKind, event_message
from probes.spec import BrokenCheck, Check, ExecCheck, GrpcCheck, ProbeSpec


class ProbeKey(NamedTuple):
    """One probe of one container of one pod. `uid` is the pod's."""

    uid: str
    container: str
    kind: ProbeKind


@dataclass(frozen=True, slots=True)
class ProbeTarget:
    """A probe that the agent wants to have running.

    `started_at_wall` is the container's start in Unix seconds. While `is_enabled` is false nothing fires and
    results are kept (readiness and liveness before the container is Started). `seed` is the result known from
    before the agent started, for a container it adopts. `pod_ip` may still be empty; a check that needs it
    waits for it.
    """

    spec: ProbeSpec
    container_id: str
    started_at_wall: float
    pod_ip: str = ""
    is_enabled: bool = True
    seed: bool | None = None

    @property
    def may_fire(self) -> bool:
        return self.is_enabled and (isinstance(self.spec.check, ExecCheck | BrokenCheck) or bool(self.host))

    @property
    def host(self) -> str:
        """Where to connect: the probe's own host, else the pod's address."""
        check = self.spec.check
        if isinstance(check, ExecCheck | GrpcCheck | BrokenCheck):
            return self.pod_ip
        return check.host or self.pod_ip

    def resolved_check(self) -> Check:
        """The check with its host filled in."""
        check = self.spec.check
        if isinstance(check, ExecCheck | GrpcCheck | BrokenCheck) or check.host:
            return check
        return replace(check, host=self.pod_ip)


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """Something worth acting on: a changed result, the first one, or any outcome but a success.

    `healthy` is the result after thresholds (None: not known yet), `changed` whether this outcome changed it,
    `is_first` whether it is the first that thresholds let through for this container.
    """

    key: ProbeKey
    container_id: str
    outcome: Outcome
    healthy: bool | None
    changed: bool
    is_first: bool
    at_wall: float

    @property
    def message(self) -> str:
        """The text for an `Unhealthy` or `ProbeWarning` Event; empty for a success."""
        return event_message(self.key.kind, self.outcome)


@dataclass(frozen=True, slots=True)
class ProbeView:
    """One probe as /debug shows it. `due_in` is None while nothing is scheduled."""

    key: ProbeKey
    container_id: str
    healthy: bool | None
    run: int
    is_held: bool
    is_running: bool
    due_in: float | None
    last: Outcome | None
