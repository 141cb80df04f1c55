"""The pod status: phases, container states, addresses, terminal rules."""

from __future__ import annotations

import timeit
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from kube.objects.core_v1 import Container, Pod, PodStatus
from kubelet.model import (
    ContainerMemory,
    LinuxUser,
    MustStop,
    Observed,
    ObservedContainer,
    ObservedSandbox,
    Phase,
    PodState,
    Stage,
    StopRequest,
    Waiting,
)
from kubelet.status import NodeFacts, StatusInputs, Verdict, inputs_from_state, pod_status

pytestmark = pytest.mark.pure

SECOND = 1_000_000_000
NOW = 1_700_000_000.7  # 2023-11-14T22:13:20Z
NODE = NodeFacts(ips=("10.0.0.5",))
SANDBOX = ObservedSandbox("s1", 0, ready=True, created_at=1, ips=("10.244.0.7",))


def pod(**spec: Any) -> Pod:
    spec.setdefault("containers", [{"name": "a", "image": "app:1"}])
    manifest = {"metadata": {"name": "web", "namespace": "shop", "uid": "u1"}, "spec": spec}
    return msgspec.convert(manifest, Pod)


def two(**spec: Any) -> Pod:
    return pod(containers=[{"name": "b", "image": "b:1"}, {"name": "a", "image": "a:1"}], **spec)


def running(name: str = "a", count: int = 0, **more: Any) -> ObservedContainer:
    fields: dict[str, Any] = {"image": f"{name}:1", "image_ref": f"{name}@sha256:1", **more}
    return ObservedContainer(
        f"{name}{count}", name, "s1", count, Phase.RUNNING, count + 1, started_at=100 * SECOND, **fields
    )


def exited(code: int = 0, name: str = "a", count: int = 0, **more: Any) -> ObservedContainer:
    more.setdefault("reason", "Completed" if code == 0 else "Error")
    return replace(running(name, count), phase=Phase.EXITED, exit_code=code, finished_at=160 * SECOND, **more)


def seen(*containers: ObservedContainer, sandbox: ObservedSandbox | None = SANDBOX) -> Observed:
    return Observed(1.0, (sandbox,) if sandbox else (), containers)


def status_of(the_pod: Pod, observed: Observed | None, **more: Any) -> dict[str, Any]:
    return pod_status(StatusInputs(pod=the_pod, now=NOW, observed=observed, node=NODE, **more))


def condition(status: dict[str, Any], kind: str) -> dict[str, Any]:
    return next(entry for entry in status["conditions"] if entry["type"] == kind)


# Phase


@pytest.mark.parametrize(
    ("policy", "containers", "phase"),
    [
        ("Always", (), "Pending"),
        ("Always", (running("a"),), "Pending"),
        ("Always", (running("a"), running("b")), "Running"),
        ("Always", (exited(0, "a"), running("b")), "Running"),
        ("Always", (exited(1, "a"), exited(1, "b")), "Running"),
        ("Always", (exited(0, "a"), exited(0, "b")), "Running"),
        ("OnFailure", (exited(0, "a"), exited(0, "b")), "Succeeded"),
        ("OnFailure", (exited(0, "a"), exited(3, "b")), "Running"),
        ("OnFailure", (exited(0, "a"), running("b")), "Running"),
        ("Never", (exited(0, "a"), exited(0, "b")), "Succeeded"),
        ("Never", (exited(0, "a"), exited(3, "b")), "Failed"),
        ("Never", (exited(3, "a"), running("b")), "Running"),
    ],
)
def test_phase_follows_containers_and_restart_policy(
    policy: str, containers: tuple[ObservedContainer, ...], phase: str
) -> None:
    assert status_of(two(restartPolicy=policy), seen(*containers))["phase"] == phase


INIT = {"name": "i", "image": "i:1"}
SIDECAR = {"name": "s", "image": "s:1", "restartPolicy": "Always"}


