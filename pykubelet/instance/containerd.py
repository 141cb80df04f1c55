"""The configuration of a private containerd, as text from values (pure).

containerd 1.x reads version 2 of it, 2.x version 3, where the CRI plugin is split into a runtime and an
images part. Everything that two daemons would share by default is moved below the instance's root.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from cri.imagefile import PAUSE_NAME
from pykubelet.instance.layout import Layout

# They want block devices or modules that a host may lack, and fill the log at each start.
UNUSED_SNAPSHOTTERS = ("aufs", "btrfs", "zfs", "devmapper", "blockfile", "erofs")


@dataclass(frozen=True, slots=True)
class RuntimeNeeds:
    """What of the host the configuration depends on."""

    major: int
    cni_directory: str
    restrict_oom_score_adj: bool


def containerd_config(layout: Layout, needs: RuntimeNeeds) -> str:
    """The TOML text."""
    snapshotters = [f"io.containerd.snapshotter.v1.{name}" for name in UNUSED_SNAPSHOTTERS]
    head = {
        "version": 2 if needs.major < 2 else 3,
        "root": str(layout.containerd_data),
        "state": str(layout.containerd_state),
        "disabled_plugins": snapshotters,
    }
    tables: dict[str, dict[str, object]] = {
        "grpc": {"address": str(layout.containerd_socket)},
        "ttrpc": {"address": f"{layout.containerd_socket}.ttrpc"},
        'plugins."io.containerd.internal.v1.opt"': {"path": str(layout.containerd / "opt")},
        **(_version_2(layout, needs) if needs.major < 2 else _version_3(layout, needs)),
    }
    lines = ["# Written by `pykubelet up`; it is written again when the runtime is started again."]
    lines += [f"{key} = {_toml(value)}" for key, value in head.items()]
    for table, values in tables.items():
        lines += [f"[{table}]", *(f"  {key} = {_toml(value)}" for key, value in values.items())]
    return "\n".join(lines) + "\n"


def _version_2(layout: Layout, needs: RuntimeNeeds) -> dict[str, dict[str, object]]:
    cri = 'plugins."io.containerd.grpc.v1.cri"'
    return {
        cri: {
            "sandbox_image": PAUSE_NAME,
            "restrict_oom_score_adj": needs.restrict_oom_score_adj,
            "netns_mounts_under_state_dir": True,
            "stream_server_address": "127.0.0.1",
            "stream_server_port": "0",
        },
        f"{cri}.cni": {"bin_dir": needs.cni_directory, "conf_dir": str(layout.cni_conf)},
        f"{cri}.containerd": {"default_runtime_name": "runc"},
        f"{cri}.containerd.runtimes.runc": {"runtime_type": "io.containerd.runc.v2"},
    }


def _version_3(layout: Layout, needs: RuntimeNeeds) -> dict[str, dict[str, object]]:
    runtime = "plugins.'io.containerd.cri.v1.runtime'"
    return {
        runtime: {
            "restrict_oom_score_adj": needs.restrict_oom_score_adj,
            "netns_mounts_under_state_dir": True,
        },
        f"{runtime}.cni": {"bin_dirs": [needs.cni_directory], "conf_dir": str(layout.cni_conf)},
        f"{runtime}.containerd": {"default_runtime_name": "runc"},
        f"{runtime}.containerd.runtimes.runc": {"runtime_type": "io.containerd.runc.v2"},
        "plugins.'io.containerd.cri.v1.images'.pinned_images": {"sandbox": PAUSE_NAME},
        "plugins.'io.containerd.grpc.v1.cri'": {
            "stream_server_address": "127.0.0.1",
            "stream_server_port": "0",
        },
        "plugins.'io.containerd.nri.v1.nri'": {"disable": True},
    }


def _toml(value: object) -> str:
    # Strings, numbers, booleans and lists of strings are spelled alike in JSON and TOML.
    return json.dumps(value)
