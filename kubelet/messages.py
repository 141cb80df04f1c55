"""Termination messages read off the loop: the adapter between `observe` and `termination`."""

from __future__ import annotations

from dataclasses import dataclass

from aio.errors import Retry
from aio.executors import Executors
from cri.types import ContainerStatus
from kubelet.podspec.names import ContainerFacts
from kubelet.termination import joined, message_file, read_termination_message

READ_TIMEOUT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class TerminationMessages:
    executors: Executors

    async def read(self, status: ContainerStatus, facts: ContainerFacts) -> str:
        """The message of a container that ended; the runtime's own words if the rest cannot be had."""
        if not message_file(status.mounts, facts.termination_message_path) and not status.log_path:
            return status.message
        try:
            return await self.executors.run(
                "log",
                read_termination_message,
                status,
                facts,
                key=facts.pod.uid,
                timeout=READ_TIMEOUT_SECONDS,
            )
        except (TimeoutError, Retry) as error:
            return joined(status.message, f"Error on reading termination log: {error}")
