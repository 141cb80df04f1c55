"""The kubelet's command line, in pflag's syntax (pure).

`parse(argv)` gives `Flags`: what belongs to the process as attributes, what mirrors a configuration field in
`overrides`, and warnings about flags that are deprecated or do nothing. `--flag=value`, `--flag value`,
`--flag` for booleans, `-v4`, `-v=4`, `-v 4`; `_` is taken for `-`; names are never abbreviated; lists and
maps may be repeated. `main_flags` is the adapter for a `main`: it prints help, version and errors.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from kubelet.configuration.flag_table import FLAGS, SHORTHANDS, FlagSpec
from kubelet.configuration.flag_values import read_value
from kubelet.configuration.version import KUBERNETES_RELEASE, kubelet_version


class FlagError(Exception):
    """The command line cannot be used; the text says why, in pflag's words."""


@dataclass(frozen=True, slots=True)
class Flags:
    """What the command line says. Durations in seconds. Defaults: upstream's NewKubeletFlags."""

    config: str = ""
    config_dir: str = ""
    kubeconfig: str = ""
    bootstrap_kubeconfig: str = ""
    hostname_override: str = ""
    node_ip: str = ""
    cert_dir: str = "/var/lib/kubelet/pki"
    root_dir: str = "/var/lib/kubelet"
    local_socket: str = ""
    relist_period: float = 300.0  # kubelet 1.36: eventedPLEGRelistPeriod
    pod_network_bridge: str = ""
    pod_network_conflist: str = "/etc/cni/net.d/10-pykubelet.conflist"
    pod_network_leases: str = ""
    cni_bin_dir: str = "/usr/lib/cni,/opt/cni/bin"
    cloud_provider: str = ""
    cloud_config: str = ""
    node_labels: Mapping[str, str] = field(default_factory=dict)
    image_credential_provider_config: str = ""
    image_credential_provider_bin_dir: str = ""
    pod_infra_container_image: str = ""
    runtime_cgroups: str = ""
    lock_file: str = ""
    exit_on_lock_contention: bool = False
    minimum_container_ttl_duration: float = 0.0
    maximum_dead_containers_per_container: int = 1
    maximum_dead_containers: int = -1
    register_schedulable: bool = True
    keep_terminated_pod_volumes: bool = False
    experimental_mounter_path: str = ""
    experimental_allocatable_ignore_eviction: bool = False
    version: str = ""  # "", "true" or "raw"
    help: bool = False
    overrides: Mapping[str, Any] = field(default_factory=dict)  # dotted JSON path -> value
    warnings: tuple[str, ...] = ()

    def socket_path(self) -> str:
        """Where the read-only view listens."""
        return self.local_socket or f"{self.root_dir.rstrip('/')}/kubelet.sock"


_PROCESS_FLAGS = frozenset(item.name for item in fields(Flags)) - {"overrides", "warnings"}


def parse(argv: Sequence[str]) -> Flags:
    """The flags in `argv` (without the program's name). Raises FlagError."""
    values: dict[str, Any] = {}
    for spec, text in _occurrences(list(argv)):
        try:
            values[spec.name] = read_value(spec.kind, text, values.get(spec.name))
        except ValueError as err:
            raise FlagError(f'invalid argument "{text}" for "--{spec.name}" flag: {err}') from None
    given = [FLAGS[name] for name in values]
    flags = Flags(
        **{spec.attribute: values[spec.name] for spec in given if not spec.field},
        overrides={spec.field: values[spec.name] for spec in given if spec.field},
        warnings=tuple(text for spec in given for text in _warnings(spec)),
    )
    if flags.exit_on_lock_contention and not flags.lock_file:
        raise FlagError('cannot use "--exit-on-lock-contention": because "--lock-file" is not given')
    return flags


def _occurrences(words: list[str]) -> Iterator[tuple[FlagSpec, str]]:
    """Each flag on the command line with the text of its value."""
    while words:
        word = words.pop(0)
        if word == "--":
            if words:
                raise FlagError(f"unknown command {words}")
            return
        if word.startswith("--"):
            yield _long(word, words)
        elif word.startswith("-") and word != "-":
            yield _short(word, words)
        else:
            raise FlagError(f"unknown command {[word, *words]}")


