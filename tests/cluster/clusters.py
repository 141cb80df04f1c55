"""A whole cluster under a root of its own, driven by the commands a user types, and the kubectls that try it.

Mechanism: `pykubelet up --root DIR` in a process of its own, on free ports, with a bridge and tables named
after the root; `down --purge` at the end. Promise: nothing of another instance is touched and nothing stays.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pykubelet.instance.kubectl import find_kubectl as find_installed
from pykubelet.instance.layout import Layout
from scripts import later_suite

UP_SECONDS = 120
COMMAND_SECONDS = 60
NEWEST = "1.36"


class KubectlMissing(Exception):
    """This kubectl is not on the host; the text says how to get it."""


@dataclass(frozen=True, slots=True)
class Kubectl:
    """One kubectl; calling it runs it against a cluster."""

    program: Path
    kubeconfig: Path
    env: dict[str, str] = field(default_factory=dict)

    def run(self, *words: str, text: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run it with `text` on its standard input; CalledProcessError shows what it said."""
        done = subprocess.run(
            self.command(*words), input=text, capture_output=True, text=True, timeout=COMMAND_SECONDS,
            check=False, env=self.environment(),
        )  # fmt: skip
        if check and done.returncode:
            raise AssertionError(
                f"kubectl {' '.join(words)}: exit {done.returncode}\n{done.stdout}{done.stderr}"
            )
        return done

    def __call__(self, *words: str, text: str = "") -> str:
        """Standard output of a command that must work."""
        return self.run(*words, text=text).stdout

    def json(self, *words: str) -> Any:
        return json.loads(self(*words, "-o", "json"))

    def command(self, *words: str) -> list[str]:
        return [str(self.program), "--kubeconfig", str(self.kubeconfig), *words]

    def environment(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("KUBE")}
        return inherited | {"HOME": str(self.kubeconfig.parent)} | self.env

    def with_env(self, **values: str) -> Kubectl:
        return Kubectl(self.program, self.kubeconfig, self.env | values)


@dataclass(frozen=True, slots=True)
class Cluster:
    """One root. `env` decides which containerd is found first."""

    layout: Layout
    env: dict[str, str]

    @property
    def kubeconfig(self) -> Path:
        return self.layout.admin_kubeconfig

    def run(self, command: str, *words: str, seconds: float = UP_SECONDS) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "pykubelet", command, "--root", str(self.layout.root), *words]
        return subprocess.run(
            argv, capture_output=True, text=True, timeout=seconds, check=False, env=self.env
        )

    def up(self, *words: str) -> str:
        came = self.run("up", *words)
        assert came.returncode == 0, came.stdout + came.stderr
        return came.stdout

    def down(self, *words: str) -> str:
        gone = self.run("down", *words)
        assert gone.returncode == 0, gone.stdout + gone.stderr
        return gone.stdout

    def status(self) -> dict[str, Any]:
        shown: dict[str, Any] = json.loads(self.run("status", "--json").stdout)
        return shown

    def pid(self, component: str) -> int:
        return int(self.layout.pid_file(component).read_text())

    def kubectl(self, program: Path | None = None) -> Kubectl:
        return Kubectl(program or find_kubectl("PATH"), self.kubeconfig)


def find_kubectl(kind: str) -> Path:
    """The program of "PATH", or of a later suite for "1.36"; KubectlMissing.

    Where PATH has none of 1.28 or later, it is the one that `make up` installs there.
    """
    found = find_installed() if kind == "PATH" else ""
    if found:
        return Path(found)
    unpacked = later_suite.find("kubectl")
    if unpacked is None:
        raise KubectlMissing(f"kubectl {NEWEST} is not unpacked: run scripts/setup test")
    return unpacked.program("kubectl")


def wait_until(is_true: Callable[[], Any], what: str, seconds: float = COMMAND_SECONDS) -> Any:
    """The first true value of `is_true`; asked ten times a second."""
    deadline = time.monotonic() + seconds
    while not (value := is_true()):
        assert time.monotonic() < deadline, f"not in {seconds} s: {what}"
        time.sleep(0.1)
    return value
