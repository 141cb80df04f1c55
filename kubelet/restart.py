"""Whether and when a container that ended runs again (pure).

The rules are those of kubelet 1.36 (pkg/api/v1/pod/util.go ContainerShouldRestart and the
crash back-off of pkg/kubelet/kuberuntime): 10 s doubling to the configured maximum, counted
from the end of the container, forgotten after a quiet gap of 600 s.
"""

from __future__ import annotations

from dataclasses import dataclass

from kube.objects.core_v1 import Container, ContainerRestartRule, EphemeralContainer, PodSpec
from kubelet import reasons
from kubelet.model import CrashBackoff, ObservedContainer, Phase

CRASH_BACKOFF_INITIAL_SECONDS = 10.0  # pkg/kubelet/kubelet.go
CRASH_BACKOFF_MAX_SECONDS = 300.0  # default of crashLoopBackOff.maxContainerRestartPeriod
CRASH_BACKOFF_RESET_SECONDS = 600.0  # fixed: twice the default maximum


@dataclass(frozen=True, slots=True)
class Wait:
    """Restart not before `until` (wall); `delay_seconds` is the back-off users are told."""

    until: float
    delay_seconds: float


def rule_for(container: Container, exit_code: int) -> ContainerRestartRule | None:
    """The first of the container's own rules that speaks of this exit code."""
    for rule in container.restart_policy_rules:
        codes = rule.exit_codes
        if codes is not None and (exit_code in codes.values) == (codes.operator == "In"):
            return rule
    return None


def should_restart(spec: PodSpec, container: Container, exit_code: int) -> bool:
    """Whether the container, having ended with `exit_code`, is to run again."""
    if rule_for(container, exit_code) is not None:
        return True  # the only actions are restarts
    policy = container.restart_policy or spec.restart_policy or "Always"
    if policy == "OnFailure":
        return exit_code != 0
    return policy == "Always"


# What containerd writes down when whoever asked for the start went away under it: 1.6 and 2.1, CRI
# StartContainer, by how far it had come.
_ABORTED = ("context canceled", "failed to start shim: start failed: : signal: killed")


def was_start_aborted(seen: ObservedContainer) -> bool:
    """Whether the container's start was cut short because the agent (or the runtime) ended under it.

    It has not run and has not failed: it counts neither as a restart nor as an exit.
    """
    if seen.phase is not Phase.EXITED or seen.reason != reasons.START_ERROR or seen.started_at:
        return False
    return any(text in seen.message for text in _ABORTED)


def is_sidecar(container: Container | EphemeralContainer) -> bool:
    """An init container that runs as long as the pod."""
    return container.restart_policy == "Always"


def next_restart(
    backoff: CrashBackoff | None, finished_at: float, now: float, maximum: float
) -> CrashBackoff | Wait:
    """What to do with a container that ended at `finished_at` (wall seconds).

    Returns a Wait while it is held back, else the entry to remember once it is restarted.
    """
    initial = min(CRASH_BACKOFF_INITIAL_SECONDS, maximum)
    if backoff is None or finished_at - backoff.updated_at > CRASH_BACKOFF_RESET_SECONDS:
        return CrashBackoff(initial, now)
    until = finished_at + backoff.delay_seconds
    if now < until:
        return Wait(until, backoff.delay_seconds)
    return CrashBackoff(min(backoff.delay_seconds * 2, maximum), now)
