"""Taking a new observation into what is remembered of a pod (pure).

The runtime may lose containers (removed by hand, a reboot); what matters for restarts and
statuses is therefore remembered beside the observation.
"""

from __future__ import annotations

from dataclasses import replace

from kubelet.draft import Draft
from kubelet.model import Observed, ObservedContainer, ObservedSandbox, Phase, container_age, sandbox_age
from kubelet.restart import was_start_aborted


def absorb(draft: Draft, observed: Observed) -> None:
    """Make `observed` the current one and remember restart counts, exits and addresses."""
    draft.set(observed=observed)
    seen_names: set[str] = set()
    for seen in observed.containers:
        if was_start_aborted(seen):
            continue  # planning removes it, and it never counts
        memory = draft.state.memory(seen.name)
        changes: dict[str, object] = {}
        if seen.restart_count > memory.restart_count and seen.phase is not Phase.CREATED:
            changes["restart_count"] = seen.restart_count
        if seen.phase is Phase.EXITED and _is_newer_exit(seen, memory.last_exit):
            changes["last_exit"] = seen
        newest = seen.name not in seen_names
        if newest and seen.phase is Phase.RUNNING and memory.waiting is not None:
            changes["waiting"] = None
        seen_names.add(seen.name)
        if changes:
            draft.remember(seen.name, **changes)
    sandbox = observed.sandbox()
    if sandbox is not None:
        attempts = max(draft.state.sandbox_attempts, sandbox.attempt + 1)
        ips = sandbox.ips if sandbox.ready and sandbox.ips else draft.state.ips
        if attempts != draft.state.sandbox_attempts or ips != draft.state.ips:
            draft.set(sandbox_attempts=attempts, ips=ips)


def _is_newer_exit(seen: ObservedContainer, known: ObservedContainer | None) -> bool:
    if known is None:
        return True
    if known.id == seen.id:
        return known != seen
    return seen.restart_count > known.restart_count


def with_container(observed: Observed, container: ObservedContainer) -> Observed:
    """`observed` with that container put in or replaced, order kept newest first."""
    rest = tuple(seen for seen in observed.containers if seen.id != container.id)
    merged = sorted((container, *rest), key=container_age, reverse=True)
    return replace(observed, containers=tuple(merged))


def with_sandbox(observed: Observed, sandbox: ObservedSandbox) -> Observed:
    rest = tuple(box for box in observed.sandboxes if box.id != sandbox.id)
    merged = sorted((sandbox, *rest), key=sandbox_age, reverse=True)
    return replace(observed, sandboxes=tuple(merged))


def without_container(observed: Observed, container_id: str) -> Observed:
    rest = tuple(seen for seen in observed.containers if seen.id != container_id)
    return replace(observed, containers=rest)


def without_sandbox(observed: Observed, sandbox_id: str) -> Observed:
    """`observed` without that sandbox and everything in it."""
    boxes = tuple(box for box in observed.sandboxes if box.id != sandbox_id)
    rest = tuple(seen for seen in observed.containers if seen.sandbox_id != sandbox_id)
    return replace(observed, sandboxes=boxes, containers=rest)
