"""What `up` waits for once every component answers: the node in the API, and the pods of the manifests."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime

from pykubelet.errors import CommandError
from pykubelet.instance.api import Api, ApiAway, lease_path, node_path
from pykubelet.instance.layout import Layout
from pykubelet.instance.local import AgentAway
from pykubelet.instance.manifests import Manifests
from pykubelet.instance.nodestate import NodeState, node_state
from pykubelet.instance.podrows import PodRow
from pykubelet.instance.processes import started_at
from pykubelet.instance.progress import Step
from pykubelet.instance.record import Book
from pykubelet.instance.running import KUBELET, node_name, pod_rows

NODE_CHECK_SECONDS = 0.05
POD_CHECK_SECONDS = 0.1
# A pod that the agent does not show by then is one that it refused, or two manifests of one name.
APPEAR_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Wait:
    """How the wait for the pods ended."""

    rows: list[PodRow]
    are_settled: bool
    manifests: Manifests


async def wait_for_node(book: Book, timeout: float, step: Step) -> None:
    """Until the agent that runs now has said that the node is ready. CommandError when the time is over."""
    component = book.record.component(KUBELET)
    since = started_at(component) if component is not None else datetime.now(UTC)
    deadline = time.monotonic() + timeout
    with Api(book.layout.admin_kubeconfig) as api:
        while not (state := await asyncio.to_thread(_ask, api, since)).is_ready:
            if time.monotonic() > deadline:
                raise CommandError(
                    f'cannot bring node "{node_name()}" up: because after {timeout:g} s {state.why}; '
                    f"the agent's log is {book.layout.log_of(KUBELET)}"
                )
            step.doing(f"node {node_name()}: {state.why}")
            await asyncio.sleep(NODE_CHECK_SECONDS)
    step.note(f"node {node_name()}: Ready")


def _ask(api: Api, since: datetime) -> NodeState:
    try:
        node = api.get(node_path(node_name()))
        return node_state(node, api.get(lease_path(node_name())), since)
    except ApiAway as error:
        return NodeState(False, str(error))


async def wait_for_pods(layout: Layout, manifests: Manifests, timeout: float, step: Step) -> Wait:
    """Until every pod is ready or fails in a way that lasts, or the time is over."""
    began = time.monotonic()
    while True:
        try:
            rows = pod_rows(layout)
        except AgentAway:
            rows = []
        waited = time.monotonic() - began
        named = [row for row in rows if row.full_name in manifests.names]
        missing = len(manifests.names) - len(named)
        are_settled = all(row.is_settled for row in named)
        if (are_settled and (missing <= 0 or waited > APPEAR_SECONDS)) or waited > timeout:
            step.note(summary(named, manifests.count))
            return Wait(rows, are_settled and missing <= 0, manifests)
        waiting = ", ".join(f"{row.name} {row.status}" for row in named if not row.is_settled)
        step.doing(f"pods: {waiting or 'waiting for manifests'}")
        await asyncio.sleep(POD_CHECK_SECONDS)


def summary(rows: list[PodRow], files: int) -> str:
    """ "3 of 4 pods ready (from 4 manifests)" (pure)."""
    ready = sum(row.is_ready for row in rows)
    return f"pods: {ready} of {len(rows)} ready (from {files} manifests)"
