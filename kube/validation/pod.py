"""Validate a Pod as the API server does on create (core validation, ValidatePodCreate)."""

from __future__ import annotations

from collections.abc import Iterator

from kube import errors, meta
from kube.errors import FieldError
from kube.objects.core_v1 import Pod, PodSpec
from kube.validation import names
from kube.validation.containers import RESTART_POLICIES, validate_containers
from kube.validation.metadata import validate_metadata
from kube.validation.resources import validate_amount, validate_pod_resources
from kube.validation.scheduling import validate_scheduling
from kube.validation.security import validate_pod_security
from kube.validation.volumes import validate_volumes

DNS_POLICIES = ("ClusterFirst", "ClusterFirstWithHostNet", "Default", "None")
DEADLINE_MAX_SECONDS = 2**31 - 1
NAMESERVERS_MAX = 3
SEARCHES_MAX = 32
SEARCH_CHARACTERS_MAX = 2048
HOSTNAME_MAX = 64


def validate_pod(pod: Pod) -> tuple[FieldError, ...]:
    """Everything wrong with a new pod, which has its defaults already."""
    return tuple(_pod(pod))


def _pod(pod: Pod) -> Iterator[FieldError]:
    yield from validate_metadata(pod.metadata, namespaced=True, name=names.dns_subdomain)
    mirror = pod.metadata.annotations.get(meta.CONFIG_MIRROR)
    if mirror is not None and not pod.spec.node_name:
        message = "must set spec.nodeName if mirror pod annotation is set"
        yield errors.invalid(f"metadata.annotations[{meta.CONFIG_MIRROR}]", mirror, message)
    yield from validate_pod_spec(pod.spec, "spec")
    if pod.spec.ephemeral_containers:
        yield errors.forbidden("spec.ephemeralContainers", "cannot be set on create")


def validate_pod_spec(spec: PodSpec, path: str) -> Iterator[FieldError]:
    """The spec of a pod or of a template; `path` goes before every field's."""
    yield from validate_volumes(spec, f"{path}.volumes")
    yield from validate_containers(spec, path)
    yield from validate_pod_resources(spec, f"{path}.resources")
    if not spec.restart_policy:
        yield errors.required(f"{path}.restartPolicy")
    else:
        yield from names.one_of(f"{path}.restartPolicy", spec.restart_policy, RESTART_POLICIES)
    yield from validate_pod_security(spec, path)
    yield from validate_scheduling(spec, path)
    yield from _times(spec, path)
    yield from _host_names(spec, path)
    yield from _dns(spec, path)
    yield from _claims(spec, path)
    for name, text in spec.overhead.items():
        yield from names.each(f"{path}.overhead[{name}]", name, names.qualified_name)
        yield from validate_amount(name, text, f"{path}.overhead[{name}]")
    if spec.os is not None:
        if not spec.os.name:
            yield errors.required(f"{path}.os.name")
        else:
            yield from names.one_of(f"{path}.os.name", spec.os.name, ("linux", "windows"))


def _times(spec: PodSpec, path: str) -> Iterator[FieldError]:
    deadline = spec.active_deadline_seconds
    if deadline is not None and not 1 <= deadline <= DEADLINE_MAX_SECONDS:
        message = names.between(1, DEADLINE_MAX_SECONDS)
        yield errors.invalid(f"{path}.activeDeadlineSeconds", deadline, message)


def _host_names(spec: PodSpec, path: str) -> Iterator[FieldError]:
    yield from names.optional_name(f"{path}.hostname", spec.hostname, names.dns_label)
    yield from names.optional_name(f"{path}.subdomain", spec.subdomain, names.dns_label)
    override = spec.hostname_override
    if override is not None:
        at = f"{path}.hostnameOverride"
        yield from names.each(at, override, names.dns_subdomain)
        if len(override) > HOSTNAME_MAX:
            yield errors.too_long(at, HOSTNAME_MAX)
        if spec.set_hostname_as_fqdn:
            message = "may not be specified when `setHostnameAsFQDN` is true"
            yield errors.forbidden(at, message)
        if spec.host_network:
            yield errors.forbidden(at, "may not be specified when `hostNetwork` is true")
    for index, alias in enumerate(spec.host_aliases):
        at = f"{path}.hostAliases[{index}]"
        yield from names.each(f"{at}.ip", alias.ip, names.ip_address)
        for place, hostname in enumerate(alias.hostnames):
            yield from names.each(f"{at}.hostnames[{place}]", hostname, names.dns_subdomain)


def _dns(spec: PodSpec, path: str) -> Iterator[FieldError]:
    if not spec.dns_policy:
        yield errors.required(f"{path}.dnsPolicy")
    else:
        yield from names.one_of(f"{path}.dnsPolicy", spec.dns_policy, DNS_POLICIES)
    config, at = spec.dns_config, f"{path}.dnsConfig"
    if config is None:
        if spec.dns_policy == "None":
            yield errors.required(at, "must provide `dnsConfig` when `dnsPolicy` is None")
        return
    if spec.dns_policy == "None" and not config.nameservers:
        message = "must provide at least one DNS nameserver when `dnsPolicy` is None"
        yield errors.required(f"{at}.nameservers", message)
    if len(config.nameservers) > NAMESERVERS_MAX:
        message = f"must not have more than {NAMESERVERS_MAX} nameservers"
        yield errors.invalid(f"{at}.nameservers", list(config.nameservers), message)
    for index, server in enumerate(config.nameservers):
        yield from names.each(f"{at}.nameservers[{index}]", server, names.ip_address)
    yield from _searches(config.searches, f"{at}.searches")
    for index, option in enumerate(config.options):
        if not option.name:
            yield errors.required(f"{at}.options[{index}]", "must not be empty")


def _searches(searches: tuple[str, ...], path: str) -> Iterator[FieldError]:
    if len(searches) > SEARCHES_MAX:
        message = f"must not have more than {SEARCHES_MAX} search paths"
        yield errors.invalid(path, list(searches), message)
    if len(" ".join(searches)) > SEARCH_CHARACTERS_MAX:
        limit = f"{SEARCH_CHARACTERS_MAX} characters (including spaces)"
        message = f"must not have more than {limit} in the search list"
        yield errors.invalid(path, list(searches), message)
    for index, search in enumerate(searches):
        # A single dot stands for the root, and a trailing dot for a name that is already whole.
        if search != ".":
            for message in names.dns_subdomain_underscore(search.removesuffix(".")):
                yield errors.invalid(f"{path}[{index}]", search, message)


def _claims(spec: PodSpec, path: str) -> Iterator[FieldError]:
    seen: set[str] = set()
    for index, claim in enumerate(spec.resource_claims):
        at = f"{path}.resourceClaims[{index}]"
        yield from names.required_name(f"{at}.name", claim.name, names.dns_label)
        if claim.name in seen:
            yield errors.duplicate(f"{at}.name", claim.name)
        seen.add(claim.name)
        named, templated = claim.resource_claim_name, claim.resource_claim_template_name
        if named is not None and templated is not None:
            message = "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified"
            yield errors.invalid(at, claim.name, message)
        elif named is None and templated is None:
            message = "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`"
            yield errors.invalid(at, claim.name, message)
        yield from names.optional_name(f"{at}.resourceClaimName", named, names.dns_subdomain)
        yield from names.optional_name(f"{at}.resourceClaimTemplateName", templated, names.dns_subdomain)
