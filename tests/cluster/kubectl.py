"""kubectl commands that go on (watches, attached terminals, forwarded ports), and pods to try them on.

Mechanism: the command runs with pipes or a pseudo terminal; a thread keeps what it says. Promise: the
command has ended, and its thread with it, when the `with` block is left; every wait has a limit and, past it,
shows what was said.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import secrets
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.cluster.clusters import COMMAND_SECONDS, Kubectl

IMAGE = "docker.io/library/busybox:1.35"
TRANSPORTS = {
    "websocket": {},
    "spdy": {"KUBECTL_REMOTE_COMMAND_WEBSOCKETS": "false", "KUBECTL_PORT_FORWARD_WEBSOCKETS": "false"},
}
"""Environments of kubectl for its two ways to exec, attach and forward ports."""

READ_BYTES = 1 << 16


@dataclass(slots=True)
class Started:
    """A kubectl under way. `said` is what it wrote so far, standard output and error together."""

    process: subprocess.Popen[bytes]
    source: int
    said: str = ""
    terminal: int | None = None
    _news: threading.Condition = field(default_factory=threading.Condition)

    def read_all(self) -> None:
        """The thread's work: until the other side closes (a pseudo terminal says EIO then)."""
        while True:
            try:
                part = os.read(self.source, READ_BYTES)
            except OSError:
                part = b""
            with self._news:
                self.said += part.decode("utf-8", "replace").replace("\r\n", "\n")
                self._news.notify_all()
            if not part:
                return

    def wait_for(self, text: str, *, times: int = 1, seconds: float = COMMAND_SECONDS) -> str:
        """All that was said, once `text` was, so many times."""
        with self._news:
            came = self._news.wait_for(lambda: self.said.count(text) >= times, timeout=seconds)
            assert came, f"not said in {seconds} s: {text!r}, but: {self.said!r}"
            return self.said

    def send(self, text: str) -> None:
        if self.terminal is not None:
            os.write(self.terminal, text.encode())
            return
        assert self.process.stdin is not None
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def close_input(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()

    def resize(self, rows: int, columns: int) -> None:
        assert self.terminal is not None
        fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def code(self, seconds: float = COMMAND_SECONDS) -> int:
        """The exit code of a command that ends by itself."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"did not end in {seconds} s; it said {self.said!r}") from None


@contextlib.contextmanager
def started(kubectl: Kubectl, *words: str) -> Iterator[Started]:
    """With pipes for standard input and output."""
    process = subprocess.Popen(
        kubectl.command(*words), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env=kubectl.environment(),
    )  # fmt: skip
    assert process.stdout is not None
    with process:
        yield from _watched(Started(process, process.stdout.fileno()))


@contextlib.contextmanager
def in_terminal(kubectl: Kubectl, *words: str, rows: int = 24, columns: int = 80) -> Iterator[Started]:
    """In a terminal of its own, as a person has it."""
    ours, theirs = pty.openpty()
    try:
        fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        # setsid gives it the terminal as its own: without, it would not hear of a new size.
        process = subprocess.Popen(
            ["setsid", "--ctty", *kubectl.command(*words)], stdin=theirs, stdout=theirs, stderr=theirs,
            env=kubectl.environment() | {"TERM": "xterm"},
        )  # fmt: skip
        os.close(theirs)
        with process:
            yield from _watched(Started(process, ours, terminal=ours))
    finally:
        os.close(ours)


def _watched(made: Started) -> Iterator[Started]:
    reader = threading.Thread(target=made.read_all)
    reader.start()
    try:
        yield made
    finally:
        if made.process.poll() is None:
            made.process.terminate()
        try:
            made.process.wait(10)
        except subprocess.TimeoutExpired:
            made.process.kill()
            made.process.wait()
        reader.join()


@contextlib.contextmanager
def new_namespace(kubectl: Kubectl) -> Iterator[str]:
    """A namespace for as long as the block lasts."""
    name = f"try-{secrets.token_hex(3)}"
    kubectl("create", "namespace", name)
    try:
        yield name
    finally:
        kubectl("delete", "namespace", name, "--timeout=60s")


def shell_pod(name: str, script: str, **spec: Any) -> dict[str, Any]:
    """A pod of one busybox shell; `spec` overrides fields of its specification."""
    container = {"name": "main", "image": IMAGE, "command": ["sh", "-c", script]}
    container |= spec.pop("container", {})
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": [container], **spec},
    }  # fmt: skip


def at_rest(name: str, **spec: Any) -> dict[str, Any]:
    """A pod that does nothing until it is told to end, and then ends at once."""
    return shell_pod(name, "echo $HOSTNAME is ready; trap exit TERM; while :; do sleep 0.1; done", **spec)


def deployment(name: str, replicas: int, script: str = "", **spec: Any) -> dict[str, Any]:
    """A Deployment of shells that end when told to."""
    pod = shell_pod(name, script) if script else at_rest(name)
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": pod["spec"]}
    return {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template, **spec},
    }  # fmt: skip


def put(kubectl: Kubectl, namespace: str, *bodies: dict[str, Any]) -> None:
    """Apply objects, in one command."""
    listed = {"apiVersion": "v1", "kind": "List", "items": list(bodies)}
    kubectl("apply", "-n", namespace, "-f", "-", text=json.dumps(listed))


def is_ready(pod: dict[str, Any]) -> bool:
    """Ready, and not on its way out."""
    conditions = {one["type"]: one["status"] for one in pod.get("status", {}).get("conditions", ())}
    return conditions.get("Ready") == "True" and "deletionTimestamp" not in pod["metadata"]


def pause(seconds: float) -> None:
    """Real time that must pass because a promise is about time (never to wait for something to happen)."""
    time.sleep(seconds)
