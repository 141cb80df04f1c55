"""A control plane of its own in a directory: the real process, its certificates, and plain HTTPS to it.

Mechanism: `python -m controlplane` on loopback and a free port; requests are made with the standard library
alone, so that nothing here is tested by itself. Promise: `close` leaves no process.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from controlplane import credentials
from kube import pki
from kube.pki import Pair, Subject, Usage

START_SECONDS = 60
STOP_SECONDS = 30
ANSWER_SECONDS = 30


def now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Answer:
    code: int
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


@dataclass(slots=True)
class Plane:
    """`root` holds everything: `data` (store and certificates), address file, log, kubeconfigs."""

    root: Path
    process: subprocess.Popen[bytes] | None = None
    started: int = 0
    others: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def log(self) -> Path:
        return self.root / "log"

    @property
    def pki(self) -> credentials.Pki:
        found = credentials.read_pki(self.data / "pki")
        assert found is not None
        return found

    def command(self, *words: str) -> list[str]:
        return [
            sys.executable, "-m", "controlplane", "--data-dir", str(self.data), "--bind-address", "127.0.0.1",
            "--address-file", str(self.address_file), "--secure-port", "0", *words,
        ]  # fmt: skip

    @property
    def address_file(self) -> Path:
        return self.root / f"address-{self.started}"

    def start(self, *words: str) -> None:
        """Returns when it serves."""
        self.started += 1
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.command(*words), stderr=log)
        deadline = time.monotonic() + START_SECONDS
        while not self.address_file.exists():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.02)

    def start_part(self, *words: str) -> subprocess.Popen[bytes]:
        """Another process with a log in common."""
        with self.log.open("ab") as log:
            made = subprocess.Popen([sys.executable, "-m", "controlplane", *words], stderr=log)
        self.others.append(made)
        return made

    def try_start(self, *words: str) -> tuple[int, str]:
        """Exit code and standard error of one that is to end by itself."""
        done = subprocess.run(
            self.command(*words), capture_output=True, text=True, timeout=START_SECONDS, check=False
        )
        return done.returncode, done.stderr

    def stop(self, number: int = signal.SIGTERM) -> int:
        """The exit code."""
        process, self.process = self.process, None
        assert process is not None
        process.send_signal(number)
        return process.wait(STOP_SECONDS)

    def close(self) -> None:
        running = [process for process in (self.process, *self.others) if process is not None]
        self.process = None
        self.others.clear()
        for process in running:
            if process.poll() is None:
                process.kill()
            process.wait(STOP_SECONDS)

    @property
    def address(self) -> str:
        return self.address_file.read_text().strip()

    @property
    def url(self) -> str:
        return f"https://{self.address}"

    def kubeconfig(self) -> Path:
        """The administrator's, for the present address."""
        file = self.root / "admin.kubeconfig"
        credentials.write_admin_kubeconfig(self.pki, file, self.url, now())
        return file

    def context(self, pair: Pair | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.pki.ca_file))
        if pair is not None:
            file = self.root / "shown.pem"
            file.write_bytes(pair.certificate + pair.key)
            context.load_cert_chain(file)
        return context

    def user(self, name: str, *groups: str) -> User:
        """Somebody with a certificate of this cluster."""
        pair = pki.issue(self.pki.ca, Subject(name, groups), Usage.CLIENT, now())
        return User(self, self.context(pair))

    def admin(self) -> User:
        return self.user("ann", "system:masters")

    def node(self, name: str) -> User:
        return self.user(f"system:node:{name}", "system:nodes")

    def nobody(self) -> User:
        return User(self, self.context())

    def holder(self, token: str) -> User:
        return User(self, self.context(), {"Authorization": f"Bearer {token}"})


@dataclass(frozen=True, slots=True)
class User:
    """Requests of one user, each over a connection of its own."""

    plane: Plane
    context: ssl.SSLContext
    headers: Mapping[str, str] = field(default_factory=dict)

    def ask(self, method: str, path: str, body: Any = None, content_type: str = "application/json") -> Answer:
        host, _, port = self.plane.address.rpartition(":")
        connection = http.client.HTTPSConnection(
            host, int(port), context=self.context, timeout=ANSWER_SECONDS
        )
        try:
            raw = None if body is None else json.dumps(body).encode()
            headers = {"Content-Type": content_type, **self.headers}
            connection.request(method, path, raw, headers)
            response = connection.getresponse()
            return Answer(response.status, response.read().decode())
        finally:
            connection.close()

    def code(self, method: str, path: str, body: Any = None) -> int:
        return self.ask(method, path, body).code

    def get(self, path: str) -> Any:
        found = self.ask("GET", path)
        assert found.code == 200, found.text
        return found.json

    def create(self, path: str, body: Any) -> Any:
        made = self.ask("POST", path, body)
        assert made.code == 201, made.text
        return made.json

    def patch(self, path: str, change: Any) -> Answer:
        return self.ask("PATCH", path, change, "application/merge-patch+json")


def config_map(name: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def secret(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {"a": "b"}}


def node(name: str, **labels: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}}


def pod(name: str, node_name: str = "", secret_name: str = "") -> dict[str, Any]:
    spec: dict[str, Any] = {"containers": [{"name": "main", "image": "busybox:1.35"}]}
    if node_name:
        spec["nodeName"] = node_name
    if secret_name:
        spec["volumes"] = [{"name": "s", "secret": {"secretName": secret_name}}]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def environment(kubeconfig: Path) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("KUBE")}
    return inherited | {"HOME": str(kubeconfig.parent), "KUBECONFIG": str(kubeconfig)}
