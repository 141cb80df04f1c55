"""KubeletConfiguration, `kubelet.config.k8s.io/v1beta1`, as typed, frozen values.

Every field of 1.36 with its default (upstream: pkg/kubelet/apis/config/v1beta1/defaults.go). The values
here are *effective* ones: durations are seconds, nothing is "unset" except where upstream keeps a nil. What
a zero in a file means is decided by `codec.decode`: most fields treat it as unset (`ZERO_MEANS_DEFAULT`),
pointers keep it. Quantities stay text.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta, field

API_VERSION = "kubelet.config.k8s.io/v1beta1"
KIND = "KubeletConfiguration"

Seconds = Annotated[float, Meta(extra={"text": "duration"})]
Int32 = Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)]
Int64 = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]

# pkg/kubelet/eviction/defaults_linux.go
DEFAULT_EVICTION_HARD = {
    "memory.available": "100Mi",
    "nodefs.available": "10%",
    "nodefs.inodesFree": "5%",
    "imagefs.available": "15%",
    "imagefs.inodesFree": "5%",
}


class _Value(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Base of every part: JSON names are camelCase unless a field says otherwise."""


class X509Authentication(_Value, frozen=True, kw_only=True):
    client_ca_file: str = field(default="", name="clientCAFile")


class WebhookAuthentication(_Value, frozen=True, kw_only=True):
    enabled: bool = True
    cache_ttl: Seconds = field(default=120.0, name="cacheTTL")


class AnonymousAuthentication(_Value, frozen=True, kw_only=True):
    enabled: bool = False


class Authentication(_Value, frozen=True, kw_only=True):
    x509: X509Authentication = X509Authentication()
    webhook: WebhookAuthentication = WebhookAuthentication()
    anonymous: AnonymousAuthentication = AnonymousAuthentication()


class WebhookAuthorization(_Value, frozen=True, kw_only=True):
    cache_authorized_ttl: Seconds = field(default=300.0, name="cacheAuthorizedTTL")
    cache_unauthorized_ttl: Seconds = field(default=30.0, name="cacheUnauthorizedTTL")


class Authorization(_Value, frozen=True, kw_only=True):
    mode: str = "Webhook"
    webhook: WebhookAuthorization = WebhookAuthorization()


class MemorySwap(_Value, frozen=True, kw_only=True):
    swap_behavior: str = ""


class JsonLogOptions(_Value, frozen=True, kw_only=True):
    split_stream: bool = False
    info_buffer_size: str = "0"


class LogOptions(_Value, frozen=True, kw_only=True):
    text: JsonLogOptions = JsonLogOptions()
    json: JsonLogOptions = JsonLogOptions()


class VModuleItem(_Value, frozen=True, kw_only=True):
    file_pattern: str
    verbosity: Int32


class Logging(_Value, frozen=True, kw_only=True):
    format: str = "text"
    flush_frequency: Seconds = 5.0
    verbosity: Int32 = 0
    vmodule: tuple[VModuleItem, ...] = ()
    options: LogOptions = LogOptions()


class ShutdownGracePeriodByPodPriority(_Value, frozen=True, kw_only=True):
    priority: Int32 = 0
    shutdown_grace_period_seconds: Int64 = 0


class MemoryReservation(_Value, frozen=True, kw_only=True):
    numa_node: Int32 = 0
    limits: dict[str, str] = {}


class Taint(_Value, frozen=True, kw_only=True):
    key: str
    effect: str
    value: str = ""
    time_added: str | None = None


class Tracing(_Value, frozen=True, kw_only=True):
    endpoint: str | None = None
    sampling_rate_per_million: Int32 | None = None


class CrashLoopBackOff(_Value, frozen=True, kw_only=True):
    max_container_restart_period: Seconds = 300.0


class UserNamespaces(_Value, frozen=True, kw_only=True):
    ids_per_pod: Int64 = 65536


