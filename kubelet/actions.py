"""What the pod core may order, in the imperative, each with the sentence why.

An action is data; `kubelet.execute` carries it out. `key` names it among the actions under
way: while one key is in flight no second action with it starts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from kubelet.model import Key


@dataclass(frozen=True, slots=True)
class Action:
    """Base of all actions. `why` is shown in the log and in the pod's story."""

    why: str
    # True when it changes what the runtime would report of this pod.
    mutates_runtime: ClassVar[bool] = False

    @property
    def key(self) -> Key:
        return Key(type(self).__name__)


@dataclass(frozen=True, slots=True)
class ForContainer(Action):
    """An action on the container of that name; `key` is one per kind and name."""

    container: str

    @property
    def key(self) -> Key:
        return Key(type(self).__name__, self.container)


@dataclass(frozen=True, slots=True)
class Look(Action):
    """Read the pod from the runtime. `expect_exits`: ids to re-read until they are seen dead."""

    expect_exits: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class PrepareVolumes(Action):
    """Make the pod's directories and mount every volume."""


@dataclass(frozen=True, slots=True)
class RunSandbox(Action):
    attempt: int
    mutates_runtime: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class ForSandbox(Action):
    """An action on one sandbox; `key` is one per kind and sandbox id."""

    sandbox_id: str
    mutates_runtime: ClassVar[bool] = True

    @property
    def key(self) -> Key:
        return Key(type(self).__name__, self.sandbox_id)


@dataclass(frozen=True, slots=True)
class StopSandbox(ForSandbox):
    """Stop what is left in the sandbox and release its network."""


@dataclass(frozen=True, slots=True)
class RemoveSandbox(ForSandbox):
    """Delete a stopped sandbox with every dead container in it."""


@dataclass(frozen=True, slots=True)
class EnsureImage(ForContainer):
    """Have the container's image present, by its pull policy."""


@dataclass(frozen=True, slots=True)
class CreateContainer(ForContainer):
    sandbox_id: str
    restart_count: int
    image_id: str
    mutates_runtime: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class StartContainer(ForContainer):
    container_id: str
    mutates_runtime: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class RunPostStart(ForContainer):
    container_id: str


@dataclass(frozen=True, slots=True)
class RunPreStop(ForContainer):
    """`budget_seconds` is what is left of the pod's grace period."""

    container_id: str
    budget_seconds: float


@dataclass(frozen=True, slots=True)
class StopContainer(ForContainer):
    """Ask the container to end, kill it after `grace_seconds`."""

    container_id: str
    grace_seconds: float
    mutates_runtime: ClassVar[bool] = True

    @property
    def key(self) -> Key:
        # By id: an older container of the same name may be stopping beside this one.
        return Key("StopContainer", self.container_id)


@dataclass(frozen=True, slots=True)
class RemoveContainer(ForContainer):
    container_id: str
    mutates_runtime: ClassVar[bool] = True

    @property
    def key(self) -> Key:
        return Key("RemoveContainer", self.container_id)


@dataclass(frozen=True, slots=True)
class ReleaseVolumes(Action):
    """Unmount every volume of the pod."""


@dataclass(frozen=True, slots=True)
class ForgetPod(Action):
    """Remove the pod's directories, logs and checkpoint: the last thing done for a pod."""


@dataclass(frozen=True, slots=True)
class Cancel(Action):
    """Give up an action under way; it finishes as cancelled."""

    cancels: Key

    @property
    def key(self) -> Key:
        return Key("Cancel", f"{self.cancels.kind}/{self.cancels.target}")


# The actions that begin or bring up a container; one at a time per pod (kubelet 1.36 starts
# containers strictly in spec order, a postStart hook holding the next back).
START_SEQUENCE = frozenset({"CreateContainer", "StartContainer", "RunPostStart"})


class Why:
    """The reasons given for actions, in one place."""

    FIRST_LOOK = "nothing is known of this pod yet"
    RUNTIME_CHANGED = "the runtime reported a change"
    UNCERTAIN = "an action's effect is uncertain"
    VOLUMES_FIRST = "containers need their volumes"
    FIRST_SANDBOX = "the pod has no sandbox"
    SANDBOX_DEAD = "the sandbox is not ready"
    SANDBOX_DOUBLE = "more than one sandbox is ready"
    SANDBOX_NETWORK = "the pod's network mode differs from the sandbox's"
    SANDBOX_NO_IP = "the sandbox has no address"
    SANDBOX_CHANGED = "the sandbox must be replaced"
    IMAGE_FIRST = "the container needs its image"
    NEXT_INIT = "init containers run one after the other"
    SIDECAR = "a sidecar runs as long as the pod"
    EPHEMERAL = "somebody asked for an ephemeral container"
    CREATED = "the container is created and does not run yet"
    DEFINITION_CHANGED = "the container's definition changed"
    CREATED_UNSEEN = "nobody saw its creation to the end, so that it may be half made"
    STALE_CREATED = "the container was created for an older definition"
    NOT_RUNNING = "the container is wanted and does not run"
    RESTART = "the container ended and its restart policy wants it back"
    RESTART_ALL = "a container ended in a way that has the whole pod begin anew"
    POST_START = "the container has a postStart hook"
    UNKNOWN_STATE = "the runtime does not know the container's state"
    START_ABORTED = "its start was cut short when the agent or the runtime ended"
    OLDER_DEAD = "a newer dead container of this name is kept"
    OLDER_SANDBOX = "a newer sandbox has replaced it"
    POD_STOPS = "the pod is being stopped"
    SIDECARS_LAST = "every other container has ended"
    GRACE_SHRANK = "the grace period was shortened"
    GRACE_OVER = "the grace period is over"
    NETWORK_RELEASE = "no container runs any more"
    POD_ENDED = "the pod has ended"
    POD_GONE = "the pod is not wanted any more"
