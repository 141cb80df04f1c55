"""Tells the runtime the ranges of the node's pods (CRI UpdateRuntimeConfig), as upstream does: a runtime that
writes its network configuration from a template takes them from there, others take no notice.

The ranges are podCIDR of the configuration for an agent alone, and the Node's podCIDRs in a cluster.
"""

from __future__ import annotations

import asyncio
from typing import NoReturn

from aio import log as logs
from aio.backoff import Backoff
from aio.clock import Clock
from cri.errors import CriError, Unimplemented
from cri.service import RuntimeService

log = logs.get(__name__)

RETRY = Backoff(initial=0.5, maximum=10.0, reset_after=60.0)


class PodRange:
    """`run` is an eternal loop; `set` may be called as often as the ranges are heard of."""

    def __init__(self, runtime: RuntimeService, clock: Clock) -> None:
        self._runtime = runtime
        self._clock = clock
        self._wanted = ""
        self._changed = asyncio.Event()

    def set(self, pod_cidrs: tuple[str, ...]) -> None:
        """The ranges, primary first; () is not told to the runtime."""
        text = ",".join(pod_cidrs)
        if text and text != self._wanted:
            self._wanted = text
            self._changed.set()

    async def run(self) -> NoReturn:
        """Tell every change once, and again until the runtime took it."""
        backoff = RETRY
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                await self._runtime.update_runtime_config(self._wanted)
            except Unimplemented:
                log.v(2).info("The runtime does not want the pod range")
            except CriError as error:
                backoff, delay = backoff.next(self._clock.monotonic())
                log.warning("Cannot tell the runtime the pod range", podCIDR=self._wanted, err=error)
                self._changed.set()
                await self._clock.sleep(delay)
            else:
                log.info("Told the runtime the pod range", podCIDR=self._wanted)