class KubeletConfiguration(_Value, frozen=True, kw_only=True):
    """The effective configuration. Lists are tuples; maps are plain dicts that nobody changes."""

    # Static pods
    static_pod_path: str = ""
    static_pod_url: str = field(default="", name="staticPodURL")
    static_pod_url_header: dict[str, tuple[str, ...]] = field(default_factory=dict, name="staticPodURLHeader")
    sync_frequency: Seconds = 60.0
    file_check_frequency: Seconds = 20.0
    http_check_frequency: Seconds = 20.0
    pod_logs_dir: str = "/var/log/pods"

    # Servers
    enable_server: bool = True
    address: str = "0.0.0.0"
    port: Int32 = 10250
    read_only_port: Int32 = 0
    healthz_port: Int32 = 10248
    healthz_bind_address: str = "127.0.0.1"
    tls_cert_file: str = ""
    tls_private_key_file: str = ""
    tls_cipher_suites: tuple[str, ...] = ()
    tls_min_version: str = ""
    rotate_certificates: bool = False
    server_tls_bootstrap: bool = field(default=False, name="serverTLSBootstrap")
    authentication: Authentication = Authentication()
    authorization: Authorization = Authorization()
    streaming_connection_idle_timeout: Seconds = 4 * 3600.0
    enable_debugging_handlers: bool = True
    enable_contention_profiling: bool = False
    enable_profiling_handler: bool = True
    enable_debug_flags_handler: bool = True
    enable_system_log_handler: bool = True
    enable_system_log_query: bool = False
    show_hidden_metrics_for_version: str = ""

    # Node and API server
    register_node: bool = True
    register_with_taints: tuple[Taint, ...] = ()
    provider_id: str = field(default="", name="providerID")
    pod_cidr: str = field(default="", name="podCIDR")
    max_pods: Int32 = 110
    pods_per_core: Int32 = 0
    node_status_update_frequency: Seconds = 10.0
    node_status_report_frequency: Seconds = 300.0
    node_lease_duration_seconds: Int32 = 40
    node_status_max_images: Int32 = 50
    content_type: str = "application/vnd.kubernetes.protobuf"
    kube_api_qps: Int32 = field(default=50, name="kubeAPIQPS")
    kube_api_burst: Int32 = field(default=100, name="kubeAPIBurst")
    event_record_qps: Int32 = field(default=50, name="eventRecordQPS")
    event_burst: Int32 = 100
    config_map_and_secret_change_detection_strategy: str = "Watch"
    enable_controller_attach_detach: bool = True
    volume_plugin_dir: str = "/usr/libexec/kubernetes/kubelet-plugins/volume/exec/"
    volume_stats_agg_period: Seconds = 60.0
    feature_gates: dict[str, bool] = {}

    # Runtime and images
    container_runtime_endpoint: str = "unix:///run/containerd/containerd.sock"
    image_service_endpoint: str = ""
    runtime_request_timeout: Seconds = 120.0
    registry_pull_qps: Int32 = field(default=5, name="registryPullQPS")
    registry_burst: Int32 = 10
    serialize_image_pulls: bool = True
    max_parallel_image_pulls: Int32 | None = None
    image_pull_credentials_verification_policy: str = "NeverVerifyPreloadedImages"
    preloaded_images_verification_allowlist: tuple[str, ...] = ()
    image_minimum_gc_age: Seconds = field(default=120.0, name="imageMinimumGCAge")
    image_maximum_gc_age: Seconds = field(default=0.0, name="imageMaximumGCAge")
    image_gc_high_threshold_percent: Int32 = field(default=85, name="imageGCHighThresholdPercent")
    image_gc_low_threshold_percent: Int32 = field(default=80, name="imageGCLowThresholdPercent")
    crash_loop_back_off: CrashLoopBackOff = CrashLoopBackOff()
    container_log_max_size: str = "10Mi"
    container_log_max_files: Int32 = 5
    container_log_max_workers: Int32 = 1
    container_log_monitor_interval: Seconds = 10.0
    seccomp_default: bool = False
    allowed_unsafe_sysctls: tuple[str, ...] = ()
    user_namespaces: UserNamespaces | None = None

    # Pod network
    cluster_domain: str = ""
    cluster_dns: tuple[str, ...] = field(default=(), name="clusterDNS")
    resolv_conf: str = "/etc/resolv.conf"
    hairpin_mode: str = "promiscuous-bridge"
    make_iptables_util_chains: bool = field(default=True, name="makeIPTablesUtilChains")
    iptables_masquerade_bit: Int32 = 14
    iptables_drop_bit: Int32 = 15

    # Resources of the node
    kubelet_cgroups: str = ""
    system_cgroups: str = ""
    cgroup_root: str = ""
    cgroups_per_qos: bool = field(default=True, name="cgroupsPerQOS")
    cgroup_driver: str = "cgroupfs"
    fail_cgroup_v1: bool = field(default=True, name="failCgroupV1")
    single_process_oom_kill: bool | None = field(default=None, name="singleProcessOOMKill")
    oom_score_adj: Int32 = -999
    max_open_files: Int64 = 1_000_000
    pod_pids_limit: Int64 = -1
    cpu_cfs_quota: bool = field(default=True, name="cpuCFSQuota")
    cpu_cfs_quota_period: Seconds = field(default=0.1, name="cpuCFSQuotaPeriod")
    cpu_manager_policy: str = "none"
    cpu_manager_policy_options: dict[str, str] = {}
    cpu_manager_reconcile_period: Seconds = 10.0
    memory_manager_policy: str = "None"
    reserved_memory: tuple[MemoryReservation, ...] = ()
    memory_throttling_factor: float = 0.9
    memory_reservation_policy: str = "None"
    topology_manager_policy: str = "none"
    topology_manager_scope: str = "container"
    topology_manager_policy_options: dict[str, str] = {}
    dra_manager_reconcile_period: Seconds = 60.0
    qos_reserved: dict[str, str] = {}
    fail_swap_on: bool = True
    memory_swap: MemorySwap = MemorySwap()
    protect_kernel_defaults: bool = False
    kernel_memcg_notification: bool = False
    local_storage_capacity_isolation: bool = True
    system_reserved: dict[str, str] = {}
    kube_reserved: dict[str, str] = {}
    system_reserved_cgroup: str = ""
    kube_reserved_cgroup: str = ""
    reserved_system_cpus: str = field(default="", name="reservedSystemCPUs")
    enforce_node_allocatable: tuple[str, ...] = ("pods",)
    run_once: bool = False

    # Eviction and shutdown
    eviction_hard: dict[str, str] = field(default_factory=DEFAULT_EVICTION_HARD.copy)
    eviction_soft: dict[str, str] = {}
    eviction_soft_grace_period: dict[str, str] = {}
    eviction_pressure_transition_period: Seconds = 300.0
    eviction_max_pod_grace_period: Int32 = 0
    eviction_minimum_reclaim: dict[str, str] = {}
    merge_default_eviction_settings: bool = False
    shutdown_grace_period: Seconds = 0.0
    shutdown_grace_period_critical_pods: Seconds = 0.0
    shutdown_grace_period_by_pod_priority: tuple[ShutdownGracePeriodByPodPriority, ...] = ()

    # Diagnostics
    logging: Logging = Logging()
    tracing: Tracing | None = None


