"""What is met of a pod at start, or by a relist, before anybody has claimed it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from cri.types import Container, PodSandbox
from kubelet.checkpoint import Kept
from kubelet.model import Observed, ObservedContainer, PodState
from kubelet.observe import PHASES

Listed = Mapping[str, tuple[list[PodSandbox], list[Container]]]
"""What the runtime has, by pod uid."""


@dataclass(slots=True)
class Found:
    """A pod met at start that no source has claimed yet."""

    kept: Kept | None
    observed: Observed
    is_stale: bool = False  # something happened to it since it was observed


def ids_of(observed: Observed | None) -> set[str]:
    """The ids of its sandboxes and containers."""
    if observed is None:
        return set()
    return {box.id for box in observed.sandboxes} | {seen.id for seen in observed.containers}


def differs(observed: Observed | None, boxes: list[PodSandbox], containers: list[Container]) -> bool:
    """Whether the lists show another picture than the last observation."""
    if observed is None:
        return True
    ready = {(box.id, box.state.name == "SANDBOX_READY") for box in boxes}
    if ready != {(box.id, box.ready) for box in observed.sandboxes}:
        return True
    phases = {(one.id, PHASES[one.state]) for one in containers}
    return phases != {(seen.id, seen.phase) for seen in observed.containers}


def without_checkpoint(uid: str, observed: Observed) -> PodState:
    """A pod whose checkpoint is missing: what runs counts as brought up long ago."""
    began = min((box.created_at for box in observed.sandboxes), default=0) / 1e9
    state = PodState(uid, None, observed=observed, start_time=began)
    newest: dict[str, ObservedContainer] = {}
    for seen in observed.containers:
        newest.setdefault(seen.name, seen)
    memories = {
        name: replace(state.memory(name), post_start_id=seen.id, started_id=seen.id, ready_id=seen.id)
        for name, seen in newest.items()
    }
    return replace(state, containers=memories)
