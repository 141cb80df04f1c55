"""Configuration files of a private containerd: pure text from values.

containerd 1.6 reads version 2 of its configuration, containerd 2.x version 3, in which the CRI plugin is
split into a runtime and an images part. Everything that two instances on one host would share by default
(network namespaces, the CNI directory, the NRI socket, plugin state) is moved under the instance's root.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

CNI_BIN_DIR = "/usr/lib/cni"
"""Where Debian's containernetworking-plugins puts the plugins."""

SANDBOX_IMAGE = "registry.k8s.io/pause:3.10"

# They need block devices or kernel modules that a test host has no reason to have, and complain at start.
_UNUSED_SNAPSHOTTERS = ("aufs", "btrfs", "zfs", "devmapper", "blockfile", "erofs")


@dataclass(frozen=True, slots=True)
class Layout:
    """Where everything of one instance lives, and the names it takes on the host."""

    root: Path
    network: str
    bridge: str
    subnet: str
    restrict_oom_score_adj: bool
    sandbox_image: str = SANDBOX_IMAGE
    portmap: bool = False

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def state(self) -> Path:
        return self.root / "state"

    @property
    def socket(self) -> Path:
        return self.root / "containerd.sock"

    @property
    def cni(self) -> Path:
        return self.root / "cni"

    @property
    def certs(self) -> Path:
        return self.root / "certs.d"


def containerd_config(layout: Layout, major: int, extra: str = "") -> str:
    """The TOML text for containerd `major`.x; `extra` is appended as it is."""
    snapshotters = [f"io.containerd.snapshotter.v1.{name}" for name in _UNUSED_SNAPSHOTTERS]
    head = {
        "version": 2 if major == 1 else 3,
        "root": str(layout.data),
        "state": str(layout.state),
        "disabled_plugins": snapshotters,
    }
    tables: dict[str, dict[str, object]] = {
        "grpc": {"address": str(layout.socket)},
        "ttrpc": {"address": f"{layout.socket}.ttrpc"},
        'plugins."io.containerd.internal.v1.opt"': {"path": str(layout.root / "opt")},
        **(_cri_v2(layout) if major == 1 else _cri_v3(layout)),
    }
    lines = [f"{key} = {_toml(value)}" for key, value in head.items()]
    for table, values in tables.items():
        lines.append(f"[{table}]")
        lines += [f"  {key} = {_toml(value)}" for key, value in values.items()]
    return "\n".join(lines) + "\n" + extra


def _cri_v2(layout: Layout) -> dict[str, dict[str, object]]:
    cri = 'plugins."io.containerd.grpc.v1.cri"'
    return {
        cri: {
            "sandbox_image": layout.sandbox_image,
            "restrict_oom_score_adj": layout.restrict_oom_score_adj,
            "netns_mounts_under_state_dir": True,
            "stream_server_address": "127.0.0.1",
            "stream_server_port": "0",
        },
        f"{cri}.cni": {"bin_dir": CNI_BIN_DIR, "conf_dir": str(layout.cni)},
        f"{cri}.containerd": {"default_runtime_name": "runc"},
        f"{cri}.containerd.runtimes.runc": {"runtime_type": "io.containerd.runc.v2"},
        f"{cri}.registry": {"config_path": str(layout.certs)},
    }


def _cri_v3(layout: Layout) -> dict[str, dict[str, object]]:
    runtime = "plugins.'io.containerd.cri.v1.runtime'"
    images = "plugins.'io.containerd.cri.v1.images'"
    return {
        runtime: {
            "restrict_oom_score_adj": layout.restrict_oom_score_adj,
            "netns_mounts_under_state_dir": True,
        },
        f"{runtime}.cni": {"bin_dirs": [CNI_BIN_DIR], "conf_dir": str(layout.cni)},
        f"{runtime}.containerd": {"default_runtime_name": "runc"},
        f"{runtime}.containerd.runtimes.runc": {"runtime_type": "io.containerd.runc.v2"},
        f"{images}.pinned_images": {"sandbox": layout.sandbox_image},
        f"{images}.registry": {"config_path": str(layout.certs)},
        "plugins.'io.containerd.grpc.v1.cri'": {
            "stream_server_address": "127.0.0.1",
            "stream_server_port": "0",
        },
        "plugins.'io.containerd.nri.v1.nri'": {"disable": True},
    }


def cni_config(layout: Layout) -> str:
    """One bridge network with addresses from `layout.subnet`, its leases under the instance's root."""
    bridge: dict[str, object] = {
        "type": "bridge",
        "bridge": layout.bridge,
        "isGateway": True,
        "ipMasq": False,
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "dataDir": str(layout.root / "leases"),
            "ranges": [[{"subnet": layout.subnet}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }
    plugins = [bridge]
    if layout.portmap:
        plugins.append({"type": "portmap", "capabilities": {"portMappings": True}})
    return json.dumps({"cniVersion": "0.4.0", "name": layout.network, "plugins": plugins}, indent=2) + "\n"


def _toml(value: object) -> str:
    # Strings, numbers, booleans and lists of strings are spelled alike in JSON and TOML.
    return json.dumps(value)
