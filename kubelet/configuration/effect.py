"""Which configuration fields do something (as data), so that the others can be called by name (pure).

A node with a setting that is silently ignored is worse than one that says so. Fields move into `ACTED_ON`
with the code that reads them.
"""

from __future__ import annotations

from collections.abc import Iterator

from kubelet.configuration import gates
from kubelet.configuration.codec import encode
from kubelet.configuration.types import KubeletConfiguration

ACTED_ON = frozenset(
    {
        "staticPodPath", "staticPodURL", "staticPodURLHeader", "syncFrequency",
        "fileCheckFrequency", "httpCheckFrequency", "podLogsDir", "healthzPort",
        "healthzBindAddress", "containerRuntimeEndpoint", "imageServiceEndpoint",
        "runtimeRequestTimeout", "registryPullQPS", "registryBurst", "serializeImagePulls",
        "maxParallelImagePulls", "imageMinimumGCAge", "imageMaximumGCAge",
        "imageGCHighThresholdPercent", "imageGCLowThresholdPercent", "crashLoopBackOff",
        "containerLogMaxSize", "containerLogMaxFiles", "containerLogMaxWorkers",
        "containerLogMonitorInterval", "seccompDefault", "clusterDomain", "clusterDNS",
        "resolvConf", "cgroupsPerQOS", "enforceNodeAllocatable", "failCgroupV1", "failSwapOn",
        "oomScoreAdj", "cpuCFSQuota", "cpuCFSQuotaPeriod", "logging",
        "mergeDefaultEvictionSettings", "maxPods", "allowedUnsafeSysctls",
        "address", "port", "readOnlyPort", "tlsCertFile", "tlsPrivateKeyFile", "tlsCipherSuites",
        "tlsMinVersion", "authentication", "authorization", "enableServer", "enableDebuggingHandlers",
        "streamingConnectionIdleTimeout",
        "registerNode", "registerWithTaints", "providerID", "podCIDR", "podsPerCore",
        "nodeStatusUpdateFrequency", "nodeStatusReportFrequency", "nodeLeaseDurationSeconds",
        "nodeStatusMaxImages", "eventRecordQPS", "eventBurst", "kubeAPIQPS", "kubeAPIBurst",
        "systemReserved", "kubeReserved", "enableControllerAttachDetach",
        "localStorageCapacityIsolation",
    }
)  # fmt: skip

# Upstream says of these that nothing happens any more; a mention of our own would only confuse.
NO_EFFECT_UPSTREAM = frozenset({"iptablesMasqueradeBit", "iptablesDropBit", "runOnce", "hairpinMode"})


# What does only a part of what it does upstream, and which.
PARTLY = {
    "evictionHard": "takes room from allocatable, and evicts no pod in this agent yet",
}


def warnings(config: KubeletConfiguration) -> Iterator[str]:
    """One sentence per setting that differs from its default and does nothing in this agent yet."""
    ours, default = encode(config), encode(KubeletConfiguration())
    for name in sorted(ours.keys() | default.keys()):
        if name in ACTED_ON or name in NO_EFFECT_UPSTREAM or name == "featureGates":
            continue
        if ours.get(name) != default.get(name):
            yield f'Configuration field "{name}" {PARTLY.get(name, "has no effect in this agent yet")}'
    for gate in gates.unknown(config.feature_gates):
        yield f'Feature gate "{gate}" is not known to this agent and has no effect'
