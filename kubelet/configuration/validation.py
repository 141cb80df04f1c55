"""What an effective KubeletConfiguration may not say (pure).

Rules and texts are those of upstream's pkg/kubelet/apis/config/validation (1.36), in the same order within
each group. `validate` returns every fault as a sentence; `check_host` holds the configuration against the
host it is to run on.
"""

from __future__ import annotations

import ipaddress
import posixpath
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from kube.go_duration import format_duration
from kube.quantity import Quantity, QuantityError, parse
from kubelet.configuration import gates
from kubelet.configuration.types import KubeletConfiguration

PREFIX = "invalid configuration: "
_INT32_MAX = 2**31 - 1


@dataclass(frozen=True, slots=True)
class HostFacts:
    """What of the host decides whether the configuration can be used."""

    is_cgroup2_unified: bool
    swap_devices: tuple[str, ...] = ()


def validate(config: KubeletConfiguration) -> list[str]:
    """Every fault of the configuration itself; empty when it can be used."""
    checks = (
        _gates, _limits, _ports, _images, _topology, _shutdown, _swap, _crash_loop, _node_allocatable,
        _network, _reserved_memory, _reserved_cpus, _logging, _memory_qos, _container_logs, _pod_logs_dir,
        _taints, _quantities,
    )  # fmt: skip
    return [problem for check in checks for problem in check(config)]


def check_host(config: KubeletConfiguration, host: HostFacts) -> list[str]:
    """Reasons not to start on this host (upstream: validation_linux.go and cm/container_manager_linux.go)."""
    problems = []
    if config.fail_cgroup_v1 and not host.is_cgroup2_unified:
        problems.append(
            "kubelet is configured to not run on a host using cgroup v1. cgroup v1 support is "
            "unsupported and "
            "will be removed in a future release; set failCgroupV1: false to run here nevertheless"
        )
    if config.single_process_oom_kill is False and not host.is_cgroup2_unified:
        problems.append(
            f"{PREFIX}singleProcessOOMKill must not be explicitly set to false when using cgroup v1"
        )
    if config.fail_swap_on and host.swap_devices:
        problems.append(
            "running with swap on is not supported, please disable swap or set --fail-swap-on flag to false: "
            f"/proc/swaps contained: {', '.join(host.swap_devices)}"
        )
    return problems


def _gates(config: KubeletConfiguration) -> Iterator[str]:
    yield from gates.check(config.feature_gates)


def _limits(config: KubeletConfiguration) -> Iterator[str]:
    if config.node_lease_duration_seconds <= 0:
        yield f"{PREFIX}nodeLeaseDurationSeconds must be greater than 0"
    if config.system_cgroups and not config.cgroup_root:
        yield (
            f"{PREFIX}systemCgroups (--system-cgroups) was specified and cgroupRoot (--cgroup-root) was not "
            "specified"
        )
    not_negative = (
        ("eventBurst", "event-burst", config.event_burst),
        ("eventRecordQPS", "event-qps", config.event_record_qps),
        ("kubeAPIBurst", "kube-api-burst", config.kube_api_burst),
        ("kubeAPIQPS", "kube-api-qps", config.kube_api_qps),
        ("maxOpenFiles", "max-open-files", config.max_open_files),
        ("maxPods", "max-pods", config.max_pods),
        ("podsPerCore", "pods-per-core", config.pods_per_core),
        ("registryBurst", "registry-burst", config.registry_burst),
        ("registryPullQPS", "registry-qps", config.registry_pull_qps),
    )
    for name, flag, value in not_negative:
        if value < 0:
            yield f"{PREFIX}{name} (--{flag}) {value} must not be a negative number"
    within = (
        ("iptablesDropBit", "iptables-drop-bit", config.iptables_drop_bit, 0, 31),
        ("iptablesMasqueradeBit", "iptables-masquerade-bit", config.iptables_masquerade_bit, 0, 31),
        ("oomScoreAdj", "oom-score-adj", config.oom_score_adj, -1000, 1000),
    )
    for name, flag, value, low, high in within:
        if not low <= value <= high:
            yield f"{PREFIX}{name} (--{flag}) {value} must be between {low} and {high}, inclusive"
    if not 0.001 <= config.cpu_cfs_quota_period <= 1.0:
        period = format_duration(config.cpu_cfs_quota_period)
        yield (
            f"{PREFIX}cpuCFSQuotaPeriod (--cpu-cfs-quota-period) {{{period}}} must be between 1ms and 1sec, "
            "inclusive"
        )
    if config.node_status_max_images < -1:
        yield (
            f"{PREFIX}nodeStatusMaxImages (--node-status-max-images) {config.node_status_max_images} must be "
            "-1 or greater"
        )
    if config.run_once:
        yield f"{PREFIX}runOnce (--runOnce) true, Runonce mode has been deprecated and should not be set"
    if config.dra_manager_reconcile_period <= 0:
        period = format_duration(config.dra_manager_reconcile_period)
        yield f"{PREFIX}draManagerReconcilePeriod {period} must be greater than zero"


