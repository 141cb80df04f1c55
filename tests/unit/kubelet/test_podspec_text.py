"""Expansion, hosts file, host name, DNS: exact texts and limits."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kube.objects.core_v1 import HostAlias, Pod
from kubelet.podspec.errors import SandboxConfigError
from kubelet.podspec.expansion import expand_strict, expand_with
from kubelet.podspec.hostname import pod_hostname
from kubelet.podspec.hosts import host_network_hosts, managed_hosts
from kubelet.podspec.resolv import ResolvConf, check_resolv_conf, parse_resolv_conf, pod_dns

pytestmark = pytest.mark.pure

ENVS = {"A": "one", "B": "$(A)", "EMPTY": ""}


def make_pod(name: str = "web", **spec: Any) -> Pod:
    spec.setdefault("containers", [])
    metadata = {"name": name, "namespace": "shop", "uid": "u1"}
    return msgspec.convert({"metadata": metadata, "spec": spec}, Pod)


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("plain", "plain"),
        ("$(A)", "one"),
        ("x$(A)y$(A)", "xoneyone"),
        ("$(B)", "$(A)"),
        ("$(EMPTY)", ""),
        ("$(UNKNOWN)", "$(UNKNOWN)"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$one"),
        ("$$$$(A)", "$$(A)"),
        ("$", "$"),
        ("a$", "a$"),
        ("$A", "$A"),
        ("$(A", "$(A"),
        ("$()", "$()"),
        ("$($(A)", "$($(A)"),
        ("$(A)$", "one$"),
        ("$$", "$"),
        ("$(A$(B))", "$(A$(B))"),
    ],
)
def test_references_expand_as_kubernetes_expands_them(text: str, expanded: str) -> None:
    assert expand_with(text, ENVS) == expanded


def test_the_first_mapping_that_knows_a_name_wins() -> None:
    assert expand_with("$(A)$(C)", {"A": "1"}, {"A": "2", "C": "3"}) == "13"


def test_strict_expansion_names_what_is_undefined_or_empty() -> None:
    assert expand_strict("$(Z)/$(A)/$(EMPTY)", ENVS) == ("/one/", ("EMPTY", "Z"))


@given(st.text(alphabet="$()ab", max_size=30))
def test_expansion_of_text_without_references_only_halves_dollars(text: str) -> None:
    assert expand_with(text, {}).replace("$", "") == text.replace("$", "")


def test_hosts_file_has_upstreams_exact_text() -> None:
    aliases = (HostAlias(ip="10.0.0.9", hostnames=("db", "db.local")),)
    assert managed_hosts(("10.1.2.3", "fd00::3"), "web", "front.shop.svc.cluster.local", aliases) == (
        "# Kubernetes-managed hosts file.\n"
        "127.0.0.1\tlocalhost\n"
        "::1\tlocalhost ip6-localhost ip6-loopback\n"
        "fe00::0\tip6-localnet\n"
        "fe00::0\tip6-mcastprefix\n"
        "fe00::1\tip6-allnodes\n"
        "fe00::2\tip6-allrouters\n"
        "10.1.2.3\tweb.front.shop.svc.cluster.local\tweb\n"
        "fd00::3\tweb.front.shop.svc.cluster.local\tweb\n"
        "\n# Entries added by HostAliases.\n"
        "10.0.0.9\tdb\tdb.local\n"
    )


def test_hosts_file_without_domain_and_aliases_ends_with_the_pods_name() -> None:
    assert managed_hosts(("10.1.2.3",), "web", "", ()).endswith("ip6-allrouters\n10.1.2.3\tweb\n")


def test_hosts_file_of_a_host_network_pod_is_the_nodes_own() -> None:
    text = host_network_hosts("127.0.0.1 localhost\n", ())
    assert text == "# Kubernetes-managed hosts file (host network).\n127.0.0.1 localhost\n"


@pytest.mark.parametrize(
    ("spec", "name", "expected"),
    [
        ({}, "web", ("web", "", "web")),
        ({"hostname": "h"}, "web", ("h", "", "h")),
        ({"hostname": "h", "subdomain": "s"}, "web", ("h", "s.shop.svc.c.l", "h")),
        (
            {"hostname": "h", "subdomain": "s", "setHostnameAsFQDN": True},
            "web",
            ("h", "s.shop.svc.c.l", "h.s.shop.svc.c.l"),
        ),
        ({"setHostnameAsFQDN": True}, "web", ("web", "", "web")),
        ({"hostnameOverride": "over.example"}, "web", ("over.example", "", "over.example")),
        ({}, "a" * 62 + "-.b", ("a" * 62, "", "a" * 62)),
        ({}, "a" * 70, ("a" * 63, "", "a" * 63)),
    ],
)
def test_hostname_rules(spec: dict[str, Any], name: str, expected: tuple[str, str, str]) -> None:
    found = pod_hostname(make_pod(name, **spec), "c.l")
    assert (found.hostname, found.domain, found.kernel) == expected


def test_a_fqdn_over_64_characters_is_refused_with_its_length() -> None:
    pod = make_pod("a" * 60, subdomain="s", setHostnameAsFQDN=True)
    with pytest.raises(SandboxConfigError) as refused:
        pod_hostname(pod, "c.l")
    fqdn = "a" * 60 + ".s.shop.svc.c.l"
    assert refused.value.message == (
        "failed to construct FQDN from pod hostname and cluster domain, "
        f"FQDN {fqdn} is too long (64 characters is the max, {len(fqdn)} characters requested)"
    )
    assert refused.value.reason == "FailedCreatePodSandBox"


def test_a_hostname_that_is_no_label_is_refused() -> None:
    with pytest.raises(SandboxConfigError, match='pod Hostname "a_b" is not a valid DNS label: a lowercase'):
        pod_hostname(make_pod(hostname="a_b"), "c.l")


def test_resolv_conf_is_read_as_the_resolver_reads_it() -> None:
    text = (
        "# comment\nnameserver 1.1.1.1\n nameserver 8.8.8.8 \nsearch old\n"
        "search a. b .\noptions ndots:1\noptions ndots:2 rotate\nsortlist x\n"
    )
    assert parse_resolv_conf(text) == ResolvConf(
        ("1.1.1.1", "8.8.8.8"), ("a", "b", "."), ("ndots:2", "rotate")
    )
    with pytest.raises(ValueError, match="nameserver list is empty"):
        parse_resolv_conf("nameserver\n")


HOST = ResolvConf(("9.9.9.9",), ("corp",), ("rotate",))
CLUSTER = {"cluster_dns": ("10.0.0.10",), "cluster_domain": "c.l"}


@pytest.mark.parametrize(
    ("spec", "servers", "searches", "options"),
    [
        (
            {"dnsPolicy": "ClusterFirst"},
            ("10.0.0.10",),
            ("shop.svc.c.l", "svc.c.l", "c.l", "corp"),
            ("ndots:5",),
        ),
        ({"dnsPolicy": "ClusterFirst", "hostNetwork": True}, ("9.9.9.9",), ("corp",), ("rotate",)),
        (
            {"dnsPolicy": "ClusterFirstWithHostNet", "hostNetwork": True},
            ("10.0.0.10",),
            ("shop.svc.c.l", "svc.c.l", "c.l", "corp"),
            ("ndots:5",),
        ),
        ({"dnsPolicy": "Default"}, ("9.9.9.9",), ("corp",), ("rotate",)),
        (
            {"dnsPolicy": "None", "dnsConfig": {"nameservers": ["1.2.3.4"], "searches": ["x", "x"]}},
            ("1.2.3.4",),
            ("x",),
            (),
        ),
        (
            {
                "dnsPolicy": "ClusterFirst",
                "dnsConfig": {
                    "nameservers": ["10.0.0.10", "1.2.3.4"],
                    "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}],
                },
            },
            ("10.0.0.10", "1.2.3.4"),
            ("shop.svc.c.l", "svc.c.l", "c.l", "corp"),
            ("ndots:2", "edns0"),
        ),
    ],
)
def test_dns_policies(
    spec: dict[str, Any], servers: tuple[str, ...], searches: tuple[str, ...], options: tuple[str, ...]
) -> None:
    decision = pod_dns(make_pod(**spec), HOST, **CLUSTER)  # type: ignore[arg-type]
    config = decision.config
    assert (config.servers, config.searches, config.options) == (servers, searches, options)
    assert decision.problems == ()


def test_without_cluster_dns_the_pod_gets_the_nodes_and_both_are_told() -> None:
    decision = pod_dns(make_pod(dnsPolicy="ClusterFirst"), HOST)
    assert decision.config.servers == ("9.9.9.9",)
    (problem,) = decision.problems
    text = (
        'kubelet does not have ClusterDNS IP configured and cannot create Pod using "ClusterFirst" policy. '
        'Falling back to "Default" policy.'
    )
    assert (problem.reason, problem.on_node) == ("MissingClusterDNS", text)
    assert problem.message == f'pod: "web_shop(u1)". {text}'


@pytest.mark.parametrize(("node_ips", "server"), [((), "127.0.0.1"), (("fd00::1",), "::1")])
def test_an_empty_resolv_conf_setting_disables_lookups(node_ips: tuple[str, ...], server: str) -> None:
    decision = pod_dns(make_pod(dnsPolicy="Default"), None, node_ips=node_ips)
    assert (decision.config.servers, decision.config.searches) == ((server,), (".",))


def test_more_than_three_nameservers_are_cut_and_said() -> None:
    decision = pod_dns(make_pod(dnsPolicy="Default"), ResolvConf(("1", "2", "3", "4")))
    assert decision.config.servers == ("1", "2", "3")
    assert [problem.message for problem in decision.problems] == [
        "Nameserver limits were exceeded, some nameservers have been omitted, "
        "the applied nameserver line is: 1 2 3"
    ]


@pytest.mark.parametrize(
    ("searches", "kept"), [([f"d{n}" for n in range(40)], 32), (["b" * 700, "c" * 700, "d" * 700], 2)]
)
def test_search_paths_are_cut_by_number_and_by_length(searches: list[str], kept: int) -> None:
    decision = pod_dns(make_pod(dnsPolicy="None", dnsConfig={"searches": searches}), HOST)
    assert decision.config.searches == tuple(searches[:kept])
    (problem,) = decision.problems
    assert problem.reason == "DNSConfigForming"
    assert problem.message == (
        "Search Line limits were exceeded, some search paths have been omitted, "
        f"the applied search line is: {' '.join(searches[:kept])}"
    )


def test_the_nodes_own_search_list_is_checked_with_room_for_the_cluster() -> None:
    conf = ResolvConf(searches=tuple(f"d{n}" for n in range(30)))
    assert check_resolv_conf(conf, "/etc/resolv.conf", "") == ""
    assert check_resolv_conf(conf, "/etc/resolv.conf", "c.l") == (
        "Resolv.conf file '/etc/resolv.conf' contains search line consisting of more than 29 domains!"
    )
