"""Containers that do not play along: deaf to signals, hooks that hang, floods of output, strange files."""

from __future__ import annotations

import gzip
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.node.agent import AgentProcess
from tests.node.scene import (
    FOREVER,
    Json,
    agent_on,
    box,
    container_status,
    events_of,
    log_dir,
    pod,
    state_of,
    status_of,
    wait_event,
    wait_output,
)
from tests.runtimes import PrivateContainerd
from tests.runtimes.fixtures import Workshop

pytestmark = pytest.mark.node

SETTINGS: Json = {
    "containerLogMaxSize": "1Mi",
    "containerLogMaxFiles": 10,
    "containerLogMonitorInterval": "3s",
}
FLOOD_BYTES = 100_000_000
FALLBACK_BYTES = 600_000  # below the size at which its log would be rotated away under the reader
MOST_GROWTH_BYTES = 40 << 20
BUSY_LINES = 60_000
DEAF = "trap '' TERM; while true; do sleep 0.1; done"
HANGS: Json = {"exec": {"command": ["sleep", "1000"]}}
WAIT_FOR_WORD = "until test -f /w/go; do sleep 0.05; done; exit 1"


def flood(count: int) -> str:
    """One line of so many bytes, and an end that can be waited for."""
    return f"head -c {count} /dev/zero | tr '\\0' x; echo; echo END"


def told_pod(root: Path, name: str) -> Json:
    """Ends when the test says so, after the test has tampered with its termination message file."""
    container = box(script=WAIT_FOR_WORD, volumeMounts=[{"name": "w", "mountPath": "/w"}])
    volumes = [{"name": "w", "hostPath": {"path": str(root / name), "type": "DirectoryOrCreate"}}]
    return pod(name, container, restartPolicy="Never", volumes=volumes)


def manifests(root: Path) -> list[Json]:
    busy = f"i=0; while [ $i -lt {BUSY_LINES} ]; do echo line $i {'y' * 80}; i=$((i+1)); "
    busy += f"[ $((i % 6000)) -eq 0 ] && sleep 1; done; echo END; {FOREVER}"
    message = "head -c 10000000 /dev/zero | tr '\\0' m > /dev/termination-log; exit 1"
    logs = {"terminationMessagePolicy": "FallbackToLogsOnError"}
    return [
        pod("deaf", box(script=DEAF)),
        pod("pre-stop-hangs", box(lifecycle={"preStop": HANGS})),
        pod("post-start-hangs", box(lifecycle={"postStart": HANGS})),
        pod("post-start-fails", box(lifecycle={"postStart": {"exec": {"command": ["false"]}}})),
        pod("flood", box(script=f"{flood(FLOOD_BYTES)}; {FOREVER}")),
        pod("busy", box(script=busy)),
        pod("long-message", box(script=message), restartPolicy="Never"),
        pod("long-fallback", box(script=f"{flood(FALLBACK_BYTES)}; exit 1", **logs), restartPolicy="Never"),
        told_pod(root, "message-fifo"),
        told_pod(root, "message-link"),
    ]


@pytest.fixture(scope="module")
def agent(runtime: PrivateContainerd, workshop: Workshop | None) -> Iterator[AgentProcess]:
    with agent_on(runtime, workshop, SETTINGS) as made:
        made.start()
        made.write_manifest(pod("before"))
        made.wait_pod_ready("before")
        settled = memory_peak(made)
        for manifest in manifests(made.root):
            made.write_manifest(manifest)
        yield made
        # Nothing that any of them did made the agent grow.
        assert memory_peak(made) - settled < MOST_GROWTH_BYTES
        assert made.is_ready("before")


def memory_peak(agent: AgentProcess) -> int:
    """The most bytes the agent ever held in memory."""
    status = Path(f"/proc/{agent.pid}/status").read_text()
    found = re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024


def seconds_to_go(agent: AgentProcess, name: str) -> float:
    """Remove a manifest; how long the pod then takes to be gone."""
    began = time.monotonic()
    agent.remove_manifest(name)
    agent.wait_for(lambda: name not in agent.pods(), f"let go of {name}", 20.0)
    return time.monotonic() - began


def test_a_container_deaf_to_sigterm_is_killed_after_its_grace(agent: AgentProcess) -> None:
    agent.wait_pod_ready("deaf")
    assert 2.0 <= seconds_to_go(agent, "deaf") < 5.0


def test_a_pre_stop_hook_that_hangs_is_bounded_by_the_grace(agent: AgentProcess) -> None:
    agent.wait_pod_ready("pre-stop-hangs")
    # The grace of 2 s for the hook, and the 2 s that a container always has after it.
    assert 2.0 <= seconds_to_go(agent, "pre-stop-hangs") < 6.5


