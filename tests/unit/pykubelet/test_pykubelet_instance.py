"""What `up` writes and decides: paths, ranges, configurations, findings, rules. Values, no host."""

from __future__ import annotations

import dataclasses
import ipaddress
import json
import tomllib
from pathlib import Path

import msgspec
import pytest

from controlplane.flags import parse as controlplane_flags
from cri.types import Container, RuntimeCondition, RuntimeStatus, StatusResponse
from kubelet.configuration.load import SourceFile, combine
from kubelet.configuration.validation import HostFacts as KubeletHost
from kubelet.configuration.validation import check_host
from kubelet.flags import parse
from pykubelet.instance.agent import AgentNeeds, choose_resolv_conf, kubelet_arguments, kubelet_config
from pykubelet.instance.containerd import RuntimeNeeds, containerd_config
from pykubelet.instance.controlplane import ServerNeeds, controlplane_arguments, first_service_address
from pykubelet.instance.doctor import report
from pykubelet.instance.down import grace_of
from pykubelet.instance.facts import HostFacts, has_cgroup_mount, is_kubelet, is_program, read_capabilities
from pykubelet.instance.findings import errors, examine, without_own
from pykubelet.instance.layout import Layout
from pykubelet.instance.netfilter import is_empty_frame, new_tables, removal
from pykubelet.instance.network import choose_subnet, conflist, routed_networks, rules
from pykubelet.instance.processes import Process, descendants
from pykubelet.instance.record import Component, Record
from pykubelet.instance.runtime_start import judge_host

pytestmark = pytest.mark.pure

USUAL = Layout.of("/var/lib/pykubelet")
OTHER = Layout.of("/srv/other")
GOOD = HostFacts(
    containerd="/usr/bin/containerd",
    containerd_version="1.6.20",
    runc="/usr/sbin/runc",
    programs={name: f"/sbin/{name}" for name in ("ip", "umount", "iptables", "nft", "ctr")},
    cni_directory="/usr/lib/cni",
    has_portmap=True,
)


def test_two_roots_share_no_name() -> None:
    assert OTHER.bridge != USUAL.bridge
    assert OTHER.network != USUAL.network
    assert len(USUAL.bridge) == len("pk-") + 6 <= 15  # IFNAMSIZ less its final zero
    assert USUAL.is_default
    assert not OTHER.is_default


def test_sockets_of_a_long_root_move_to_a_short_path() -> None:
    long = Layout.of("/srv/" + "x" * 100)
    assert long.run == Path("/run/pykubelet") / long.tag
    assert len(f"{long.containerd_socket}.ttrpc") <= 107
    assert OTHER.run == Path("/srv/other/run")


ROUTES = (
    "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"
    "eth0\t00000000\t010010AC\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
    "eth0\t000010AC\t00000000\t0001\t0\t0\t0\t0000F0FF\t0\t0\t0\n"
    "cni0\t0000F40A\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n"
)


def test_pod_range_overlaps_no_route() -> None:
    taken = routed_networks(ROUTES)
    assert [str(network) for network in taken] == ["172.16.0.0/12", "10.244.0.0/16"]
    assert choose_subnet(USUAL, []) == "10.244.0.0/24"
    chosen = ipaddress.IPv4Network(choose_subnet(USUAL, taken))
    assert not any(chosen.overlaps(network) for network in taken)
    assert chosen.prefixlen == 24
    assert choose_subnet(OTHER, []) != choose_subnet(USUAL, [])


def test_network_configuration_has_host_ports_where_their_plugin_works() -> None:
    full = json.loads(conflist(OTHER, "10.1.2.0/24", has_portmap=True))
    assert [plugin["type"] for plugin in full["plugins"]] == ["bridge", "portmap"]
    assert full["name"] == full["plugins"][0]["bridge"] == OTHER.bridge
    assert full["plugins"][0]["ipam"]["dataDir"] == "/srv/other/containerd/leases"
    bare = json.loads(conflist(OTHER, "10.1.2.0/24", has_portmap=False))
    assert [plugin["type"] for plugin in bare["plugins"]] == ["bridge"]


