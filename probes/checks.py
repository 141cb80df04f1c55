"""Carrying out one check of any kind, with a bound on how many commands run in containers at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import aio.log
from probes import exec as exec_check
from probes import grpc as grpc_check
from probes import tcp as tcp_check
from probes.exec import ExecSync
from probes.outcome import Outcome, Verdict, unknown
from probes.spec import BrokenCheck, Check, ExecCheck, GrpcCheck, HttpCheck, TcpCheck
from probes.target import ProbeTarget

if TYPE_CHECKING:
    from probes.http import HttpProbe

log = aio.log.get(__name__)

MAX_ATTEMPTS = 3  # of one probe whose prober fails; kubernetes pkg/kubelet/prober/prober.go maxProbeRetries
MAX_CONCURRENT_EXEC = 8  # a command in a container costs a process or three: more at once only slows all


class Checker(Protocol):
    """`started()` is called when the check really begins, after any wait for a free slot."""

    async def run(self, target: ProbeTarget, started: Callable[[], None]) -> Outcome: ...
    async def close(self) -> None: ...


class Checks:
    """The real checker."""

    def __init__(self, exec_sync: ExecSync, *, max_concurrent_exec: int = MAX_CONCURRENT_EXEC) -> None:
        self._exec_sync = exec_sync
        self._exec_slots = asyncio.Semaphore(max_concurrent_exec)
        self._http: HttpProbe | None = None

    async def run(self, target: ProbeTarget, started: Callable[[], None]) -> Outcome:
        """One outcome; an error of the prober is tried again at once, three times in all."""
        check = target.resolved_check()
        if isinstance(check, ExecCheck):
            async with self._exec_slots:
                started()
                return await self._attempts(check, target)
        started()
        return await self._attempts(check, target)

    async def _attempts(self, check: Check, target: ProbeTarget) -> Outcome:
        outcome = unknown("not tried")
        for _ in range(MAX_ATTEMPTS):
            try:
                outcome = await self._check(check, target)
            except Exception as error:  # noqa: BLE001 - a target must not bring down the agent; reported
                log.error("Probe check raised", err=error, containerID=target.container_id, check=check)
                outcome = unknown(f"{type(error).__name__}: {error}")
            if outcome.verdict is not Verdict.UNKNOWN:
                break
        return outcome

    async def _check(self, check: Check, target: ProbeTarget) -> Outcome:
        timeout = target.spec.timeout
        match check:
            case HttpCheck():
                return await self._http_probe().check(check, timeout)
            case TcpCheck():
                return await tcp_check.check(check, timeout)
            case GrpcCheck():
                return await grpc_check.check(check, target.host, timeout)
            case BrokenCheck():
                return unknown(check.reason)
            case ExecCheck():
                return await exec_check.check(check, target.container_id, timeout, self._exec_sync)

    def _http_probe(self) -> HttpProbe:
        if self._http is None:
            from probes.http import (
                HttpProbe,
            )  # here: loading the HTTP client takes longer than many agents run

            self._http = HttpProbe()
        return self._http

    async def close(self) -> None:
        if self._http is not None:
            await self._http.close()
            self._http = None