@pytest.mark.parametrize(
    ("policy", "init", "containers", "phase"),
    [
        ("Always", INIT, (), "Pending"),
        ("Always", INIT, (running("i"),), "Pending"),
        ("Always", INIT, (exited(1, "i"),), "Pending"),
        ("Never", INIT, (exited(1, "i"),), "Failed"),
        ("OnFailure", INIT, (exited(1, "i"),), "Pending"),
        ("Always", INIT, (exited(0, "i"), running("a")), "Running"),
        ("Always", SIDECAR, (running("s"),), "Pending"),
        ("Always", SIDECAR, (running("s"), running("a")), "Running"),
        ("Never", SIDECAR, (running("s"), exited(0, "a")), "Running"),
        ("Never", SIDECAR, (exited(143, "s"), exited(0, "a")), "Succeeded"),
        ("Never", SIDECAR, (exited(0, "s"), exited(1, "a")), "Failed"),
        ("Never", {**SIDECAR, "restartPolicy": "Never"}, (exited(1, "s"),), "Failed"),
    ],
)
def test_phase_with_init_containers_and_sidecars(
    policy: str, init: dict[str, str], containers: tuple[ObservedContainer, ...], phase: str
) -> None:
    the_pod = pod(restartPolicy=policy, initContainers=[init])
    assert status_of(the_pod, seen(*containers))["phase"] == phase


