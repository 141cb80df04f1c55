"""Plugins as programs: found in the directories of CNI_PATH, run with their configuration on standard input.

A plugin that does not end in time, or writes more than it may, is killed with everything it started, also
where it has ended itself and a child of its holds its output open.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cni.invocation import PluginError

CALL_SECONDS = 60.0
MOST_OUTPUT_BYTES = 1 << 20
LAST_ERROR_BYTES = 400
_PLACES = "/usr/sbin:/usr/bin:/sbin:/bin"


def search_path() -> str:
    """PATH, and behind it where administration programs are. Never an empty part: that would be the current
    directory."""
    given = os.environ.get("PATH", "").split(":")
    return ":".join([*filter(None, given), _PLACES])


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
        environ = {"PATH": search_path(), **variables}
        try:
            transport, made = await asyncio.get_running_loop().subprocess_exec(
                _Call, str(program), env=environ, start_new_session=True
            )
        except OSError as error:
            raise PluginError(plugin, command, 999, f"it cannot be run: {error.strerror}") from error
        try:
            async with asyncio.timeout(self._seconds):
                await made.carry_out(transport, config)
        except TimeoutError as error:
            raise PluginError(plugin, command, 999, f"it did not end in {self._seconds:g} s") from error
        finally:
            await made.end(transport)
        if made.is_too_much:
            raise PluginError(plugin, command, 999, f"it wrote more than {MOST_OUTPUT_BYTES} bytes")
        tail = made.errors[-LAST_ERROR_BYTES:].decode("utf-8", "replace").strip()
        return Answer(transport.get_returncode() or 0, bytes(made.output), tail)

    def _find(self, plugin: str) -> Path | None:
        found = (Path(directory, plugin) for directory in self._directories)
        return next((program for program in found if os.access(program, os.X_OK)), None)


class _Call(asyncio.SubprocessProtocol):
    """One call under way: what the plugin wrote so far, and whether it is over."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.output = bytearray()
        self.errors = bytearray()
        self.is_too_much = False
        self._exited: asyncio.Future[None] = loop.create_future()
        self._over: asyncio.Future[None] = loop.create_future()
        self._is_whole = False

    async def carry_out(self, transport: asyncio.SubprocessTransport, config: bytes) -> None:
        """Until it has ended and nobody can write any more, or until it wrote too much."""
        stdin = transport.get_pipe_transport(0)
        assert isinstance(stdin, asyncio.WriteTransport)
        stdin.write(config)
        stdin.close()
        await self._over

    async def end(self, transport: asyncio.SubprocessTransport) -> None:
        """No process of the call outlives it, however it was left: those that hold its output open are of its
        session, also when it has ended itself."""
        if not self._is_whole:
            with suppress(ProcessLookupError):  # the last of them ended a moment ago
                os.killpg(transport.get_pid(), signal.SIGKILL)
            await self._exited
        transport.close()

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        kept = self.output if fd == 1 else self.errors
        if len(kept) + len(data) <= MOST_OUTPUT_BYTES:
            kept += data
            return
        self.is_too_much = True
        if not self._over.done():
            self._over.set_result(None)

    def process_exited(self) -> None:
        self._exited.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_whole = True
        if not self._over.done():
            self._over.set_result(None)
