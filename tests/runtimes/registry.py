"""A registry of one's own on a loopback port, for real pulls without a network.

Mechanism: Debian's docker-registry, installed or unpacked, serves a directory; an image archive of ours is
pushed blob by blob over the registry's HTTP API. Promise: nothing is left after `stop()`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import socket
import subprocess
import tarfile
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType

from scripts import later_suite

READY_SECONDS = 10.0
USER, PASSWORD = "robot", "sesame"
# bcrypt of PASSWORD at the least cost: the one kind of hash that the registry takes.
PASSWORD_HASH = "$2b$04$j3xp9lT9BCzdISDyWDLUqOyDx34ZoXurNqPMCrp5n0rmSddQc4T7O"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


class PrivateRegistry:
    """`start()`, `push_archive(...)`, then pull `REGISTRY/NAME:TAG` as `address` and `reference()` say.

    A `locked` one serves nobody but USER with PASSWORD.
    """

    def __init__(self, root: Path | str | None = None, *, locked: bool = False) -> None:
        self.locked = locked
        self.root = Path(root or tempfile.mkdtemp(prefix="pkt-registry-")).resolve()
        self.port = 0
        self._server: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """HOST:PORT, the registry part of an image reference."""
        return f"127.0.0.1:{self.port}"

    def reference(self, name: str, tag: str = "latest") -> str:
        return f"{self.address}/{name}:{tag}"

    def start(self) -> PrivateRegistry:
        self.root.mkdir(parents=True, exist_ok=True)
        self.port = self.port or _free_port()
        config = self.root / "config.yml"
        users = self.root / "users"
        users.write_text(f"{USER}:{PASSWORD_HASH}\n")
        locks = {"auth": {"htpasswd": {"realm": "private", "path": str(users)}}} if self.locked else {}
        config.write_text(
            json.dumps(
                {
                    "version": 0.1,
                    "log": {"level": "warn", "accesslog": {"disabled": True}},
                    "storage": {"filesystem": {"rootdirectory": str(self.root / "data")}},
                    "http": {"addr": self.address},
                    **locks,
                }
            )
        )
        with (self.root / "registry.log").open("ab") as log:
            command = [str(_find_program()), "serve", str(config)]
            self._server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + READY_SECONDS
        while not self._answers():
            if self._server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"registry did not start:\n{(self.root / 'registry.log').read_text()}")
            time.sleep(0.02)
        return self

    def push_archive(self, archive: bytes | Path, name: str, tag: str = "latest") -> str:
        """Push the one image of an archive in OCI layout as NAME:TAG; returns the full reference."""
        path = archive if isinstance(archive, Path) else self.root / "push.tar"
        if isinstance(archive, bytes):
            path.write_bytes(archive)
        with tarfile.open(path) as tar:
            manifest = _blob(tar, json.loads(_member(tar, "index.json"))["manifests"][0]["digest"])
            described = json.loads(manifest)
            for descriptor in (described["config"], *described["layers"]):
                self._push_blob(name, _blob(tar, descriptor["digest"]))
        self._request("PUT", f"/v2/{name}/manifests/{tag}", manifest, MANIFEST)
        if isinstance(archive, bytes):
            path.unlink()
        return self.reference(name, tag)

    def stop(self) -> None:
        if self._server is not None:
            self._server.kill()
            self._server.wait()
            self._server = None
        if self.root.exists():
            shutil.rmtree(self.root)

    def __enter__(self) -> PrivateRegistry:
        return self if self._server is not None else self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _answers(self) -> bool:
        try:
            self._request("GET", "/v2/")
        except (urllib.error.URLError, ConnectionError):
            return False
        return True

    def _push_blob(self, name: str, blob: bytes) -> None:
        location = self._request("POST", f"/v2/{name}/blobs/uploads/", b"")["Location"]
        path = location.removeprefix(f"http://{self.address}")
        digest = hashlib.sha256(blob).hexdigest()
        self._request("PUT", f"{path}{'&' if '?' in path else '?'}digest=sha256:{digest}", blob)

    def _request(
        self, method: str, path: str, body: bytes | None = None, kind: str = "application/octet-stream"
    ) -> dict[str, str]:
        """The answer's headers; urllib's HTTPError for a refusal."""
        request = urllib.request.Request(f"http://{self.address}{path}", data=body, method=method)
        if body is not None:
            request.add_header("Content-Type", kind)
        if self.locked:
            login = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
            request.add_header("Authorization", f"Basic {login}")
        # No proxy: the registry listens on loopback, whatever the environment says.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=READY_SECONDS) as answer:
            return dict(answer.headers)


def _find_program() -> Path:
    installed = shutil.which("docker-registry")
    if installed is not None:
        return Path(installed)
    unpacked = later_suite.find("docker-registry")
    if unpacked is None:
        raise RuntimeError("cannot start a registry: docker-registry is not unpacked, run scripts/setup test")
    return unpacked.program("docker-registry")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _member(tar: tarfile.TarFile, name: str) -> bytes:
    stream = tar.extractfile(name)
    if stream is None:
        raise ValueError(f"{name} is not a file of the archive")
    return stream.read()


def _blob(tar: tarfile.TarFile, digest: str) -> bytes:
    return _member(tar, f"blobs/{digest.replace(':', '/')}")
