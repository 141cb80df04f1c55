"""The kubectl that a user of this cluster has: the one of PATH, else the one beside this command."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

OLDEST = (1, 28)
"""The oldest that this cluster is tried with."""

_ASK_SECONDS = 10.0
_VERSION = re.compile(r"v?(\d+)\.(\d+)")


def find_kubectl() -> str:
    """Its path; "" when there is none of 1.28 or later."""
    beside = Path(sys.executable).with_name("kubectl")
    candidates = (shutil.which("kubectl"), str(beside) if beside.exists() else None)
    return next((path for path in candidates if path and version_of(path) >= OLDEST), "")


def version_of(program: str) -> tuple[int, int]:
    """(0, 0) for a program that does not say."""
    command = [program, "version", "--client", "-o", "json"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_ASK_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return (0, 0)
    return read_version(said.stdout)


def read_version(text: str) -> tuple[int, int]:
    """Of what `kubectl version --client -o json` prints (pure)."""
    try:
        version = json.loads(text)["clientVersion"]["gitVersion"]
    except (ValueError, KeyError, TypeError):
        return (0, 0)
    found = _VERSION.match(version)
    return (int(found[1]), int(found[2])) if found else (0, 0)
