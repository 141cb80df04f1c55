"""Cases of lost agents and runtimes, by name: what a restart must find, finish, repeat or leave alone."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.node.agent import AgentProcess
from tests.node.conftest import SETTINGS
from tests.node.crash_pods import container, hook, plain_pod, plain_wanted, pod, rich_pod, rich_wanted
from tests.node.world import Times, WantedContainer, WantedPod, World, container_ids, tally
from tests.runtimes import PrivateContainerd, host

pytestmark = pytest.mark.node

REQUEST_TIMEOUT_SECONDS = 2
INSIDE = ("RunSandbox", "CreateContainer", "StartContainer")


def begin(world: World, name: str = "p") -> WantedPod:
    """Start the agent with one plain pod; what it is now."""
    marks = world.agent.root / f"tally-{name}"
    world.agent.start()
    world.agent.write_manifest(plain_pod(name, marks))
    return settled(world, name, marks)


def settled(world: World, name: str, marks: Path) -> WantedPod:
    """Wait for a plain pod; the wish that it stays exactly as it is."""
    shown = world.agent.wait_pod_ready(name)
    wanted = plain_wanted(name, shown["metadata"]["uid"], marks, container_ids(shown))
    world.wait_until([wanted])
    return wanted


# Inside a call of the runtime


@contextmanager
def frozen(runtime: PrivateContainerd) -> Iterator[Callable[[], None]]:
    """Halt the daemon (SIGSTOP); yields how to let it go on, which happens at the end anyway."""
    daemon = runtime.pid
    assert daemon is not None, "the runtime does not run"

    def thaw() -> None:
        os.kill(daemon, signal.SIGCONT)

    os.kill(daemon, signal.SIGSTOP)
    try:
        yield thaw
    finally:
        thaw()


@contextmanager
def network_held(runtime: PrivateContainerd) -> Iterator[None]:
    """Keep every RunPodSandbox waiting for its address: the address store's lock is taken."""
    store = runtime.root / "leases" / runtime.layout.network
    store.mkdir(parents=True, exist_ok=True)
    with (store / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def under_way(agent: AgentProcess, uid: str, kind: str) -> bool:
    story = agent.story(uid)
    return story is not None and any(one["kind"] == kind for one in story["state"]["inFlight"])


@pytest.mark.parametrize("action", INSIDE)
def test_agent_killed_inside_a_call_repeats_it_without_a_double(world: World, action: str) -> None:
    agent, marks = world.agent, world.agent.root / "tally"
    agent.start(halt_at=f"before:{action}")
    agent.write_manifest(plain_pod("p", marks))
    agent.wait_halted()
    with frozen(world.runtime):
        agent.resume()
        agent.wait_for(lambda: under_way(agent, agent.uid("p"), action), f"call {action}")
        agent.kill9()
    agent.start()
    settled(world, "p", marks)


@pytest.mark.parametrize("action", INSIDE)
def test_call_that_outlasts_its_deadline_is_repeated_without_a_double(world: World, action: str) -> None:
    agent, marks = world.agent, world.agent.root / "tally"
    agent.configure({**SETTINGS, "runtimeRequestTimeout": f"{REQUEST_TIMEOUT_SECONDS}s"})
    agent.start(halt_at=f"before:{action}")
    agent.write_manifest(plain_pod("p", marks))
    agent.wait_halted()
    with frozen(world.runtime):
        agent.resume()
        uid = agent.wait_for(lambda: agent.uid("p"), "show the pod")
        agent.wait_for(lambda: f"failed: {action}" in json.dumps(agent.story(uid)), f"give {action} up")
    settled(world, "p", marks)


def test_agent_killed_while_a_sandbox_waits_for_its_network_leaks_nothing(world: World) -> None:
    agent, runtime, marks = world.agent, world.runtime, world.agent.root / "tally"
    agent.start()
    with network_held(runtime):
        agent.write_manifest(plain_pod("p", marks))
        agent.wait_for(lambda: runtime.netns(), "make a network namespace")
        agent.kill9()
        agent.start()
        agent.wait_for(lambda: under_way(agent, agent.uid("p"), "RunSandbox"), "try again")
    settled(world, "p", marks)


def test_sandbox_that_outlasts_its_deadline_leaks_nothing(world: World) -> None:
    agent, runtime, marks = world.agent, world.runtime, world.agent.root / "tally"
    agent.configure({**SETTINGS, "runtimeRequestTimeout": f"{REQUEST_TIMEOUT_SECONDS}s"})
    agent.start()
    with network_held(runtime):
        agent.write_manifest(plain_pod("p", marks))
        uid = agent.wait_for(lambda: agent.pods().get("p", {}), "show the pod")["metadata"]["uid"]
        agent.wait_for(lambda: "failed: RunSandbox" in json.dumps(agent.story(uid)), "give up")
    settled(world, "p", marks)


# Created, never started


def test_created_container_whose_image_changed_meanwhile_is_made_anew(world: World) -> None:
    agent, marks = world.agent, world.agent.root / "tally"
    made = plain_pod("p", marks)
    made["metadata"]["uid"] = "p-1"
    agent.start(crash_at="before:StartContainer")
    agent.write_manifest(made)
    agent.wait_killed()
    made["spec"]["containers"][0]["image"] = "localhost/pykubelet/busybox:1"
    agent.write_manifest(made)
    agent.start()
    agent.wait_pod_ready("p")
    world.wait_until([WantedPod("p", "p-1", {"a": WantedContainer()}, marks)])


def test_created_container_of_a_pod_removed_meanwhile_never_runs(world: World) -> None:
    agent, marks = world.agent, world.agent.root / "tally"
    agent.start(crash_at="before:StartContainer")
    agent.write_manifest(plain_pod("p", marks))
    agent.wait_killed()
    agent.remove_manifest("p")
    agent.start()
    world.wait_until([])
    assert tally(marks / "a") == 0


def test_pod_that_runs_once_survives_a_kill_inside_its_start(world: World) -> None:
    """restartPolicy Never: a start cut short is not the container's one and only run."""
    agent, marks = world.agent, world.agent.root / "tally"
    agent.start(halt_at="before:StartContainer")
    agent.write_manifest(plain_pod("p", marks, restartPolicy="Never"))
    agent.wait_halted()
    with frozen(world.runtime):
        agent.resume()
        agent.wait_for(lambda: under_way(agent, agent.uid("p"), "StartContainer"), "call StartContainer")
        agent.kill9()
    agent.start()
    settled(world, "p", marks)


# Stopping


def test_grace_counts_from_the_deletion_and_not_from_the_restart(world: World) -> None:
    agent, marks = world.agent, world.agent.root / "tally"
    grace, down = 4, 1.5
    stubborn = container("a", lifecycle={"preStop": hook("a.pre", "sleep 1000")})
    agent.start()
    agent.write_manifest(pod("p", marks, stubborn, terminationGracePeriodSeconds=grace))
    agent.wait_pod_ready("p")
    uid = agent.uid("p")
    began = time.monotonic()
    agent.remove_manifest("p")
    agent.wait_for(lambda: tally(marks / "a.pre") == 1, "run the hook")
    agent.kill9()
    time.sleep(down)
    agent.start()
    agent.wait_for(lambda: not world.running(uid, "a"), "stop the container")
    took = time.monotonic() - began
    assert grace - 0.5 <= took < grace + down
    world.wait_until([])


# Manifests while the agent is down


def test_pod_whose_manifest_went_while_the_agent_was_down_is_stopped(world: World) -> None:
    begin(world)
    world.agent.kill9()
    world.agent.remove_manifest("p")
    world.agent.start()
    world.wait_until([])


def test_pod_whose_manifest_changed_while_the_agent_was_down_gives_way_to_the_new_one(world: World) -> None:
    agent = world.agent
    old = begin(world)
    agent.kill9()
    marks = agent.root / "tally-2"
    agent.write_manifest(plain_pod("p", marks))
    agent.start()
    agent.wait_for(lambda: agent.uid("p") != old.uid, "take the new pod")
    new = settled(world, "p", marks)
    assert old.tally is not None
    assert (new.uid != old.uid, tally(old.tally / "a")) == (True, 1)


def test_pod_whose_manifest_broke_while_the_agent_was_down_is_left_alone(world: World) -> None:
    agent = world.agent
    running = begin(world)
    agent.kill9()
    path = agent.manifests / "p.yaml"
    good = path.read_text()
    agent.write_text(path, good + "}")
    agent.start()
    world.wait_until([running])
    agent.write_text(path, good)
    time.sleep(0.2)
    world.wait_until([running])
    agent.write_text(path, "not: [a pod")
    agent.kill9()
    agent.start()
    world.wait_until([running])
    agent.remove_manifest("p")
    world.wait_until([])


def test_container_that_ended_while_the_agent_was_down_restarts_once(world: World) -> None:
    running = begin(world)
    world.agent.kill9()
    world.crash(running.uid, "a")
    world.agent.start()
    world.wait_until([replace(running, containers={"a": WantedContainer(1)})])


def test_container_that_ends_before_the_source_speaks_is_seen(world: World) -> None:
    """A slow source: the agent knows the pod from the runtime, and nobody has claimed it yet."""
    agent, marks = world.agent, world.agent.root / "tally"
    with slow_source(plain_pod("p", marks)) as (url, speak):
        agent.configure({**SETTINGS, "staticPodPath": "", "staticPodURL": url})
        speak.set()
        agent.start("--relist-period=1h")
        running = settled(world, "p", marks)
        agent.kill9()
        speak.clear()
        agent.start("--relist-period=1h")
        agent.wait_for(lambda: "Comparing all pods" in agent.log_since_start(), "hear events")
        world.crash(running.uid, "a")
        time.sleep(0.3)  # the event is there and gone
        speak.set()
        world.wait_until([replace(running, containers={"a": WantedContainer(1)})])
        agent.kill9()


@contextmanager
def slow_source(manifest: dict[str, Any]) -> Iterator[tuple[str, threading.Event]]:
    """An HTTP source of one pod that answers only while the event is set."""
    speak, body = threading.Event(), json.dumps(manifest).encode()

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            speak.wait(10)
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/pod", speak
        finally:
            speak.set()
            server.shutdown()
            thread.join()


# The runtime goes


@pytest.mark.parametrize("graceful", (True, False), ids=("restarted", "killed"))
def test_pods_that_run_do_not_notice_a_runtime_that_goes_and_returns(
    own_world: World, graceful: bool
) -> None:
    agent, runtime = own_world.agent, own_world.runtime
    running = begin(own_world)
    runtime.restart(graceful=graceful)
    own_world.wait_until([running])
    # Its events are heard again: with the relist hours away only they can tell.
    own_world.crash(running.uid, "a")
    after = replace(running, containers={"a": WantedContainer(1)})
    own_world.wait_until([after])
    # And a container that ended while nobody listened is seen by the comparison that follows.
    pid = own_world.pid(running.uid, "a")
    runtime.kill()
    os.kill(pid, signal.SIGKILL)
    runtime.restart()
    own_world.wait_until([replace(running, containers={"a": WantedContainer(2)})])
    agent.remove_all()


def test_pods_that_start_come_up_after_their_runtime_was_killed(own_world: World) -> None:
    """What may differ: a start that was cut short in the runtime may have come as far as the process, and an
    address and a network namespace that it had not written down yet stay until the next reboot."""
    agent, runtime = own_world.agent, own_world.runtime
    agent.start()
    names, kills = ("p0", "p1", "p2"), 3
    for name in names:
        agent.write_manifest(plain_pod(name, agent.root / name, "a", "b"))
    for pause in (0.1, 0.2, 0.3)[:kills]:
        time.sleep(pause)
        runtime.kill()
        runtime.restart()
    wanted = []
    for name in names:
        shown = agent.wait_pod_ready(name, timeout=60)
        wanted.append(as_it_is(agent, name, shown, agent.root / name, kills))
    own_world.wait_until(wanted, strays=len(names) * kills)


def as_it_is(agent: AgentProcess, name: str, shown: dict[str, Any], marks: Path, kills: int) -> WantedPod:
    """The pod as the agent shows it, which must then be true; at most one restart and sandbox per kill."""
    ids = container_ids(shown)
    counts = {one["name"]: one["restartCount"] for one in shown["status"]["containerStatuses"]}
    assert all(count <= kills for count in counts.values()), counts
    containers = {
        one: WantedContainer(counts[one], ids[one], starts=Times(1, counts[one] + 1 + kills)) for one in ids
    }
    return WantedPod(name, shown["metadata"]["uid"], containers, marks, attempt=None)


def test_after_a_reboot_every_pod_begins_anew_and_counts_on(own_world: World) -> None:
    agent, runtime, marks = own_world.agent, own_world.runtime, own_world.agent.root / "tally"
    agent.start()
    agent.write_manifest(rich_pod("m", marks))
    before = container_ids(agent.wait_pod_ready("m"))
    uid = agent.uid("m")
    own_world.wait_until([rich_wanted("m", uid, marks, before)])
    agent.kill9()
    runtime.reboot()
    host.unmount_below(agent.root)
    agent.start()
    agent.wait_for(
        lambda: set(container_ids(agent.pods()["m"]).values()).isdisjoint(before.values()), "begin anew"
    )
    agent.wait_pod_ready("m")
    wanted = rich_wanted("m", uid, marks, post_starts=2, attempt=1, dead_sandboxes=1)
    again = {name: replace(one, restarts=1) for name, one in wanted.containers.items()}
    own_world.wait_until([replace(wanted, containers=again)])
    agent.remove_all()
    own_world.wait_until([])
