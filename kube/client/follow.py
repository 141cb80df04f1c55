"""Follow a collection for ever: one watch after another, from where the last one ended.

A stream that the server ends is begun again at once; one that fails, or ends as soon as it began, after a
back-off with jitter. Only Expired comes out: then what was missed cannot be had, and the reader must list.
"""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace

from aio import log as logs
from aio.backoff import Backoff
from aio.clock import Clock
from kube import status
from kube.client.model import Client, WatchEvent, WatchOptions
from kube.client.resources import Resource
from kube.client.unreachable import Unreachable
from kube.errors import StatusError

log = logs.get(__name__)

# client-go's reflector: backoffManager and minWatchTimeout (a random time up to twice that).
RETRY = Backoff(initial=0.8, maximum=30.0, reset_after=120.0)
LEAST_WATCH_SECONDS = 300
# A stream that was shorter than this and brought nothing is a failure (reflector: "very short watch").
SHORTEST_GOOD_SECONDS = 1.0

Failure = (Unreachable, StatusError)


@dataclass(slots=True)
class Pacer:
    """Waits between attempts: exponential, stretched by up to as much again. `jitter()` is in [0, 1)."""

    clock: Clock
    jitter: Callable[[], float] = random.random
    state: Backoff = RETRY

    async def wait(self, hint: float | None = None) -> float:
        """Sleep for the next delay, or for the server's hint when that is longer; returns the seconds."""
        self.state, delay = self.state.next(self.clock.monotonic())
        delay = max(delay * (1.0 + self.jitter()), hint or 0.0)
        await self.clock.sleep(delay)
        return delay

    def watch_seconds(self) -> int:
        """How long to ask a stream to be, spread so that not all clients come back at once."""
        return int(LEAST_WATCH_SECONDS * (1.0 + self.jitter()))


async def follow(
    client: Client, resource: Resource, *, pacer: Pacer, namespace: str = "", options: WatchOptions
) -> AsyncGenerator[WatchEvent, None]:
    """Events after `options.resource_version`, which must be of a list or an earlier event; bookmarks too."""
    version = options.resource_version
    while True:
        began, heard = pacer.clock.monotonic(), False
        this_time = replace(
            options, resource_version=version, initial_events=False, timeout_seconds=pacer.watch_seconds()
        )
        hint = None
        try:
            async with aclosing(client.watch(resource, namespace=namespace, options=this_time)) as events:
                async for event in events:
                    heard = True
                    version = event.identity.resource_version or version
                    yield event
        except status.Expired:
            raise
        except Failure as error:
            log.warning("Watch failed, going on", resource=resource.qualified, version=version, err=error)
            hint = hint_of(error)
        else:
            if heard or pacer.clock.monotonic() - began >= SHORTEST_GOOD_SECONDS:
                continue
        await pacer.wait(hint)


def hint_of(error: Exception) -> float | None:
    """When a refusal asks to come back, in seconds."""
    return status.retry_after_seconds(error.status) if isinstance(error, StatusError) else None
