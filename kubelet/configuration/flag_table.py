"""Every flag of the kubelet 1.36 (and the ones kept for old unit files), as data.

A flag either belongs to the process (`attribute` of `Flags`) or mirrors a field of KubeletConfiguration
(`field`, a dotted JSON path). The latter are deprecated upstream in favour of `--config`, and say so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

FlagKind = Literal[
    "bool",
    "string",
    "int",
    "duration",
    "ip",
    "list",  # a,b and repeated
    "map",  # k=v,k=v and repeated
    "pair",  # k=v, one per flag: the value may hold commas
    "thresholds",  # signal<quantity,...
    "bools",  # Gate=true,...
    "headers",  # name:value,... and repeated; a name may come more than once
    "taints",  # key=value:Effect,...
    "memory",  # 0:memory=1Gi,hugepages-1M=2Gi
    "vmodule",  # pattern=N,...
    "version",  # true, false, raw
]

USE_CONFIG = "set it in the file given to --config"
EVICTION_INSTEAD = "use --eviction-hard or --eviction-soft instead"
GOING = "it will be removed"


@dataclass(frozen=True, slots=True)
class FlagSpec:
    """One flag. `deprecated`: what to do instead; `inert`: accepted, and does nothing."""

    name: str
    kind: FlagKind
    help: str
    group: str
    field: str = ""
    shorthand: str = ""
    deprecated: str = ""
    inert: bool = False

    @property
    def attribute(self) -> str:
        return self.name.replace("-", "_")


def _process(group: str, rows: str) -> list[FlagSpec]:
    """Rows `name kind [deprecated|inert] | help` of flags that belong to the process."""
    specs = []
    for row in rows.strip().splitlines():
        head, _, text = row.partition("|")
        name, kind, *marks = head.split()
        specs.append(
            FlagSpec(
                name=name,
                kind=kind,  # type: ignore[arg-type]  # checked by a test against FlagKind
                help=text.strip(),
                group=group,
                deprecated=GOING if "deprecated" in marks else "",
                inert="inert" in marks,
            )
        )
    return specs


def _mirrored(group: str, rows: str) -> list[FlagSpec]:
    """Rows `name kind field [keep]` of flags that mirror a configuration field; `keep` = not deprecated."""
    specs = []
    for row in rows.strip().splitlines():
        name, kind, field, *marks = row.split()
        specs.append(
            FlagSpec(
                name=name,
                kind=kind,  # type: ignore[arg-type]  # checked by a test against FlagKind
                help=f"Same as the field {field}.",
                group=group,
                field=field,
                deprecated="" if "keep" in marks else USE_CONFIG,
            )
        )
    return specs


_PROCESS = _process(
    "Process",
    """
    config string | File with a KubeletConfiguration; flags win over it.
    config-dir string | Directory with drop-ins (*.conf, in order of their names) laid over --config.
    kubeconfig string | How to reach the API server; without it the agent runs alone.
    bootstrap-kubeconfig string inert | Used to ask for a client certificate when --kubeconfig does not exist.
    hostname-override string | Name of this node instead of the host name.
    node-ip string | Address of this node, or an IPv4 and an IPv6 address with a comma between.
    cert-dir string | Directory of the TLS certificates.
    root-dir string | Directory of the agent's files (pods, volumes, checkpoints).
    local-socket string | Socket of the read-only view of pods; default kubelet.sock in --root-dir.
    relist-period duration | How often everything is compared with the runtime although no event came.
    pod-network-bridge string | Keep a pod network of this name from the node's range; empty = others do.
    pod-network-conflist string | File that the network list is written to, where the runtime reads it.
    pod-network-leases string | Directory of addresses given to pods; default network in --root-dir.
    cni-bin-dir string | Directories of the CNI plugins, with commas between.
    cloud-provider string inert | "external" when a cloud controller initialises the node, else empty.
    cloud-config string deprecated inert | Configuration of a built-in cloud provider; there is none any more.
    node-labels map | Labels the node registers with.
    image-credential-provider-config string inert | Configuration of the credential plugins for image pulls.
    image-credential-provider-bin-dir string inert | Directory of the credential plugins.
    pod-infra-container-image string deprecated inert | Sandbox image; the runtime decides.
    runtime-cgroups string inert | Cgroup the container runtime runs in.
    lock-file string | File to lock so that only one agent runs on it.
    exit-on-lock-contention bool | End when somebody else waits for --lock-file.
    minimum-container-ttl-duration duration deprecated | Age of a dead container before it is collected.
    maximum-dead-containers-per-container int deprecated | Dead instances to keep per container.
    maximum-dead-containers int deprecated | Dead containers to keep in all, -1 for no limit.
    register-schedulable bool deprecated | Register the node as schedulable.
    keep-terminated-pod-volumes bool deprecated inert | Keep volumes of ended pods mounted.
    experimental-mounter-path string deprecated inert | A mount program of one's own.
    experimental-allocatable-ignore-eviction bool deprecated | Leave eviction out of allocatable.
    """,
)

_LOGGING = [
    FlagSpec(
        "v", "int", "Verbosity: how much is logged.", "Logging", field="logging.verbosity", shorthand="v"
    ),
    *_mirrored(
        "Logging",
        """
        vmodule vmodule logging.vmodule keep
        logging-format string logging.format keep
        log-flush-frequency duration logging.flushFrequency keep
        log-json-split-stream bool logging.options.json.splitStream
        log-json-info-buffer-size string logging.options.json.infoBufferSize
        log-text-split-stream bool logging.options.text.splitStream
        log-text-info-buffer-size string logging.options.text.infoBufferSize
        """,
    ),
]

_MIRRORED = [
    *_mirrored(
        "Static pods",
        """
        pod-manifest-path string staticPodPath
        manifest-url string staticPodURL
        manifest-url-header headers staticPodURLHeader
        sync-frequency duration syncFrequency
        file-check-frequency duration fileCheckFrequency
        http-check-frequency duration httpCheckFrequency
        runonce bool runOnce
        """,
    ),
    *_mirrored(
        "Servers",
        """
        enable-server bool enableServer
        address ip address
        port int port
        read-only-port int readOnlyPort
        healthz-port int healthzPort
        healthz-bind-address ip healthzBindAddress
        anonymous-auth bool authentication.anonymous.enabled
        authentication-token-webhook bool authentication.webhook.enabled
        authentication-token-webhook-cache-ttl duration authentication.webhook.cacheTTL
        client-ca-file string authentication.x509.clientCAFile
        authorization-mode string authorization.mode
        authorization-webhook-cache-authorized-ttl duration authorization.webhook.cacheAuthorizedTTL
        authorization-webhook-cache-unauthorized-ttl duration authorization.webhook.cacheUnauthorizedTTL
        tls-cert-file string tlsCertFile
        tls-private-key-file string tlsPrivateKeyFile
        tls-cipher-suites list tlsCipherSuites
        tls-min-version string tlsMinVersion
        rotate-certificates bool rotateCertificates
        rotate-server-certificates bool serverTLSBootstrap
        streaming-connection-idle-timeout duration streamingConnectionIdleTimeout
        enable-debugging-handlers bool enableDebuggingHandlers
        contention-profiling bool enableContentionProfiling
        show-hidden-metrics-for-version string showHiddenMetricsForVersion
        """,
    ),
    *_mirrored(
        "Node and API server",
        """
        register-node bool registerNode
        register-with-taints taints registerWithTaints
        provider-id string providerID keep
        pod-cidr string podCIDR
        max-pods int maxPods
        pods-per-core int podsPerCore
        node-status-update-frequency duration nodeStatusUpdateFrequency
        node-status-max-images int nodeStatusMaxImages
        kube-api-content-type string contentType
        kube-api-qps int kubeAPIQPS
        kube-api-burst int kubeAPIBurst
        event-qps int eventRecordQPS
        event-burst int eventBurst
        enable-controller-attach-detach bool enableControllerAttachDetach
        volume-plugin-dir string volumePluginDir
        volume-stats-agg-period duration volumeStatsAggPeriod
        feature-gates bools featureGates
        """,
    ),
    *_mirrored(
        "Runtime and images",
        """
        container-runtime-endpoint string containerRuntimeEndpoint
        image-service-endpoint string imageServiceEndpoint
        runtime-request-timeout duration runtimeRequestTimeout
        registry-qps int registryPullQPS
        registry-burst int registryBurst
        serialize-image-pulls bool serializeImagePulls
        minimum-image-ttl-duration duration imageMinimumGCAge
        image-gc-high-threshold int imageGCHighThresholdPercent
        image-gc-low-threshold int imageGCLowThresholdPercent
        container-log-max-size string containerLogMaxSize
        container-log-max-files int containerLogMaxFiles
        seccomp-default bool seccompDefault
        allowed-unsafe-sysctls list allowedUnsafeSysctls
        cluster-domain string clusterDomain
        cluster-dns list clusterDNS
        resolv-conf string resolvConf
        hairpin-mode string hairpinMode
        make-iptables-util-chains bool makeIPTablesUtilChains
        iptables-masquerade-bit int iptablesMasqueradeBit
        iptables-drop-bit int iptablesDropBit
        """,
    ),
    *_mirrored(
        "Resources of the node",
        """
        kubelet-cgroups string kubeletCgroups
        system-cgroups string systemCgroups
        cgroup-root string cgroupRoot
        cgroups-per-qos bool cgroupsPerQOS
        cgroup-driver string cgroupDriver
        fail-cgroupv1 bool failCgroupV1
        oom-score-adj int oomScoreAdj
        max-open-files int maxOpenFiles
        pod-max-pids int podPidsLimit
        cpu-cfs-quota bool cpuCFSQuota
        cpu-cfs-quota-period duration cpuCFSQuotaPeriod
        cpu-manager-policy string cpuManagerPolicy
        cpu-manager-policy-options pair cpuManagerPolicyOptions
        cpu-manager-reconcile-period duration cpuManagerReconcilePeriod
        memory-manager-policy string memoryManagerPolicy
        reserved-memory memory reservedMemory
        topology-manager-policy string topologyManagerPolicy
        topology-manager-scope string topologyManagerScope
        topology-manager-policy-options pair topologyManagerPolicyOptions
        qos-reserved map qosReserved
        fail-swap-on bool failSwapOn
        protect-kernel-defaults bool protectKernelDefaults
        kernel-memcg-notification bool kernelMemcgNotification
        local-storage-capacity-isolation bool localStorageCapacityIsolation
        system-reserved map systemReserved
        kube-reserved map kubeReserved
        system-reserved-cgroup string systemReservedCgroup
        kube-reserved-cgroup string kubeReservedCgroup
        reserved-cpus string reservedSystemCPUs
        enforce-node-allocatable list enforceNodeAllocatable
        eviction-hard thresholds evictionHard
        eviction-soft thresholds evictionSoft
        eviction-soft-grace-period map evictionSoftGracePeriod
        eviction-pressure-transition-period duration evictionPressureTransitionPeriod
        eviction-max-pod-grace-period int evictionMaxPodGracePeriod
        eviction-minimum-reclaim map evictionMinimumReclaim
        """,
    ),
]

_GLOBAL = [
    FlagSpec("version", "version", "Print the version and end; --version=raw prints all of it.", "Global"),
    FlagSpec("help", "bool", "Print this text and end.", "Global", shorthand="h"),
]

FLAGS: Mapping[str, FlagSpec] = {spec.name: spec for spec in (*_PROCESS, *_LOGGING, *_MIRRORED, *_GLOBAL)}
SHORTHANDS: Mapping[str, FlagSpec] = {spec.shorthand: spec for spec in FLAGS.values() if spec.shorthand}