def _ports(config: KubeletConfiguration) -> Iterator[str]:
    if not 0 <= config.healthz_port <= 65535:
        yield (
            f"{PREFIX}healthzPort (--healthz-port) {config.healthz_port} must be between 1 and "
            "65535, inclusive"
        )
    if not 1 <= config.port <= 65535:
        yield f"{PREFIX}port (--port) {config.port} must be between 1 and 65535, inclusive"
    if not 0 <= config.read_only_port <= 65535:
        yield (
            f"{PREFIX}readOnlyPort (--read-only-port) {config.read_only_port} must be between 0 and 65535, "
            "inclusive"
        )
    for name, address in (("address", config.address), ("healthzBindAddress", config.healthz_bind_address)):
        try:
            ipaddress.ip_address(address)
        except ValueError:
            yield f'{PREFIX}{name} "{address}" must be an IP address'


def _images(config: KubeletConfiguration) -> Iterator[str]:
    high, low = config.image_gc_high_threshold_percent, config.image_gc_low_threshold_percent
    high_name = "imageGCHighThresholdPercent (--image-gc-high-threshold)"
    low_name = "imageGCLowThresholdPercent (--image-gc-low-threshold)"
    for name, value in ((high_name, high), (low_name, low)):
        if not 0 <= value <= 100:
            yield f"{PREFIX}{name} {value} must be between 0 and 100, inclusive"
    if low >= high:
        yield f"{PREFIX}{low_name} {low} must be less than {high_name} {high}"
    youngest, oldest = config.image_minimum_gc_age, config.image_maximum_gc_age
    if youngest < 0:
        yield f"{PREFIX}imageMinimumGCAge {format_duration(youngest)} must not be negative"
    if oldest < 0:
        yield f"{PREFIX}imageMaximumGCAge {format_duration(oldest)} must not be negative"
    if 0 < oldest <= youngest:
        yield (
            f"{PREFIX}imageMaximumGCAge {format_duration(oldest)} must be greater than imageMinimumGCAge "
            f"{format_duration(youngest)}"
        )
    pulls = config.max_parallel_image_pulls
    if pulls is not None and pulls < 1:
        yield f"{PREFIX}maxParallelImagePulls {pulls} must be a positive number"
    if config.serialize_image_pulls and (pulls or 0) > 1:
        yield (
            f"{PREFIX}maxParallelImagePulls cannot be larger than 1 unless SerializeImagePulls "
            "(--serialize-image-pulls) is set to false"
        )
    yield from _one_of(
        "imagePullCredentialsVerificationPolicy",
        config.image_pull_credentials_verification_policy,
        ("NeverVerify", "NeverVerifyPreloadedImages", "NeverVerifyAllowlistedImages", "AlwaysVerify"),
    )
    allowlisted = config.image_pull_credentials_verification_policy == "NeverVerifyAllowlistedImages"
    if config.preloaded_images_verification_allowlist and not allowlisted:
        yield (
            f"{PREFIX}can't set `preloadedImagesVerificationAllowlist` if "
            '`imagePullCredentialsVertificationPolicy` is not "NeverVerifyAllowlistedImages"'
        )


def _one_of(name: str, value: str, choices: tuple[str, ...]) -> Iterator[str]:
    if value not in choices:
        *front, last = (f'"{choice}"' for choice in choices)
        yield f'{PREFIX}option "{value}" specified for {name}. Valid options are {", ".join(front)} or {last}'


def _topology(config: KubeletConfiguration) -> Iterator[str]:
    policies = ("none", "best-effort", "restricted", "single-numa-node")
    if config.topology_manager_policy not in policies:
        quoted = " ".join(f'"{policy}"' for policy in policies)
        yield (
            f'{PREFIX}topologyManagerPolicy (--topology-manager-policy) "{config.topology_manager_policy}" '
            f"must be one of: [{quoted}]"
        )
    if config.topology_manager_scope not in ("container", "pod"):
        yield (
            f'{PREFIX}topologyManagerScope (--topology-manager-scope) "{config.topology_manager_scope}" '
            'must be one of: "container", or "pod"'
        )


