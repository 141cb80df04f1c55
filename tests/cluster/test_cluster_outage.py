"""The control plane is killed and comes back: what runs on the node does not notice."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.clusters import Cluster, wait_until
from tests.cluster.kubectl import at_rest, pause, put, shell_pod

pytestmark = pytest.mark.cluster

AWAY_SECONDS = 15.0
# Says when it begins, and fails when it is told to from outside.
FALLS = (
    "echo x >> /shared/starts; rm -f /shared/fall; while [ ! -e /shared/fall ]; do sleep 0.05; done; exit 1"
)


def with_shared(pod: dict[str, Any], directory: Path) -> dict[str, Any]:
    """The pod with a directory of the host at /shared."""
    spec = pod["spec"]
    spec["volumes"] = [{"name": "shared", "hostPath": {"path": str(directory), "type": "Directory"}}]
    spec["containers"][0]["volumeMounts"] = [{"name": "shared", "mountPath": "/shared"}]
    return pod


def lines(file: Path) -> int:
    return len(file.read_text().splitlines()) if file.exists() else 0


def test_killed_control_plane_stops_nothing_and_learns_afterwards_what_happened(
    own_cluster: Cluster, tmp_path: Path
) -> None:
    own_cluster.up()
    kubectl = own_cluster.kubectl()
    probe = {"exec": {"command": ["sh", "-c", "echo x >> /shared/probes"]}, "periodSeconds": 1}
    steady = with_shared(at_rest("steady", container={}), tmp_path)
    steady["spec"]["containers"][0]["readinessProbe"] = probe
    put(kubectl, "default", steady, with_shared(shell_pod("falls", FALLS), tmp_path))
    kubectl("wait", "pod", "--all", "--for=condition=Ready", "--timeout=60s")
    before = kubectl.json("get", "pod", "steady")

    os.kill(own_cluster.pid("kube-controlplane"), signal.SIGKILL)
    killed_at = time.monotonic()
    probes = lines(tmp_path / "probes")
    (tmp_path / "fall").touch()
    wait_until(lambda: lines(tmp_path / "starts") == 2, "it is restarted without an API server")
    wait_until(lambda: lines(tmp_path / "probes") >= probes + 5, "it is probed without an API server")
    pause(max(0.0, AWAY_SECONDS - (time.monotonic() - killed_at)))
    own_cluster.up()

    told = "--for=jsonpath={.status.containerStatuses[0].restartCount}=1"
    kubectl("wait", "pod/falls", told, "--timeout=30s")
    kubectl("wait", "pod", "--all", "--for=condition=Ready", "--timeout=30s")
    after = kubectl.json("get", "pod", "steady")
    assert after["status"] == before["status"], "not a condition moved"
    assert lines(tmp_path / "starts") == 2
    kubectl("delete", "pod", "--all", "--timeout=30s")
