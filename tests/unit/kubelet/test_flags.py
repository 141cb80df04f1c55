"""The command line: pflag's syntax, upstream's names."""

from __future__ import annotations

from typing import get_args

import pytest

from kubelet.configuration.flag_table import FLAGS, FlagKind
from kubelet.configuration.types import KubeletConfiguration, MemoryReservation, Taint, VModuleItem, at_path
from kubelet.flags import FlagError, Flags, help_text, main_flags, parse

pytestmark = pytest.mark.pure


@pytest.mark.parametrize(
    ("argv", "path", "value"),
    [
        (["--max-pods=5"], "maxPods", 5),
        (["--max-pods", "5"], "maxPods", 5),
        (["--max_pods", "0x10"], "maxPods", 16),
        (["-v4"], "logging.verbosity", 4),
        (["-v=4"], "logging.verbosity", 4),
        (["-v", "4"], "logging.verbosity", 4),
        (["--v", "4"], "logging.verbosity", 4),
        (["--fail-swap-on"], "failSwapOn", True),
        (["--fail-swap-on=false"], "failSwapOn", False),
        (["--fail-swap-on=F"], "failSwapOn", False),
        (["--sync-frequency=1m30s"], "syncFrequency", 90.0),
        (["--cluster-dns=10.0.0.1,10.0.0.2", "--cluster-dns", "10.0.0.3"], "clusterDNS",
         ("10.0.0.1", "10.0.0.2", "10.0.0.3")),
        (["--enforce-node-allocatable="], "enforceNodeAllocatable", ()),
        (["--kube-reserved=cpu=1,memory=1Gi", "--kube-reserved=pid=9"], "kubeReserved",
         {"cpu": "1", "memory": "1Gi", "pid": "9"}),
        (["--eviction-hard=memory.available<1Gi,nodefs.available<10%"], "evictionHard",
         {"memory.available": "1Gi", "nodefs.available": "10%"}),
        (["--feature-gates=A=true,B=false"], "featureGates", {"A": True, "B": False}),
        (["--manifest-url-header=a:hello,b:again,a:world"], "staticPodURLHeader",
         {"a": ("hello", "world"), "b": ("again",)}),
        (["--cpu-manager-policy-options=x=1,2"], "cpuManagerPolicyOptions", {"x": "1,2"}),
        (["--register-with-taints=a=b:NoSchedule,c:NoExecute"], "registerWithTaints",
         (Taint(key="a", value="b", effect="NoSchedule"), Taint(key="c", effect="NoExecute"))),
        (["--reserved-memory=0:memory=1Gi,hugepages-1M=2Gi"], "reservedMemory",
         (MemoryReservation(numa_node=0, limits={"memory": "1Gi", "hugepages-1M": "2Gi"}),)),
        (["--vmodule=file*=2,kubelet/worker=5"], "logging.vmodule",
         (VModuleItem(file_pattern="file*", verbosity=2),
          VModuleItem(file_pattern="kubelet/worker", verbosity=5))),
        (["--healthz-bind-address=::1"], "healthzBindAddress", "::1"),
    ],
)  # fmt: skip
def test_flag_that_mirrors_a_field_becomes_an_override(argv: list[str], path: str, value: object) -> None:
    assert parse(argv).overrides == {path: value}


def test_flags_of_the_process_become_attributes() -> None:
    flags = parse(["--config", "/etc/k.yaml", "--root-dir=/srv", "--node-labels=a=b,c=d", "--lock-file=/l",
                   "--exit-on-lock-contention", "--minimum-container-ttl-duration=300ms"])  # fmt: skip
    assert (flags.config, flags.root_dir, flags.node_labels) == ("/etc/k.yaml", "/srv", {"a": "b", "c": "d"})
    assert flags.exit_on_lock_contention
    assert flags.minimum_container_ttl_duration == 0.3
    assert flags.socket_path() == "/srv/kubelet.sock"
    assert flags.overrides == {}


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--frobnicate"], "unknown flag: --frobnicate"),
        (["--max-pod=5"], "unknown flag: --max-pod"),
        (["-x"], "unknown shorthand flag: 'x' in -x"),
        (["--config"], "flag needs an argument: --config"),
        (["-v"], "flag needs an argument: 'v' in -v"),
        (["--max-pods=many"], 'invalid argument "many" for "--max-pods" flag: must be an integer'),
        (
            ["--fail-swap-on=maybe"],
            'invalid argument "maybe" for "--fail-swap-on" flag: must be true or false',
        ),
        (["--sync-frequency=10"], 'invalid argument "10" for "--sync-frequency" flag: invalid duration "10"'),
        (["--address=here"], 'invalid argument "here" for "--address" flag: must be an IP address'),
        (["--node-labels=a"], 'invalid argument "a" for "--node-labels" flag: malformed pair "a"'),
        (["run"], "unknown command ['run']"),
        (["--", "x"], "unknown command ['x']"),
        (["--exit-on-lock-contention"], 'because "--lock-file" is not given'),
    ],
)
def test_command_line_that_cannot_be_used_is_refused_with_the_reason(argv: list[str], message: str) -> None:
    with pytest.raises(FlagError) as caught:
        parse(argv)
    assert message in str(caught.value)


def test_boolean_flag_does_not_swallow_the_next_word() -> None:
    with pytest.raises(FlagError, match="unknown command"):
        parse(["--fail-swap-on", "false"])


def test_deprecated_and_inert_flags_are_called_by_name() -> None:
    warnings = parse(["--max-pods=5", "--runtime-cgroups=/x", "--cloud-config=y", "-v2"]).warnings
    assert warnings == (
        "Flag --max-pods has been deprecated: set it in the file given to --config",
        "Flag --runtime-cgroups has no effect in this agent yet",
        "Flag --cloud-config has been deprecated: it will be removed",
        "Flag --cloud-config has no effect in this agent yet",
    )


def test_every_flag_has_a_kind_we_read_and_a_place_to_go() -> None:
    assert len(FLAGS) >= 115
    config, kinds = KubeletConfiguration(), get_args(FlagKind)
    for spec in FLAGS.values():
        assert spec.kind in kinds, spec
        if spec.field:
            at_path(config, spec.field)  # KeyError when the table names a field that does not exist
        else:
            assert hasattr(Flags(), spec.attribute), spec


def test_help_names_every_flag_and_version_is_what_tools_parse(capsys: pytest.CaptureFixture[str]) -> None:
    assert all(f"--{name}" in help_text() for name in FLAGS)
    assert main_flags(["--version"]) == 0
    assert capsys.readouterr().out.startswith("Kubernetes v1.36.2+pykubelet.")
    assert main_flags(["--version=raw"]) == 0
    assert 'Minor:"36"' in capsys.readouterr().out


def test_unknown_flag_ends_with_exit_code_1_and_a_hint(capsys: pytest.CaptureFixture[str]) -> None:
    assert main_flags(["--frobnicate=1"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == (
        'Error: unknown flag: --frobnicate\nSee "kubelet --help" for the flags this agent knows.\n'
    )
