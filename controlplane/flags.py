"""Command-line flags of kube-controlplane, spelled as kube-apiserver's where it has the same.

Both `--flag=value` and `--flag value`; no abbreviations; a wrong flag is one clear last line and exit code 1.
This module imports argparse and nothing of ours, so that `--help` and mistakes are quick.
"""

from __future__ import annotations

import argparse
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

KUBERNETES_VERSION = "v1.36.2"
"""Whose API is served; /version says the same."""
API, SCHEDULER, CONTROLLERS = "api", "scheduler", "controllers"
COMPONENTS = (API, SCHEDULER, CONTROLLERS)
DATA_DIR = Path("/var/lib/pykubelet/controlplane")


class BadFlag(Exception):
    """What is wrong with the command line, as one line."""


@dataclass(frozen=True, slots=True)
class Flags:
    """`secure_port` 0 takes any free one; `advertise_address` "" asks the host; `kubeconfig` "" is the
    in-process client."""

    data_dir: Path = DATA_DIR
    bind_address: str = "0.0.0.0"
    secure_port: int = 6443
    advertise_address: str = ""
    service_cluster_ip_range: str = "10.96.0.0/12"
    cluster_cidr: str = "10.244.0.0/16"
    components: tuple[str, ...] = COMPONENTS
    kubeconfig: str = ""
    token_auth_file: str = ""
    address_file: str = ""
    tls_sans: tuple[str, ...] = ()
    kubelet_ca_file: str | None = None
    """Whom kubelets' certificates are to be from: None is the cluster's own CA, "" anybody."""
    verbosity: int = 2
    logging_format: str = "text"

    @property
    def has_api(self) -> bool:
        return API in self.components


def parse(arguments: Sequence[str]) -> Flags:
    """BadFlag for a command line that cannot be followed; SystemExit(0) for --help and --version."""
    found = _parser().parse_args(list(arguments))
    flags = Flags(
        data_dir=found.data_dir,
        bind_address=found.bind_address,
        secure_port=found.secure_port,
        advertise_address=found.advertise_address or "",
        service_cluster_ip_range=found.service_cluster_ip_range,
        cluster_cidr=found.cluster_cidr,
        components=found.components,
        kubeconfig=found.kubeconfig,
        token_auth_file=found.token_auth_file,
        address_file=found.address_file,
        tls_sans=tuple(name for text in found.tls_sans for name in text.split(",") if name),
        kubelet_ca_file=found.kubelet_ca_file,
        verbosity=found.verbosity,
        logging_format=found.logging_format,
    )
    if not flags.has_api and not flags.kubeconfig:
        raise BadFlag('--components without "api" needs --kubeconfig, to reach an API server')
    if flags.has_api and flags.kubeconfig:
        raise BadFlag('--kubeconfig is for --components without "api"')
    return flags


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise BadFlag(message)


def _parser() -> _Parser:
    parser = _Parser(
        prog="kube-controlplane",
        description="A Kubernetes control plane in one process: API server, store, scheduler, controllers.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--version", action="version", version=f"Kubernetes {KUBERNETES_VERSION}")
    add("--data-dir", type=Path, default=DATA_DIR, metavar="DIR", help="store and certificates (%(default)s)")
    add("--bind-address", type=_address, default="0.0.0.0", metavar="IP", help="(%(default)s)")
    add("--secure-port", type=_port, default=6443, metavar="PORT", help="0 takes any free one (%(default)s)")
    add(
        "--advertise-address",
        type=_address,
        default=None,
        metavar="IP",
        help="by which pods reach the server",
    )
    add(
        "--service-cluster-ip-range",
        type=_network,
        default="10.96.0.0/12",
        metavar="CIDR",
        help="(%(default)s)",
    )
    add(
        "--cluster-cidr", type=_network, default="10.244.0.0/16", metavar="CIDR", help="of pods (%(default)s)"
    )
    add("--components", type=_components, default=COMPONENTS, metavar="LIST", help=",".join(COMPONENTS))
    add("--kubeconfig", default="", metavar="FILE", help="of parts that run apart from the API server")
    add("--token-auth-file", default="", metavar="FILE", help='CSV: token,user,uid,"group,group"')
    add("--address-file", default="", metavar="FILE", help="gets HOST:PORT once the server listens")
    add(
        "--tls-san",
        dest="tls_sans",
        action="append",
        default=[],
        metavar="NAME",
        help="more names of the server",
    )
    add("--kubelet-certificate-authority", dest="kubelet_ca_file", default=None, metavar="FILE",
        help='of what kubelets serve with: by default the cluster\'s; "" trusts any')  # fmt: skip
    add("-v", "--v", dest="verbosity", type=int, default=2, metavar="N", help="how much to log (%(default)s)")
    add("--logging-format", choices=("text", "json"), default="text", help="(%(default)s)")
    return parser


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise argparse.ArgumentTypeError(f'"{text}" is not an IP address') from None


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f'"{text}" is not a port (0 to 65535)')
    return int(text)


def _network(text: str) -> str:
    try:
        found = ipaddress.ip_network(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f'"{text}" is not a network ({error})') from None
    if found.num_addresses < 8:
        raise argparse.ArgumentTypeError(f'"{text}" is too small a network')
    return str(found)


def _components(text: str) -> tuple[str, ...]:
    named = tuple(part.strip() for part in text.split(",") if part.strip())
    unknown = [name for name in named if name not in COMPONENTS]
    if unknown or not named:
        raise argparse.ArgumentTypeError(f'"{text}" is not a list of {", ".join(COMPONENTS)}')
    return tuple(name for name in COMPONENTS if name in named)
