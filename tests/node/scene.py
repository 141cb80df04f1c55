"""One agent on one runtime for a whole test module: pods started together, asked in short, all gone after.

Mechanism: `agent_on` starts an `AgentProcess` below the session's directory and, at the end, removes every
manifest, stops the agent and holds the runtime and the mount table against having pods left. Promise:
whatever a test did, nothing of the agent outlives the module.
"""

from __future__ import annotations

import asyncio
import itertools
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cri.types import PodSandbox
from cri.wire import connect
from tests.node.agent import NODE_NAME, AgentProcess
from tests.runtimes import PrivateContainerd
from tests.runtimes.fixtures import Workshop
from tests.runtimes.host import mount_points

IMAGE = "docker.io/library/busybox:1.35"
FOREVER = "trap 'exit 0' TERM; while true; do sleep 0.2 & wait $!; done"
"""Ends on SIGTERM at once: the shell waits for a child, and a trap runs when that is interrupted."""

_numbers = itertools.count(1)
Json = dict[str, Any]


@contextmanager
def agent_on(
    runtime: PrivateContainerd,
    workshop: Workshop | None,
    settings: Mapping[str, Any] | None = None,
    *,
    remove_seconds: float = 45.0,
) -> Iterator[AgentProcess]:
    """An agent that is not started yet."""
    assert workshop is not None
    root = workshop.base / f"s{next(_numbers)}"
    agent = AgentProcess(runtime.endpoint, root, settings)
    try:
        yield agent
        if agent.pid is not None:
            agent.remove_all(remove_seconds)
            assert agent.stop() == 0, agent.log_tail()
        left = [box for box in sandboxes(runtime) if box.metadata.uid]
        assert not left, f"the agent left sandboxes: {left}"
        assert not mount_points(root), agent.log_tail()
    finally:
        agent.close()
        shutil.rmtree(root)


def sandboxes(runtime: PrivateContainerd) -> list[PodSandbox]:
    """What the runtime has, whoever made it."""

    async def ask() -> list[PodSandbox]:
        node = await connect(runtime.endpoint)
        try:
            return await node.runtime.list_pod_sandboxes()
        finally:
            await node.close()

    return asyncio.run(ask())


def box(name: str = "c", script: str = FOREVER, **fields: Any) -> Json:
    """A container that runs a shell script."""
    return {"name": name, "image": IMAGE, "command": ["sh", "-c", script], **fields}


def pod(name: str, *containers: Json, metadata: Json | None = None, **spec: Any) -> Json:
    """A manifest; without containers it has one that runs until it is told to end."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, **(metadata or {})},
        "spec": {
            "terminationGracePeriodSeconds": 2,
            "dnsPolicy": "Default",
            "containers": list(containers) or [box()],
            **spec,
        },
    }


def status_of(agent: AgentProcess, name: str) -> Json:
    """The pod's status; empty while the agent does not show the pod."""
    found: Json = agent.pods().get(name, {}).get("status") or {}
    return found


def container_status(status: Json, container: str = "c") -> Json:
    """One container's status, init containers included; empty when there is none."""
    every = (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ()))
    return next((one for one in every if one["name"] == container), {})


def state_of(agent: AgentProcess, name: str, container: str = "c") -> Json:
    """{"running": …}, {"waiting": …} or {"terminated": …}."""
    found: Json = container_status(status_of(agent, name), container).get("state", {})
    return found


def wait_waiting(agent: AgentProcess, name: str, reason: str, container: str = "c") -> str:
    """Wait until a container waits for this reason; the message."""

    def waits() -> Json | None:
        found = state_of(agent, name, container).get("waiting", {})
        return found if found.get("reason") == reason else None

    message: str = agent.wait_for(waits, f'have "{name}" waiting for {reason}').get("message", "")
    return message


def wait_phase(agent: AgentProcess, name: str, phase: str, timeout: float = 30.0) -> Json:
    """Wait for a phase; the status."""
    agent.wait_for(lambda: status_of(agent, name).get("phase") == phase, f'have "{name}" in {phase}', timeout)
    return status_of(agent, name)


def events_of(agent: AgentProcess, name: str) -> list[tuple[str, str]]:
    """(reason, message) of the pod's events, oldest first."""
    story = agent.story(agent.uid(name))
    assert story is not None
    return [(event["reason"], event["message"]) for event in story["events"]]


def wait_event(agent: AgentProcess, name: str, reason: str, text: str = "") -> str:
    """Wait for an event of this reason whose message holds `text`; the message."""

    def found() -> list[str]:
        return [message for said, message in events_of(agent, name) if said == reason and text in message]

    return agent.wait_for(found, f'say {reason} "{text}" about "{name}"')[-1]


def log_dir(agent: AgentProcess, name: str, container: str = "c") -> Path:
    uid = agent.uid(name)
    return agent.pod_logs / f"default_{name}-{NODE_NAME}_{uid}" / container


def output(agent: AgentProcess, name: str, container: str = "c", attempt: int = 0) -> list[str]:
    """The lines a container wrote, both streams; empty while it has no log."""
    shown = name in agent.pods()
    path = log_dir(agent, name, container) / f"{attempt}.log" if shown else None
    if path is None or not path.exists():
        return []
    return [line.split(" ", 3)[3] for line in path.read_text(errors="replace").splitlines()]


def wait_output(agent: AgentProcess, name: str, last: str = "END", container: str = "c") -> list[str]:
    """Wait until the container wrote the line `last`; the lines before it."""
    agent.wait_for(lambda: last in output(agent, name, container), f'have "{name}" ({container}) say {last}')
    lines = output(agent, name, container)
    return lines[: lines.index(last)]


def rss_bytes(pid: int) -> int:
    """Resident memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096