def test_packet_filter_rules_lead_to_the_api_server_only_in_a_cluster() -> None:
    record = Record(
        root="/srv/other", boot_id="b", subnet="10.1.2.0/24", api_port=7443, advertise_address="192.0.2.7"
    )
    text = rules(OTHER, record, first_service_address())
    assert f"table ip {OTHER.nft_table} {{" in text
    to_server = "ip daddr 10.96.0.1 tcp dport 443 dnat to 192.0.2.7:7443"
    assert f"\n    ip saddr 10.1.2.0/24 {to_server}\n" in text
    of_the_host = msgspec.structs.replace(record, is_private_runtime=False)
    assert f"ip saddr 10.1.2.0/24 {to_server}" not in rules(OTHER, of_the_host, first_service_address())
    alone = rules(OTHER, msgspec.structs.replace(record, is_standalone=True), first_service_address())
    assert "masquerade" in alone
    assert "7443" not in alone


def test_control_plane_is_told_its_place() -> None:
    flags = controlplane_flags(controlplane_arguments(OTHER, ServerNeeds(7443, "192.0.2.7", "10.1.2.0/24")))
    assert flags.data_dir == Path("/srv/other/controlplane")
    assert (flags.secure_port, flags.advertise_address) == (7443, "192.0.2.7")
    assert flags.cluster_cidr == "10.1.2.0/24"
    assert flags.address_file == "/srv/other/run/kube-controlplane.address"
    usual = controlplane_flags(controlplane_arguments(USUAL, ServerNeeds(6443, "192.0.2.7", "10.244.0.0/24")))
    assert usual.cluster_cidr == "10.244.0.0/16"
    assert first_service_address() == "10.96.0.1"


@pytest.mark.parametrize("major", [1, 2])
def test_containerd_keeps_everything_below_the_root(major: int) -> None:
    needs = RuntimeNeeds(major, "/usr/lib/cni", restrict_oom_score_adj=True)
    text = containerd_config(OTHER, needs)
    config = tomllib.loads(text)
    assert config["version"] == major + 1
    assert config["root"] == "/srv/other/containerd/data"
    assert config["state"] == "/srv/other/containerd/state"
    assert config["grpc"]["address"] == "/srv/other/run/containerd.sock"
    name = "io.containerd.grpc.v1.cri" if major == 1 else "io.containerd.cri.v1.runtime"
    cri = config["plugins"][name]
    assert cri["restrict_oom_score_adj"] is True
    assert cri["netns_mounts_under_state_dir"] is True
    assert cri["cni"]["conf_dir"] == "/srv/other/containerd/cni"


@pytest.mark.parametrize("unified", [True, False])
@pytest.mark.parametrize("swap", [True, False])
@pytest.mark.parametrize("port", [0, 20250])
def test_agent_accepts_the_configuration_it_is_given_on_its_host(
    unified: bool, swap: bool, port: int
) -> None:
    needs = AgentNeeds("unix:///x.sock", 12345, is_cgroup2_unified=unified, has_swap=swap, port=port)
    file = SourceFile("/srv/other/kubelet.yaml", kubelet_config(OTHER, needs).encode())
    flags = parse(kubelet_arguments(OTHER, is_in_cluster=bool(port)))
    loaded = combine([file], flags)
    assert flags.kubeconfig == ("/srv/other/kubelet.kubeconfig" if port else "")
    assert loaded.config.enable_server is bool(port)
    if port:
        assert loaded.config.port == port
        assert loaded.config.authentication.x509.client_ca_file == "/srv/other/controlplane/pki/ca.crt"
        assert loaded.config.authorization.mode == "Webhook"
        assert loaded.config.tls_cert_file == "/srv/other/kubelet/pki/kubelet.crt"
    assert loaded.config.static_pod_path == "/srv/other/manifests"
    assert loaded.config.container_runtime_endpoint == "unix:///x.sock"
    assert loaded.config.healthz_port == 12345
    assert loaded.config.cgroups_per_qos is unified
    host = KubeletHost(is_cgroup2_unified=unified, swap_devices=("/dev/sda2",) if swap else ())
    assert check_host(loaded.config, host) == []


def test_stub_resolver_is_passed_by() -> None:
    stub = "nameserver 127.0.0.53\n"
    assert choose_resolv_conf(stub, has_resolved=True) == "/run/systemd/resolve/resolv.conf"
    assert choose_resolv_conf(stub, has_resolved=False) == "/etc/resolv.conf"
    assert choose_resolv_conf("nameserver 9.9.9.9\n", has_resolved=True) == "/etc/resolv.conf"


def test_sound_host_has_no_finding_but_ok() -> None:
    assert {finding.level for finding in examine(GOOD)} == {"ok"}
    assert report(examine(GOOD))[-1] == "`pykubelet up` will work here."