def test_restart_rule_of_a_container_decides_before_the_pods_policy() -> None:
    rule = {"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}
    container = {"name": "a", "image": "a:1", "restartPolicy": "Never", "restartPolicyRules": [rule]}
    the_pod = pod(restartPolicy="Never", containers=[container])
    assert status_of(the_pod, seen(exited(42)))["phase"] == "Running"
    assert status_of(the_pod, seen(exited(1)))["phase"] == "Failed"


# Container states


def test_running_container_is_described_as_the_runtime_knows_it() -> None:
    resources = {"requests": {"cpu": "100m"}, "limits": {"memory": "64Mi"}}
    mounts = [{"name": "d", "mountPath": "/d"}, {"name": "r", "mountPath": "/r", "readOnly": True}]
    container = {"name": "a", "image": "app:1", "resources": resources, "volumeMounts": mounts}
    status = status_of(pod(containers=[container]), seen(running("a", 2)))
    assert status["containerStatuses"] == [
        {
            "name": "a",
            "image": "a:1",
            "imageID": "a@sha256:1",
            "containerID": "containerd://a2",
            "restartCount": 2,
            "state": {"running": {"startedAt": "1970-01-01T00:01:40Z"}},
            "lastState": {},
            "started": True,
            "ready": True,
            "volumeMounts": [
                {"name": "d", "mountPath": "/d"},
                {"name": "r", "mountPath": "/r", "readOnly": True, "recursiveReadOnly": "Disabled"},
            ],
            "allocatedResources": {"cpu": "100m"},
            "resources": {"limits": {"memory": "64Mi"}, "requests": {"cpu": "100m"}},
        }
    ]


def test_container_shows_whom_it_runs_as_where_the_runtime_tells() -> None:
    known = status_of(pod(), seen(running(user=LinuxUser(1000, 3000, (3000, 4000)))))
    assert known["containerStatuses"][0]["user"] == {
        "linux": {"uid": 1000, "gid": 3000, "supplementalGroups": [3000, 4000]}
    }
    assert "user" not in status_of(pod(), seen(running()))["containerStatuses"][0]


def test_restarted_container_shows_the_exit_before() -> None:
    history = seen(running("a", 1), exited(3, "a", 0, message="boom"))
    [status] = status_of(pod(), history)["containerStatuses"]
    assert status["restartCount"] == 1
    assert status["lastState"] == {
        "terminated": {
            "exitCode": 3,
            "reason": "Error",
            "message": "boom",
            "startedAt": "1970-01-01T00:01:40Z",
            "finishedAt": "1970-01-01T00:02:40Z",
            "containerID": "containerd://a0",
        }
    }


def test_crashed_container_waits_with_its_exit_in_last_state() -> None:
    text = "back-off 10s restarting failed container=a pod=web_shop(u1)"
    memory = {"a": ContainerMemory(waiting=Waiting("CrashLoopBackOff", text))}
    status = status_of(pod(), seen(exited(1)), containers=memory)
    [container] = status["containerStatuses"]
    assert container["state"] == {"waiting": {"reason": "CrashLoopBackOff", "message": text}}
    assert container["lastState"]["terminated"]["exitCode"] == 1
    assert container["containerID"] == "containerd://a0"
    assert (container["ready"], container["started"]) == (False, False)
    assert status["phase"] == "Running"


@pytest.mark.parametrize("stage", [Stage.TERMINATING, Stage.TERMINATED])
def test_container_of_a_pod_that_stops_is_shown_as_ended_not_waiting(stage: Stage) -> None:
    memory = {"a": ContainerMemory(waiting=Waiting("CrashLoopBackOff"))}
    [status] = status_of(pod(), seen(exited(1)), containers=memory, stage=stage)["containerStatuses"]
    assert status["state"]["terminated"]["exitCode"] == 1


def test_completed_init_container_never_shows_as_waiting() -> None:
    memory = {"i": ContainerMemory(waiting=Waiting("ImagePullBackOff"))}
    the_pod = pod(restartPolicy="OnFailure", initContainers=[INIT])
    [status] = status_of(the_pod, seen(exited(0, "i")), containers=memory)["initContainerStatuses"]
    assert "terminated" in status["state"]
    assert status["ready"] is True


@pytest.mark.parametrize(
    ("spec", "reason"), [({}, "ContainerCreating"), ({"initContainers": [INIT]}, "PodInitializing")]
)
def test_container_not_made_yet_waits_for_its_turn(spec: dict[str, Any], reason: str) -> None:
    status = status_of(pod(**spec), seen())
    assert status["containerStatuses"][0]["state"] == {"waiting": {"reason": reason}}
    assert status["containerStatuses"][0]["image"] == "app:1"
    assert status["containerStatuses"][0]["imageID"] == ""
    assert "containerID" not in status["containerStatuses"][0]


def test_waiting_reason_of_the_worker_is_shown_for_a_container_never_made() -> None:
    memory = {"a": ContainerMemory(waiting=Waiting("ErrImagePull", "not found"))}
    [status] = status_of(pod(), seen(), containers=memory)["containerStatuses"]
    assert status["state"] == {"waiting": {"reason": "ErrImagePull", "message": "not found"}}


def test_stale_waiting_reason_does_not_hide_a_running_container() -> None:
    memory = {"a": ContainerMemory(waiting=Waiting("ErrImagePull"))}
    [status] = status_of(pod(), seen(running()), containers=memory)["containerStatuses"]
    assert "running" in status["state"]


def test_container_statuses_are_sorted_by_name_and_init_ones_by_spec() -> None:
    the_pod = two(initContainers=[{"name": "z", "image": "z:1"}, {"name": "y", "image": "y:1"}])
    status = status_of(the_pod, seen())
    assert [entry["name"] for entry in status["containerStatuses"]] == ["a", "b"]
    assert [entry["name"] for entry in status["initContainerStatuses"]] == ["z", "y"]


@pytest.mark.parametrize(
    ("probe", "memory", "started", "ready"),
    [
        ({}, ContainerMemory(), True, True),
        ({"readinessProbe": {}}, ContainerMemory(), True, False),
        ({"readinessProbe": {}}, ContainerMemory(ready_id="a0"), True, True),
        ({"readinessProbe": {}}, ContainerMemory(ready_id="older"), True, False),
        ({"startupProbe": {}}, ContainerMemory(), False, False),
        ({"startupProbe": {}}, ContainerMemory(started_id="a0"), True, True),
        ({"startupProbe": {}, "readinessProbe": {}}, ContainerMemory(started_id="a0"), True, False),
        ({"lifecycle": {"postStart": {}}}, ContainerMemory(), False, False),
        ({"lifecycle": {"postStart": {}}}, ContainerMemory(post_start_id="a0"), True, True),
        ({"lifecycle": {"preStop": {}}}, ContainerMemory(), True, True),
    ],
)
def test_started_and_ready_follow_the_probes_of_this_very_container(
    probe: dict[str, Any], memory: ContainerMemory, started: bool, ready: bool
) -> None:
    the_pod = pod(containers=[{"name": "a", "image": "a:1", **probe}])
    status = status_of(the_pod, seen(running()), containers={"a": memory})
    [container] = status["containerStatuses"]
    assert (container["started"], container["ready"]) == (started, ready)


# What cannot be seen any more


def test_exit_stays_known_when_the_dead_container_is_collected() -> None:
    memory = {"a": ContainerMemory(last_exit=exited(7, "a", 0))}
    [status] = status_of(pod(restartPolicy="Never"), seen(), containers=memory)["containerStatuses"]
    assert status["state"]["terminated"]["exitCode"] == 7
    [status] = status_of(pod(), seen(running("a", 1)), containers=memory)["containerStatuses"]
    assert status["lastState"]["terminated"]["exitCode"] == 7


def test_last_exit_remembered_is_older_than_what_runs_though_the_clock_was_set_back() -> None:
    late = replace(exited(7, "a", 0), created_at=900 * SECOND)
    memory = {"a": ContainerMemory(last_exit=late)}
    [status] = status_of(pod(), seen(running("a", 1)), containers=memory)["containerStatuses"]
    assert "running" in status["state"]
    assert status["lastState"]["terminated"]["exitCode"] == 7


def test_last_state_of_before_is_kept_when_only_the_newest_container_is_left() -> None:
    before = status_of(pod(), seen(running("a", 1), exited(3, "a", 0)))
    [status] = status_of(pod(), seen(running("a", 1)), previous=before)["containerStatuses"]
    assert status["lastState"]["terminated"]["exitCode"] == 3
    [status] = status_of(pod(), seen(running("a", 2)), previous=before)["containerStatuses"]
    assert status["lastState"]["terminated"]["exitCode"] == 3


def test_container_that_vanished_while_running_is_counted_as_lost() -> None:
    before = status_of(pod(), seen(running("a", 1)))
    status = status_of(pod(), seen(), previous=before)
    [container] = status["containerStatuses"]
    assert container["restartCount"] == 2
    assert container["lastState"]["terminated"] == {
        "exitCode": 137,
        "reason": "ContainerStatusUnknown",
        "message": "The container could not be located when the pod was deleted."
        "  The container used to be Running",
    }
    assert status["phase"] == "Running"


def test_lost_container_of_a_deleted_pod_does_not_count_as_restart() -> None:
    the_pod = msgspec.structs.replace(
        pod(), metadata=msgspec.structs.replace(pod().metadata, deletion_timestamp="2023-11-14T22:00:00Z")
    )
    before = status_of(pod(), seen(running("a", 1)))
    [container] = status_of(the_pod, seen(), previous=before)["containerStatuses"]
    assert container["restartCount"] == 1


def test_container_in_unknown_state_that_ran_is_ended_with_137_and_stays_so() -> None:
    unknown = replace(running(), phase=Phase.UNKNOWN)
    before = status_of(pod(), seen(running()))
    first = status_of(pod(), seen(unknown), previous=before)
    [container] = first["containerStatuses"]
    assert container["state"]["terminated"]["exitCode"] == 137
    assert container["restartCount"] == 1
    again = status_of(pod(), seen(unknown), previous=first)
    assert again["containerStatuses"] == first["containerStatuses"]


def test_lost_init_container_counts_as_done_once_a_regular_one_exists() -> None:
    status = status_of(pod(initContainers=[INIT]), seen(running("a")))
    [init] = status["initContainerStatuses"]
    assert init["state"] == {
        "terminated": {
            "exitCode": 0,
            "reason": "Completed",
            "message": "Unable to get init container status from container runtime and pod has been "
            "initialized, treat it as exited normally",
        }
    }
    assert init["ready"] is True
    assert status["phase"] == "Running"


def test_lost_sidecar_is_not_taken_for_done() -> None:
    [init] = status_of(pod(initContainers=[SIDECAR]), seen(running("a")))["initContainerStatuses"]
    assert "waiting" in init["state"]


def test_before_the_runtime_was_asked_the_status_stays_as_it_was() -> None:
    before = status_of(pod(), seen(running("a", 4)), start_time=NOW - 60)
    after = status_of(pod(), None, previous=before)
    assert after == before


def test_restart_count_never_goes_back() -> None:
    before = status_of(pod(), seen(running("a", 5)))
    [container] = status_of(pod(), seen(running("a", 0)), previous=before)["containerStatuses"]
    assert container["restartCount"] == 5


# The end of a pod


def test_terminal_phase_is_withheld_while_a_container_runs() -> None:
    before = status_of(two(), seen(running("a"), running("b")))
    verdict = Verdict("Failed", "DeadlineExceeded", "too long")
    stopping = status_of(
        two(), seen(exited(0, "a"), running("b")), previous=before, verdict=verdict, stage=Stage.TERMINATING
    )
    assert (stopping["phase"], "reason" in stopping) == ("Running", False)
    assert condition(stopping, "Ready")["status"] == "False"
    assert condition(stopping, "Ready")["reason"] == "PodFailed"
    ended = status_of(
        two(),
        seen(exited(0, "a"), exited(143, "b")),
        previous=stopping,
        verdict=verdict,
        stage=Stage.TERMINATING,
    )
    assert (ended["phase"], ended["reason"], ended["message"]) == ("Failed", "DeadlineExceeded", "too long")


@pytest.mark.parametrize(("codes", "phase"), [((0, 0), "Succeeded"), ((0, 143), "Failed")])
def test_deleted_pod_gets_its_terminal_phase_from_exit_codes(codes: tuple[int, int], phase: str) -> None:
    observed = seen(exited(codes[0], "a"), exited(codes[1], "b"))
    assert status_of(two(), observed, stage=Stage.TERMINATING)["phase"] == phase


def test_pod_deleted_before_it_started_ends_failed_with_unknown_containers() -> None:
    memory = {"a": ContainerMemory(waiting=Waiting("ImagePullBackOff"))}
    status = status_of(pod(), seen(sandbox=None), containers=memory, stage=Stage.TERMINATED)
    assert status["phase"] == "Failed"
    assert status["containerStatuses"][0]["state"]["terminated"] == {
        "exitCode": 137,
        "reason": "ContainerStatusUnknown",
        "message": "The container could not be located when the pod was terminated",
    }


def test_pod_that_never_got_past_init_leaves_its_regular_containers_waiting() -> None:
    the_pod = pod(initContainers=[INIT, {"name": "j", "image": "j:1"}])
    status = status_of(the_pod, seen(exited(1, "i")), stage=Stage.TERMINATED)
    assert status["phase"] == "Failed"
    assert "waiting" in status["containerStatuses"][0]["state"]
    assert "waiting" in status["initContainerStatuses"][1]["state"]
    assert status["initContainerStatuses"][0]["state"]["terminated"]["exitCode"] == 1


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_terminal_phase_reason_and_container_states_are_never_taken_back(phase: str) -> None:
    the_pod = pod(restartPolicy="Always")
    before = {**status_of(the_pod, seen(exited(0))), "phase": phase, "reason": "Evicted", "message": "disk"}
    after = status_of(the_pod, seen(running("a", 1)), previous=before)
    assert (after["phase"], after["reason"], after["message"]) == (phase, "Evicted", "disk")
    assert after["containerStatuses"][0]["state"] == before["containerStatuses"][0]["state"]
    assert condition(after, "Ready")["status"] == "False"


def test_terminal_phase_read_from_the_api_holds_after_a_restart_of_the_agent() -> None:
    the_pod = msgspec.structs.replace(pod(), status=PodStatus(phase="Failed", reason="Evicted"))
    status = status_of(the_pod, seen())
    assert (status["phase"], status["reason"]) == ("Failed", "Evicted")


def test_container_ended_for_good_does_not_run_again_in_the_status() -> None:
    the_pod = two(restartPolicy="Never")
    before = status_of(the_pod, seen(exited(0, "a"), running("b")))
    after = status_of(the_pod, seen(running("a", 1), running("b")), previous=before)
    assert after["containerStatuses"][0] == before["containerStatuses"][0]


def test_rejected_pod_has_reason_and_message_and_no_containers() -> None:
    state = PodState("u1", pod(), rejected=Waiting("OutOfcpu", "Pod was rejected: no cpu"))
    inputs = inputs_from_state(state, {}, NODE, NOW)
    assert inputs is not None
    status = pod_status(inputs)
    assert (status["phase"], status["reason"]) == ("Failed", "OutOfcpu")
    assert status["message"] == "Pod was rejected: no cpu"
    assert "containerStatuses" not in status


def test_inputs_take_the_phase_a_stop_request_decided() -> None:
    stop = StopRequest(since=1.0, deadline=2.0, reason="Evicted", message="disk", phase="Failed")
    state = PodState("u1", pod(), stage=Stage.TERMINATED, observed=seen(exited(137)), stop=stop)
    inputs = inputs_from_state(state, {}, NODE, NOW)
    assert inputs is not None
    assert inputs.verdict == Verdict("Failed", "Evicted", "disk")
    assert pod_status(inputs)["reason"] == "Evicted"
    assert inputs_from_state(PodState("u2", None), {}, NODE, NOW) is None


# Identity


def test_addresses_class_and_start_time_are_reported_and_kept_after_the_end() -> None:
    before = status_of(pod(), seen(running()), start_time=NOW)
    assert (before["podIP"], before["podIPs"]) == ("10.244.0.7", [{"ip": "10.244.0.7"}])
    assert (before["hostIP"], before["hostIPs"]) == ("10.0.0.5", [{"ip": "10.0.0.5"}])
    assert (before["qosClass"], before["startTime"]) == ("BestEffort", "2023-11-14T22:13:20Z")
    after = status_of(pod(), seen(sandbox=None), previous=before, start_time=NOW + 60, stage=Stage.TERMINATED)
    assert (after["podIP"], after["startTime"]) == (before["podIP"], before["startTime"])


def test_one_address_per_family_comes_in_the_nodes_order() -> None:
    sandbox = replace(SANDBOX, ips=("10.1.1.1", "fd00::1", "10.1.1.2"))
    v4 = status_of(pod(), seen(sandbox=sandbox))
    assert [entry["ip"] for entry in v4["podIPs"]] == ["10.1.1.1", "fd00::1"]
    inputs = StatusInputs(
        pod=pod(), now=NOW, observed=seen(sandbox=sandbox), node=NodeFacts(("fd00::5", "10.0.0.5"))
    )
    assert [entry["ip"] for entry in pod_status(inputs)["podIPs"]] == ["fd00::1", "10.1.1.1"]


def test_host_network_pod_has_the_nodes_address() -> None:
    status = status_of(pod(hostNetwork=True), seen(sandbox=replace(SANDBOX, ips=(), host_network=True)))
    assert status["podIP"] == "10.0.0.5"


def test_status_is_cheap_enough_to_be_made_after_every_step() -> None:
    observed = seen(running("a"), running("b"), exited(1, "a", 0))
    previous = status_of(two(), observed, start_time=NOW)
    inputs = StatusInputs(pod=two(), now=NOW, observed=observed, node=NODE, previous=previous)
    best = min(timeit.repeat(lambda: pod_status(inputs), number=200, repeat=5)) / 200
    assert best < 100e-6


def test_status_decodes_as_the_typed_view() -> None:
    status = status_of(two(initContainers=[INIT]), seen(exited(0, "i"), running("a")), start_time=NOW)
    view = msgspec.convert(status, PodStatus)
    assert view.container_statuses[0].container_id == "containerd://a0"
    assert isinstance(two().spec.containers[0], Container)


def test_container_that_was_ended_to_run_again_ends_no_pod() -> None:
    the_pod = pod(restartPolicy="Never")
    order = MustStop("a0", "Container a definition changed, will be restarted", brings_back=True)
    memory = {"a": ContainerMemory(must_stop=order)}
    before = status_of(the_pod, seen(exited(0, "a", 0)), containers=memory)
    assert before["phase"] == "Running"
    [status] = before["containerStatuses"]
    assert "waiting" in status["state"] and status["lastState"]["terminated"]["exitCode"] == 0
    assert status_of(the_pod, seen(exited(0, "a", 0)))["phase"] == "Succeeded"
    assert (
        status_of(the_pod, seen(), containers={"a": replace(memory["a"], last_exit=exited(0, "a", 0))})[
            "phase"
        ]
        == "Running"
    )
    after = status_of(the_pod, seen(running("a", 1), exited(0, "a", 0)), previous=before)
    [status] = after["containerStatuses"]
    assert after["phase"] == "Running" and "running" in status["state"] and status["restartCount"] == 1
