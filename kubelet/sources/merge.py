"""Deliveries of all sources merged into one set of pods by uid, as changes (pure).

Rules of upstream's pkg/kubelet/config/config.go: a pod is *updated* when spec, labels, deletion or an
annotation that is not the agent's own changed, *deleted* when its deletion timestamp is set,
*reconciled* when only its status differs, *removed* when its source no longer lists it. Two pods of one
full name in one source: the first wins, the other is a problem. Until every expected source has delivered
once, nothing may be taken for missing: see `all_delivered`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from kube.errors import FieldError
from kube.meta import CONFIG_SEEN, CONFIG_SOURCE, full_name
from kube.objects.core_v1 import Pod
from kubelet.sources.model import LOCAL_ANNOTATIONS, Delivery, PodChange, Problem, origin_of


@dataclass(frozen=True, slots=True)
class SourceState:
    """What every source said last. Build it with `expecting`; change it with `merge`."""

    expected: frozenset[str]
    pods: Mapping[str, Mapping[str, Pod]] = field(default_factory=dict)  # source -> uid -> pod
    delivered: Mapping[str, Mapping[str, Pod]] = field(default_factory=dict)  # the same, as delivered
    undecodable: Mapping[str, frozenset[str]] = field(default_factory=dict)  # source -> origins
    duplicates: frozenset[tuple[str, str]] = frozenset()  # (source, uid) already reported

    def all_delivered(self) -> bool:
        """Every expected source has delivered one full set."""
        return self.expected <= self.pods.keys()

    def pod(self, uid: str) -> Pod | None:
        """The pod of this uid, from whichever source."""
        return next((pods[uid] for pods in self.pods.values() if uid in pods), None)

    def holds(self, origin: str) -> bool:
        """A pod from this origin must be left alone: the input is there, and cannot be decoded now."""
        return origin != "" and any(origin in origins for origins in self.undecodable.values())


@dataclass(frozen=True, slots=True)
class Changes:
    """What one delivery means, in the order to act on it."""

    removed: tuple[Pod, ...] = ()
    added: tuple[Pod, ...] = ()
    updated: tuple[Pod, ...] = ()
    deleted: tuple[Pod, ...] = ()  # deletionTimestamp set: to be stopped with grace
    reconciled: tuple[Pod, ...] = ()
    problems: tuple[Problem, ...] = ()

    def __bool__(self) -> bool:
        return any((self.removed, self.added, self.updated, self.deleted, self.reconciled, self.problems))


def expecting(sources: Iterable[str]) -> SourceState:
    """The state before anything was delivered."""
    return SourceState(expected=frozenset(sources))


def merge(state: SourceState, delivery: Delivery, *, now: str) -> tuple[SourceState, Changes]:
    """The state after one delivery, and what changed.

    `now` is RFC 3339 text: it becomes the annotation config.seen of pods seen for the first time.
    """
    known = state.pods.get(delivery.source, {})
    as_delivered = state.delivered.get(delivery.source, {})
    unique, problems, twins = _unique(state, delivery)
    pods: dict[str, Pod] = {}
    found: dict[str, list[Pod]] = {"added": [], "updated": [], "deleted": [], "reconciled": []}
    for uid, pod in unique.items():
        before = known.get(uid)
        if before is not None and as_delivered.get(uid) is pod:
            pods[uid] = before
            continue
        seen = before.metadata.annotations.get(CONFIG_SEEN, now) if before is not None else now
        pods[uid] = _annotated(pod, delivery.source, seen)
        kind = _kind_of_change(before, pods[uid])
        if before is not None and kind == "":
            pods[uid] = before
        else:
            found[kind].append(pods[uid])
    removed = tuple(pod for uid, pod in known.items() if uid not in pods)
    after = replace(
        state,
        pods={**state.pods, delivery.source: pods},
        delivered={**state.delivered, delivery.source: unique},
        undecodable={**state.undecodable, delivery.source: delivery.undecodable},
        duplicates=frozenset(key for key in state.duplicates if key[0] != delivery.source) | twins,
    )
    changes = Changes(
        removed=removed,
        added=tuple(found["added"]),
        updated=tuple(found["updated"]),
        deleted=tuple(found["deleted"]),
        reconciled=tuple(found["reconciled"]),
        problems=problems,
    )
    return after, changes


def merge_one(state: SourceState, change: PodChange, *, now: str) -> tuple[SourceState, Changes]:
    """The same for one pod of a source; the cost does not grow with the other pods (beyond a dict's copy).

    The source promises that no two of its pods have one full name (the API server's cannot).
    """
    held = state.undecodable.get(change.source, frozenset())
    if change.uid in held:  # it can be read now, or is gone
        state = replace(state, undecodable={**state.undecodable, change.source: held - {change.uid}})
    known = state.pods.get(change.source, {})
    before = known.get(change.uid)
    if change.pod is None:
        if before is None:
            return state, Changes()
        rest = {uid: pod for uid, pod in known.items() if uid != change.uid}
        return replace(state, pods={**state.pods, change.source: rest}), Changes(removed=(before,))
    seen = before.metadata.annotations.get(CONFIG_SEEN, now) if before is not None else now
    pod = _annotated(change.pod, change.source, seen)
    kind = _kind_of_change(before, pod)
    if before is not None and kind == "":
        return state, Changes()
    after = replace(state, pods={**state.pods, change.source: {**known, change.uid: pod}})
    return after, _only(kind, pod)


def _only(kind: str, pod: Pod) -> Changes:
    fields: dict[str, Any] = {kind: (pod,)}
    return Changes(**fields)


def _unique(
    state: SourceState, delivery: Delivery
) -> tuple[dict[str, Pod], tuple[Problem, ...], frozenset[tuple[str, str]]]:
    """Pods by uid without the duplicates; problems only for duplicates that were not reported yet."""
    first: dict[str, Pod] = {}
    unique: dict[str, Pod] = {}
    problems: list[Problem] = []
    twins: set[tuple[str, str]] = set()
    for pod in delivery.pods:
        name, uid = full_name(pod), pod.metadata.uid
        if name not in first and uid not in unique:
            first[name] = unique[uid] = pod
            continue
        key = (delivery.source, f"{uid} {origin_of(pod)}")
        twins.add(key)
        if key not in state.duplicates:
            other = first.get(name) or unique[uid]
            problems.append(_duplicate(pod, other, delivery.source))
    return unique, tuple(problems), frozenset(twins)


def _duplicate(pod: Pod, other: Pod, source: str) -> Problem:
    meta = pod.metadata
    message = (
        f"Error validating pod {meta.name}_{meta.namespace}({meta.uid}) from {source} "
        f'due to duplicate pod name "{meta.name}", ignoring'
    )
    if origin_of(other):
        message += f' (the pod of "{origin_of(other)}" is used)'
    return Problem(source, origin_of(pod), (FieldError("metadata.name", message),), pod=pod)


def _annotated(pod: Pod, source: str, seen: str) -> Pod:
    annotations = {**pod.metadata.annotations, CONFIG_SOURCE: source, CONFIG_SEEN: seen}
    metadata = msgspec.structs.replace(pod.metadata, annotations=annotations)
    return msgspec.structs.replace(pod, metadata=metadata)


def _kind_of_change(before: Pod | None, after: Pod) -> str:
    """The list of `Changes` this belongs to; "" when nothing changed."""
    if before is None:
        return "deleted" if after.metadata.deletion_timestamp is not None else "added"
    old, new = before.metadata, after.metadata
    same = (
        before.spec == after.spec
        and old.labels == new.labels
        and old.deletion_timestamp == new.deletion_timestamp
        and old.deletion_grace_period_seconds == new.deletion_grace_period_seconds
        and _user_annotations(old.annotations) == _user_annotations(new.annotations)
    )
    if same:
        return "" if before.status == after.status else "reconciled"
    return "deleted" if new.deletion_timestamp is not None else "updated"


def _user_annotations(annotations: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in annotations.items() if key not in LOCAL_ANNOTATIONS}
