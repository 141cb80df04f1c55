"""Plugins as programs: found in the directories of CNI_PATH, run with their configuration on standard input.

A plugin that does not end in time is killed with everything it started; its output is bounded.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cni.invocation import PluginError

CALL_SECONDS = 60.0
MOST_OUTPUT_BYTES = 1 << 20
LAST_ERROR_BYTES = 400


@dataclass(frozen=True, slots=True)
class Answer:
    """How a call ended: the exit status and standard output; `errors` is the end of standard error."""

    code: int
    output: bytes
    errors: str = ""


class Runner(Protocol):
    """Calls plugins by name. `path` is what plugins get as CNI_PATH, to find those they delegate to."""

    @property
    def path(self) -> Sequence[str]: ...

    async def call(self, plugin: str, variables: Mapping[str, str], config: bytes) -> Answer:
        """PluginError when the plugin is not there or does not end."""
        ...


class Programs:
    """The plugins installed on this host."""

    def __init__(self, directories: Sequence[str], *, seconds: float = CALL_SECONDS) -> None:
        self._directories = tuple(directories)
        self._seconds = seconds

    @property
    def path(self) -> Sequence[str]:
        return self._directories

    async def call(self, plugin: str, variables: Mapping[str, str], config: bytes) -> Answer:
        command = variables.get("CNI_COMMAND", "")
        program = self._find(plugin)
        if program is None:
            places = " or ".join(self._directories) or "no directory"
            raise PluginError(plugin, command, 999, f"there is no such program in {places}")
        environ = {"PATH": os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"), **variables}
        try:
            process = await asyncio.create_subprocess_exec(
                str(program),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=environ,
                start_new_session=True,
                limit=MOST_OUTPUT_BYTES,
            )
        except OSError as error:
            raise PluginError(plugin, command, 999, f"it cannot be run: {error.strerror}") from error
        try:
            async with asyncio.timeout(self._seconds):
                output, errors = await process.communicate(config)
        except TimeoutError as error:
            raise PluginError(plugin, command, 999, f"it did not end in {self._seconds:g} s") from error
        finally:
            await _end(process)
        tail = errors[-LAST_ERROR_BYTES:].decode("utf-8", "replace").strip()
        return Answer(process.returncode or 0, output[:MOST_OUTPUT_BYTES], tail)

    def _find(self, plugin: str) -> Path | None:
        found = (Path(directory, plugin) for directory in self._directories)
        return next((program for program in found if os.access(program, os.X_OK)), None)


async def _end(process: asyncio.subprocess.Process) -> None:
    """No process of the call outlives it, however the call was left."""
    if process.returncode is None:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            # It ended by itself a moment ago.
            process.kill()
        await process.wait()
