"""DNS settings of a pod: the node's resolv.conf, the pod's policy, its dnsConfig, the limits.

Problems come back as values; the caller makes Kubernetes Events of them (network/dns/dns.go).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cri.types import DNSConfig
from kube.objects.core_v1 import Pod, PodDNSConfig
from kubelet.podspec.names import pod_display

MAX_NAMESERVERS = 3  # pkg/apis/core/validation MaxDNSNameservers
MAX_SEARCH_PATHS = 32  # MaxDNSSearchPaths
MAX_SEARCH_CHARS = 2048  # MaxDNSSearchListChars
CLUSTER_OPTIONS = ("ndots:5",)  # dns.go defaultDNSOptions

DNS_CONFIG_FORMING = "DNSConfigForming"
MISSING_CLUSTER_DNS = "MissingClusterDNS"
CHECK_LIMITS = "CheckLimitsForResolvConf"


@dataclass(frozen=True, slots=True)
class ResolvConf:
    """What a resolv.conf says; the last `search` and `options` line win."""

    nameservers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DnsProblem:
    """A Warning event to record: on the pod, and on the node too when `on_node` is not empty."""

    reason: str
    message: str
    on_node: str = ""


@dataclass(frozen=True, slots=True)
class DnsDecision:
    config: DNSConfig
    problems: tuple[DnsProblem, ...] = ()


def parse_resolv_conf(text: str) -> ResolvConf:
    """Lenient as the resolver is; a `nameserver` line without an address raises ValueError."""
    nameservers: list[str] = []
    searches: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    for line in text.splitlines():
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if words[0] == "nameserver":
            if len(words) < 2:
                raise ValueError("nameserver list is empty ")
            nameservers.append(words[1])
        elif words[0] == "search":
            # A trailing dot means the same domain; "." alone is the root and stays.
            searches = tuple(word if word == "." else word.removesuffix(".") for word in words[1:])
        elif words[0] == "options":
            options = tuple(words[1:])
    return ResolvConf(tuple(nameservers), searches, options)


def check_resolv_conf(conf: ResolvConf, path: str, cluster_domain: str) -> str:
    """Why pods cannot have all of the node's search list ("" = they can): node event CheckLimits."""
    allowed = MAX_SEARCH_PATHS - (3 if cluster_domain else 0)
    if len(conf.searches) > allowed:
        return f"Resolv.conf file '{path}' contains search line consisting of more than {allowed} domains!"
    if len(" ".join(conf.searches)) > MAX_SEARCH_CHARS:
        return (
            f"Resolv.conf file '{path}' contains search line which length is more than allowed "
            f"{MAX_SEARCH_CHARS} chars!"
        )
    return ""


def pod_dns(
    pod: Pod,
    host: ResolvConf | None,
    *,
    cluster_dns: Sequence[str] = (),
    cluster_domain: str = "",
    node_ips: Sequence[str] = (),
) -> DnsDecision:
    """The DNS settings of the sandbox. `host` None means that resolvConf is configured as ""."""
    base = host or ResolvConf()
    problems: list[DnsProblem] = []
    policy = _effective_policy(pod)
    if policy == "Cluster" and not cluster_dns:
        problems.append(_missing_cluster_dns(pod))
        policy = "Host"
    if policy == "None":
        base = ResolvConf()
    elif policy == "Cluster":
        base = ResolvConf(
            tuple(cluster_dns), _cluster_searches(pod, base.searches, cluster_domain), CLUSTER_OPTIONS
        )
    elif host is None:
        local = "::1" if node_ips and ":" in node_ips[0] else "127.0.0.1"
        base = ResolvConf((local,), (".",))
    if pod.spec.dns_config is not None:
        base = _merged(base, pod.spec.dns_config)
    servers, server_problem = _limit_servers(base.nameservers)
    searches, search_problem = _limit_searches(base.searches)
    problems.extend(problem for problem in (server_problem, search_problem) if problem is not None)
    config = DNSConfig(servers=servers, searches=searches, options=base.options)
    return DnsDecision(config, tuple(problems))


def _effective_policy(pod: Pod) -> str:
    """`Cluster`, `Host` or `None`; an unknown policy counts as ClusterFirst, the API's default."""
    policy = pod.spec.dns_policy
    if policy in ("None", "Default"):
        return "None" if policy == "None" else "Host"
    if policy == "ClusterFirstWithHostNet":
        return "Cluster"
    return "Host" if pod.spec.host_network else "Cluster"


def _missing_cluster_dns(pod: Pod) -> DnsProblem:
    node_text = (
        'kubelet does not have ClusterDNS IP configured and cannot create Pod using "ClusterFirst" policy. '
        'Falling back to "Default" policy.'
    )
    return DnsProblem(MISSING_CLUSTER_DNS, f'pod: "{pod_display(pod)}". {node_text}', node_text)


def _cluster_searches(pod: Pod, host_searches: Iterable[str], domain: str) -> tuple[str, ...]:
    if not domain:
        return tuple(host_searches)
    return _unique((f"{pod.metadata.namespace}.svc.{domain}", f"svc.{domain}", domain, *host_searches))


def _merged(base: ResolvConf, extra: PodDNSConfig) -> ResolvConf:
    """dnsConfig is added after the policy's own; its options replace those of the same name."""
    options: dict[str, str] = {}
    for option in base.options:
        name, _, value = option.partition(":")
        options[name] = value
    for item in extra.options:
        options[item.name or ""] = item.value or ""
    return ResolvConf(
        _unique((*base.nameservers, *extra.nameservers)),
        _unique((*base.searches, *extra.searches)),
        tuple(f"{name}:{value}" if value else name for name, value in options.items()),
    )


def _unique(items: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(items))


def _limit_servers(servers: tuple[str, ...]) -> tuple[tuple[str, ...], DnsProblem | None]:
    if len(servers) <= MAX_NAMESERVERS:
        return servers, None
    kept = servers[:MAX_NAMESERVERS]
    text = (
        "Nameserver limits were exceeded, some nameservers have been omitted, "
        f"the applied nameserver line is: {' '.join(kept)}"
    )
    return kept, DnsProblem(DNS_CONFIG_FORMING, text)


def _limit_searches(searches: tuple[str, ...]) -> tuple[tuple[str, ...], DnsProblem | None]:
    kept = searches[:MAX_SEARCH_PATHS]
    while kept and len(" ".join(kept)) > MAX_SEARCH_CHARS:
        kept = kept[:-1]
    if kept == searches:
        return searches, None
    text = (
        "Search Line limits were exceeded, some search paths have been omitted, "
        f"the applied search line is: {' '.join(kept)}"
    )
    return kept, DnsProblem(DNS_CONFIG_FORMING, text)