@pytest.mark.parametrize(
    ("change", "name", "level", "mend"),
    [
        ({"is_root": False}, "root", "error", "sudo"),
        ({"python": (3, 10)}, "python", "error", "apt-get install"),
        ({"containerd": ""}, "containerd", "error", "containerd runc"),
        ({"containerd_version": ""}, "containerd", "error", "--reinstall"),
        ({"runc": ""}, "runc", "error", "runc"),
        ({"programs": {}}, "ip", "error", "iproute2"),
        ({"programs": {}}, "iptables", "warning", "iptables"),
        ({"cni_directory": ""}, "cni", "error", "containernetworking-plugins"),
        ({"cni_missing": ("loopback",)}, "cni", "error", "containernetworking-plugins"),
        ({"image_problems": ("cannot build",)}, "images", "error", "catatonit busybox-static"),
        ({"capabilities": ~(1 << 21)}, "cap_sys_admin", "error", "--privileged"),
        ({"capabilities": ~(1 << 24)}, "cap_sys_resource", "note", ""),
        ({"has_cgroups": False}, "cgroups", "error", "mount -t cgroup2"),
        ({"is_cgroup2_unified": False}, "cgroups", "note", "unified_cgroup_hierarchy"),
        ({"swap": ("/dev/sda2",)}, "swap", "note", "swapoff"),
        ({"has_overlay": False}, "overlay", "error", "modprobe"),
        ({"disk_free_bytes": 1 << 20}, "disk", "warning", "--purge"),
        ({"is_healthz_taken": True}, "healthz", "note", "ss -ltnp"),
        ({"is_api_taken": True}, "api-port", "note", ":6443"),
        ({"is_kubelet_taken": True}, "kubelet-port", "note", ":10250"),
        ({"kubectl": ""}, "kubectl", "note", "make up"),
        ({"programs": {}}, "nft", "error", "nftables"),
        ({"other_kubelets": (7,)}, "kubelet", "note", "-p 7"),
    ],
)
def test_each_fault_is_found_with_what_mends_it(
    change: dict[str, object], name: str, level: str, mend: str
) -> None:
    findings = examine(dataclasses.replace(GOOD, **change))  # type: ignore[arg-type]
    found = {finding.name: finding for finding in findings}[name]
    assert found.level == level
    assert mend in found.mend
    assert bool(errors(findings)) is any(one.level == "error" for one in findings)


def test_own_agent_is_no_neighbour() -> None:
    facts = dataclasses.replace(
        GOOD, is_healthz_taken=True, is_kubelet_taken=True, is_api_taken=True, other_kubelets=(7, 8)
    )
    assert without_own(facts, 7).other_kubelets == (8,)
    assert not without_own(facts, 7).is_healthz_taken
    assert not without_own(facts, 7).is_kubelet_taken
    assert without_own(facts, 7).is_api_taken
    assert not without_own(facts, 7, is_serving=True).is_api_taken
    assert without_own(facts, None) == facts


def test_kubelet_is_known_by_program_or_script() -> None:
    assert is_kubelet(("/usr/bin/kubelet", "--config", "x"))
    assert is_kubelet(("/opt/venv/bin/python3", "/opt/venv/bin/kubelet", "-v", "2"))
    assert not is_kubelet(("vim", "kubelet"))
    assert is_program(("/usr/bin/python3", "-m", "controlplane", "--data-dir", "/x"), "kube-controlplane")
    assert is_program(("/usr/bin/python3", "/v/bin/kube-controlplane"), "kube-controlplane")
    assert not is_program(("/usr/bin/python3",), "kube-controlplane")
    assert not is_kubelet(())


def test_host_texts_are_read() -> None:
    assert read_capabilities("Name:\tx\nCapEff:\t000001fffeffffff\n") >> 24 & 1 == 0
    assert has_cgroup_mount("cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n")
    assert not has_cgroup_mount("proc /proc proc rw 0 0\n")


def answer(config: dict[str, object], *, runtime: bool = True, network: bool = True) -> StatusResponse:
    conditions = (
        RuntimeCondition("RuntimeReady", runtime, message="starting"),
        RuntimeCondition("NetworkReady", network),
    )
    return StatusResponse(RuntimeStatus(conditions), info={"config": json.dumps(config)})


