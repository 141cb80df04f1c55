"""What the bench makes of its samples, and how it writes them down."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import apiserver, apiserver_figures, cluster, report
from bench.__main__ import chosen
from bench.figures import Figure, quantile, spread
from bench.pods import BarePods, manifest
from cri._pb import api_pb2 as pb
from kubelet.podspec.names import pod_identity

pytestmark = pytest.mark.pure

FAST = Figure("burst", 0.95, "x", 0.92, at_least=True, detail="ours 2 s")
SLOW = Figure("restart", 2.0, "s", 1.5)
INFO = Figure("exec", 1.2, "x")


def test_figure_is_met_on_the_right_side_of_its_target() -> None:
    assert [one.is_met for one in (FAST, SLOW, INFO)] == [True, False, True]
    assert Figure("burst", 0.9, "x", 0.92, at_least=True).is_met is False


def test_row_names_target_value_and_verdict() -> None:
    assert report.row(FAST) == "| burst | >= 0.92 x | 0.95 x | met | ours 2 s |"
    assert report.row(SLOW) == "| restart | <= 1.5 s | 2.00 s | **missed** |  |"
    assert report.row(INFO) == "| exec |  | 1.20 x |  |  |"


def test_quantile_is_the_bound_of_the_bucket_that_reaches_it() -> None:
    bounds = [0.001, 0.01, 0.1]
    assert quantile(bounds, [99, 1, 0, 0], 0.99) == 0.001
    assert quantile(bounds, [98, 2, 0, 0], 0.99) == 0.01
    assert quantile(bounds, [0, 0, 0, 1], 0.99) == float("inf")
    assert quantile(bounds, [0, 0, 0, 0], 0.99) == 0.0


def test_spread_tells_median_and_quartiles_in_milliseconds() -> None:
    assert spread([0.1, 0.2, 0.3, 0.4, 0.5]) == "300 ms (150 to 450)"
    assert spread([0.1]) == "100 ms"


def test_run_of_some_figures_keeps_the_others() -> None:
    old = report.record("k", "1", {"load": "0"}, [FAST, SLOW])
    new = report.record("k", "2", {"load": "1"}, [Figure("restart", 1.0, "s", 1.5)])
    merged = report.merge(json.loads(json.dumps(old)), new)
    assert [(one["name"], one["value"]) for one in merged["figures"]] == [("burst", 0.95), ("restart", 1.0)]
    assert merged["version"] == "2"
    text = report.render({"k": merged}, "## Why\n")
    assert "## k (2)" in text
    assert "## Why" not in text
    assert report.render({"k": old}, "## Why\n").endswith("## Why\n")


@pytest.mark.asyncio
async def test_floor_is_asked_to_make_the_pod_that_the_agent_would_make(tmp_path: Path) -> None:
    root = tmp_path
    pod = await BarePods(root, "sha256:busybox").make(manifest("one"), attempts=2)
    box = pb.RunPodSandboxRequest.FromString(pod.sandbox).config
    assert (box.metadata.name, box.metadata.namespace) == ("one-n1", "bench")
    head = pb.CreateContainerRequest(pod_sandbox_id="box").SerializeToString()
    second = pb.CreateContainerRequest.FromString(head + pod.containers[1])
    assert (second.pod_sandbox_id, second.config.metadata.attempt) == ("box", 1)
    targets = [mount.container_path for mount in second.config.mounts]
    assert targets == ["/scratch", "/etc/hosts", "/dev/termination-log"]
    assert all(Path(mount.host_path).exists() for mount in second.config.mounts)
    assert second.sandbox_config == box


@pytest.mark.asyncio
async def test_hidden_pod_of_the_floor_is_none_to_an_agent_and_otherwise_the_same(tmp_path: Path) -> None:
    shown = await BarePods(tmp_path, "sha256:busybox").make(manifest("one"))
    hidden = await BarePods(tmp_path, "sha256:busybox", are_hidden=True).make(manifest("one"))
    boxes = [pb.RunPodSandboxRequest.FromString(pod.sandbox).config for pod in (shown, hidden)]
    assert [pod_identity(dict(box.labels)) is None for box in boxes] == [False, True]
    assert len(boxes[0].labels) == len(boxes[1].labels)
    head = pb.CreateContainerRequest(pod_sandbox_id="box").SerializeToString()
    request = pb.CreateContainerRequest.FromString(head + hidden.containers[0])
    assert pod_identity(dict(request.config.labels)) is None
    assert request.sandbox_config == boxes[1]
    for box in boxes:
        box.labels.clear()
    assert boxes[0] == boxes[1]


def test_rates_of_the_api_server_are_judged_against_what_was_promised() -> None:
    found = {name: float(least) for name, least in apiserver.TARGETS.items()}
    found |= {f"{name}: server CPU us": 500.0 for name in apiserver.TARGETS}
    found |= {name: most + 1 for name, most in apiserver.LATENCY.items()}
    found |= {"floor/s": 9000.0, "RSS at the start: MiB": 60.0, "RSS at the end: MiB": 90.0}
    made = apiserver_figures.figures(found)
    assert [one.is_met for one in made] == [True] * len(apiserver.TARGETS) + [False, False, True]
    assert report.row(made[0]).startswith("| API server: creates | >= 1800 /s | 1800.00 /s | met |")
    assert made[1].name == "API server: creates, 20 watchers"


def test_only_the_groups_that_were_asked_for_are_measured() -> None:
    assert chosen("cluster", None) == tuple(cluster.FIGURES)
    assert chosen("cluster", ["burst", "cluster-burst"]) == ("cluster-burst",)
    assert chosen("containerd-1.6", ["burst", "cluster-burst"]) == ("burst",)