def _long(word: str, words: list[str]) -> tuple[FlagSpec, str]:
    name, has_value, text = word[2:].partition("=")
    spec = FLAGS.get(name.replace("_", "-"))
    if spec is None:
        raise FlagError(f"unknown flag: --{name}")
    if has_value:
        return spec, text
    if spec.kind in ("bool", "version"):
        return spec, "true"
    if not words:
        raise FlagError(f"flag needs an argument: --{name}")
    return spec, words.pop(0)


def _short(word: str, words: list[str]) -> tuple[FlagSpec, str]:
    letter, rest = word[1], word[2:]
    spec = SHORTHANDS.get(letter)
    if spec is None:
        raise FlagError(f"unknown shorthand flag: '{letter}' in {word}")
    if rest.startswith("="):
        return spec, rest[1:]
    if spec.kind == "bool":
        if rest:
            raise FlagError(f"unknown shorthand flag: '{rest[0]}' in {word}")
        return spec, "true"
    if rest:
        return spec, rest
    if not words:
        raise FlagError(f"flag needs an argument: '{letter}' in {word}")
    return spec, words.pop(0)


def _warnings(spec: FlagSpec) -> Iterator[str]:
    if spec.deprecated:
        yield f"Flag --{spec.name} has been deprecated: {spec.deprecated}"
    if spec.inert:
        yield f"Flag --{spec.name} has no effect in this agent yet"


def help_text(program: str = "kubelet") -> str:
    """The text of `--help`: flags by group, in upstream's names."""
    defaults = Flags()
    lines = [
        "The kubelet runs the pods of this node: from manifests in a directory, from a URL, and from",
        "the Kubernetes API server.",
        "",
        "Usage:",
        f"  {program} [flags]",
    ]
    groups: dict[str, list[FlagSpec]] = {}
    for spec in FLAGS.values():
        groups.setdefault(spec.group, []).append(spec)
    for group, specs in groups.items():
        lines += ["", f"{group} flags:", ""]
        lines += [_help_line(spec, defaults) for spec in sorted(specs, key=lambda spec: spec.name)]
    return "\n".join(lines) + "\n"


def _help_line(spec: FlagSpec, defaults: Flags) -> str:
    short = f"-{spec.shorthand}, " if spec.shorthand else "    "
    kind = "" if spec.kind == "bool" else f" {spec.kind}"
    text = spec.help
    default = getattr(defaults, spec.attribute, None) if spec.attribute in _PROCESS_FLAGS else None
    if default and default is not True:
        text += f" (default {default})"
    if spec.deprecated:
        text += f" (DEPRECATED: {spec.deprecated})"
    if spec.inert:
        text += " (no effect yet)"
    return f"  {short}--{spec.name}{kind}\n          {text}"


def version_text(kind: str) -> str:
    """What `--version` ("true") and `--version=raw` print."""
    if kind != "raw":
        return f"Kubernetes {kubelet_version()}\n"
    major, minor, _ = KUBERNETES_RELEASE.split(".")
    return (
        f'version.Info{{Major:"{major}", Minor:"{minor}", GitVersion:"{kubelet_version()}", '
        f'Compiler:"{platform.python_implementation()} {platform.python_version()}", '
        f'Platform:"{sys.platform}/{platform.machine()}"}}\n'
    )


def main_flags(argv: Sequence[str]) -> Flags | int:
    """`Flags` to go on with, or the exit code when there is nothing more to do.

    Prints help and version to standard output, errors with a hint to standard error (exit code 1).
    """
    try:
        flags = parse(argv)
    except FlagError as err:
        sys.stderr.write(f'Error: {err}\nSee "kubelet --help" for the flags this agent knows.\n')
        return 1
    if flags.help:
        sys.stdout.write(help_text())
        return 0
    if flags.version:
        sys.stdout.write(version_text(flags.version))
        return 0
    return flags
