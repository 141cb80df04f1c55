"""`pykubelet up --static`, `status`, `why` and `down` in a root of their own: a node with static pods comes,
is mended, and is gone. It belongs to a cluster of its own, as `up` makes one; one test has the node alone.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pykubelet.instance.api import Api
from pykubelet.instance.layout import Layout
from tests.runtimes import KINDS, RuntimeMissing, host
from tests.runtimes.containerd import find_binaries
from tests.runtimes.fixtures import Workshop
from tests.runtimes.leftovers import Scope, leftovers, picture

pytestmark = pytest.mark.node

EXAMPLES = Path(__file__).parents[2] / "examples" / "static"
SECONDS = 60
COMPONENTS = ["containerd", "kube-controlplane", "kubelet"]
NODE = os.uname().nodename.lower()


@dataclass(frozen=True, slots=True)
class Instance:
    """One root, driven by the command as a user would."""

    layout: Layout
    static: Path
    env: dict[str, str]

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "pykubelet", *words[:1], "--root", str(self.layout.root), *words[1:]]
        return subprocess.run(
            command, capture_output=True, text=True, timeout=SECONDS, check=False, env=self.env
        )

    def up(self) -> subprocess.CompletedProcess[str]:
        return self.run("up", "--static", str(self.static))

    def component(self, name: str) -> dict[str, Any]:
        (found,) = [one for one in self.status()["components"] if one["name"] == name]
        return dict(found)

    def status(self) -> dict[str, Any]:
        shown: dict[str, Any] = json.loads(self.run("status", "--json").stdout)
        return shown

    def pods(self) -> dict[str, dict[str, Any]]:
        return {pod["name"].removesuffix(f"-{NODE}"): pod for pod in self.status()["pods"]}

    def pid(self, component: str) -> int:
        return int(self.layout.pid_file(component).read_text())

    def left(self) -> list[str]:
        """What is on the host of this instance, seen by the tests' own eyes."""
        scope = Scope("", self.layout.root, frozenset({self.layout.bridge}))
        seen = leftovers(picture(Scope("", Path("/nowhere"))), picture(scope))
        return [line for line in seen if not line.startswith("file")]


@pytest.fixture(params=KINDS)
def instance(request: pytest.FixtureRequest, workshop: Workshop | None, tmp_path: Path) -> Iterator[Instance]:
    if os.geteuid() != 0 or workshop is None:
        pytest.skip("a real runtime needs root")
    try:
        binaries = find_binaries(request.param)
    except RuntimeMissing as missing:
        pytest.skip(str(missing))
    static = tmp_path / "manifests"
    shutil.copytree(EXAMPLES, static)
    layout = Layout.of(str(workshop.base / "node"))
    workshop.bridges.add(layout.bridge)
    env = dict(os.environ) | {"PATH": f"{binaries.directory}:{os.environ['PATH']}"}
    made = Instance(layout, static, env)
    yield made
    ended = made.run("down", "--purge", "--timeout", "5")
    assert ended.returncode == 0, ended.stderr
    assert not layout.root.exists()