# Fields where a zero, an empty text or an empty list in a file means "not set": upstream's defaulting
# compares with the zero value there, while the pointer fields (registryPullQPS, healthzPort, ...) keep an
# explicit zero.
ZERO_MEANS_DEFAULT = frozenset(
    {
        "syncFrequency", "fileCheckFrequency", "httpCheckFrequency", "address", "port",
        "healthzBindAddress", "authentication.webhook.cacheTTL", "authorization.mode",
        "authorization.webhook.cacheAuthorizedTTL", "authorization.webhook.cacheUnauthorizedTTL",
        "registryBurst", "eventBurst", "streamingConnectionIdleTimeout",
        "nodeStatusReportFrequency", "nodeStatusUpdateFrequency", "nodeLeaseDurationSeconds",
        "imageMinimumGCAge", "volumeStatsAggPeriod", "cgroupDriver", "cpuManagerPolicy",
        "cpuManagerReconcilePeriod", "memoryManagerPolicy", "topologyManagerPolicy",
        "topologyManagerScope", "runtimeRequestTimeout", "hairpinMode", "maxPods", "maxOpenFiles",
        "contentType", "kubeAPIBurst", "evictionPressureTransitionPeriod", "containerLogMaxSize",
        "configMapAndSecretChangeDetectionStrategy", "volumePluginDir", "containerRuntimeEndpoint",
        "podLogsDir", "imagePullCredentialsVerificationPolicy", "memoryReservationPolicy",
        "draManagerReconcilePeriod", "logging.format", "logging.flushFrequency",
    }
)  # fmt: skip

# Files named in a configuration file are relative to that file's directory (upstream:
# KubeletConfigurationPathRefs).
PATH_FIELDS = (
    "staticPodPath", "authentication.x509.clientCAFile", "tlsCertFile", "tlsPrivateKeyFile", "resolvConf",
    "volumePluginDir", "podLogsDir",
)  # fmt: skip


def at_path(config: Any, path: str) -> Any:
    """The value at a dotted JSON path ("authentication.webhook.cacheTTL"); KeyError when there is no such
    field.
    """
    for name in path.split("."):
        for item in msgspec.structs.fields(config):
            if item.encode_name == name:
                config = getattr(config, item.name)
                break
        else:
            raise KeyError(path)
    return config
