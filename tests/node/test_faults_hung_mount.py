"""A filesystem that never answers: only its own pods wait, and the agent still stops in time.

The filesystem is a FUSE mount whose server never reads a request: whoever looks at it waits until the
connection is aborted, which closing /dev/fuse does, also when the test itself dies.
"""

from __future__ import annotations

import ctypes
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.node.agent import AgentProcess
from tests.node.scene import (
    Json,
    agent_on,
    box,
    container_status,
    pod,
    state_of,
    status_of,
    wait_event,
    wait_phase,
)
from tests.runtimes import PrivateContainerd
from tests.runtimes.fixtures import Workshop

pytestmark = pytest.mark.node

STOP_SECONDS = 12.0
MNT_DETACH = 2
WAKE_SECONDS = 120.0
UNTYPED = 5  # more than the calls that bring pods up at one time


@dataclass
class SilentFilesystem:
    """Mounted at `path` until `close()`."""

    path: Path
    _fd: int = field(init=False)

    def __post_init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self.path.mkdir(parents=True)
        self._fd = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        options = f"fd={self._fd},rootmode=40000,user_id=0,group_id=0".encode()
        if self._libc.mount(b"silent", os.fsencode(self.path), b"fuse", 0, options) != 0:
            number = ctypes.get_errno()
            os.close(self._fd)
            raise OSError(number, f"cannot mount fuse: {os.strerror(number)}")

    def wake(self) -> None:
        """Everybody who waits gets an error; so does whoever asks from now on."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def close(self) -> None:
        self.wake()
        self._libc.umount2(os.fsencode(self.path), MNT_DETACH)


@pytest.fixture
def silent(workshop: Workshop | None) -> Iterator[SilentFilesystem]:
    assert workshop is not None
    place = workshop.base / "silent"
    made = SilentFilesystem(place)
    yield made
    made.close()
    place.rmdir()


def on(filesystem: SilentFilesystem, kind: str = "", **mount: str) -> tuple[Json, Json]:
    """A container and a volume that lead into it."""
    container = box(volumeMounts=[{"name": "v", "mountPath": "/v", **mount}])
    return container, {"name": "v", "hostPath": {"path": f"{filesystem.path}/data", "type": kind}}


def hung_pods(silent: SilentFilesystem) -> dict[str, Json]:
    typed, volume = on(silent, "Directory")
    parted, parted_volume = on(silent, "", subPath="x/y")
    pods = [
        pod("hung-typed", typed, volumes=[volume]),
        pod("hung-part", parted, volumes=[parted_volume]),
    ]
    for number in range(UNTYPED):
        container, plain = on(silent)
        pods.append(pod(f"hung-{number}", container, volumes=[plain]))
    return {one["metadata"]["name"]: one for one in pods}


@pytest.mark.timeout(240)
def test_a_filesystem_that_never_answers_delays_only_its_own_pods(
    runtime: PrivateContainerd, workshop: Workshop | None, silent: SilentFilesystem
) -> None:
    # Whoever waits in the kernel cannot be killed, so a failure of this test must not wait for it either.
    alarm = threading.Timer(WAKE_SECONDS, silent.wake)
    alarm.start()
    try:
        with agent_on(runtime, workshop) as agent:
            _delays_only_its_own(agent, silent)
    finally:
        alarm.cancel()
        silent.wake()


def _delays_only_its_own(agent: AgentProcess, silent: SilentFilesystem) -> None:
    hung = hung_pods(silent)
    # Their manifests are there before any other, so they are in everybody's way if anything is.
    for manifest in hung.values():
        agent.write_manifest(manifest)
    agent.start()
    agent.wait_for(lambda: set(agent.pods()) == set(hung), "know the hung pods")
    begun = time.monotonic()
    for name in ("fine-1", "fine-2", "fine-3"):
        agent.write_manifest(pod(name))
    agent.write_manifest(pod("crashing", box(script="sleep 0.5; exit 1")))
    for name in ("fine-1", "fine-2", "fine-3"):
        agent.wait_pod_ready(name, 15.0)
    agent.wait_for(lambda: _restarts(agent, "crashing") >= 1, "restart the crashing pod", 15.0)
    assert time.monotonic() - begun < 20

    # The hung ones wait, and say for what.
    for name in hung:
        status = status_of(agent, name)
        assert status["phase"] == "Pending", status
        assert state_of(agent, name)["waiting"]["reason"] == "ContainerCreating"
        why = f'the fuse filesystem at "{silent.path}" has not answered'
        assert why in wait_event(agent, name, "FailedMount")

    # Others stop as ever, and so does a hung pod without holding them.
    agent.remove_manifest("hung-typed")
    agent.remove_manifest("hung-0")
    agent.remove_manifest("fine-1")
    agent.wait_for(lambda: "fine-1" not in agent.pods(), "let go of a pod beside hung ones", 10.0)
    agent.write_manifest(pod("later"))
    agent.wait_pod_ready("later", 10.0)

    # The agent stops in time with all that hanging, and comes back beside it.
    _stop_in_time(agent)
    agent.start()
    agent.wait_pod_ready("later", 15.0)
    agent.write_manifest(pod("after-restart"))
    agent.wait_pod_ready("after-restart", 15.0)
    assert container_status(status_of(agent, "later"))["restartCount"] == 0
    _stop_in_time(agent)

    # The filesystem is gone, and what it hid is found: the pods that are left start, and everything can go.
    silent.close()
    silent.path.joinpath("data").mkdir()
    agent.start()
    for name in ("hung-1", "hung-part"):
        wait_phase(agent, name, "Running", 60.0)
    agent.remove_all(60.0)
    silent.path.joinpath("data/x/y").rmdir()
    silent.path.joinpath("data/x").rmdir()
    silent.path.joinpath("data").rmdir()


def _restarts(agent: AgentProcess, name: str) -> int:
    found: int = container_status(status_of(agent, name)).get("restartCount", 0)
    return found


def _stop_in_time(agent: AgentProcess) -> None:
    begun = time.monotonic()
    assert agent.stop() == 0, agent.log_tail()
    assert time.monotonic() - begun < STOP_SECONDS
