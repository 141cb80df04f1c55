"""Termination messages: what a container that ended says of itself.

Its file comes first; with FallbackToLogsOnError the end of its log, if it failed and the file is empty. What
to read is decided in pure functions, `read_termination_message` blocks (kuberuntime_container.go).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from cri.logfiles import read_tail
from cri.types import ContainerStatus, Mount
from kubelet.podspec.names import ContainerFacts

MAX_FILE_BYTES = 4096  # kl/container/runtime.go MaxContainerTerminationMessageLength
MAX_LOG_BYTES = 2048  # MaxContainerTerminationMessageLogLength
MAX_LOG_LINES = 80  # MaxContainerTerminationMessageLogLines
FALLBACK_TO_LOGS = "FallbackToLogsOnError"
CONTAINER_CANNOT_RUN = "ContainerCannotRun"


def may_use_logs(policy: str, exit_code: int, reason: str) -> bool:
    """A container that never started has no log worth reading."""
    return policy == FALLBACK_TO_LOGS and exit_code != 0 and reason != CONTAINER_CANNOT_RUN


def message_file(mounts: Iterable[Mount], message_path: str) -> str:
    """The host file behind terminationMessagePath, "" when none is mounted there."""
    if not message_path:
        return ""
    return next((mount.host_path for mount in mounts if mount.container_path == message_path), "")


def joined(runtime_message: str, own_message: str) -> str:
    """The runtime's own words, then the container's."""
    return ": ".join(part for part in (runtime_message, own_message) if part)


def read_termination_message(status: ContainerStatus, facts: ContainerFacts) -> str:
    """The message of an ended container as its status should have it. Blocking; never raises OSError."""
    use_logs = may_use_logs(facts.termination_message_policy, status.exit_code, status.reason)
    path = message_file(status.mounts, facts.termination_message_path)
    own = ""
    if path:
        try:
            own = _last_bytes(path)
        except FileNotFoundError:
            own = ""
        except OSError as fault:
            return joined(status.message, f"Error on reading termination log {path}: {fault}")
    if not own and use_logs and status.log_path:
        own = _log_end(status.log_path)
    return joined(status.message, own)


def _last_bytes(path: str) -> str:
    """The end of the file. It belongs to the container, which may have made it anything: no following of
    links, no waiting for a pipe."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(fd, "rb", buffering=0) as file:
        state = os.fstat(fd)
        if not stat.S_ISREG(state.st_mode):
            return ""
        size = state.st_size
        file.seek(max(size - MAX_FILE_BYTES, 0))
        return file.read(MAX_FILE_BYTES).decode("utf-8", "replace")


def _log_end(path: str) -> str:
    try:
        return read_tail(Path(path), MAX_LOG_LINES, MAX_LOG_BYTES)
    except OSError as fault:
        return f"Error on reading termination message from logs: {fault}"
