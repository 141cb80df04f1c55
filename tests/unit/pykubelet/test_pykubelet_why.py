"""The account of a pod, from the agent's document to sentences."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pykubelet.errors import CommandError
from pykubelet.instance.manifests import Manifests, read_manifests_in
from pykubelet.instance.running import find_pod
from pykubelet.instance.why import next_try, not_known, problems_of, tell, told_by_api, verdict

pytestmark = pytest.mark.pure

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)


def crashing() -> dict[str, Any]:
    waiting = {"reason": "CrashLoopBackOff", "message": "back-off 40s restarting failed container"}
    ended = {"exitCode": 3, "reason": "Error", "finishedAt": "2026-01-01T11:59:48Z", "message": "no luck\n"}
    return {
        "uid": "u1",
        "namespace": "default",
        "name": "crasher-n",
        "wanted": True,
        "stage": "SYNCING",
        "phase": "Running",
        "origin": "/m/crasher.yaml",
        "status": {
            "phase": "Running",
            "conditions": [
                {"type": "Ready", "status": "False", "reason": "ContainersNotReady", "message": "unready"},
                {"type": "Initialized", "status": "True"},
            ],
            "containerStatuses": [
                {
                    "name": "main",
                    "ready": False,
                    "restartCount": 2,
                    "state": {"waiting": waiting},
                    "lastState": {"terminated": ended},
                }
            ],
        },
        "state": {
            "inFlight": [{"kind": "EnsureImage", "target": "main"}],
            "retries": [],
            "networkError": "",
            "containers": {
                "main": {
                    "waiting": waiting,
                    "backoff": {"delay_seconds": 40.0, "updated_at": 0.0},
                    "last_exit": {"finished_at": int((NOW.timestamp() - 12) * 1e9)},
                }
            },
        },
        "probes": [
            {
                "key": ["u1", "main", "liveness"],
                "run": 2,
                "is_held": False,
                "last": {"verdict": "failure", "message": "refused"},
            }
        ],
        "events": [
            {
                "type": "Warning",
                "reason": "BackOff",
                "message": "Back-off restarting",
                "count": 3,
                "lastTimestamp": "2026-01-01T11:59:58+00:00",
            }
        ],
        "story": [
            {"at": 1767268788.0, "event": "Woke", "actions": []},
            {"at": 1767268788.0, "event": "Woke", "actions": ["EnsureImage(container=main): it is needed"]},
            {"at": 1767268788.5, "event": "done: EnsureImage(container=main): it is needed", "actions": []},
            {"at": 1767268789.0, "event": "done: Look: the runtime reported a change", "actions": []},
        ],
    }


def test_account_of_a_crash_loop_says_what_when_and_what_next() -> None:
    text = "\n".join(tell(crashing(), NOW))
    assert "default/crasher-n (u1)\nfrom /m/crasher.yaml\n" in text
    assert "main: waits, CrashLoopBackOff: back-off 40s restarting failed container; next try in 28s" in text
    assert "(not ready, restarted 2 times)" in text
    assert 'before that: Error, exit code 3, 12s ago, saying "no luck"' in text
    assert "Ready (ContainersNotReady: unready)" in text
    assert "Initialized" not in text
    assert "EnsureImage main" in text
    assert 'liveness of main: failure, 2 in a row ("refused")' in text
    assert "2s ago  Warning BackOff: Back-off restarting (x3)" in text


def test_story_leaves_out_looks_and_repeated_reasons() -> None:
    lines = tell(crashing(), NOW)
    story = lines[lines.index("Story (newest last):") + 1 :]
    assert [line.strip() for line in story] == [
        "11:59:48.000  Woke",
        "-> EnsureImage(container=main): it is needed",
        "11:59:48.500  done: EnsureImage(container=main)",
    ]


def test_verdict_of_a_pod_that_goes_that_runs_that_was_refused() -> None:
    going = crashing() | {"wanted": False}
    assert "is being removed (stage SYNCING)" in verdict(going, NOW)
    ready = {"name": "a", "ready": True, "state": {"running": {}}}
    assert verdict({"status": {"containerStatuses": [ready]}}, NOW) == "runs and is ready"
    refused = {"status": {"reason": "OutOfcpu", "message": "node is full"}}
    assert verdict(refused, NOW) == "OutOfcpu: node is full"
    assert verdict({"status": {}}, NOW) == "not started yet"


def test_next_try_is_told_only_in_crash_back_off() -> None:
    told = crashing()
    told["state"]["containers"]["main"]["waiting"] = {"reason": "ImagePullBackOff"}
    assert next_try(told, "main", NOW) == ""
    assert next_try(told, "other", NOW) == ""


PODS = [
    {"uid": "aa11", "namespace": "default", "name": "web-n1"},
    {"uid": "ab22", "namespace": "kube-system", "name": "dns"},
    {"uid": "ac33", "namespace": "default", "name": "dns"},
]


def test_pod_that_no_node_has_yet_is_told_from_the_api() -> None:
    message = "0/1 nodes are available: 1 Insufficient cpu."
    unscheduled = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    pod = {
        "metadata": {"namespace": "shop", "name": "big", "uid": "u9"},
        "spec": {},
        "status": {"phase": "Pending", "conditions": [unscheduled]},
    }
    event = {"type": "Warning", "reason": "FailedScheduling", "message": message, "lastTimestamp": None}
    lines = tell(told_by_api(pod, [event]), NOW)
    assert lines[1] == "from the API, for no node yet"
    assert lines[3] == f"waits for a node: {message} (phase Pending)"
    assert any("FailedScheduling" in line for line in lines)
    placed = told_by_api({**pod, "spec": {"nodeName": "a"}, "status": {}}, [])
    assert tell(placed, NOW)[1] == "from the API, for node a"


def test_pod_is_found_by_name_full_name_and_uid() -> None:
    for reference, uid in (("web", "aa11"), ("default/dns", "ac33"), ("ab2", "ab22"), ("web-n1", "aa11")):
        found = find_pod(PODS, reference, "n1")
        assert found is not None, reference
        assert found["uid"] == uid
    assert find_pod(PODS, "none", "n1") is None
    with pytest.raises(CommandError, match="default/dns, kube-system/dns"):
        find_pod(PODS, "dns", "n1")


GOOD = """
apiVersion: v1
kind: Pod
metadata: {name: web}
spec: {containers: [{name: a, image: busybox}]}
"""


def test_directory_is_read_as_the_agent_reads_it(tmp_path: Path) -> None:
    (tmp_path / "web.yaml").write_text(GOOD)
    (tmp_path / "bad.yaml").write_text(GOOD.replace("image", "imag"))
    (tmp_path / "bad.yaml~").write_text("an editor's copy")
    (tmp_path / ".hidden").write_text("not looked at")
    read = read_manifests_in(str(tmp_path), "n1")
    assert read.names == {"default/web-n1"}
    assert list(read.problems) == [tmp_path / "bad.yaml"]
    text = "\n".join(read.problems[tmp_path / "bad.yaml"])
    assert f"{tmp_path}/bad.yaml:5: " in text
    assert 'unknown field "spec.containers[0].imag"' in text
    assert read.count == 2
    assert read_manifests_in(str(tmp_path / "none"), "n1").count == 0


def test_refused_manifest_is_told_with_the_pod_or_in_its_place(tmp_path: Path) -> None:
    path = tmp_path / "crasher.yaml"
    manifests = Manifests({}, {path: (f"{path}:7: unknown field",)})
    problems = problems_of(crashing(), manifests)
    assert problems == (f"{path}:7: unknown field",)
    lines = tell(crashing(), NOW, problems)
    assert f"  {path}:7: unknown field" in lines
    assert f"refused: {path}:7" in not_known("crasher", PODS, manifests)
    assert "it has dns, dns, web-n1" in not_known("other", PODS, manifests)
