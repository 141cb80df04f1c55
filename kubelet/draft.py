"""The working copy a plan is written on: state, actions so far, and when to look again.

A `Draft` lives inside one call of a pure function; mutation never leaves it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import inf
from typing import Any

from kube.objects.core_v1 import Pod
from kubelet.actions import START_SEQUENCE, Action, Cancel, StopContainer
from kubelet.model import InFlight, Instant, Key, Observed, PodState, Waiting
from kubelet.podspec.names import AnyContainer
from kubelet.restart import CRASH_BACKOFF_MAX_SECONDS


@dataclass(frozen=True, slots=True)
class Policy:
    """Node-wide settings the pod core decides by."""

    crash_backoff_max_seconds: float = CRASH_BACKOFF_MAX_SECONDS


@dataclass(frozen=True, slots=True)
class Emit:
    """A Kubernetes Event to record: `container` is "" for the pod itself."""

    reason: str
    message: str
    warning: bool = False
    container: str = ""


@dataclass(slots=True)
class Draft:
    state: PodState
    now: Instant
    policy: Policy = field(default_factory=Policy)
    actions: list[Action] = field(default_factory=list)
    emits: list[Emit] = field(default_factory=list)
    wake_at: float | None = None  # mono

    @property
    def pod(self) -> Pod:
        pod = self.state.pod
        assert pod is not None, "planned a pod without a definition"
        return pod

    @property
    def observed(self) -> Observed:
        observed = self.state.observed
        assert observed is not None, "planned a pod nobody looked at"
        return observed

    def set(self, **changes: Any) -> None:
        self.state = replace(self.state, **changes)

    def remember(self, name: str, **changes: Any) -> None:
        """Change what is remembered of the container of that name."""
        old = self.state.memory(name)
        new = replace(old, **changes)
        if new != old:
            self.set(containers={**self.state.containers, name: new})

    def wait(self, name: str, reason: str, message: str = "") -> None:
        self.remember(name, waiting=Waiting(reason, message))

    def in_flight(self, kind: str, target: str = "") -> InFlight | None:
        return self.state.in_flight.get(Key(kind, target))

    def is_starting(self) -> bool:
        """Whether some container of the pod is between create and the end of postStart."""
        return any(key.kind in START_SEQUENCE for key in self.state.in_flight)

    def wake(self, mono: float) -> None:
        """Plan again at `mono` at the latest; infinity is never."""
        if mono != inf and (self.wake_at is None or mono < self.wake_at):
            self.wake_at = mono

    def wake_wall(self, wall: float) -> None:
        self.wake(self.now.mono + max(0.0, wall - self.now.wall))

    def act(self, action: Action) -> bool:
        """Order the action unless it is under way or held back after a failure."""
        key = action.key
        if key in self.state.in_flight or key in self.state.uncertain:
            return False
        retry = self.state.retry.get(key)
        if retry is not None and self.now.mono < retry.not_before:
            self.wake(retry.not_before)
            return False
        deadline = self.now.wall + action.grace_seconds if isinstance(action, StopContainer) else 0.0
        flight = InFlight(self.now.mono, deadline)
        self.set(in_flight={**self.state.in_flight, key: flight})
        self.actions.append(action)
        return True

    def cancel(self, key: Key, why: str) -> None:
        """Give up the action under that key, once."""
        flight = self.state.in_flight.get(key)
        if flight is None or flight.cancelled:
            return
        self.set(in_flight={**self.state.in_flight, key: replace(flight, cancelled=True)})
        self.actions.append(Cancel(why, key))


def has_post_start(container: AnyContainer) -> bool:
    return container.lifecycle is not None and container.lifecycle.post_start is not None
