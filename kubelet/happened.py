"""What can happen to a pod, in the past tense: the inputs of `kubelet.lifecycle.step`."""

from __future__ import annotations

from dataclasses import dataclass

from kube.objects.core_v1 import Pod
from kubelet.actions import Action
from kubelet.model import Observed, ObservedContainer, ObservedSandbox, StopRequest


@dataclass(frozen=True, slots=True)
class Happened:
    """Base of all events."""


@dataclass(frozen=True, slots=True)
class DesiredChanged(Happened):
    """A source gave the pod's definition, for the first time or changed."""

    pod: Pod


@dataclass(frozen=True, slots=True)
class DesiredRemoved(Happened):
    """No source wants the pod any more. `grace_seconds` None = the pod's own."""

    grace_seconds: int | None = None


@dataclass(frozen=True, slots=True)
class StopRequested(Happened):
    """The node wants the pod stopped; it stays known until its source lets go of it."""

    stop: StopRequest


@dataclass(frozen=True, slots=True)
class RuntimeChanged(Happened):
    """The runtime reported something about the pod; `container_id` with `exited` names a death."""

    container_id: str = ""
    exited: bool = False


@dataclass(frozen=True, slots=True)
class RuntimeReturned(Happened):
    """The runtime answers again after an outage, or its event stream was interrupted."""


@dataclass(frozen=True, slots=True)
class InputsChanged(Happened):
    """An object that the pod reads from the API came, changed or went."""


@dataclass(frozen=True, slots=True)
class NetworkChanged(Happened):
    """The runtime's network became ready (`error` "") or not."""

    error: str


@dataclass(frozen=True, slots=True)
class ProbeSettled(Happened):
    """A probe's thresholded result changed. `kind` is liveness, readiness or startup."""

    container: str
    container_id: str
    kind: str
    healthy: bool
    grace_seconds: int | None = None


@dataclass(frozen=True, slots=True)
class Woke(Happened):
    """The time asked for with `wake_at` has come."""


@dataclass(frozen=True, slots=True)
class Result:
    """What an action brought back; only the fields of its kind are set."""

    observed: Observed | None = None
    sandbox: ObservedSandbox | None = None
    container: ObservedContainer | None = None
    image_id: str = ""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an action failed. `reason` is the Kubernetes reason to show, if the kind has several."""

    message: str
    reason: str = ""
    retry_after: float | None = None  # seconds; None = the usual back-off
    image_gone: bool = False  # the resolved image has vanished
    name_taken: bool = False  # the runtime holds the name for something it cannot give up


@dataclass(frozen=True, slots=True)
class ActionDone(Happened):
    action: Action
    result: Result


@dataclass(frozen=True, slots=True)
class ActionFailed(Happened):
    action: Action
    failure: Failure


@dataclass(frozen=True, slots=True)
class ActionCancelled(Happened):
    action: Action


# What planning finds out; fed back into the table like everything else.


@dataclass(frozen=True, slots=True)
class ContainersFinished(Happened):
    """Every container has ended for good."""


@dataclass(frozen=True, slots=True)
class DeadlinePassed(Happened):
    """activeDeadlineSeconds is over."""


@dataclass(frozen=True, slots=True)
class NothingRan(Happened):
    """No container runs and no network is held."""


@dataclass(frozen=True, slots=True)
class EverythingReleased(Happened):
    """Nothing of the pod is left on the node."""
