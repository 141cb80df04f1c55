"""Probe targets that misbehave, and gRPC health, against the real agent.

The targets live in this process; pods of the host's network are probed at 127.0.0.1, so a probe needs no
container that serves.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest

from tests.node.agent import AgentProcess
from tests.node.scene import Json, agent_on, box, container_status, pod, status_of, wait_event
from tests.runtimes import PrivateContainerd
from tests.runtimes.fixtures import Workshop

pytestmark = pytest.mark.node

HEAD = b"HTTP/1.1 200 OK\r\n"
FAST = {"periodSeconds": 1, "failureThreshold": 1, "timeoutSeconds": 1}
MOST_GROWTH_BYTES = 40 << 20
MOST_NEW_FDS = 12

Behave = Callable[[socket.socket, threading.Event], None]


def silent(_: socket.socket, over: threading.Event) -> None:
    """Accepts, and never says a word."""
    over.wait(20)


def trickle_head(peer: socket.socket, over: threading.Event) -> None:
    for byte in HEAD * 20:
        peer.sendall(bytes((byte,)))
        if over.wait(0.2):
            return


def trickle_body(peer: socket.socket, over: threading.Event) -> None:
    peer.sendall(HEAD + b"Content-Length: 1000\r\n\r\n")
    for _ in range(100):
        peer.sendall(b"x")
        if over.wait(0.2):
            return


def never_close(peer: socket.socket, over: threading.Event) -> None:
    """All is said, but the length is not, and the connection stays open."""
    peer.sendall(HEAD + b"\r\nfine")
    over.wait(20)


def endless_body(peer: socket.socket, over: threading.Event) -> None:
    peer.sendall(HEAD + b"\r\n")
    while not over.is_set():
        peer.sendall(b"y" * 65536)


def endless_head(peer: socket.socket, over: threading.Event) -> None:
    peer.sendall(HEAD)
    while not over.is_set():
        peer.sendall(b"X-More: " + b"z" * 1000 + b"\r\n")


def nonsense(peer: socket.socket, _: threading.Event) -> None:
    peer.sendall(b"\x00\xff not http at all\r\n\r\n")


def good(peer: socket.socket, _: threading.Event) -> None:
    peer.sendall(HEAD + b"Content-Length: 2\r\nConnection: close\r\n\r\nok")


BEHAVIOURS: tuple[Behave, ...] = (
    silent, trickle_head, trickle_body, never_close, endless_body, endless_head, nonsense, good,
)  # fmt: skip


class BadServer:
    """Serves every connection with one behaviour, in a thread of its own."""

    def __init__(self, behave: Behave) -> None:
        self._behave = behave
        self._over = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while not self._over.is_set():
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            self._threads.append(threading.Thread(target=self._serve, args=(peer,)))
            self._threads[-1].start()

    def _serve(self, peer: socket.socket) -> None:
        with peer:
            peer.settimeout(5.0)
            try:
                self._behave(peer, self._over)
                peer.shutdown(socket.SHUT_WR)
                while peer.recv(65536):
                    pass
            except OSError:
                return  # the prober has gone, as it should

    def close(self) -> None:
        self._over.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(10)


class Health:
    """grpc.health.v1.Health by hand: 1 SERVING, 2 NOT_SERVING; an unknown service is NOT_FOUND."""

    def __init__(self) -> None:
        self.answers = {"": 1, "ready": 2}
        self._server = grpc.server(ThreadPoolExecutor(2))
        handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(self._check)
        health = grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": handler})
        self._server.add_generic_rpc_handlers((health,))
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()

    def _check(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        service = request[2:].decode()
        if service not in self.answers:
            context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
        return bytes((0x08, self.answers[service]))

    def close(self) -> None:
        self._server.stop(None).wait()


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, BadServer]]:
    made = {behave.__name__.replace("_", "-"): BadServer(behave) for behave in BEHAVIOURS}
    yield made
    for server in made.values():
        server.close()


@pytest.fixture(scope="module")
def health() -> Iterator[Health]:
    made = Health()
    yield made
    made.close()


def http(port: int) -> Json:
    return {"httpGet": {"host": "127.0.0.1", "port": port}, **FAST}


def rpc(port: int, service: str | None = None) -> Json:
    return {"grpc": {"port": port, **({"service": service} if service else {})}, **FAST}


@pytest.fixture(scope="module")
def agent(
    runtime: PrivateContainerd, workshop: Workshop | None, servers: dict[str, BadServer], health: Health
) -> Iterator[AgentProcess]:
    health.answers["ready"] = 2
    with agent_on(runtime, workshop) as made:
        for name, server in servers.items():
            made.write_manifest(pod(name, box(readinessProbe=http(server.port)), hostNetwork=True))
        hangs = {"exec": {"command": ["sleep", "1000"]}, **FAST}
        made.write_manifest(pod("exec-ready", box(readinessProbe=hangs)))
        made.write_manifest(pod("exec-live", box(livenessProbe=hangs)))
        loud = "head -c 50000000 /dev/zero | tr '\\0' x"
        noisy = {"exec": {"command": ["sh", "-c", loud]}, **FAST, "timeoutSeconds": 10}
        made.write_manifest(pod("exec-loud", box(readinessProbe=noisy)))
        absent = {"exec": {"command": ["/nowhere"]}, **FAST}
        made.write_manifest(pod("exec-absent", box(readinessProbe=absent)))
        for name, probe in {
            "rpc-any": rpc(health.port),
            "rpc-named": rpc(health.port, "ready"),
            "rpc-unknown": rpc(health.port, "nobody"),
            "rpc-http": rpc(servers["good"].port),
            "rpc-silent": rpc(servers["silent"].port),
        }.items():
            made.write_manifest(pod(name, box(readinessProbe=probe), hostNetwork=True))
        made.start("--node-ip=127.0.0.1")
        made.wait_pod_ready("good")
        yield made


def growth(agent: AgentProcess) -> tuple[int, int]:
    """Resident bytes and open descriptors."""
    own = Path(f"/proc/{agent.pid}")
    return int((own / "statm").read_text().split()[1]) * 4096, len(list((own / "fd").iterdir()))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("silent", "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"),
        ("trickle-head", "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"),
        ("trickle-body", "context deadline exceeded (Client.Timeout exceeded while reading body)"),
        ("never-close", "context deadline exceeded (Client.Timeout exceeded while reading body)"),
        ("endless-head", "Readiness probe failed: Get "),
        ("nonsense", "Readiness probe failed: Get "),
        ("exec-ready", 'Readiness probe failed: command "sleep 1000" timed out'),
        ("rpc-named", 'service unhealthy (responded with "NOT_SERVING")'),
        ("rpc-unknown", "rpc error: code = NotFound desc = unknown service"),
        ("rpc-silent", "timeout: "),
    ],
)
def test_a_target_that_misbehaves_is_unready_and_says_why(
    agent: AgentProcess, name: str, message: str
) -> None:
    assert message in wait_event(agent, name, "Unhealthy")
    assert not agent.is_ready(name)
    assert container_status(status_of(agent, name))["restartCount"] == 0


def test_an_endless_body_is_cut_and_its_status_counts(agent: AgentProcess) -> None:
    agent.wait_pod_ready("endless-body")


def test_a_command_that_hangs_restarts_a_container_that_must_be_alive(agent: AgentProcess) -> None:
    wait_event(agent, "exec-live", "Killing", "Container c failed liveness probe, will be restarted")


def test_a_command_that_cannot_run_or_floods_does_no_harm(agent: AgentProcess) -> None:
    agent.wait_for(lambda: not agent.is_ready("exec-absent"), "see it unready")
    wait_event(agent, "exec-absent", "Unhealthy")
    agent.wait_for(lambda: "exec-loud" in agent.pods(), "know the loud one")


def test_grpc_health_is_followed_as_it_changes(agent: AgentProcess, health: Health) -> None:
    agent.wait_pod_ready("rpc-any")
    wait_event(agent, "rpc-http", "Unhealthy")
    assert not agent.is_ready("rpc-named")
    health.answers["ready"] = 1
    agent.wait_pod_ready("rpc-named")
    health.answers["ready"] = 2
    agent.wait_for(lambda: not agent.is_ready("rpc-named"), "see it unready again")


def test_misbehaving_targets_cost_neither_memory_nor_descriptors(agent: AgentProcess) -> None:
    wait_event(agent, "silent", "Unhealthy")
    memory, descriptors = growth(agent)
    deadline = time.monotonic() + 4.0  # four more rounds of every probe
    while time.monotonic() < deadline:
        assert agent.is_ready("good")
        time.sleep(0.25)
    after_memory, after_descriptors = growth(agent)
    assert after_memory - memory < MOST_GROWTH_BYTES
    assert after_descriptors - descriptors < MOST_NEW_FDS
