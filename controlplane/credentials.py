"""The credentials of a cluster in a directory, laid out like kubeadm's `pki/`, and kubeconfigs made of them.

    pki = keep_pki(data_dir / "pki", hosts=["10.0.0.5"], service_ip="10.96.0.1", now=now)
    write_admin_kubeconfig(pki, Path("admin.kubeconfig"), "https://10.0.0.5:6443", now)

What is missing is made, what no longer fits is made anew, what is good stays: calling again changes nothing.
Two processes may call at once; the second waits for the first. A CA that cannot be used is never replaced.

    ca.crt ca.key                              signs everything below and every node's certificate
    apiserver.crt .key                         what the API server shows
    apiserver-kubelet-client.crt .key          what the API server shows to kubelets
    sa.key sa.pub                              sign and verify service-account tokens
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from kube import pki
from kube.client.settings import Material, Settings
from kube.files import write_atomically
from kube.pki import Pair, Subject, Usage
from kube.pki_files import CERTIFICATE_MODE, PairFiles, keep_ca, keep_certificate, keep_key

CA_NAME = "kubernetes"
# Of the kubeconfigs: `kubectl config get-contexts` shows kubernetes-admin@kubernetes, as after kubeadm.
CLUSTER_NAME = "kubernetes"
ADMIN = "kubernetes-admin"
MASTERS = "system:masters"
KUBELET_CLIENT = "kube-apiserver-kubelet-client"
SCHEDULER = "system:kube-scheduler"
CONTROLLER_MANAGER = "system:kube-controller-manager"
# What the API server is called from inside (kubeadm's certificate of the API server).
SERVICE_NAMES = (
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
)
LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Pki:
    """Where everything is, and the authority itself."""

    directory: Path
    ca: Pair

    @property
    def ca_file(self) -> Path:
        """What everybody trusts; the client CA too."""
        return self.directory / "ca.crt"

    @property
    def serving(self) -> PairFiles:
        return PairFiles.of(self.directory, "apiserver")

    @property
    def kubelet_client(self) -> PairFiles:
        """With it the API server reaches kubelets."""
        return PairFiles.of(self.directory, "apiserver-kubelet-client")

    @property
    def token_key(self) -> Path:
        """Signs service-account tokens."""
        return self.directory / "sa.key"

    @property
    def token_public_key(self) -> Path:
        return self.directory / "sa.pub"


def keep_pki(directory: Path, *, hosts: Sequence[str], service_ip: str, now: datetime) -> Pki:
    """The credentials in `directory`. `hosts` are names and addresses by which the API server is reached,
    besides loopback and its service (`service_ip`). BadCertificate for an authority that cannot be used;
    OSError. Blocks (some 60 ms when all is new)."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o755)
    with _alone_in(directory):
        ca = keep_ca(PairFiles.of(directory, "ca"), CA_NAME, now)
        found = Pki(directory, ca)
        names = tuple(dict.fromkeys((*SERVICE_NAMES, *LOOPBACK, service_ip, *hosts)))
        server = Subject("kube-apiserver", hosts=names)
        keep_certificate(found.serving, ca, server, Usage.SERVING, now)
        keep_certificate(found.kubelet_client, ca, Subject(KUBELET_CLIENT, (MASTERS,)), Usage.CLIENT, now)
        public = pki.public_key(keep_key(found.token_key))
        if not found.token_public_key.exists() or found.token_public_key.read_bytes() != public:
            write_atomically(found.token_public_key, public, mode=CERTIFICATE_MODE)
    return found


def read_pki(directory: Path) -> Pki | None:
    """What `keep_pki` made before; None when there is no authority."""
    ca = PairFiles.of(directory, "ca").read()
    return None if ca is None else Pki(directory, ca)


def write_admin_kubeconfig(pki: Pki, file: Path, server_url: str, now: datetime) -> None:
    """For people: in system:masters, which may do everything. A fresh certificate of a year each time."""
    _write(pki, file, server_url, Subject(ADMIN, (MASTERS,)), ADMIN, now)


def write_node_kubeconfig(pki: Pki, file: Path, node_name: str, server_url: str, now: datetime) -> None:
    """For the agent of one node."""
    user = f"system:node:{node_name}"
    _write(pki, file, server_url, Subject(user, ("system:nodes",)), user, now)


def write_component_kubeconfig(pki: Pki, file: Path, user: str, server_url: str, now: datetime) -> None:
    """For a part that runs apart: SCHEDULER or CONTROLLER_MANAGER."""
    _write(pki, file, server_url, Subject(user), user, now)


def keep_node_serving(
    pki: Pki, directory: Path, node_name: str, hosts: Sequence[str], now: datetime
) -> PairFiles:
    """kubelet.crt and kubelet.key in `directory`: what the agent of a node shows to whoever calls it."""
    files = PairFiles.of(directory, "kubelet")
    names = tuple(dict.fromkeys((node_name, *hosts)))
    keep_certificate(
        files, pki.ca, Subject(f"system:node:{node_name}", ("system:nodes",), names), Usage.SERVING, now
    )
    return files


def _write(pki_: Pki, file: Path, server_url: str, subject: Subject, user: str, now: datetime) -> None:
    # PyYAML comes with it, which a running control plane may never need.
    from kube import kubeconfig

    pair = pki.issue(pki_.ca, subject, Usage.CLIENT, now)
    settings = Settings(
        server=server_url,
        ca=Material(data=pki_.ca.certificate),
        certificate=Material(data=pair.certificate),
        key=Material(data=pair.key),
    )
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
    kubeconfig.write(file, settings, cluster=CLUSTER_NAME, user=user)


@contextmanager
def _alone_in(directory: Path) -> Iterator[None]:
    """One writer per directory at a time; the kernel frees it when the holder dies."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
