"""KubeletConfiguration: decoding, drop-ins, flags over files, defaults, validation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kube.go_duration import format_duration, parse_duration
from kubelet.configuration import InvalidConfiguration, effect
from kubelet.configuration.codec import decode, encode
from kubelet.configuration.host import is_cgroup2_unified, read_host, swap_devices
from kubelet.configuration.load import Loaded, load
from kubelet.configuration.merge import merge_patch
from kubelet.configuration.types import KubeletConfiguration, at_path
from kubelet.configuration.validation import HostFacts, check_host, validate
from kubelet.flags import parse

pytestmark = pytest.mark.pure

HEADER = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n"


def load_text(tmp_path: Path, text: str, *argv: str) -> Loaded:
    file = tmp_path / "kubelet.yaml"
    file.write_text(HEADER + text)
    return load(parse([f"--config={file}", *argv]))


def config_of(**fields: Any) -> KubeletConfiguration:
    return decode({"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration", **fields})


def test_defaults_are_those_of_the_reference() -> None:
    # Literals from the KubeletConfiguration reference, not from our own types.
    expected = {
        "syncFrequency": "1m0s", "fileCheckFrequency": "20s", "httpCheckFrequency": "20s", "port": 10250,
        "healthzPort": 10248, "healthzBindAddress": "127.0.0.1", "registryPullQPS": 5, "registryBurst": 10,
        "eventRecordQPS": 50, "eventBurst": 100, "oomScoreAdj": -999, "maxPods": 110, "podPidsLimit": -1,
        "streamingConnectionIdleTimeout": "4h0m0s", "nodeStatusUpdateFrequency": "10s",
        "nodeStatusReportFrequency": "5m0s", "nodeLeaseDurationSeconds": 40, "imageMinimumGCAge": "2m0s",
        "imageMaximumGCAge": "0s", "imageGCHighThresholdPercent": 85, "imageGCLowThresholdPercent": 80,
        "cgroupsPerQOS": True, "cgroupDriver": "cgroupfs", "cpuManagerPolicy": "none",
        "memoryManagerPolicy": "None", "runtimeRequestTimeout": "2m0s", "hairpinMode": "promiscuous-bridge",
        "resolvConf": "/etc/resolv.conf", "cpuCFSQuota": True, "cpuCFSQuotaPeriod": "100ms",
        "nodeStatusMaxImages": 50, "maxOpenFiles": 1000000, "kubeAPIQPS": 50, "kubeAPIBurst": 100,
        "serializeImagePulls": True, "evictionPressureTransitionPeriod": "5m0s", "failSwapOn": True,
        "containerLogMaxSize": "10Mi", "containerLogMaxFiles": 5, "containerLogMaxWorkers": 1,
        "containerLogMonitorInterval": "10s", "enforceNodeAllocatable": ["pods"], "failCgroupV1": True,
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock", "podLogsDir": "/var/log/pods",
        "crashLoopBackOff": {"maxContainerRestartPeriod": "5m0s"}, "memoryThrottlingFactor": 0.9,
        "imagePullCredentialsVerificationPolicy": "NeverVerifyPreloadedImages",
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "10%", "nodefs.inodesFree": "5%",
                         "imagefs.available": "15%", "imagefs.inodesFree": "5%"},
        "authentication": {"x509": {}, "webhook": {"enabled": True, "cacheTTL": "2m0s"},
                           "anonymous": {"enabled": False}},
    }  # fmt: skip
    shown = encode(config_of())
    shown["authentication"].setdefault("x509", {})
    assert {key: shown.get(key) for key in expected} == expected
    assert validate(config_of()) == []
    assert config_of() == KubeletConfiguration()


def test_effective_configuration_decodes_to_itself() -> None:
    config = config_of(maxPods=7, syncFrequency="90s", enforceNodeAllocatable=[], cgroupsPerQOS=False,
                       featureGates={"MemoryQoS": True},
                       reservedMemory=[{"numaNode": 1, "limits": {"memory": "1Gi"}}],
                       logging={"vmodule": [{"filePattern": "a", "verbosity": 2}]})  # fmt: skip
    assert decode(encode(config)) == config


def test_zero_means_default_except_where_upstream_keeps_a_pointer() -> None:
    config = config_of(
        syncFrequency="0s", maxPods=0, hairpinMode="", registryPullQPS=0, healthzPort=0, resolvConf=""
    )
    assert (config.sync_frequency, config.max_pods, config.hairpin_mode) == (60.0, 110, "promiscuous-bridge")
    assert (config.registry_pull_qps, config.healthz_port, config.resolv_conf) == (0, 0, "")


def test_defaults_that_follow_other_fields() -> None:
    assert config_of(nodeStatusUpdateFrequency="7s").node_status_report_frequency == 7.0
    assert config_of(maxParallelImagePulls=3).serialize_image_pulls is False
    assert config_of(maxParallelImagePulls=1).serialize_image_pulls is True
    assert config_of(evictionHard={"memory.available": "1Gi"}).eviction_hard == {"memory.available": "1Gi"}
    merged = config_of(
        evictionHard={"memory.available": "1Gi"}, mergeDefaultEvictionSettings=True
    ).eviction_hard
    assert merged["memory.available"] == "1Gi"
    assert merged["imagefs.inodesFree"] == "5%"


def test_every_fault_of_a_file_is_named_with_its_line(tmp_path: Path) -> None:
    text = (
        "staticPodPaht: /etc\nsyncFrequency: 10x\nauthentication:\n  webhook: {foo: 1}\n"
        "maxPods: 3\nmaxPods: 4\n"
    )
    with pytest.raises(InvalidConfiguration) as caught:
        load_text(tmp_path, text)
    file = tmp_path / "kubelet.yaml"
    assert sorted(caught.value.problems) == sorted(
        [
            f'{file}:8: duplicate field "maxPods" (first on line 7)',
            f'{file}:3: unknown field "staticPodPaht"',
            f'{file}:4: syncFrequency: invalid duration "10x": write it like "300ms", "10s" or "1h30m"',
            f'{file}:6: unknown field "authentication.webhook.foo"',
        ]
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("maxPods: many", 'maxPods: must be an integer, not the string "many"'),
        ("failSwapOn: 'yes'", 'failSwapOn: must be a boolean (true or false), not the string "yes"'),
        ("clusterDNS: 10.0.0.1", 'clusterDNS: must be a list, not the string "10.0.0.1"'),
        ("clusterDNS: [1]", "clusterDNS[0]: must be a string, not the number 1"),
        ("featureGates: {A: 1}", "featureGates[A]: must be a boolean (true or false), not the number 1"),
        ("authentication: []", "authentication: must be a map, not a list"),
        (
            "syncFrequency: 10",
            'syncFrequency: must be a duration such as "10s" or "1m30s", not the number 10',
        ),
        ("maxPods: 3000000000", "maxPods: must be an integer of -2147483648 to 2147483647"),
        ("registerWithTaints: [{value: x}]", "registerWithTaints[0].key: is required"),
    ],
)
def test_wrong_type_is_refused_with_its_path(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InvalidConfiguration) as caught:
        load_text(tmp_path, text)
    assert any(message in problem for problem in caught.value.problems)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("kind: Pod\napiVersion: v1\n", 'kind: must be "KubeletConfiguration", not the string "Pod"'),
        ("maxPods: 3\n", 'apiVersion: must be "kubelet.config.k8s.io/v1beta1", and is missing'),
        ("", "the file must hold one document"),
        ("- a\n", "the file must hold one document"),
        ("a: [", ":2:"),
    ],
)
def test_file_that_is_no_configuration_is_refused(tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(content)
    with pytest.raises(InvalidConfiguration) as caught:
        load(parse([f"--config={file}"]))
    assert message in str(caught.value)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfiguration, match=r'cannot read ".*/none\.yaml": No such file'):
        load(parse([f"--config={tmp_path}/none.yaml"]))


def test_drop_ins_apply_in_order_of_their_names_and_flags_win(tmp_path: Path) -> None:
    conf = tmp_path / "conf.d"
    conf.mkdir()
    (conf / "20-b.conf").write_text(HEADER + "maxPods: 20\nclusterDNS: [10.0.0.2]\nevictionSoft: {b: 2Gi}\n")
    (conf / "10-a.conf").write_text(
        HEADER + "maxPods: 10\nclusterDNS: [10.0.0.1]\nevictionSoft: {a: 1Gi}\nport: 99\n"
    )
    (conf / "30-c.yaml").write_text("not read: [")
    (conf / "40-d.conf").write_text(HEADER + "port: null\n")
    text = "maxPods: 1\nfeatureGates: {MemoryQoS: true, EventedPLEG: true}\n"
    loaded = load_text(
        tmp_path, text, f"--config-dir={conf}", "--feature-gates=EventedPLEG=false", "--pod-cidr=10.0.0.0/8"
    )
    config = loaded.config
    assert (config.max_pods, config.cluster_dns, config.port) == (20, ("10.0.0.2",), 10250)
    assert config.eviction_soft == {"a": "1Gi", "b": "2Gi"}
    assert config.feature_gates == {"MemoryQoS": True, "EventedPLEG": False}
    assert config.pod_cidr == "10.0.0.0/8"
    assert load_text(tmp_path, text, "--max-pods=7").config.max_pods == 7


def test_relative_paths_are_relative_to_the_file_that_names_them(tmp_path: Path) -> None:
    conf = tmp_path / "conf.d"
    conf.mkdir()
    (conf / "a.conf").write_text(
        HEADER + "resolvConf: ../resolv\nauthentication: {x509: {clientCAFile: ca.crt}}\n"
    )
    config = load_text(tmp_path, "staticPodPath: manifests\n", f"--config-dir={conf}").config
    assert config.static_pod_path == f"{tmp_path}/manifests"
    assert config.resolv_conf == f"{tmp_path}/resolv"
    assert config.authentication.x509.client_ca_file == f"{conf}/ca.crt"
    assert config.pod_logs_dir == "/var/log/pods"


def test_flag_value_out_of_the_fields_width_is_refused() -> None:
    with pytest.raises(InvalidConfiguration, match="maxPods 4294967296 must be an integer"):
        load(parse(["--max-pods=4294967296"]))


def test_setting_without_effect_is_named_once_set() -> None:
    assert list(effect.warnings(config_of())) == []
    assert list(
        effect.warnings(config_of(rotateCertificates=True, featureGates={"Foo": True}, maxPods=110))
    ) == [
        'Configuration field "rotateCertificates" has no effect in this agent yet',
        'Feature gate "Foo" is not known to this agent and has no effect',
    ]
    known = encode(KubeletConfiguration()).keys() | {"staticPodURLHeader", "imageServiceEndpoint"}
    for name in effect.ACTED_ON | effect.NO_EFFECT_UPSTREAM:
        at_path(KubeletConfiguration(), name)
    assert "healthzPort" in known


INVALID = "invalid configuration: "


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"cgroupsPerQOS": False},
         INVALID + 'cgroupsPerQOS (--cgroups-per-qos) must be set to true when "pods" contained in '
         "enforceNodeAllocatable (--enforce-node-allocatable)"),
        ({"nodeLeaseDurationSeconds": -1}, INVALID + "nodeLeaseDurationSeconds must be greater than 0"),
        ({"healthzPort": 70000},
         INVALID + "healthzPort (--healthz-port) 70000 must be between 1 and 65535, inclusive"),
        ({"imageGCHighThresholdPercent": 50},
         INVALID + "imageGCLowThresholdPercent (--image-gc-low-threshold) 80 must be less than "
         "imageGCHighThresholdPercent (--image-gc-high-threshold) 50"),
        ({"imageMaximumGCAge": "1m"},
         INVALID + "imageMaximumGCAge 1m0s must be greater than imageMinimumGCAge 2m0s"),
        ({"maxParallelImagePulls": 2, "serializeImagePulls": True},
         INVALID + "maxParallelImagePulls cannot be larger than 1 unless SerializeImagePulls "
         "(--serialize-image-pulls) is set to false"),
        ({"containerLogMaxFiles": 1}, INVALID + "containerLogMaxFiles must be greater than 1"),
        ({"containerLogMonitorInterval": "1s"},
         INVALID + "containerLogMonitorInterval must be a positive time duration greater than or "
         "equal to 3s"),
        ({"podLogsDir": "logs"}, INVALID + 'pod logs path "logs" must be absolute path'),
        ({"podLogsDir": "/var/../log"}, INVALID + 'pod logs path "/var/../log" must be normalized'),
        ({"crashLoopBackOff": {"maxContainerRestartPeriod": "301s"}},
         INVALID + "CrashLoopBackOff.MaxContainerRestartPeriod (got: 301 seconds) must be set "
         "between 1s and 300s"),
        ({"memorySwap": {"swapBehavior": "All"}},
         INVALID + 'memorySwap.swapBehavior "All" must be one of: "", "LimitedSwap" or "NoSwap"'),
        ({"enforceNodeAllocatable": ["none", "pods"]},
         INVALID + 'enforceNodeAllocatable (--enforce-node-allocatable) may not contain additional '
         'enforcements '
         'when "none" is specified'),
        ({"enforceNodeAllocatable": ["system-reserved"]},
         INVALID + 'systemReservedCgroup (--system-reserved-cgroup) must be specified when '
         '"system-reserved" or '
         '"system-reserved-compressible" included in enforceNodeAllocatable (--enforce-node-allocatable)'),
        ({"enforceNodeAllocatable": ["pods", "pods"]},
         INVALID + 'duplicated enforcements "pods" in enforceNodeAllocatable (--enforce-node-allocatable)'),
        ({"hairpinMode": "on"},
         INVALID + 'option "on" specified for hairpinMode (--hairpin-mode). Valid options are "none", '
         '"hairpin-veth" or "promiscuous-bridge"'),
        ({"featureGates": {"NodeSwap": False}},
         "cannot set feature gate NodeSwap to false, feature is locked to true"),
        ({"shutdownGracePeriodCriticalPods": "10s"},
         INVALID + "shutdownGracePeriodCriticalPods {10s} must be <= shutdownGracePeriod {0s}"),
        ({"topologyManagerPolicy": "x"},
         INVALID + 'topologyManagerPolicy (--topology-manager-policy) "x" must be one of: ["none" '
         '"best-effort" '
         '"restricted" "single-numa-node"]'),
        ({"reservedMemory": [{"numaNode": 0, "limits": {"memory": "0"}}]},
         INVALID + 'reserved memory may not be zero for NUMA node 0 and resource "memory"'),
        ({"reservedSystemCPUs": "3-1"},
         INVALID + 'unable to parse reservedSystemCPUs (--reserved-cpus) 3-1, error: "3-1" is '
         'neither a number '
         "nor a range"),
        ({"cpuCFSQuotaPeriod": "2s"},
         INVALID + "cpuCFSQuotaPeriod (--cpu-cfs-quota-period) {2s} must be between 1ms and 1sec, inclusive"),
        ({"logging": {"format": "xml"}},
         'logging.format: Invalid value: "xml": Unsupported log format'),
        ({"runOnce": True},
         INVALID + "runOnce (--runOnce) true, Runonce mode has been deprecated and should not be set"),
        ({"systemReserved": {"cpu": "-1"}},
         INVALID + 'systemReserved: resource quantity for "cpu" cannot be negative: -1'),
        ({"registryBurst": -1},
         INVALID + "registryBurst (--registry-burst) -1 must not be a negative number"),
    ],
)  # fmt: skip
def test_configuration_that_cannot_be_is_refused_in_upstreams_words(
    fields: dict[str, Any], problem: str
) -> None:
    assert validate(config_of(**fields)) == [problem]


def test_hybrid_host_needs_fail_cgroup_v1_off_and_the_pair_without_cgroups_is_accepted() -> None:
    hybrid = HostFacts(is_cgroup2_unified=False)
    refused = check_host(config_of(), hybrid)
    assert refused[0].startswith("kubelet is configured to not run on a host using cgroup v1.")
    config = config_of(failCgroupV1=False, cgroupsPerQOS=False, enforceNodeAllocatable=[])
    assert validate(config) == []
    assert check_host(config, hybrid) == []
    assert check_host(config_of(failCgroupV1=False, singleProcessOOMKill=False), hybrid) == [
        INVALID + "singleProcessOOMKill must not be explicitly set to false when using cgroup v1"
    ]


def test_swap_stops_the_start_unless_allowed() -> None:
    host = HostFacts(is_cgroup2_unified=True, swap_devices=("/dev/sda2",))
    assert "running with swap on is not supported" in check_host(config_of(), host)[0]
    assert check_host(config_of(failSwapOn=False), host) == []


def test_host_facts_come_from_the_last_mount_on_the_cgroup_root() -> None:
    hybrid = "tmpfs /sys/fs/cgroup tmpfs ro 0 0\ncgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n"
    assert not is_cgroup2_unified(hybrid)
    assert is_cgroup2_unified(hybrid + "cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n")
    table = "Filename\t\t\tType\t\tSize\n/dev/zram0 partition 100 0 -2\n/swapfile file 9 0 -3\n"
    assert swap_devices(table) == ("/dev/zram0", "/swapfile")
    assert swap_devices("Filename\tType\n") == ()


def test_host_facts_of_this_host_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "mounts").write_text("cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n")
    assert read_host(tmp_path) == HostFacts(is_cgroup2_unified=True)
    assert isinstance(read_host().is_cgroup2_unified, bool)


def test_merge_leaves_both_sides_alone() -> None:
    base, over = {"a": {"b": 1, "c": 2}, "l": [1]}, {"a": {"b": None, "d": {"e": None, "f": 1}}, "l": [2]}
    assert merge_patch(base, over) == {"a": {"c": 2, "d": {"f": 1}}, "l": [2]}
    assert base == {"a": {"b": 1, "c": 2}, "l": [1]}


@pytest.mark.parametrize(
    ("text", "seconds", "canonical"),
    [
        ("1h15m30.918s", 4530.918, "1h15m30.918s"), ("0", 0.0, "0s"), ("-1.5s", -1.5, "-1.5s"),
        ("100ms", 0.1, "100ms"), ("1500us", 0.0015, "1.5ms"), ("90s", 90.0, "1m30s"),
        ("24h", 86400.0, "24h0m0s"),
        ("+5s", 5.0, "5s"), (".5s", 0.5, "500ms"), ("1µs", 1e-6, "1µs"), ("10ns", 1e-8, "10ns"),
    ],
)  # fmt: skip
def test_durations_are_gos(text: str, seconds: float, canonical: str) -> None:
    assert parse_duration(text) == pytest.approx(seconds)
    assert format_duration(parse_duration(text)) == canonical


@pytest.mark.parametrize("text", ["", "10", "-", "s", "1d", "1s ", "1,5s", "--1s", "9999999h"])
def test_text_that_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="invalid duration"):
        parse_duration(text)


# Up to eleven days: beyond that a float of seconds is coarser than the tolerance.
@given(st.integers(min_value=-(10**12), max_value=10**12))
def test_whole_microseconds_survive_the_round_trip(microseconds: int) -> None:
    assert parse_duration(format_duration(microseconds / 1e6)) == pytest.approx(microseconds / 1e6, abs=1e-9)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
field_names = st.sampled_from(sorted(encode(KubeletConfiguration())))


@given(st.dictionaries(field_names | st.text(max_size=5), json_values, max_size=4))
def test_any_json_either_decodes_or_says_what_is_wrong(document: dict[str, Any]) -> None:
    try:
        config = config_of(
            **{key: value for key, value in document.items() if key not in ("kind", "apiVersion")}
        )
    except InvalidConfiguration as err:
        assert err.problems
    else:
        validate(config)
        assert encode(config)["kind"] == "KubeletConfiguration"