def _shutdown(config: KubeletConfiguration) -> Iterator[str]:
    whole, critical = config.shutdown_grace_period, config.shutdown_grace_period_critical_pods
    if critical > whole:
        yield (
            f"{PREFIX}shutdownGracePeriodCriticalPods {{{format_duration(critical)}}} must be <= "
            f"shutdownGracePeriod {{{format_duration(whole)}}}"
        )
    for name, value in (("shutdownGracePeriod", whole), ("shutdownGracePeriodCriticalPods", critical)):
        if value < 0 or 0 < value < 1:
            yield f"{PREFIX}{name} {{{format_duration(value)}}} must be either zero or otherwise >= 1 sec"
    if config.shutdown_grace_period_by_pod_priority and (whole > 0 or critical > 0):
        yield (
            f"{PREFIX}Cannot specify both shutdownGracePeriodByPodPriority and shutdownGracePeriod at the "
            "same time"
        )


def _swap(config: KubeletConfiguration) -> Iterator[str]:
    behavior = config.memory_swap.swap_behavior
    if behavior not in ("", "NoSwap", "LimitedSwap"):
        yield (f'{PREFIX}memorySwap.swapBehavior "{behavior}" must be one of: "", "LimitedSwap" or "NoSwap"')


def _crash_loop(config: KubeletConfiguration) -> Iterator[str]:
    period = config.crash_loop_back_off.max_container_restart_period
    if not 1.0 <= period <= 300.0:
        yield (
            f"{PREFIX}CrashLoopBackOff.MaxContainerRestartPeriod (got: {period:g} seconds) must be "
            "set between "
            "1s and 300s"
        )


_ENFORCEMENTS = {
    "pods": "",
    "system-reserved": "system",
    "system-reserved-compressible": "system",
    "kube-reserved": "kube",
    "kube-reserved-compressible": "kube",
}


def _node_allocatable(config: KubeletConfiguration) -> Iterator[str]:
    where = "enforceNodeAllocatable (--enforce-node-allocatable)"
    chosen = config.enforce_node_allocatable
    for kind in ("system", "kube"):
        if {f"{kind}-reserved", f"{kind}-reserved-compressible"} <= set(chosen):
            yield (
                f'{PREFIX}both "{kind}-reserved-compressible" and "{kind}-reserved" cannot be specified '
                f"together in {where}"
            )
    for value, count in Counter(chosen).items():
        for _ in range(count - 1):
            yield f'{PREFIX}duplicated enforcements "{value}" in {where}'
        if value == "none":
            if len(chosen) > 1:
                yield (f'{PREFIX}{where} may not contain additional enforcements when "none" is specified')
            continue
        if value not in _ENFORCEMENTS:
            yield (
                f'{PREFIX}option "{value}" specified for {where}. Valid options are "pods", '
                '"system-reserved", '
                '"system-reserved-compressible", "kube-reserved", "kube-reserved-compressible" or "none"'
            )
            continue
        kind = _ENFORCEMENTS[value]
        cgroup = {"system": config.system_reserved_cgroup, "kube": config.kube_reserved_cgroup}.get(kind, "/")
        if not cgroup:
            yield (
                f"{PREFIX}{kind}ReservedCgroup (--{kind}-reserved-cgroup) must be specified when "
                f'"{kind}-reserved" or "{kind}-reserved-compressible" included in {where}'
            )
        if not config.cgroups_per_qos:
            yield (
                f"{PREFIX}cgroupsPerQOS (--cgroups-per-qos) must be set to true when "
                f'"{value}" contained in {where}'
            )


def _network(config: KubeletConfiguration) -> Iterator[str]:
    yield from _one_of(
        "hairpinMode (--hairpin-mode)", config.hairpin_mode, ("none", "hairpin-veth", "promiscuous-bridge")
    )
    for address in config.cluster_dns:
        try:
            ipaddress.ip_address(address)
        except ValueError:
            yield f'{PREFIX}clusterDNS (--cluster-dns) "{address}" must be an IP address'


def _reserved_memory(config: KubeletConfiguration) -> Iterator[str]:
    seen: set[tuple[int, str]] = set()
    for reservation in config.reserved_memory:
        node = reservation.numa_node
        for resource, text in reservation.limits.items():
            if resource != "memory" and not resource.startswith("hugepages-"):
                yield (
                    f'{PREFIX}the limit type "{resource}" for NUMA node {node} is not supported, only '
                    "[memory hugepages-<HugePageSize>] is accepted"
                )
            amount = _quantity(text)
            if amount is not None and not amount:
                yield (
                    f'{PREFIX}reserved memory may not be zero for NUMA node {node} and resource "{resource}"'
                )
            if (node, resource) in seen:
                yield (
                    f"{PREFIX}the reserved memory has a duplicate value for NUMA node {node} and resource "
                    f'"{resource}"'
                )
            seen.add((node, resource))


