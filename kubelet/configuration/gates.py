"""Feature gates of the kubelet at 1.36 (upstream: pkg/features/kube_features.go), as data and one check
(pure).

A locked gate cannot be switched off. A gate that is not in the table is not refused (control plane gates
stand in shared configuration files); it has no effect, and the user is told.
"""

from __future__ import annotations

from collections.abc import Mapping

_LOCKED = """
InPlacePodVerticalScaling SidecarContainers ImageVolume UserNamespacesSupport ProcMountType
SupplementalGroupsPolicy NodeSwap KubeletPSI KubeletFineGrainedAuthz NodeLogQuery PodLifecycleSleepAction
PodLifecycleSleepActionAllowZero PodObservedGenerationTracking RecursiveReadOnlyMounts ExecProbeTimeout
ImageMaximumGCAge SystemdWatchdog KubeletCgroupDriverFromCRI CPUManagerPolicyOptions
TopologyManagerPolicyOptions KubeletPodResourcesGet KubeletPodResourcesDynamicResources
RelaxedEnvironmentVariableValidation SELinuxMountReadWriteOncePod MutableCSINodeAllocatableCount
AuthorizeNodeWithSelectors
"""

_ON = """
ContainerRestartRules RestartAllContainersOnContainerExits EnvFiles HostnameOverride PodLevelResources
InPlacePodLevelResourcesVerticalScaling InPlacePodVerticalScalingInitContainers
PodReadyToStartContainersCondition KubeletCrashLoopBackOffMax KubeletEnsureSecretPulledImages
KubeletServiceAccountTokenForCredentialProviders KubeletSeparateDiskGC GracefulNodeShutdown
GracefulNodeShutdownBasedOnPodPriority ContainerCheckpoint PLEGOnDemandRelist NodeDeclaredFeatures
ResourceHealthStatus PreventStaticPodAPIReferences ReloadKubeletClientCAFile
ReloadKubeletServerCertificateFile ExtendWebSocketsToKubelet ComponentFlagz ComponentStatusz
RotateKubeletServerCertificate LocalStorageCapacityIsolationFSQuotaMonitoring CustomCPUCFSQuotaPeriod
"""

_OFF = """
EventedPLEG MemoryQoS PodAndContainerStatsFromCRI ContainerStopSignals CRIListStreaming PodsAPI QOSReserved
ReduceDefaultCrashLoopBackOffDecay ClusterTrustBundleProjection PodCertificateRequest
PodLevelResourceManagers SELinuxMount ChangeContainerStatusOnKubeletRestart KubeletInUserNamespace
"""

LOCKED = frozenset(_LOCKED.split())
DEFAULTS: Mapping[str, bool] = {
    **dict.fromkeys(LOCKED, True),
    **dict.fromkeys(_ON.split(), True),
    **dict.fromkeys(_OFF.split(), False),
}


def is_enabled(gate: str, chosen: Mapping[str, bool]) -> bool:
    """Whether a known gate is on, given the configuration's featureGates."""
    return chosen.get(gate, DEFAULTS[gate])


def check(chosen: Mapping[str, bool]) -> list[str]:
    """Sentences about gates that cannot be set so."""
    return [
        f"cannot set feature gate {gate} to false, feature is locked to true"
        for gate, on in sorted(chosen.items())
        if gate in LOCKED and not on
    ]


def unknown(chosen: Mapping[str, bool]) -> list[str]:
    """Gates this agent has never heard of."""
    return sorted(gate for gate in chosen if gate not in DEFAULTS)
