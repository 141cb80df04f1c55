"""The pod table: STATUS and READY as kubectl shows them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from pykubelet.instance.podrows import pod_row, pod_status
from pykubelet.instance.waiting import summary

pytestmark = pytest.mark.pure

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)
EARLIER = "2026-01-01T11:59:30Z"


def one(name: str, state: dict[str, Any], *, ready: bool = False, **more: Any) -> dict[str, Any]:
    return {"name": name, "state": state, "ready": ready, "restartCount": 0, "lastState": {}} | more


def pod(
    phase: str = "Running",
    containers: list[dict[str, Any]] | None = None,
    inits: list[dict[str, Any]] | None = None,
    *,
    sidecars: tuple[str, ...] = (),
    conditions: dict[str, str] | None = None,
    **meta: Any,
) -> dict[str, Any]:
    containers, inits = containers or [], inits or []
    return {
        "metadata": {"name": "web", "namespace": "default"} | meta,
        "spec": {
            "containers": [{"name": each["name"]} for each in containers],
            "initContainers": [
                {"name": each["name"]} | ({"restartPolicy": "Always"} if each["name"] in sidecars else {})
                for each in inits
            ],
        },
        "status": {
            "phase": phase,
            "startTime": EARLIER,
            "podIP": "10.0.0.9",
            "conditions": [{"type": kind, "status": value} for kind, value in (conditions or {}).items()],
            "containerStatuses": containers,
            "initContainerStatuses": inits,
        },
    }


RUNNING: dict[str, Any] = {"running": {"startedAt": EARLIER}}
DONE: dict[str, Any] = {"terminated": {"exitCode": 0, "reason": "Completed"}}


def test_running_pod_with_a_sidecar_counts_both() -> None:
    shown = pod(
        containers=[one("main", RUNNING, ready=True)],
        inits=[one("prepare", DONE), one("clock", RUNNING, ready=True, started=True)],
        sidecars=("clock",),
        conditions={"Ready": "True", "Initialized": "True"},
    )
    row = pod_row(shown, NOW)
    assert row.cells == ("web", "2/2", "Running", "0", "30s", "10.0.0.9")
    assert row.is_ready
    assert row.is_settled


def test_crash_loop_shows_restarts_and_when_the_last_was() -> None:
    last = {"terminated": {"exitCode": 3, "finishedAt": "2026-01-01T11:59:50Z"}}
    waits = {"waiting": {"reason": "CrashLoopBackOff"}}
    crashed = one("main", waits, restartCount=4, lastState=last)
    row = pod_row(pod(containers=[crashed]), NOW)
    assert (row.status, row.restarts, row.ready) == ("CrashLoopBackOff", "4 (10s ago)", "0/1")
    assert row.is_settled
    assert not row.is_ready


@pytest.mark.parametrize(
    ("inits", "status"),
    [
        ([one("a", DONE), one("b", RUNNING)], "Init:1/2"),
        ([one("a", {"waiting": {"reason": "PodInitializing"}}), one("b", {})], "Init:0/2"),
        ([one("a", {"waiting": {"reason": "ImagePullBackOff"}})], "Init:ImagePullBackOff"),
        ([one("a", {"terminated": {"exitCode": 1, "reason": "Error"}})], "Init:Error"),
        ([one("a", {"terminated": {"exitCode": 1}})], "Init:ExitCode:1"),
        ([one("a", {"terminated": {"exitCode": 137, "signal": 9}})], "Init:Signal:9"),
    ],
)
def test_init_containers_speak_while_they_are_not_done(inits: list[dict[str, Any]], status: str) -> None:
    waiting = one("main", {"waiting": {"reason": "PodInitializing"}})
    assert pod_status(pod("Pending", [waiting], inits, conditions={"Initialized": "False"})) == status


def test_ended_beside_running_is_not_ready_until_the_pod_is() -> None:
    both = [one("a", DONE), one("b", RUNNING, ready=True)]
    assert pod_status(pod(containers=both)) == "NotReady"
    assert pod_status(pod(containers=both, conditions={"Ready": "True"})) == "Running"


def test_a_reason_of_the_pod_itself_and_deletion_come_through() -> None:
    rejected = pod("Failed")
    rejected["status"]["reason"] = "OutOfcpu"
    assert pod_status(rejected) == "OutOfcpu"
    assert pod_status(pod(deletionTimestamp=EARLIER)) == "Terminating"


def test_pod_of_which_nothing_is_known_is_pending() -> None:
    row = pod_row({"metadata": {"name": "a", "namespace": "b"}, "spec": {"containers": [{}]}}, NOW)
    assert row.cells == ("b/a", "0/1", "Pending", "0", "<unknown>", "<none>")
    assert not row.is_settled


def test_summary_counts_ready_pods_and_manifests() -> None:
    ready = pod_row(pod(conditions={"Ready": "True"}), NOW)
    assert summary([ready, pod_row(pod(), NOW)], 3) == "pods: 1 of 2 ready (from 3 manifests)"
