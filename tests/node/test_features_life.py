"""How pods live and end under the real agent: restarts, phases, order, probes, deadlines, messages.

All pods start together; each test follows one of them to the state a Kubernetes user expects.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.node.agent import NODE_NAME, AgentProcess
from tests.node.scene import (
    FOREVER,
    IMAGE,
    Json,
    agent_on,
    box,
    container_status,
    events_of,
    log_dir,
    output,
    pod,
    state_of,
    status_of,
    wait_event,
    wait_output,
    wait_phase,
    wait_waiting,
)
from tests.runtimes import PrivateContainerd
from tests.runtimes.fixtures import Workshop

pytestmark = pytest.mark.node

FAST = {"periodSeconds": 1, "failureThreshold": 1}
# busybox's shell waits for a child only when it is told to; a stopped shell writes down that it was.
NOTED_END = "trap 'echo sidecar-down >> /s/order; exit 0' TERM; while true; do sleep 0.1 & wait $!; done"


def shell(script: str, **fields: object) -> Json:
    """A probe or a hook that runs a script."""
    return {"exec": {"command": ["sh", "-c", script]}, **fields}


def ending_pods() -> list[Json]:
    twice = box(script="test -f /s/seen && exit 0; touch /s/seen; exit 1")
    twice["volumeMounts"] = [{"name": "s", "mountPath": "/s"}]
    scratch = [{"name": "s", "emptyDir": {}}]
    return [
        pod("succeeds", box(script="echo done"), restartPolicy="Never"),
        pod("fails", box(script="exit 3"), box("fine", "exit 0"), restartPolicy="Never"),
        pod("fails-once", twice, restartPolicy="OnFailure", volumes=scratch),
        pod("crashes", box(script="echo said; exit 4"), restartPolicy="Always"),
        pod("no-command", box(command=["/nowhere"]), restartPolicy="Never"),
        pod(
            "init-fails",
            box(),
            initContainers=[box("first", "exit 7"), box("second", "exit 0")],
            restartPolicy="Never",
        ),
        pod("deadline", activeDeadlineSeconds=2),
    ]


def ordered_pod(root: Path) -> Json:
    """A sidecar that takes its time to start, an init container after it, then the main one."""
    mounts = [{"name": "s", "mountPath": "/s"}]
    sidecar = box("sidecar", f"sleep 0.4; echo sidecar-up >> /s/order; touch /s/up; {NOTED_END}")
    sidecar |= {"restartPolicy": "Always", "startupProbe": shell("test -f /s/up", **FAST)}
    sidecar["startupProbe"]["failureThreshold"] = 30
    boxes = [
        box("init-1", "echo init-1 >> /s/order"),
        sidecar,
        box("init-2", "echo init-2 >> /s/order"),
    ]
    main = box("main", "echo main >> /s/order; sleep 0.3")
    for one in (*boxes, main):
        one["volumeMounts"] = mounts
    volumes = [{"name": "s", "hostPath": {"path": str(root / "order"), "type": "DirectoryOrCreate"}}]
    return pod("ordered", main, initContainers=boxes, restartPolicy="Never", volumes=volumes)


def probed_pods() -> list[Json]:
    script = f"touch /tmp/ok; (sleep 2; rm /tmp/ok) & {FOREVER}"
    web = f"mkdir /tmp/www; echo hello > /tmp/www/index.html; httpd -p 8080 -h /tmp/www; {FOREVER}"
    get = {"httpGet": {"path": "/index.html", "port": "http"}, **FAST}
    return [
        pod("unhealthy", box(script=script, livenessProbe=shell("test -f /tmp/ok", **FAST))),
        pod(
            "slow-start",
            box(
                script=f"(sleep 2; touch /tmp/up) & {FOREVER}",
                startupProbe=shell("test -f /tmp/up", periodSeconds=1, failureThreshold=30),
                livenessProbe=shell("test -f /tmp/up", **FAST),
            ),
        ),
        pod("never-starts", box(startupProbe=shell("false", periodSeconds=1, failureThreshold=2))),
        pod(
            "web",
            box(
                script=web,
                ports=[{"name": "http", "containerPort": 8080}],
                readinessProbe=get,
                livenessProbe={"tcpSocket": {"port": 8080}, "periodSeconds": 1, "initialDelaySeconds": 1},
            ),
        ),
        pod("closed-port", box(readinessProbe={"tcpSocket": {"port": 9}, **FAST})),
    ]


def message_pods() -> list[Json]:
    lines = "for i in 1 2 3; do echo line $i; done; exit 1"
    fallback = {"terminationMessagePolicy": "FallbackToLogsOnError"}
    own = "echo from the file > /dev/termination-log; exit 1"
    moved = "echo elsewhere > /tmp/why; exit 1"
    return [
        pod("message-file", box(script=own), restartPolicy="Never"),
        pod("message-path", box(script=moved, terminationMessagePath="/tmp/why"), restartPolicy="Never"),
        pod("message-logs", box(script=lines, **fallback), restartPolicy="Never"),
        pod("message-both", box(script=f"echo noise; {own}", **fallback), restartPolicy="Never"),
        pod("message-none", box(script="echo noise; exit 0", **fallback), restartPolicy="Never"),
    ]


def flag_pods(root: Path) -> list[Json]:
    (root / "flags").mkdir()
    mounts = [{"name": "f", "mountPath": "/f"}]
    volumes = [{"name": "f", "hostPath": {"path": str(root / "flags")}}]
    hooks = {
        "postStart": shell("sleep 0.3; echo post-start >> /f/hooks"),
        "preStop": shell("sleep 0.3; echo pre-stop >> /f/hooks"),
    }
    told = "trap 'echo term >> /f/hooks; exit 0' TERM; while true; do sleep 0.1 & wait $!; done"
    return [
        pod(
            "flips",
            box(readinessProbe=shell("test -f /f/ready", **FAST), volumeMounts=mounts),
            volumes=volumes,
        ),
        pod(
            "hooked",
            box(script=told, lifecycle=hooks, volumeMounts=mounts),
            volumes=volumes,
            terminationGracePeriodSeconds=10,
        ),
    ]


def image_pods() -> list[Json]:
    return [
        pod("no-image", box(image="localhost:1/none:1")),
        pod("never-pull", box(image="docker.io/library/absent:1", imagePullPolicy="Never")),
        pod("bad-name", box(image="UPPER//case:1")),
        pod("no-registry", box(image="registry.invalid/absent:1", imagePullPolicy="Always")),
    ]


@pytest.fixture(scope="module")
def agent(runtime: PrivateContainerd, workshop: Workshop | None) -> Iterator[AgentProcess]:
    with agent_on(runtime, workshop) as made:
        for manifest in (
            *ending_pods(),
            ordered_pod(made.root),
            *probed_pods(),
            *message_pods(),
            *flag_pods(made.root),
            *image_pods(),
        ):
            made.write_manifest(manifest)
        made.start()
        yield made


def terminated(status: Json, container: str = "c") -> Json:
    found: Json = container_status(status, container)["state"]["terminated"]
    return found


def wait_restarts(agent: AgentProcess, name: str, count: int) -> Json:
    """Wait until the container has been restarted so often; its status."""

    def restarted() -> Json | None:
        found = container_status(status_of(agent, name))
        return found if found.get("restartCount", 0) >= count else None

    return agent.wait_for(restarted, f'restart "{name}" {count} times')


def condition(status: Json, kind: str) -> Json:
    return next((one for one in status.get("conditions", ()) if one["type"] == kind), {})


def test_a_pod_that_never_restarts_succeeds_or_fails(agent: AgentProcess) -> None:
    good = wait_phase(agent, "succeeds", "Succeeded")
    assert (terminated(good)["exitCode"], terminated(good)["reason"]) == (0, "Completed")
    assert condition(good, "Ready")["reason"] == "PodCompleted"
    assert output(agent, "succeeds") == ["done"]
    bad = wait_phase(agent, "fails", "Failed")
    assert (terminated(bad)["exitCode"], terminated(bad)["reason"]) == (3, "Error")
    assert terminated(bad, "fine")["exitCode"] == 0
    assert container_status(bad)["restartCount"] == 0


def test_on_failure_restarts_until_it_succeeds(agent: AgentProcess) -> None:
    status = wait_phase(agent, "fails-once", "Succeeded")
    found = container_status(status)
    assert found["restartCount"] == 1
    assert found["lastState"]["terminated"]["exitCode"] == 1


def test_a_crashing_container_backs_off_and_says_so(agent: AgentProcess) -> None:
    message = wait_waiting(agent, "crashes", "CrashLoopBackOff")
    uid = agent.uid("crashes")
    where = f"crashes-{NODE_NAME}_default({uid})"
    assert message in [
        f"back-off {delay} restarting failed container=c pod={where}" for delay in ("10s", "20s")
    ]
    wait_event(agent, "crashes", "BackOff", f"Back-off restarting failed container c in pod {where}")
    found = wait_restarts(agent, "crashes", 1)
    assert found["lastState"]["terminated"]["exitCode"] == 4
    assert status_of(agent, "crashes")["phase"] == "Running"
    assert output(agent, "crashes", attempt=found["restartCount"]) == ["said"]


def test_a_command_that_is_not_there_fails_with_the_runtimes_words(agent: AgentProcess) -> None:
    status = wait_phase(agent, "no-command", "Failed")
    found = terminated(status)
    assert (found["exitCode"], found["reason"]) == (128, "StartError")
    assert "/nowhere" in found["message"]


def test_a_failed_init_container_ends_a_pod_that_never_restarts(agent: AgentProcess) -> None:
    status = wait_phase(agent, "init-fails", "Failed")
    assert terminated(status, "first")["exitCode"] == 7
    assert container_status(status, "second")["state"]["waiting"]["reason"] == "PodInitializing"
    assert container_status(status, "c")["state"]["waiting"]["reason"] == "PodInitializing"
    assert condition(status, "Initialized")["reason"] == "ContainersNotInitialized"


def test_the_active_deadline_ends_the_pod(agent: AgentProcess) -> None:
    status = wait_phase(agent, "deadline", "Failed")
    assert status["reason"] == "DeadlineExceeded"
    assert status["message"] == "Pod was active on the node longer than the specified deadline"
    agent.wait_for(lambda: "terminated" in state_of(agent, "deadline"), "end the container")
    started = time.mktime(time.strptime(status["startTime"], "%Y-%m-%dT%H:%M:%SZ"))
    finished = terminated(status_of(agent, "deadline"))["finishedAt"]
    ended = time.mktime(time.strptime(finished, "%Y-%m-%dT%H:%M:%SZ"))
    assert 1 <= ended - started <= 6


def test_sidecars_start_in_order_and_end_after_the_main_containers(agent: AgentProcess) -> None:
    status = wait_phase(agent, "ordered", "Succeeded")
    order = (agent.root / "order/order").read_text().split()
    assert order == ["init-1", "sidecar-up", "init-2", "main", "sidecar-down"]
    assert terminated(status, "sidecar")["exitCode"] == 0
    assert condition(status, "Initialized")["status"] == "True"


def test_a_failed_liveness_probe_restarts_the_container(agent: AgentProcess) -> None:
    found = wait_restarts(agent, "unhealthy", 1)
    assert "terminated" in found["lastState"]
    # The log of the run before is kept for `logs --previous`.
    assert (log_dir(agent, "unhealthy") / f"{found['restartCount'] - 1}.log").exists()
    said = events_of(agent, "unhealthy")
    assert ("Killing", "Container c failed liveness probe, will be restarted") in said
    assert any(reason == "Unhealthy" and text.startswith("Liveness probe failed") for reason, text in said)


def test_nothing_else_is_probed_before_the_startup_probe_passed(agent: AgentProcess) -> None:
    agent.wait_pod_ready("slow-start")
    found = container_status(status_of(agent, "slow-start"))
    assert (found["restartCount"], found["started"]) == (0, True)
    said = events_of(agent, "slow-start")
    assert any(text.startswith("Startup probe failed") for _, text in said)
    assert not any(text.startswith("Liveness probe failed") for _, text in said)


def test_a_container_that_never_starts_is_restarted(agent: AgentProcess) -> None:
    wait_event(agent, "never-starts", "Killing", "Container c failed startup probe, will be restarted")
    found = container_status(status_of(agent, "never-starts"))
    assert (found["started"], found["ready"]) == (False, False)


def test_http_and_tcp_probes_reach_the_pod(agent: AgentProcess) -> None:
    agent.wait_pod_ready("web")
    assert container_status(status_of(agent, "web"))["restartCount"] == 0
    message = wait_event(agent, "closed-port", "Unhealthy")
    ip = status_of(agent, "closed-port")["podIP"]
    assert message == f"Readiness probe failed: dial tcp {ip}:9: connect: connection refused"
    assert not agent.is_ready("closed-port")


def test_readiness_follows_its_probe_without_a_restart(agent: AgentProcess) -> None:
    flag = agent.root / "flags/ready"
    wait_event(agent, "flips", "Unhealthy")
    status = status_of(agent, "flips")
    assert condition(status, "Ready")["status"] == "False"
    assert condition(status, "ContainersReady")["message"] == "containers with unready status: [c]"
    flag.touch()
    agent.wait_pod_ready("flips")
    flag.unlink()
    agent.wait_for(lambda: not agent.is_ready("flips"), "see it unready")
    assert container_status(status_of(agent, "flips"))["restartCount"] == 0


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("message-file", "from the file\n"),
        ("message-path", "elsewhere\n"),
        ("message-logs", "line 1\nline 2\nline 3\n"),
        ("message-both", "from the file\n"),
        ("message-none", ""),
    ],
)
def test_termination_messages_come_from_the_file_or_the_log(
    agent: AgentProcess, name: str, message: str
) -> None:
    agent.wait_for(lambda: "terminated" in state_of(agent, name), f"see {name} end")
    assert terminated(status_of(agent, name)).get("message", "") == message


def _waits(agent: AgentProcess, name: str) -> bool:
    reason = state_of(agent, name).get("waiting", {}).get("reason")
    return reason in ("ErrImagePull", "ImagePullBackOff")


def test_images_that_cannot_be_had_say_why(agent: AgentProcess) -> None:
    message = wait_waiting(agent, "never-pull", "ErrImageNeverPull")
    assert message == (
        'Container image "docker.io/library/absent:1" is not present with pull policy of Never'
    )
    assert wait_waiting(agent, "bad-name", "InvalidImageName").startswith(
        'Failed to apply default image tag "UPPER//case:1": couldn\'t parse image name'
    )
    for name in ("no-image", "no-registry"):
        wait_event(agent, name, "Failed", "Failed to pull image")
        agent.wait_for(partial(_waits, agent, name), f"have {name} waiting for its image")
        assert "IfNotPresent" in state_of(agent, name)["waiting"]["message"]
    wait_waiting(agent, "no-registry", "ImagePullBackOff")
    wait_event(agent, "no-registry", "BackOff", 'Back-off pulling image "registry.invalid/absent:1"')


def test_hooks_run_after_the_start_and_before_the_stop(agent: AgentProcess) -> None:
    agent.wait_pod_ready("hooked")
    hooks = agent.root / "flags/hooks"
    assert hooks.read_text().split() == ["post-start"]
    agent.remove_manifest("hooked")
    agent.wait_for(lambda: "hooked" not in agent.pods(), "let go of the pod")
    assert hooks.read_text().split() == ["post-start", "pre-stop", "term"]


def test_an_edited_manifest_replaces_the_pod(agent: AgentProcess) -> None:
    first = pod("edited", box(script=f"echo one; echo END; {FOREVER}"))
    path = agent.write_manifest(first)
    wait_output(agent, "edited")
    before = agent.uid("edited")
    agent.write_text(path, json.dumps(first).replace("echo one", "echo two"))
    agent.wait_for(
        lambda: agent.pods().get("edited", {}).get("metadata", {}).get("uid", before) != before,
        "have a pod of another uid",
    )
    assert wait_output(agent, "edited") == ["two"]
    assert container_status(status_of(agent, "edited"))["image"] == IMAGE


def test_a_removed_manifest_leaves_neither_directories_nor_logs(agent: AgentProcess) -> None:
    agent.wait_pod_ready("web")
    uid, logs = agent.uid("web"), log_dir(agent, "web").parent
    assert logs.is_dir()
    assert (agent.state / "pods" / uid).is_dir()
    agent.remove_manifest("web")
    agent.wait_for(lambda: "web" not in agent.pods(), "let go of the pod")
    assert not logs.exists()
    assert not (agent.state / "pods" / uid).exists()