def test_the_hosts_runtime_must_be_able_to_start_containers_here() -> None:
    assert judge_host(answer({}), can_lower_oom_score=True).will_do
    refused = judge_host(answer({}), can_lower_oom_score=False)
    assert "restrict_oom_score_adj" in refused.reason
    assert judge_host(answer({"restrictOOMScoreAdj": True}), can_lower_oom_score=False).will_do
    assert "starting" in judge_host(answer({}, runtime=False), can_lower_oom_score=True).reason


def test_the_hosts_runtime_without_a_network_tells_where_one_goes() -> None:
    found = judge_host(
        answer({"cni": {"confDir": "/etc/cni/net.d"}}, network=False), can_lower_oom_score=True
    )
    assert (found.will_do, found.lacks_network, found.cni_directory) == (True, True, "/etc/cni/net.d")


SAVED = r"""*nat
:CNI-HOSTPORT-DNAT - [0:0]
:CNI-0123456789abcdef01234567 - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT
-A POSTROUTING -s 10.1.2.3/32 -m comment --comment "name: \"pk-abcdef\" id: \"11\"" -j CNI-0123456789abcdef01234567
-A POSTROUTING -s 10.9.2.3/32 -m comment --comment "name: \"other\" id: \"22\"" -j CNI-ffffffffffffffffffffffff
-A CNI-0123456789abcdef01234567 -d 10.1.2.0/24 -m comment --comment "name: \"pk-abcdef\" id: \"11\"" -j ACCEPT
-A CNI-HOSTPORT-DNAT -p tcp -m comment --comment "dnat name: \"pk-abcdef\" id: \"11\"" -j CNI-DN-00112233445566778
-A CNI-DN-00112233445566778 -p tcp -j DNAT --to-destination 10.1.2.3:80
COMMIT
"""  # noqa: E501  # as iptables-save prints it


def test_only_the_rules_of_ones_own_network_are_removed() -> None:
    lines = removal(SAVED, "pk-abcdef")
    assert lines[0] == "*nat"
    assert lines[-1] == "COMMIT"
    assert [line[:40] for line in lines if line.startswith("-D")] == [
        "-D POSTROUTING -s 10.1.2.3/32 -m comment",
        "-D CNI-HOSTPORT-DNAT -p tcp -m comment -",
    ]
    chains = ("CNI-0123456789abcdef01234567", "CNI-DN-00112233445566778")
    assert [line for line in lines if line[:2] in ("-F", "-X")] == [
        *(f"-F {chain}" for chain in chains),
        *(f"-X {chain}" for chain in chains),
    ]
    assert not any("other" in line or "ffff" in line for line in lines)
    assert removal(SAVED, "pk-000000") == []


FRAME = """table ip nat {
	chain CNI-HOSTPORT-DNAT {
	}

	chain CNI-HOSTPORT-SETMARK {
		counter packets 0 bytes 0 meta mark set mark or 0x2000
	}

	chain PREROUTING {
		type nat hook prerouting priority dstnat; policy accept;
		fib daddr type local counter packets 0 bytes 0 jump CNI-HOSTPORT-DNAT
	}
}
"""


def test_table_with_anybodys_rule_is_kept() -> None:
    assert is_empty_frame(FRAME)
    assert not is_empty_frame(FRAME.replace("jump CNI-HOSTPORT-DNAT", "jump DOCKER"))
    assert new_tables(["ip filter"], ["ip filter", "ip nat", "inet firewall"]) == ["ip nat"]


def test_descendants_are_found_to_any_depth() -> None:
    def process(pid: int, ppid: int) -> Process:
        return Process(pid, ppid, "S", 0, ("x",))

    table = {pid: process(pid, ppid) for pid, ppid in ((1, 0), (2, 1), (3, 2), (4, 1), (5, 9))}
    assert descendants([2], table) == {3}
    assert descendants([1], table) == {2, 3, 4}


def test_grace_comes_from_the_container_itself() -> None:
    annotated = Container(annotations={"io.kubernetes.pod.terminationGracePeriod": "5"})
    assert grace_of(annotated) == 5
    assert grace_of(Container()) == 30


def test_a_component_started_again_replaces_the_old_one() -> None:
    record = Record(root="/x", boot_id="b").with_component(Component(name="kubelet", pid=1, started_ticks=2))
    again = record.with_component(Component(name="kubelet", pid=3, started_ticks=4))
    assert [(one.name, one.pid) for one in again.components] == [("kubelet", 3)]
    assert record.component("containerd") is None
