"""Our status laid over the API's: what is written, what stays, what is never taken back, what is urgent."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from kube.objects.core_v1 import Pod, PodCondition, PodStatus
from kube.objects.meta_v1 import ObjectMeta
from kube.patch import strategic
from kubelet.status.patch import (
    COMPANY_SECONDS,
    QUIET_SECONDS,
    foreign_conditions,
    may_delete,
    merged_status,
    patience_seconds,
    status_patch,
)

pytestmark = pytest.mark.pure

RUNS = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
ENDED = {"terminated": {"exitCode": 0, "reason": "Completed"}}


def condition(kind: str, status: str = "True", generation: int = 1, **more: Any) -> dict[str, Any]:
    return {
        "type": kind, "status": status, "lastTransitionTime": "2026-01-01T00:00:00Z",
        "observedGeneration": generation, **more,
    }  # fmt: skip


def container(state: dict[str, Any], name: str = "app", **more: Any) -> dict[str, Any]:
    return {
        "name": name, "image": "busybox", "imageID": "", "restartCount": 0, "ready": "running" in state,
        "state": state, "lastState": {}, **more,
    }  # fmt: skip


def status(phase: str = "Running", *conditions: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"phase": phase, "conditions": list(conditions), **fields}


def written(theirs: dict[str, Any], ours: dict[str, Any]) -> dict[str, Any]:
    """What the API has after our patch, by the server's own rules."""
    patch = status_patch("uid-1", theirs, ours)
    assert patch is not None
    return strategic.apply(theirs, patch["status"], "core_v1.PodStatus")


def test_same_status_is_never_written_however_it_is_spelled() -> None:
    ours = status("Running", condition("Ready", lastProbeTime=None), containerStatuses=[container(RUNS)])
    theirs = status("Running", condition("Ready"), containerStatuses=[container(RUNS)], podIPs=[])
    assert status_patch("uid-1", theirs, ours) is None


def test_patch_names_the_uid_and_only_what_differs() -> None:
    ours = status("Running", condition("Ready"), podIP="10.0.0.5", podIPs=[{"ip": "10.0.0.5"}])
    theirs = status("Running", condition("Ready"))
    patch = status_patch("uid-1", theirs, ours)
    assert patch is not None
    assert patch["metadata"] == {"uid": "uid-1"}
    assert {key for key in patch["status"] if not key.startswith("$")} == {"podIP", "podIPs"}


def test_conditions_and_fields_of_others_survive() -> None:
    theirs = status(
        "Pending", condition("example.com/gate", "False"), condition("PodScheduled"),
        nominatedNodeName="node-7", resourceClaimStatuses=[{"name": "gpu"}],
    )  # fmt: skip
    ours = status("Running", condition("Ready"), condition("example.com/gate", "True"))
    after = written(theirs, ours)
    kept = {one["type"]: one["status"] for one in after["conditions"]}
    assert kept["example.com/gate"] == "False", "ours is an older copy of somebody else's condition"
    assert kept["Ready"] == "True"
    assert after["nominatedNodeName"] == "node-7" and after["resourceClaimStatuses"] == [{"name": "gpu"}]


def test_owned_condition_that_is_over_is_taken_away() -> None:
    theirs = status("Running", condition("Ready"), condition("PodResizePending"))
    after = written(theirs, status("Running", condition("Ready")))
    assert [one["type"] for one in after["conditions"]] == ["Ready"]


def test_reason_that_is_over_is_taken_away_and_addresses_are_not() -> None:
    theirs = status("Running", reason="Odd", message="m", podIP="10.0.0.5", podIPs=[{"ip": "10.0.0.5"}])
    after = written(theirs, status("Running", hostIP="192.0.2.1"))
    assert "reason" not in after and "message" not in after
    assert after["podIP"] == "10.0.0.5" and after["hostIP"] == "192.0.2.1"


def test_address_that_changed_replaces_the_old_one() -> None:
    theirs = status("Running", podIP="10.0.0.5", podIPs=[{"ip": "10.0.0.5"}])
    after = written(theirs, status("Running", podIP="10.0.0.9", podIPs=[{"ip": "10.0.0.9"}]))
    assert after["podIPs"] == [{"ip": "10.0.0.9"}]