def test_a_pod_whose_post_start_hook_hangs_can_be_deleted(agent: AgentProcess) -> None:
    wait_event(agent, "post-start-hangs", "Started")
    found = container_status(status_of(agent, "post-start-hangs"))
    assert (found["ready"], found["started"]) == (False, False)
    assert seconds_to_go(agent, "post-start-hangs") < 6.5


def test_a_failed_post_start_hook_kills_the_container(agent: AgentProcess) -> None:
    wait_event(agent, "post-start-fails", "FailedPostStartHook")
    wait_event(agent, "post-start-fails", "Killing", "FailedPostStartHook")
    agent.remove_manifest("post-start-fails")


def test_a_termination_message_is_cut_to_its_end(agent: AgentProcess) -> None:
    agent.wait_for(lambda: "terminated" in state_of(agent, "long-message"), "see it end")
    assert state_of(agent, "long-message")["terminated"]["message"] == "m" * 4096
    agent.wait_for(lambda: "terminated" in state_of(agent, "long-fallback"), "see it end")
    message = state_of(agent, "long-fallback")["terminated"]["message"]
    assert len(message) <= 2048
    assert message.endswith("x\nEND\n")


def test_a_termination_file_that_became_a_pipe_or_a_link_is_not_followed(agent: AgentProcess) -> None:
    secret = agent.root / "secret"
    secret.write_text("not for pods")
    for name in ("message-fifo", "message-link"):
        agent.wait_for(lambda name=name: "running" in state_of(agent, name), f"run {name}")  # type: ignore[misc]
        (path,) = (agent.state / "pods" / agent.uid(name) / "containers" / "c").iterdir()
        path.unlink()
        if name == "message-fifo":
            subprocess.run(["mkfifo", str(path)], check=True)
        else:
            path.symlink_to(secret)
        (agent.root / name / "go").touch()
    for name in ("message-fifo", "message-link"):
        agent.wait_for(lambda name=name: "terminated" in state_of(agent, name), f"see {name} end")  # type: ignore[misc]
        found = state_of(agent, name)["terminated"]
        assert found["exitCode"] == 1
        assert "not for pods" not in found.get("message", "")


@pytest.mark.timeout(180)
def test_a_busy_log_is_rotated_without_losing_a_line(agent: AgentProcess) -> None:
    directory = log_dir(agent, "busy")
    agent.wait_for(lambda: "END" in _ends(directory), "have the busy container end its work", 90.0)
    agent.wait_for(lambda: len(list(directory.iterdir())) >= 3, "rotate the log twice", 30.0)
    names = sorted(path.name for path in directory.iterdir())
    assert len(names) <= SETTINGS["containerLogMaxFiles"]
    assert any(name.endswith(".gz") for name in names), names
    seen = [line.split()[4] for line in _all_lines(directory) if " line " in line]
    assert seen == [str(number) for number in range(BUSY_LINES)]


def _ends(directory: Path) -> str:
    path = directory / "0.log"
    if not path.exists():
        return ""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 200))
        return file.read().decode()


def _all_lines(directory: Path) -> list[str]:
    """Every line in the order it was written: rotated files by their stamp, the current one last."""
    rotated = sorted(path for path in directory.iterdir() if path.name != "0.log")
    lines: list[str] = []
    for path in (*rotated, directory / "0.log"):
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        lines += data.decode().splitlines()
    return lines


@pytest.mark.timeout(180)
def test_a_line_of_a_hundred_megabytes_costs_the_agent_no_memory(
    agent: AgentProcess, runtime: PrivateContainerd
) -> None:
    directory = log_dir(agent, "flood")
    agent.wait_for(lambda: "END" in _ends(directory) or len(_files(directory)) > 1, "write the flood", 90.0)
    agent.wait_for(lambda: len(_files(directory)) > 1, "rotate the flood", 30.0)
    agent.wait_for(lambda: _size(directory / "0.log") < 1 << 20, "have a small log again", 60.0)
    assert container_status(status_of(agent, "flood"))["restartCount"] == 0
    # The reader of people is as careful, over a line that has no end in sight.
    wait_output(agent, "long-fallback")
    command = [str(Path(sys.executable).with_name("pykubelet")), "logs", "--tail", "1"]
    read = subprocess.run(
        [*command, "--runtime-endpoint", runtime.endpoint, f"long-fallback-{'n1'}"],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert read.stdout == "END\n"


def _files(directory: Path) -> list[Path]:
    return list(directory.iterdir()) if directory.exists() else []


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else FLOOD_BYTES


def test_pods_beside_all_this_were_left_alone(agent: AgentProcess) -> None:
    assert container_status(status_of(agent, "before"))["restartCount"] == 0
    assert not [text for reason, text in events_of(agent, "before") if reason in ("Killing", "Unhealthy")]
