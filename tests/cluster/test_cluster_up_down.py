"""`pykubelet up`, `status` and `down` of a whole cluster, as a newcomer types them: it comes, is used, is
mended, goes without trace, and comes back with everything that was in it.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.clusters import Cluster, Kubectl, wait_until
from tests.runtimes import host
from tests.runtimes.leftovers import Scope, leftovers, picture

pytestmark = pytest.mark.cluster

EXAMPLE = Path(__file__).parents[2] / "examples" / "web.yaml"
COMPONENTS = ["containerd", "kube-controlplane", "kubelet"]
NODE = os.uname().nodename.lower()
ALONE = """
apiVersion: v1
kind: Pod
metadata: {name: alone}
spec:
  terminationGracePeriodSeconds: 20
  volumes:
  - name: mark
    hostPath: {path: MARK}
  containers:
  - name: main
    image: docker.io/library/busybox:1.35
    imagePullPolicy: IfNotPresent
    command: ["sh", "-c"]
    args: ["trap 'sleep 1; echo bye >> /mark/said; exit 0' TERM; while true; do sleep 0.1; done"]
    volumeMounts: [{name: mark, mountPath: /mark}]
    lifecycle:
      preStop:
        exec: {command: ["sh", "-c", "echo hook >> /mark/said"]}
"""


def left_of(cluster: Cluster) -> list[str]:
    """What is on the host of a cluster, seen by the tests' own eyes."""
    layout = cluster.layout
    scope = Scope("", layout.root, frozenset({layout.bridge}))
    seen = leftovers(picture(Scope("", Path("/nowhere"))), picture(scope))
    lines = [line for line in seen if not line.startswith("file")]
    lines += [f"table {table}" for table in tables() if layout.tag in table]
    sockets = Path("/proc/net/unix").read_text().splitlines()
    return lines + [line for line in sockets if f"{layout.run}/" in line]


def tables() -> list[str]:
    nft = shutil.which("nft", path=f"{os.environ['PATH']}:/usr/sbin")
    assert nft is not None
    return subprocess.run([nft, "list", "tables"], capture_output=True, text=True, check=True).stdout.split(
        "\n"
    )


def ready_pods(kubectl: Kubectl) -> dict[str, dict[str, Any]]:
    """Pods of the default namespace that are Ready and not on their way out, by uid."""
    found = {}
    for pod in kubectl.json("get", "pods")["items"]:
        conditions = {one["type"]: one["status"] for one in pod["status"].get("conditions", ())}
        if conditions.get("Ready") == "True" and "deletionTimestamp" not in pod["metadata"]:
            found[pod["metadata"]["uid"]] = pod
    return found


def test_cluster_comes_up_runs_a_deployment_goes_and_comes_back_with_it(
    own_cluster: Cluster, tmp_path: Path
) -> None:
    said = own_cluster.up()
    assert f"kubeconfig: {own_cluster.kubeconfig}" in said
    commands = [line.strip() for line in said.splitlines() if "kubectl " in line]
    assert len(commands) == 3
    assert any(command.endswith("apply -f examples/web.yaml") for command in commands)

    status = own_cluster.status()
    assert (status["node"], status["ready"]) == (NODE, True)
    assert status["kubeconfig"] == str(own_cluster.kubeconfig)
    assert [one["name"] for one in status["components"]] == COMPONENTS
    assert all(one["ready"] and one["pid"] and one["rss_bytes"] > 1 << 20 for one in status["components"])
    assert "is up already" in own_cluster.up()

    kubectl = own_cluster.kubectl()
    assert kubectl("auth", "whoami", "-o", "jsonpath={.status.userInfo.username}") == "kubernetes-admin"
    mark = tmp_path / "mark"
    mark.mkdir()
    kubectl("apply", "-f", str(EXAMPLE))
    kubectl("apply", "-f", "-", text=ALONE.replace("MARK", str(mark)))
    kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    kubectl("wait", "--for=condition=Ready", "pod/alone", "--timeout=60s")
    before = ready_pods(kubectl)
    assert len(before) == 4
    ranges = kubectl.json("get", "node", NODE)["spec"]["podCIDR"]
    name = next(pod["metadata"]["name"] for pod in before.values() if pod["metadata"]["name"] != "alone")
    assert "serves in blue on port 8080" in own_cluster.run("logs", name).stdout
    assert "runs and is ready" in own_cluster.run("why", name).stdout

    own_cluster.down()
    assert (mark / "said").read_text() == "hook\nbye\n", "a pod of the API has its hook and its grace"
    assert left_of(own_cluster) == []
    assert own_cluster.run("status").returncode == 3
    assert "is down already" in own_cluster.run("down").stdout

    url = json.loads(own_cluster.kubeconfig.read_text())["clusters"][0]["cluster"]["server"]
    own_cluster.up()
    assert json.loads(own_cluster.kubeconfig.read_text())["clusters"][0]["cluster"]["server"] == url
    assert kubectl.json("get", "node", NODE)["spec"]["podCIDR"] == ranges
    after = wait_until(lambda: len(found := ready_pods(kubectl)) == 4 and found, "the same pods run again")
    assert after.keys() == before.keys()
    kubectl("delete", "-f", str(EXAMPLE))
    kubectl("delete", "pod", "alone", "--wait")


