"""The real agent as a process of its own, for tests and the bench: started, killed, asked, stopped.

Mechanism: `kubelet` from the environment of this interpreter, with a configuration, a manifest directory,
logs and a local socket below one directory. Promise: synchronous and free of pytest; what the agent said is
in every failure; `close()` leaves no process. Whoever removes the directory removes the rest, once
`remove_all()` has seen every pod go.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from kubelet.marks import CRASH_NAME, HALT_NAME

T = TypeVar("T")

NODE_NAME = "n1"
POLL_SECONDS = 0.02
READY_SECONDS = 30.0
STOP_SECONDS = 15.0
REQUEST_SECONDS = 10.0
LOG_LINES_SHOWN = 60

# What a host needs that has the hybrid cgroup layout; on others it only leaves cgroups to the runtime.
CONFIGURATION: Mapping[str, Any] = {
    "apiVersion": "kubelet.config.k8s.io/v1beta1",
    "kind": "KubeletConfiguration",
    "failCgroupV1": False,
    "cgroupsPerQOS": False,
    "enforceNodeAllocatable": [],
    "healthzPort": 0,
}


class AgentFailed(AssertionError):
    """The agent did not do what was waited for; the text ends with the last lines of its log."""


class AgentProcess:
    """One agent on one directory. It may be started and killed any number of times."""

    def __init__(self, endpoint: str, root: Path | str, settings: Mapping[str, Any] | None = None) -> None:
        """`endpoint`: the runtime's. `root`: a short path (a socket lives in it), made when missing.

        `settings` are fields of KubeletConfiguration that win over those needed on any host.
        """
        self.root = Path(root)
        self.manifests = self.root / "manifests"
        self.state = self.root / "state"
        self.pod_logs = self.root / "logs" / "pods"
        self.log_path = self.root / "agent.log"
        self._socket = self.root / "agent.sock"
        self._endpoint = endpoint
        self._process: subprocess.Popen[bytes] | None = None
        for directory in (self.manifests, self.pod_logs):
            directory.mkdir(parents=True, exist_ok=True)
        self.configure(settings or {})

    def configure(self, settings: Mapping[str, Any]) -> None:
        """Write the configuration; it is read at the next start."""
        document = {
            **CONFIGURATION,
            "staticPodPath": str(self.manifests),
            "podLogsDir": str(self.pod_logs),
            "containerRuntimeEndpoint": self._endpoint,
            **settings,
        }
        (self.root / "config.yaml").write_text(json.dumps(document, indent=2))

    # Life

    @property
    def pid(self) -> int | None:
        """None while it does not run."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def start(
        self, *flags: str, crash_at: str = "", halt_at: str = "", verbosity: int = 2, wait: bool = True
    ) -> None:
        """Start it. At the points of `kubelet.marks` given it kills itself, or halts until `resume()`."""
        if self.pid is not None:
            raise RuntimeError("cannot start the agent: it runs already")
        points = {CRASH_NAME: crash_at, HALT_NAME: halt_at}
        environment = {name: value for name, value in os.environ.items() if name not in points}
        environment |= {name: point for name, point in points.items() if point}
        command = [
            str(Path(sys.executable).with_name("kubelet")),
            f"--config={self.root / 'config.yaml'}",
            f"--root-dir={self.state}",
            f"--local-socket={self._socket}",
            f"--hostname-override={NODE_NAME}",
            f"-v={verbosity}",
            *flags,
        ]
        with self.log_path.open("ab") as log:
            log.write(f"--- start {crash_at}{halt_at}\n".encode())
            log.flush()
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment
            )
        if wait:
            self.wait_ready()

    def kill9(self) -> None:
        """SIGKILL, and wait for the end; harmless when it has ended."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> int:
        """Ask it to end; its exit code."""
        assert self._process is not None, "the agent was not started"
        self._process.terminate()
        try:
            code = self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill9()
            raise self.failure(f"did not stop within {STOP_SECONDS:.0f} s") from None
        self._process = None
        return code

    def wait_killed(self, timeout: float = READY_SECONDS) -> None:
        """Wait until it has killed itself at its point. Raises AgentFailed when it ends otherwise."""
        assert self._process is not None, "the agent was not started"
        try:
            code = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise self.failure("did not come to its point") from None
        if code != -signal.SIGKILL:
            raise self.failure(f"ended with {code} instead of being killed")
        self._process = None

    def wait_halted(self, timeout: float = READY_SECONDS) -> None:
        """Wait until it has come to its `halt_at`."""
        stat = Path(f"/proc/{self.pid}/stat")
        self.wait_for(lambda: ") T " in stat.read_text(), "halt at its point", timeout)

    def resume(self) -> None:
        """Let a halted agent go on."""
        assert self._process is not None, "the agent was not started"
        self._process.send_signal(signal.SIGCONT)

    def wait_ready(self, timeout: float = READY_SECONDS) -> None:
        """Wait until the local socket answers."""
        self.wait_for(self._answers, "answer on its socket", timeout)

    def close(self) -> None:
        """End the process whatever it does."""
        self.kill9()

    # Manifests

    def write_manifest(self, pod: Mapping[str, Any], name: str = "") -> Path:
        """Put a pod into the directory as one event (write aside, then rename)."""
        path = self.manifests / f"{name or pod['metadata']['name']}.yaml"
        self.write_text(path, json.dumps(pod))
        return path

    def write_text(self, path: Path, text: str) -> None:
        aside = self.root / f"{path.name}.new"
        aside.write_text(text)
        aside.rename(path)

    def remove_manifest(self, name: str) -> None:
        (self.manifests / f"{name}.yaml").unlink()

    def remove_all(self, timeout: float = READY_SECONDS) -> None:
        """Remove every manifest, and wait until the agent has forgotten every pod."""
        for path in self.manifests.iterdir():
            path.unlink()
        self.wait_for(lambda: not self.summaries(), "let go of every pod", timeout)

    # What it says

    def get(self, path: str) -> Any:
        """The JSON that the local socket serves; None for 404. Raises OSError while nobody listens."""
        connection = _UnixConnection(str(self._socket), timeout=REQUEST_SECONDS)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        if answer.status == 404:
            return None
        if answer.status != 200:
            raise AgentFailed(f"GET {path} answers {answer.status}: {body.decode(errors='replace')}")
        return json.loads(body)

    def pods(self) -> dict[str, Any]:
        """Every pod the agent shows, with its status, by name as in the manifest."""
        shown = self.get("/pods")["items"]
        return {pod["metadata"]["name"].removesuffix(f"-{NODE_NAME}"): pod for pod in shown}

    def summaries(self) -> list[dict[str, Any]]:
        """One small map per worker (uid, name, stage, wanted, phase), pods without definition included."""
        found: list[dict[str, Any]] = self.get("/debug/pods")["pods"]
        return found

    def story(self, uid: str) -> dict[str, Any] | None:
        """Everything about one pod; None when it is not known."""
        found: dict[str, Any] | None = self.get(f"/debug/pods/{uid}")
        return found

    def uid(self, name: str) -> str:
        uid: str = self.pods()[name]["metadata"]["uid"]
        return uid

    def is_ready(self, name: str) -> bool:
        """Whether the pod's Ready condition is True."""
        pod = self.pods().get(name)
        conditions = pod["status"].get("conditions", ()) if pod is not None else ()
        return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)

    def wait_pod_ready(self, name: str, timeout: float = READY_SECONDS) -> dict[str, Any]:
        """Wait for the Ready condition; the pod."""
        self.wait_for(lambda: self.is_ready(name), f'have pod "{name}" ready', timeout)
        found: dict[str, Any] = self.pods()[name]
        return found

    def wait_for(self, found: Callable[[], T | None], what: str, timeout: float = READY_SECONDS) -> T:
        """Poll until `found` gives something true, and return that. OSError and LookupError count as not yet.

        Raises AgentFailed when the time is over, or at once when the agent has ended.
        """
        deadline = time.monotonic() + timeout
        while True:
            try:
                result = found()
            except (OSError, LookupError):
                result = None
            if result:
                return result
            if self._process is not None and self._process.poll() is not None:
                raise self.failure(f"ended with {self._process.returncode} and did not {what}")
            if time.monotonic() > deadline:
                raise self.failure(f"did not {what} within {timeout:.0f} s")
            time.sleep(POLL_SECONDS)

    def failure(self, what: str) -> AgentFailed:
        return AgentFailed(f"the agent {what}\n{self.log_tail()}")

    def log_tail(self, lines: int = LOG_LINES_SHOWN) -> str:
        text = self.log_path.read_text(errors="replace") if self.log_path.exists() else ""
        return "\n".join([f"last lines of {self.log_path}:", *text.splitlines()[-lines:]])

    def log_since_start(self) -> str:
        """What the present (or last) process has said."""
        return self.log_path.read_text(errors="replace").rpartition("--- start")[2]

    def _answers(self) -> bool:
        return self._socket.exists() and self.get("/debug/pods") is not None


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        try:
            self.sock.connect(self._path)
        except OSError:
            self.sock.close()
            raise