@pytest.mark.parametrize("ours", ["Running", "Pending", "Succeeded"])
def test_terminal_phase_of_the_api_stays(ours: str) -> None:
    theirs = status("Failed", reason="Evicted", message="The node was low on resource: memory. ")
    merged = merged_status(theirs, status(ours, reason="Other"))
    assert (merged["phase"], merged["reason"]) == ("Failed", "Evicted")
    assert merged["message"].startswith("The node was low")


def test_generations_and_start_time_never_go_back() -> None:
    theirs = status(
        "Running", condition("Ready", generation=4), observedGeneration=4, startTime="2026-01-01T00:00:00Z"
    )
    ours = status(
        "Running", condition("Ready", generation=3), observedGeneration=3, startTime="2026-01-02T00:00:00Z"
    )
    assert status_patch("uid-1", theirs, ours) is None


def test_disruption_is_told_once_nothing_runs() -> None:
    told = condition("DisruptionTarget", reason="TerminationByKubelet")
    running = status("Failed", told, containerStatuses=[container(RUNS)])
    ended = status("Failed", told, containerStatuses=[container(ENDED)])
    assert "conditions" not in merged_status({}, running)
    assert merged_status({}, ended)["conditions"] == [told]


def test_ready_and_end_go_out_at_once_and_what_leads_there_waits() -> None:
    waits = status("Pending", condition("Ready", "False"), containerStatuses=[container({"waiting": {}})])
    with_ip = {**waits, "podIP": "10.0.0.5", "conditions": [*waits["conditions"], condition("Initialized")]}
    runs = status("Running", condition("Ready", "False"), containerStatuses=[container(RUNS)])
    ready = {**runs, "conditions": [condition("Ready")]}
    over = status("Succeeded", condition("Ready", "False"), containerStatuses=[container(ENDED)])
    steps = [
        patience_seconds(*pair, is_leaving=False)
        for pair in (
            ({}, waits),
            (waits, with_ip),
            (with_ip, runs),
            (runs, ready),
            (ready, runs),
            (runs, over),
        )
    ]
    assert steps == [COMPANY_SECONDS, QUIET_SECONDS, COMPANY_SECONDS, 0.0, 0.0, 0.0]


def test_pod_on_its_way_out_waits_for_its_release() -> None:
    ready = status("Running", condition("Ready"), containerStatuses=[container(RUNS)])
    ended = status("Running", condition("Ready", "False"), containerStatuses=[container(ENDED)])
    assert patience_seconds(ready, ended, is_leaving=True) == COMPANY_SECONDS
    assert patience_seconds(ended, {**ended, "phase": "Failed"}, is_leaving=True) == COMPANY_SECONDS


def test_new_reason_of_a_waiting_container_is_seen_soon() -> None:
    creating = status("Pending", containerStatuses=[container({"waiting": {"reason": "ContainerCreating"}})])
    failing = status("Pending", containerStatuses=[container({"waiting": {"reason": "ErrImagePull"}})])
    assert patience_seconds(creating, failing, is_leaving=False) == COMPANY_SECONDS


def test_object_may_go_only_after_the_api_took_its_end() -> None:
    pod = Pod(metadata=ObjectMeta(deletion_timestamp="2026-01-01T00:00:00Z"))
    assert may_delete(pod, {"phase": "Failed"}) and may_delete(pod, {"phase": "Succeeded"})
    assert not may_delete(pod, {"phase": "Running"})
    assert not may_delete(Pod(), {"phase": "Failed"})


def test_foreign_conditions_are_those_that_the_agent_does_not_own() -> None:
    gate = PodCondition(type="example.com/gate", status="True")
    pod = Pod(status=PodStatus(conditions=(PodCondition(type="Ready", status="True"), gate)))
    assert foreign_conditions(pod) == (gate,)
    assert msgspec.to_builtins(gate)["type"] == "example.com/gate"
