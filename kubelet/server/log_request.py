"""What a request for a container's log asks for, and of which container's run (pure).

The options are Kubernetes' PodLogOptions as query parameters, the messages those of upstream's kubelet
(pkg/kubelet/server/server.go getContainerLogs, pkg/kubelet/kubelet_pods.go validateContainerLogStatus):
people and tools match on them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cri.logs import NANOSECONDS_PER_SECOND, STDERR, STDOUT, LogOptions, time_ns

_STREAMS = {"": {STDOUT, STDERR}, "All": {STDOUT, STDERR}, "Stdout": {STDOUT}, "Stderr": {STDERR}}
_PULL_FAILED = "ErrImagePull"
_PULL_BACKS_OFF = "ImagePullBackOff"
_MAX = 2**63 - 1
_MAX_DIGITS = 19  # of _MAX; int() itself refuses texts of thousands of digits


class BadLogRequest(Exception):
    """The request cannot be answered; `code` is HTTP's."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class LogRequest:
    """`options` for the reader; `previous`: of the run before the newest one."""

    options: LogOptions
    previous: bool = False


def read_log_request(query: Mapping[str, Sequence[str]], now_ns: int) -> LogRequest:
    """From the query's parameters; `now_ns` is the wall clock in ns. Raises BadLogRequest."""
    since_seconds = _number(query, "sinceSeconds", least=1)
    since_time = _first(query, "sinceTime")
    stream = _first(query, "stream")
    if (since_seconds is not None and since_time) or stream not in _STREAMS:
        raise _invalid()
    since_ns = None
    if since_time:
        since_ns = time_ns(since_time.encode(errors="replace"))
        if since_ns is None:
            raise _undecodable()
    elif since_seconds is not None:
        since_ns = now_ns - since_seconds * NANOSECONDS_PER_SECOND
    options = LogOptions(
        tail_lines=_number(query, "tailLines", least=0),
        since_ns=since_ns,
        timestamps=_flag(query, "timestamps"),
        limit_bytes=_number(query, "limitBytes", least=1),
        follow=_flag(query, "follow"),
        streams=frozenset(_STREAMS[stream]),
    )
    return LogRequest(options, _flag(query, "previous"))


def _first(query: Mapping[str, Sequence[str]], name: str) -> str:
    values = query.get(name)
    return values[0] if values else ""


def _flag(query: Mapping[str, Sequence[str]], name: str) -> bool:
    """As Kubernetes reads a boolean parameter: there, and neither "0" nor "false"."""
    values = query.get(name)
    return bool(values) and values is not None and values[0].lower() not in ("0", "false")


def _number(query: Mapping[str, Sequence[str]], name: str, *, least: int) -> int | None:
    text = _first(query, name)
    if not text:
        return None
    digits = text[1:] if text[0] in "+-" else text
    if not (digits.isascii() and digits.isdigit()):
        raise _undecodable()
    significant = digits.lstrip("0")
    if len(significant) > _MAX_DIGITS:
        raise _invalid()
    value = int(significant or "0") * (-1 if text[0] == "-" else 1)
    if value < least or value > _MAX:
        raise _invalid()
    return value


def _undecodable() -> BadLogRequest:
    return BadLogRequest(400, '{"message": "Unable to decode query."}')


def _invalid() -> BadLogRequest:
    return BadLogRequest(422, '{"message": "Invalid request."}')


def container_to_read(status: Mapping[str, Any], pod: str, container: str, *, previous: bool) -> str:
    """The id, without "containerd://", of the run whose log is meant by the pod's status. BadLogRequest (400)
    says why there is none yet, or none any more."""
    found = _status_of(status, container)
    if found is None:
        raise BadLogRequest(400, f'container "{container}" in pod "{pod}" is not available')
    state = found.get("state") or {}
    last = (found.get("lastState") or {}).get("terminated") or {}
    waiting, terminated = state.get("waiting"), state.get("terminated")
    if previous:
        container_id = last.get("containerID", "")
        if not container_id:
            raise BadLogRequest(400, f'previous terminated container "{container}" in pod "{pod}" not found')
    elif state.get("running") is not None:
        container_id = found.get("containerID", "")
    elif terminated is not None or last:
        container_id = (terminated or {}).get("containerID") or last.get("containerID", "")
        if not container_id:
            raise BadLogRequest(400, f'container "{container}" in pod "{pod}" is terminated')
    else:
        raise BadLogRequest(400, _why_waiting(waiting, pod, container))
    return str(container_id).rpartition("//")[2]


def _status_of(status: Mapping[str, Any], container: str) -> Mapping[str, Any] | None:
    for kind in ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"):
        for one in status.get(kind) or ():
            if one.get("name") == container:
                found: Mapping[str, Any] = one
                return found
    return None


def _why_waiting(waiting: Mapping[str, Any] | None, pod: str, container: str) -> str:
    subject = f'container "{container}" in pod "{pod}" is waiting to start'
    if waiting is None:
        return f"{subject} - no logs yet"
    reason = waiting.get("reason", "")
    if reason == _PULL_FAILED:
        return f"{subject}: image can't be pulled"
    if reason == _PULL_BACKS_OFF:
        return f"{subject}: trying and failing to pull image"
    return f"{subject}: {reason}"
