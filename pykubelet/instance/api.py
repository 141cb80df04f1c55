"""A client of the cluster's API for the command: GET and JSON over one connection, by the standard library.

The agent's and the controllers' client (kube.client.http) takes a sixth of a second to import, too much for a
command that asks one question.
"""

from __future__ import annotations

import json
import ssl
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from kube import kubeconfig
from kube.client.settings import BadSettings
from kube.client.tls import tls_context
from pykubelet.errors import CommandError

TIMEOUT_SECONDS = 5.0
NOT_FOUND = 404


class ApiAway(CommandError):
    """Nobody answers at the kubeconfig's address, or not in TLS that we trust."""


class Api:
    """The API server of a kubeconfig. One thread at a time; `close` it."""

    def __init__(self, file: Path, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        """ApiAway when there is no such file, or none that can be used."""
        try:
            settings = kubeconfig.load(file)
            context = tls_context(settings)
        except BadSettings as error:
            raise ApiAway(str(error)) from error
        self._server = settings.server
        parts = urlsplit(settings.server)
        host, port = parts.hostname or "", parts.port
        self._connection: HTTPConnection = (
            HTTPConnection(host, port, timeout=timeout_seconds)
            if context is None
            else HTTPSConnection(host, port, timeout=timeout_seconds, context=context)
        )

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Api:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def get(self, path: str) -> Any:
        """The JSON at `path`, None when there is nothing (404). CommandError when the server refuses."""
        status, body = self._get(path)
        if status == NOT_FOUND:
            return None
        if status != 200:
            raise CommandError(f'cannot read "{path}" of {self._server}: because {_reason(status, body)}')
        return json.loads(body)

    def is_ready(self) -> bool:
        """Whether /readyz says so."""
        try:
            return self._get("/readyz")[0] == 200
        except ApiAway:
            return False

    def _get(self, path: str) -> tuple[int, bytes]:
        try:
            self._connection.request("GET", path, headers={"Accept": "application/json"})
            answer = self._connection.getresponse()
            return answer.status, answer.read()
        except (OSError, HTTPException, ssl.SSLError) as error:
            # The next request connects anew.
            self._connection.close()
            raise ApiAway(f"cannot ask the API server at {self._server}: because {error}") from error


def _reason(status: int, body: bytes) -> str:
    """What a Status object says, else the first of the text."""
    try:
        message = json.loads(body)["message"]
    except (ValueError, KeyError, TypeError):
        message = body.decode(errors="replace")[:200].strip()
    return f"it answers {status}: {message}"


def node_path(name: str) -> str:
    return f"/api/v1/nodes/{quote(name)}"


def lease_path(node: str) -> str:
    """Where the agent of a node says that it lives."""
    return f"/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{quote(node)}"
