"""Every reason and message users and tools match on, spelled as Kubernetes spells them.

Constants only. Groups: pod phases and status reasons, condition reasons, waiting and terminated
reasons of containers, event reasons. Texts with a gap are functions beside their one use
(`kubelet/events.py`, `kubelet/images/decide.py`).
Source: Kubernetes 1.36, pkg/kubelet (status/generate.go, container/sync_result.go, images/types.go,
events/event.go, kubelet_pods.go).
"""

from __future__ import annotations

from typing import Final

# Pod phases
PENDING: Final = "Pending"
RUNNING: Final = "Running"
SUCCEEDED: Final = "Succeeded"
FAILED: Final = "Failed"
TERMINAL_PHASES: Final = frozenset((SUCCEEDED, FAILED))

# Pod status reasons and messages
DEADLINE_EXCEEDED: Final = "DeadlineExceeded"
DEADLINE_EXCEEDED_MESSAGE: Final = "Pod was active on the node longer than the specified deadline"
EVICTED: Final = "Evicted"
REJECTED_PREFIX: Final = "Pod was rejected: "  # in the status only, the event has the bare message

# Pod condition types
POD_SCHEDULED: Final = "PodScheduled"
INITIALIZED: Final = "Initialized"
READY: Final = "Ready"
CONTAINERS_READY: Final = "ContainersReady"
POD_READY_TO_START_CONTAINERS: Final = "PodReadyToStartContainers"
POD_RESIZE_PENDING: Final = "PodResizePending"
POD_RESIZE_IN_PROGRESS: Final = "PodResizeInProgress"
RESTARTING_ALL_CONTAINERS: Final = "RestartingAllContainers"
ALL_CONTAINERS_RESTARTING: Final = "AllContainersRestarting"
DISRUPTION_TARGET: Final = "DisruptionTarget"

# Condition reasons
UNKNOWN_CONTAINER_STATUSES: Final = "UnknownContainerStatuses"
POD_COMPLETED: Final = "PodCompleted"
POD_FAILED: Final = "PodFailed"
CONTAINERS_NOT_READY: Final = "ContainersNotReady"
CONTAINERS_NOT_INITIALIZED: Final = "ContainersNotInitialized"
READINESS_GATES_NOT_READY: Final = "ReadinessGatesNotReady"
TERMINATION_BY_KUBELET: Final = "TerminationByKubelet"

# Waiting reasons of containers
CONTAINER_CREATING: Final = "ContainerCreating"
POD_INITIALIZING: Final = "PodInitializing"
CRASH_LOOP_BACK_OFF: Final = "CrashLoopBackOff"
ERR_IMAGE_PULL: Final = "ErrImagePull"
IMAGE_PULL_BACK_OFF: Final = "ImagePullBackOff"
IMAGE_INSPECT_ERROR: Final = "ImageInspectError"
ERR_IMAGE_NEVER_PULL: Final = "ErrImageNeverPull"
INVALID_IMAGE_NAME: Final = "InvalidImageName"
REGISTRY_UNAVAILABLE: Final = "RegistryUnavailable"
SIGNATURE_VALIDATION_FAILED: Final = "SignatureValidationFailed"
CREATE_CONTAINER_CONFIG_ERROR: Final = "CreateContainerConfigError"
CREATE_CONTAINER_ERROR: Final = "CreateContainerError"
PRE_CREATE_HOOK_ERROR: Final = "PreCreateHookError"
PRE_START_HOOK_ERROR: Final = "PreStartHookError"
POST_START_HOOK_ERROR: Final = "PostStartHookError"
RUN_CONTAINER_ERROR: Final = "RunContainerError"

# Terminated reasons of containers
COMPLETED: Final = "Completed"
ERROR: Final = "Error"
OOM_KILLED: Final = "OOMKilled"
CONTAINER_CANNOT_RUN: Final = "ContainerCannotRun"
START_ERROR: Final = "StartError"
CONTAINER_STATUS_UNKNOWN: Final = "ContainerStatusUnknown"
CONTAINER_STATUS_UNKNOWN_EXIT_CODE: Final = 137  # 128 + SIGKILL
LOST_WHEN_TERMINATED: Final = "The container could not be located when the pod was terminated"
# two blanks after the full stop, as upstream writes it
LOST_WHEN_DELETED: Final = (
    "The container could not be located when the pod was deleted.  The container used to be Running"
)
LOST_INIT_CONTAINER: Final = (
    "Unable to get init container status from container runtime and pod has been initialized,"
    " treat it as exited normally"
)

# Event reasons
EVENT_CREATED: Final = "Created"
EVENT_STARTED: Final = "Started"
EVENT_FAILED: Final = "Failed"
EVENT_KILLING: Final = "Killing"
EVENT_BACK_OFF: Final = "BackOff"
EVENT_PULLING: Final = "Pulling"
EVENT_PULLED: Final = "Pulled"
EVENT_INSPECT_FAILED: Final = "InspectFailed"
EVENT_ERR_IMAGE_NEVER_PULL: Final = "ErrImageNeverPull"
EVENT_UNHEALTHY: Final = "Unhealthy"
EVENT_PROBE_WARNING: Final = "ProbeWarning"
EVENT_SANDBOX_CHANGED: Final = "SandboxChanged"
EVENT_FAILED_CREATE_POD_SANDBOX: Final = "FailedCreatePodSandBox"
EVENT_FAILED_POD_SANDBOX_STATUS: Final = "FailedPodSandBoxStatus"
EVENT_FAILED_KILL_POD: Final = "FailedKillPod"
EVENT_EXCEEDED_GRACE_PERIOD: Final = "ExceededGracePeriod"
EVENT_FAILED_POST_START_HOOK: Final = "FailedPostStartHook"
EVENT_FAILED_PRE_STOP_HOOK: Final = "FailedPreStopHook"
EVENT_LIFECYCLE_HTTP_FALLBACK: Final = "LifecycleHTTPFallback"
EVENT_FAILED_MOUNT: Final = "FailedMount"
EVENT_FAILED_SYNC: Final = "FailedSync"
EVENT_FAILED_VALIDATION: Final = "FailedValidation"
EVENT_NETWORK_NOT_READY: Final = "NetworkNotReady"
EVENT_DNS_CONFIG_FORMING: Final = "DNSConfigForming"
EVENT_FREE_DISK_SPACE_FAILED: Final = "FreeDiskSpaceFailed"
EVENT_INVALID_DISK_CAPACITY: Final = "InvalidDiskCapacity"
EVENT_IMAGE_GC_FAILED: Final = "ImageGCFailed"
EVENT_CONTAINER_GC_FAILED: Final = "ContainerGCFailed"
EVENT_CGROUP_V1: Final = "CgroupV1"
