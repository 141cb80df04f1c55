"""Runs controllers: one local copy per kind for all of them, one queue each, a few workers per queue.

    runner = Runner(client, [ReplicaSetController(clock), ...], clock=clock)
    await elector.run(runner.run)

A key is never in two hands. One whose reconcile failed comes back after 5 ms, doubling to 1000 s. One whose
writes the local copy does not show yet waits for it, so that nothing is ever done twice by old eyes.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NoReturn

import msgspec

from aio import log as logs
from aio.clock import Clock
from aio.errors import Bug
from aio.queue import KeyedQueue
from controlplane.controllers.base import INDEXES, Controller, View, Writer, key_of
from controlplane.recorder import Recorder
from kube import status
from kube.cache import Cache, Change
from kube.client import Client, JsonObject, Unreachable
from kube.client.resources import Resource
from kube.errors import StatusError

log = logs.get(__name__)

# workqueue.DefaultTypedControllerRateLimiter
FIRST_BACKOFF_SECONDS = 0.005
MOST_BACKOFF_SECONDS = 1000.0
WORKERS = 5
# A write comes back as an event, which queues the key; this is for one that never does.
_LOOK_AGAIN_SECONDS = 0.2


class _Running:
    """One controller with its queue."""

    def __init__(self, controller: Controller, client: Client, recorder: Recorder) -> None:
        self.controller = controller
        self.client = client
        self.recorder = recorder
        self.queue: KeyedQueue[str] = KeyedQueue()
        self.failures: dict[str, int] = {}
        self.written: dict[str, dict[Resource, int]] = {}


class Runner:
    """`client` reads for all of them; each writes with that of `clients` under its name, if there is one."""

    def __init__(
        self, client: Client, controllers: Sequence[Controller], *, clock: Clock,
        clients: Mapping[str, Client] = MappingProxyType({}),
    ) -> None:  # fmt: skip
        kinds = dict.fromkeys(kind for controller in controllers for kind in controller.reads)
        self._caches: dict[Resource, Cache[JsonObject]] = {
            kind: Cache(client, kind, _read, clock=clock, indexes=INDEXES) for kind in kinds
        }
        self._view = View(self._caches)
        self._running = [
            _Running(item, own, Recorder(own, clock, item.name))
            for item in controllers
            for own in (clients.get(item.name, client),)
        ]

    async def run(self) -> NoReturn:
        """For ever; cancel to stop."""
        async with asyncio.TaskGroup() as group:
            for cache in self._caches.values():
                group.create_task(cache.run())
            for cache in self._caches.values():
                await cache.wait_synced()
            for running in self._running:
                group.create_task(running.recorder.run())
                self._connect(running)
                for _ in range(WORKERS):
                    group.create_task(self._work(running))
        raise AssertionError("a loop for ever has ended")

    def _connect(self, running: _Running) -> None:
        """From here on every change queues the keys it concerns; all that exists counts as a change."""
        controller = running.controller
        for kind in controller.reads:

            def note(change: Change[JsonObject], kind: Resource = kind) -> None:
                for value in (change.old, change.new):
                    if value is not None:
                        self._queue(running, kind, value)

            self._caches[kind].add_handler(note)

    def _queue(self, running: _Running, kind: Resource, value: JsonObject) -> None:
        controller = running.controller
        try:
            for key in controller.keys(kind, value, self._view):
                running.queue.add(key)
        except Exception as error:  # noqa: BLE001 - one object's fault must not end all controllers
            log.error("Cannot tell whom a change concerns", controller=controller.name, kind=kind.kind,
                      object=key_of(value), err=_described(error))  # fmt: skip

    async def _work(self, running: _Running) -> None:
        while True:
            key = await running.queue.get()
            try:
                await self._handle(running, key)
            finally:
                running.queue.done(key)

    async def _handle(self, running: _Running, key: str) -> None:
        controller = running.controller
        behind = running.written.get(key, {})
        if not all(self._view.has_reached(kind, version) for kind, version in behind.items()):
            running.queue.add_after(key, _LOOK_AGAIN_SECONDS)
            return
        running.written.pop(key, None)
        api = Writer(running.client, running.recorder, controller.reads, controller.writes)
        try:
            result = await controller.reconcile(key, self._view, api)
        except (StatusError, Unreachable) as error:
            self._failed(running, key, error)
        except Bug:
            raise  # it reaches for what it has not declared: whatever the object
        except Exception as error:  # noqa: BLE001 - one object's fault must not end all controllers
            log.error("A controller is wrong", controller=controller.name, key=key, err=_described(error))
            self._failed(running, key, error)
        else:
            running.failures.pop(key, None)
            if result.after is not None:
                running.queue.add_after(key, result.after)
        seen = {kind: version for kind, version in api.written.items() if kind in self._caches}
        if seen:
            running.written[key] = seen

    def _failed(self, running: _Running, key: str, error: Exception) -> None:
        count = running.failures[key] = running.failures.get(key, 0) + 1
        delay = min(FIRST_BACKOFF_SECONDS * 2.0 ** min(count - 1, 20), MOST_BACKOFF_SECONDS)
        # Somebody else was faster: the normal way of things.
        tell = log.v(2).info if isinstance(error, status.Conflict | status.NotFound) else log.warning
        tell("Reconcile failed", controller=running.controller.name, key=key, again_in=delay, err=error)
        running.queue.add_after(key, delay)


def _described(error: Exception) -> str:
    """With the place it comes from."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({Path(last.filename).name}:{last.lineno})"


def _read(raw: bytes) -> JsonObject:
    value: JsonObject = msgspec.json.decode(raw)
    return value