def wait_until(is_true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + SECONDS
    while not is_true():
        assert time.monotonic() < deadline, f"not in {SECONDS} s: {what}"
        time.sleep(0.1)


def test_node_comes_up_with_the_examples_and_goes_without_trace(instance: Instance) -> None:
    came = instance.up()
    assert came.returncode == 0, came.stdout + came.stderr
    assert "from 4 manifests" in came.stdout
    pods = instance.pods()
    assert set(pods) == {"web", "crasher", "init-sidecar", "shared-volume"}
    assert {name for name, pod in pods.items() if pod["ready"]} >= {"web", "init-sidecar", "shared-volume"}
    assert pods["init-sidecar"]["containers_ready"] == "2/2"

    status = instance.status()
    assert [one["name"] for one in status["components"]] == COMPONENTS
    assert all(one["ready"] and one["pid"] and one["rss_bytes"] > 1 << 20 for one in status["components"])
    assert status["node"] == NODE

    with Api(instance.layout.admin_kubeconfig) as api:
        mirrors = api.get("/api/v1/namespaces/default/pods")["items"]
    assert {pod["metadata"]["name"] for pod in mirrors} == {f"{name}-{NODE}" for name in pods}
    assert all("kubernetes.io/config.mirror" in pod["metadata"]["annotations"] for pod in mirrors)

    page = instance.run("exec", "web", "--", "wget", "-qO-", "localhost:8080")
    assert page.stdout == f"hello from web-{NODE}\n"
    shared = instance.run("exec", "shared-volume/writer", "--", "wget", "-qO-", "localhost:8080")
    assert shared.stdout.startswith("page ")
    assert "prepared by the init container" in instance.run("logs", "init-sidecar/reader").stdout
    told = instance.run("why", "web").stdout
    assert "runs and is ready" in told
    assert "readiness of server: success" in told

    again = instance.up()
    assert again.returncode == 0
    assert "is up already" in again.stdout

    gone = instance.run("down")
    assert gone.returncode == 0, gone.stdout + gone.stderr
    assert instance.left() == []
    assert not instance.layout.run.exists()
    assert instance.run("status").returncode == 3
    assert "is down already" in instance.run("down").stdout


def test_node_alone_needs_no_control_plane(instance: Instance) -> None:
    (instance.static / "crasher.yaml").unlink()
    came = instance.run("up", "--standalone", "--static", str(instance.static))
    assert came.returncode == 0, came.stdout + came.stderr
    status = instance.status()
    assert [one["name"] for one in status["components"]] == ["containerd", "kubelet"]
    assert status["ready"] and status["kubeconfig"] is None
    assert all(pod["ready"] for pod in instance.pods().values())
    assert instance.up().returncode == 0, "what it is was not asked again"
    assert instance.run("down").returncode == 0
    assert instance.left() == []


def test_node_follows_its_manifests_and_names_what_it_refuses(instance: Instance) -> None:
    (instance.static / "crasher.yaml").unlink()
    broken = instance.static / "broken.yaml"
    good = (instance.static / "web.yaml").read_text().replace("name: web", "name: broken")
    broken.write_text(good.replace("image: docker", "imag: docker"))
    came = instance.up()
    assert came.returncode == 0, came.stdout + came.stderr
    assert f"{broken}:" in came.stdout
    assert 'unknown field "spec.containers[0].imag"' in came.stdout
    refused = instance.run("why", "broken")
    assert refused.returncode == 1
    assert str(broken) in refused.stderr

    broken.write_text(good)
    wait_until(lambda: instance.pods().get("broken", {}).get("ready", False), "the mended manifest runs")
    broken.unlink()
    wait_until(lambda: "broken" not in instance.pods(), "the removed manifest's pod is gone")
    assert instance.pods()["web"]["restarts"] == "0"


def test_up_again_mends_what_was_killed_and_containers_run_on(instance: Instance) -> None:
    (instance.static / "crasher.yaml").unlink()
    assert instance.up().returncode == 0
    before = instance.run("ps", "-o", "json").stdout
    os.kill(instance.pid("kubelet"), signal.SIGKILL)
    wait_until(lambda: instance.run("status").returncode == 3, "the agent is seen dead")
    assert instance.up().returncode == 0
    os.kill(instance.pid("containerd"), signal.SIGKILL)
    wait_until(lambda: instance.run("status").returncode == 3, "the runtime is seen dead")
    assert instance.up().returncode == 0
    after = instance.run("ps", "-o", "json").stdout
    ids = [{one["id"] for one in json.loads(text)["containers"]} for text in (before, after)]
    assert ids[0] == ids[1]
    assert {pod["restarts"] for pod in instance.pods().values()} == {"0"}


def test_down_leaves_nothing_when_everything_was_killed(instance: Instance) -> None:
    assert instance.up().returncode == 0
    for name in COMPONENTS:
        os.kill(instance.pid(name), signal.SIGKILL)
    assert instance.left() != []
    instance.layout.record.unlink()  # what is left is found by its names
    gone = instance.run("down")
    assert gone.returncode == 0, gone.stdout + gone.stderr
    assert instance.left() == []
    came = instance.up()
    assert came.returncode == 0, came.stdout + came.stderr


def test_up_after_a_reboot_brings_the_same_pods_back(instance: Instance) -> None:
    (instance.static / "crasher.yaml").unlink()
    assert instance.up().returncode == 0
    record = instance.layout.record.read_text()
    for name in COMPONENTS:
        os.kill(instance.pid(name), signal.SIGKILL)
    # As after a reboot: no process, mount or link is left, and the record is of another boot.
    assert instance.run("down").returncode == 0
    this_boot = json.loads(record)["boot_id"]
    instance.layout.record.write_text(record.replace(this_boot, "of-another-boot"))
    came = instance.run("up")
    assert came.returncode == 0, came.stdout + came.stderr
    assert all(pod["ready"] for pod in instance.pods().values())
    assert instance.component("kubelet")["pid"] == instance.pid("kubelet")


def test_down_gives_containers_their_grace(instance: Instance, tmp_path: Path) -> None:
    for file in instance.static.iterdir():
        file.unlink()
    mark = tmp_path / "mark"
    mark.mkdir()
    (instance.static / "polite.yaml").write_text(
        f"""
apiVersion: v1
kind: Pod
metadata: {{name: polite}}
spec:
  terminationGracePeriodSeconds: 20
  volumes:
  - name: mark
    hostPath: {{path: {mark}}}
  containers:
  - name: main
    image: docker.io/library/busybox:1.35
    command: ["sh", "-c"]
    args: ["trap 'sleep 1; echo bye >> /mark/said; exit 0' TERM; while true; do sleep 0.1; done"]
    volumeMounts:
    - {{name: mark, mountPath: /mark}}
    lifecycle:
      preStop:
        exec: {{command: ["sh", "-c", "echo hook >> /mark/said"]}}
"""
    )
    assert instance.up().returncode == 0
    assert instance.run("down").returncode == 0
    assert (mark / "said").read_text() == "hook\nbye\n"


def test_instance_with_a_long_root_keeps_its_sockets_short(workshop: Workshop | None) -> None:
    if os.geteuid() != 0 or workshop is None:
        pytest.skip("a real runtime needs root")
    root = workshop.base / ("long-" + "x" * 90)
    layout = Layout.of(str(root))
    workshop.bridges.add(layout.bridge)
    made = Instance(layout, root / "static", dict(os.environ))
    assert layout.run.parent == Path("/run/pykubelet")
    try:
        came = made.run("up")
        assert came.returncode == 0, came.stdout + came.stderr
        assert made.run("status").returncode == 0
        assert made.run("ps").stdout.startswith("CONTAINER")
    finally:
        gone = made.run("down", "--purge")
        assert gone.returncode == 0, gone.stdout + gone.stderr
    assert not layout.run.exists()
    assert layout.bridge not in host.links()
