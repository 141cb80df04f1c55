"""Static pods from a URL: a Pod or a PodList, followed as it changes, kept while it cannot be had."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.node.agent import NODE_NAME, AgentProcess
from tests.node.scene import agent_on, box, container_status, pod, status_of
from tests.runtimes import PrivateContainerd
from tests.runtimes.fixtures import Workshop

pytestmark = pytest.mark.node


class ManifestServer(ThreadingHTTPServer):
    """Answers every GET with `status` and `body`, counting, and noting the headers of the last one."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status = 200
        self.body = b""
        self.asked = 0
        self.seen: dict[str, str] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/pods"

    def give(self, document: Any, status: int = 200) -> None:
        self.body = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.status = status


class _Handler(BaseHTTPRequestHandler):
    server: ManifestServer

    def do_GET(self) -> None:
        self.server.seen = dict(self.headers.items())
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)
        self.server.asked += 1

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is printed."""


@pytest.fixture(scope="module")
def server() -> Iterator[ManifestServer]:
    with ManifestServer() as made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield made
        made.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def agent(
    runtime: PrivateContainerd, workshop: Workshop | None, server: ManifestServer
) -> Iterator[AgentProcess]:
    server.give(b"not yet", 503)
    settings = {
        "staticPodURL": server.url,
        "staticPodURLHeader": {"X-Manifest-Token": ["secret"]},
        "httpCheckFrequency": "100ms",
    }
    with agent_on(runtime, workshop, settings) as made:
        made.write_manifest(pod("from-file"))
        made.start()
        yield made
        server.give({"apiVersion": "v1", "kind": "PodList", "items": []})
        made.wait_for(lambda: set(made.pods()) == {"from-file"}, "let the pods of the URL go")


def wait_asked(agent: AgentProcess, server: ManifestServer, times: int = 3) -> None:
    """Wait until the URL has been asked so often again."""
    before = server.asked
    agent.wait_for(lambda: server.asked >= before + times, "ask the URL again")


def test_pods_of_a_url_follow_what_it_serves(agent: AgentProcess, server: ManifestServer) -> None:
    agent.wait_pod_ready("from-file")  # a URL that is down holds nobody else
    wait_asked(agent, server)
    assert set(agent.pods()) == {"from-file"}
    assert server.seen["X-Manifest-Token"] == "secret"

    server.give(pod("one"))
    agent.wait_pod_ready("one")
    shown = agent.pods()["one"]["metadata"]
    assert shown["name"] == f"one-{NODE_NAME}"
    assert shown["annotations"]["kubernetes.io/config.source"] == "http"

    server.give({"apiVersion": "v1", "kind": "PodList", "items": [pod("one"), pod("two")]})
    agent.wait_pod_ready("two")
    assert container_status(status_of(agent, "one"))["restartCount"] == 0


def test_an_error_of_the_url_keeps_the_last_pods(agent: AgentProcess, server: ManifestServer) -> None:
    server.give({"apiVersion": "v1", "kind": "PodList", "items": [pod("one"), pod("two")]})
    agent.wait_pod_ready("two")
    before = {name: container_status(status_of(agent, name))["containerID"] for name in ("one", "two")}
    answers: list[tuple[Any, int]] = [
        (b"gone", 500),
        (b"", 200),
        (b"{", 200),
        (pod("one", box(imagePullPolicy="Sometimes")), 200),
        (b"x" * ((10 << 20) + 1), 200),
    ]
    for body, status in answers:
        server.give(body, status)
        wait_asked(agent, server)
        after = {name: container_status(status_of(agent, name))["containerID"] for name in before}
        assert after == before
    said = [line for line in agent.log_path.read_text().splitlines() if "Cannot use a manifest" in line]
    for text in ("answered 500", "zero-length data", "cannot read JSON", "imagePullPolicy", "longer than"):
        assert len([line for line in said if text in line]) == 1, text


def test_a_pod_that_the_url_no_longer_lists_is_stopped(agent: AgentProcess, server: ManifestServer) -> None:
    server.give({"apiVersion": "v1", "kind": "PodList", "items": [pod("one"), pod("two")]})
    agent.wait_pod_ready("two")
    server.give({"apiVersion": "v1", "kind": "PodList", "items": [pod("two")]})
    agent.wait_for(lambda: set(agent.pods()) == {"from-file", "two"}, "let one pod go")
    agent.wait_pod_ready("two")
