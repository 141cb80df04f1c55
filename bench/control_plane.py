"""A control plane of one's own: `kube-controlplane` as it is delivered, in a directory that was empty."""

from __future__ import annotations

import http.client
import signal
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from controlplane.credentials import read_pki, write_admin_kubeconfig

START_SECONDS = 20.0
STOP_SECONDS = 30.0
LOOK_AGAIN_SECONDS = 0.01


@dataclass(frozen=True, slots=True)
class ControlPlane:
    pid: int
    kubeconfig: Path
    ready_seconds: float
    """From the start of the process until /readyz said ok."""


@contextmanager
def serving(base: Path) -> Iterator[ControlPlane]:
    """One that is ready. RuntimeError when it ends or does not become ready."""
    directory = Path(tempfile.mkdtemp(prefix="p", dir=base))
    address = directory / "address"
    command = [
        sys.executable, "-m", "controlplane", "--data-dir", str(directory / "data"), "--bind-address",
        "127.0.0.1", "--secure-port", "0", "--address-file", str(address), "-v", "0",
    ]  # fmt: skip
    began = time.perf_counter()
    process = subprocess.Popen(command)
    try:
        while not address.exists() or not address.read_text().endswith("\n"):
            _look_again(process, began)
        host, _, port = address.read_text().strip().rpartition(":")
        authority = read_pki(directory / "data" / "pki")
        assert authority is not None
        context = ssl.create_default_context(cafile=str(authority.ca_file))
        while not _is_ready(host, int(port), context):
            _look_again(process, began)
        took = time.perf_counter() - began
        config = directory / "admin.kubeconfig"
        write_admin_kubeconfig(authority, config, f"https://{host}:{port}", datetime.now(UTC))
        yield ControlPlane(process.pid, config, took)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=STOP_SECONDS)


def _look_again(process: subprocess.Popen[bytes], began: float) -> None:
    if process.poll() is not None or time.perf_counter() - began > START_SECONDS:
        raise RuntimeError(f"the control plane did not become ready: exit code {process.poll()}")
    time.sleep(LOOK_AGAIN_SECONDS)


def _is_ready(host: str, port: int, context: ssl.SSLContext) -> bool:
    connection = http.client.HTTPSConnection(host, port, context=context, timeout=START_SECONDS)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == http.HTTPStatus.OK
    except OSError:
        return False
    finally:
        connection.close()
