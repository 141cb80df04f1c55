"""The fake runtime's events as the agent reads them: `EventSource`, with a Resync after every break."""

from __future__ import annotations

from collections.abc import AsyncIterator

from cri.errors import CriError
from cri.events import EventKind, Resync, RuntimeEvent
from cri.fake.events import Hub
from cri.types import ContainerEventType

KINDS = {
    ContainerEventType.CONTAINER_CREATED_EVENT: EventKind.CREATED,
    ContainerEventType.CONTAINER_STARTED_EVENT: EventKind.STARTED,
    ContainerEventType.CONTAINER_STOPPED_EVENT: EventKind.STOPPED,
    ContainerEventType.CONTAINER_DELETED_EVENT: EventKind.DELETED,
}


class FakeEventSource:
    """Subscribes when iteration starts, and again, with a Resync, when the runtime restarts."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    async def events(self) -> AsyncIterator[RuntimeEvent | Resync]:
        reason = "first subscription"
        while True:
            await self._hub.up.wait()
            subscription = self._hub.subscribe()
            try:
                yield Resync(reason)
                async for event in subscription:
                    sandbox = event.pod_sandbox_status
                    yield RuntimeEvent(
                        KINDS[event.container_event_type],
                        event.container_id,
                        event.created_at,
                        sandbox_id=sandbox.id,
                        pod_uid=sandbox.metadata.uid,
                        exit_code=next(
                            (
                                status.exit_code
                                for status in event.containers_statuses
                                if status.id == event.container_id and status.finished_at
                            ),
                            None,
                        ),
                    )
                return
            except CriError as error:
                reason = str(error)
            finally:
                await subscription.aclose()
