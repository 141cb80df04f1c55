"""A client of the agent's local socket: GET and JSON, over nothing but the standard library."""

from __future__ import annotations

import json
import socket
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from pykubelet.errors import CommandError

TIMEOUT_SECONDS = 5.0


class _UnixConnection(HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=TIMEOUT_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        try:
            self.sock.connect(str(self._path))
        except OSError:
            self.close()
            raise


class AgentAway(CommandError):
    """Nobody answers on the socket."""


def get_json(path: Path, target: str, *, method: str = "GET") -> Any:
    """The JSON at `target`. AgentAway when the agent does not answer, CommandError when it refuses."""
    connection = _UnixConnection(path)
    try:
        connection.request(method, target, headers={"Connection": "close"})
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, HTTPException) as error:
        raise AgentAway(f'cannot ask the agent at "{path}": because it does not answer ({error})') from error
    finally:
        connection.close()
    if answer.status != 200:
        raise CommandError(body.decode(errors="replace").strip() or f"the agent answers {answer.status}")
    return json.loads(body)


def get_pods(path: Path) -> list[dict[str, Any]]:
    """Every pod that the agent knows, as v1 Pods with their status."""
    items: list[dict[str, Any]] = get_json(path, "/pods")["items"]
    return items


def is_agent_healthy(port: int) -> bool:
    """Whether /healthz on 127.0.0.1:port says ok."""
    connection = HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", "/healthz", headers={"Connection": "close"})
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()