def _reserved_cpus(config: KubeletConfiguration) -> Iterator[str]:
    text = config.reserved_system_cpus
    if not text:
        return
    if config.system_reserved_cgroup or config.kube_reserved_cgroup:
        yield (
            f"{PREFIX}can't use reservedSystemCPUs (--reserved-cpus) with systemReservedCgroup "
            "(--system-reserved-cgroup) or kubeReservedCgroup (--kube-reserved-cgroup)"
        )
    for part in text.split(","):
        low, dash, high = part.partition("-")
        if not (low.isdigit() and (not dash or (high.isdigit() and int(low) <= int(high)))):
            yield (
                f"{PREFIX}unable to parse reservedSystemCPUs (--reserved-cpus) {text}, error: "
                f'"{part}" is neither a number nor a range'
            )


def _logging(config: KubeletConfiguration) -> Iterator[str]:
    logging = config.logging
    if logging.format not in ("text", "json"):
        yield f'logging.format: Invalid value: "{logging.format}": Unsupported log format'
    if not 0 <= logging.verbosity <= _INT32_MAX:
        yield f"logging.verbosity: Invalid value: {logging.verbosity}: Must be <= {_INT32_MAX}"
    if logging.vmodule and logging.format not in ("", "text"):
        yield "logging.vmodule: Forbidden: Only supported for text log format"
    for index, item in enumerate(logging.vmodule):
        at = f"logging.vmodule[{index}]"
        if not item.file_pattern:
            yield f"{at}: Required value: File pattern must not be empty"
        if any(char in item.file_pattern for char in "=,"):
            yield (
                f'{at}: Invalid value: "{item.file_pattern}": File pattern must not contain equal '
                "sign or comma"
            )


def _memory_qos(config: KubeletConfiguration) -> Iterator[str]:
    factor = config.memory_throttling_factor
    if not 0 < factor <= 1.0:
        yield (
            f"{PREFIX}memoryThrottlingFactor {factor:g} must be greater than 0 and less than or equal to 1.0"
        )
    policy = config.memory_reservation_policy
    if policy == "TieredReservation" and not gates.is_enabled("MemoryQoS", config.feature_gates):
        yield f'{PREFIX}memoryReservationPolicy "{policy}" requires MemoryQoS feature gate to be enabled'
    yield from _one_of("memoryReservationPolicy", policy, ("None", "TieredReservation"))
    if config.enable_system_log_query and not config.enable_system_log_handler:
        yield f"{PREFIX}enableSystemLogHandler is required for enableSystemLogQuery"


def _container_logs(config: KubeletConfiguration) -> Iterator[str]:
    if config.container_log_max_workers < 1:
        yield f"{PREFIX}containerLogMaxWorkers must be greater than or equal to 1"
    if config.container_log_monitor_interval < 3:
        yield (
            f"{PREFIX}containerLogMonitorInterval must be a positive time duration greater than or "
            "equal to 3s"
        )
    if config.container_log_max_files <= 1:
        yield f"{PREFIX}containerLogMaxFiles must be greater than 1"
    if _quantity(config.container_log_max_size) is None:
        yield f'{PREFIX}containerLogMaxSize "{config.container_log_max_size}" must be a quantity such as 10Mi'
    if not config.container_runtime_endpoint:
        yield f"{PREFIX}the containerRuntimeEndpoint was not specified or empty"


def _pod_logs_dir(config: KubeletConfiguration) -> Iterator[str]:
    path = config.pod_logs_dir
    if not path:
        yield f"{PREFIX}podLogsDir was not specified"
    if not posixpath.isabs(path):
        yield f'{PREFIX}pod logs path "{path}" must be absolute path'
    if posixpath.normpath(path) != path:
        yield f'{PREFIX}pod logs path "{path}" must be normalized'
    if not path.isascii():
        yield f'{PREFIX}pod logs path "{path}" mut contains ASCII characters only'


def _taints(config: KubeletConfiguration) -> Iterator[str]:
    for taint in config.register_with_taints:
        text = f"{taint.key}={taint.value}:{taint.effect}" if taint.value else f"{taint.key}:{taint.effect}"
        if not taint.key or taint.effect not in ("NoSchedule", "PreferNoSchedule", "NoExecute"):
            yield f"invalid taint: {text}"
        if taint.time_added is not None:
            yield f"{PREFIX}taint.TimeAdded is not nil"


def _quantities(config: KubeletConfiguration) -> Iterator[str]:
    reserved = (
        ("systemReserved", config.system_reserved),
        ("kubeReserved", config.kube_reserved),
    )
    for name, amounts in reserved:
        for resource, text in amounts.items():
            if resource not in ("cpu", "memory", "ephemeral-storage", "pid"):
                yield f'{PREFIX}{name}: cannot reserve "{resource}" resource'
                continue
            amount = _quantity(text)
            if amount is None:
                yield f'{PREFIX}{name}[{resource}] "{text}" must be a quantity'
            elif amount.nanos < 0:
                yield f'{PREFIX}{name}: resource quantity for "{resource}" cannot be negative: {text}'


def _quantity(text: str) -> Quantity | None:
    try:
        return parse(text)
    except QuantityError:
        return None