def test_up_mends_what_was_killed_and_containers_run_on(own_cluster: Cluster) -> None:
    own_cluster.up()
    kubectl = own_cluster.kubectl()
    kubectl("apply", "-f", str(EXAMPLE))
    kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    before = json.loads(own_cluster.run("ps", "-o", "json").stdout)["containers"]
    for name in COMPONENTS:
        os.kill(own_cluster.pid(name), signal.SIGKILL)
        wait_until(lambda: own_cluster.run("status").returncode == 3, f"{name} is seen dead")
        own_cluster.up()
        assert own_cluster.status()["ready"]
    after = json.loads(own_cluster.run("ps", "-o", "json").stdout)["containers"]
    assert {one["id"] for one in after} == {one["id"] for one in before}
    for pod in kubectl.json("get", "pods")["items"]:
        assert [one["restartCount"] for one in pod["status"]["containerStatuses"]] == [0]


def test_two_clusters_on_one_host_share_nothing(cluster: Cluster, own_cluster: Cluster) -> None:
    own_cluster.up()
    kubectls = [one.kubectl() for one in (cluster, own_cluster)]
    ids = [kubectl.json("get", "namespace", "kube-system")["metadata"]["uid"] for kubectl in kubectls]
    assert ids[0] != ids[1]
    ranges = {kubectl.json("get", "node", NODE)["spec"]["podCIDR"] for kubectl in kubectls}
    assert len(ranges) == 2
    assert {cluster.layout.nft_table, own_cluster.layout.nft_table} <= {
        table.rpartition(" ")[2] for table in tables()
    }
    own_cluster.down()
    assert cluster.status()["ready"], "the other one is not concerned"
    assert own_cluster.layout.bridge not in host.links()


def test_backup_is_what_restore_brings_back(own_cluster: Cluster, tmp_path: Path) -> None:
    own_cluster.up()
    kubectl = own_cluster.kubectl()
    kubectl("create", "configmap", "kept", "--from-literal=a=1")
    file = tmp_path / "backup"
    assert own_cluster.run("backup", str(file)).returncode == 0
    kubectl("delete", "configmap", "kept")
    refused = own_cluster.run("restore", str(file))
    assert refused.returncode == 1
    assert "has it open" in refused.stderr
    own_cluster.down()
    assert own_cluster.run("restore", str(file)).returncode == 0
    own_cluster.up()
    assert kubectl.json("get", "configmap", "kept")["data"] == {"a": "1"}


def test_pod_that_fits_nowhere_is_explained(cluster: Cluster, kubectl: Kubectl, namespace: str) -> None:
    overrides = {"spec": {"containers": [
        {"name": "big", "image": "busybox", "resources": {"requests": {"cpu": "999"}}}
    ]}}  # fmt: skip
    kubectl("run", "big", "-n", namespace, "--image=busybox", f"--overrides={json.dumps(overrides)}")
    told = wait_until(
        lambda: "Insufficient cpu" in (said := cluster.run("why", f"{namespace}/big").stdout) and said,
        "the scheduler has tried",
    )
    assert "waits for a node: 0/1 nodes are available" in told
