"""Where everything of one instance lives, and the names it takes on the host (pure).

All follow from the root directory alone, so two instances never share a file, a socket, a bridge or a rule,
and `down` can find what `up` made even when the record of it is lost.
"""

from __future__ import annotations

import hashlib
import os.path
from dataclasses import dataclass
from pathlib import Path

from pykubelet.cli import DEFAULT_ROOT

SHORT_RUN_DIR = Path("/run/pykubelet")
# sockaddr_un holds 108 bytes with the closing zero.
SOCKET_PATH_LIMIT = 107
LONGEST_SOCKET = "containerd.sock.ttrpc"
DEFAULT_HEALTHZ_PORT = 10248  # KubeletConfiguration healthzPort
DEFAULT_KUBELET_PORT = 10250  # KubeletConfiguration port
DEFAULT_API_PORT = 6443  # where kubeadm's API server listens


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths below `root`, an absolute path; `tag` is six hex digits of it."""

    root: Path
    tag: str
    run: Path  # sockets; short whatever the root is

    @classmethod
    def of(cls, root: str) -> Layout:
        path = Path(os.path.realpath(root))
        tag = hashlib.sha256(str(path).encode()).hexdigest()[:6]
        run = path / "run"
        if len(str(run / LONGEST_SOCKET)) > SOCKET_PATH_LIMIT:
            run = SHORT_RUN_DIR / tag
        return cls(path, tag, run)

    @property
    def is_default(self) -> bool:
        return str(self.root) == DEFAULT_ROOT

    @property
    def record(self) -> Path:
        return self.root / "instance.json"

    @property
    def choices(self) -> Path:
        """The ports and ranges of the cluster, which outlive `down`."""
        return self.root / "choices.json"

    @property
    def lock(self) -> Path:
        return self.root / "lock"

    @property
    def bridge(self) -> str:
        return f"pk-{self.tag}"

    @property
    def network(self) -> str:
        return f"pk-{self.tag}"

    # The private containerd

    @property
    def containerd(self) -> Path:
        return self.root / "containerd"

    @property
    def containerd_config(self) -> Path:
        return self.containerd / "config.toml"

    @property
    def containerd_data(self) -> Path:
        return self.containerd / "data"

    @property
    def containerd_state(self) -> Path:
        return self.containerd / "state"

    @property
    def containerd_socket(self) -> Path:
        return self.run / "containerd.sock"

    @property
    def cni_conf(self) -> Path:
        return self.containerd / "cni"

    @property
    def leases(self) -> Path:
        return self.containerd / "leases"

    # The control plane

    @property
    def nft_table(self) -> str:
        """Of the family ip: the way from pods to the API server and to the outside."""
        return f"pk-{self.tag}"

    @property
    def controlplane(self) -> Path:
        """Its --data-dir: the store and the certificates."""
        return self.root / "controlplane"

    @property
    def pki(self) -> Path:
        return self.controlplane / "pki"

    @property
    def store(self) -> Path:
        return self.controlplane / "state.db"

    @property
    def api_address(self) -> Path:
        """Written by the control plane once it listens: HOST:PORT."""
        return self.run / "kube-controlplane.address"

    @property
    def admin_kubeconfig(self) -> Path:
        return self.root / "admin.kubeconfig"

    # The agent

    @property
    def kubelet_kubeconfig(self) -> Path:
        return self.root / "kubelet.kubeconfig"

    @property
    def kubelet_pki(self) -> Path:
        """The agent's --cert-dir: what it shows to whoever calls it."""
        return self.kubelet / "pki"

    @property
    def kubelet(self) -> Path:
        """The agent's --root-dir."""
        return self.root / "kubelet"

    @property
    def kubelet_config(self) -> Path:
        return self.root / "kubelet.yaml"

    @property
    def kubelet_socket(self) -> Path:
        return self.run / "kubelet.sock"

    @property
    def manifests(self) -> Path:
        """A link to the directory of manifests; turning it to `no_manifests` stops every pod in order."""
        return self.root / "manifests"

    @property
    def no_manifests(self) -> Path:
        return self.root / "no-manifests"

    @property
    def default_static(self) -> Path:
        return self.root / "static"

    @property
    def pod_logs(self) -> Path:
        return self.root / "log" / "pods"

    def log_of(self, component: str) -> Path:
        return self.root / "log" / f"{component}.log"

    def pid_file(self, component: str) -> Path:
        return self.run / f"{component}.pid"
