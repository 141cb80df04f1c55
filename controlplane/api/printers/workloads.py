"""Rows of Deployments, ReplicaSets and ReplicationControllers, and of their Scale."""

from __future__ import annotations

from datetime import datetime

from controlplane.api.printers.model import (
    AGE,
    NAME,
    Cells,
    Column,
    Json,
    Printer,
    age_of,
    containers_text,
    labels_text,
    name_of,
    selector_text,
    wide,
)

_TEMPLATE = (
    wide("Containers", "Names of the containers in the template."),
    wide("Images", "Images of the containers in the template."),
    wide("Selector", "Which pods are counted."),
)
_REPLICAS = (
    NAME,
    Column("Desired", "integer", "How many pods are wanted."),
    Column("Current", "integer", "How many pods there are."),
    Column("Ready", "integer", "How many of them are ready."),
    AGE,
    *_TEMPLATE,
)


def _deployment(item: Json, now: datetime) -> Cells:
    spec, state = item.get("spec") or {}, item.get("status") or {}
    return [
        name_of(item),
        f"{state.get('readyReplicas') or 0}/{spec.get('replicas') or 0}",
        state.get("updatedReplicas") or 0,
        state.get("availableReplicas") or 0,
        age_of(item, now),
        *containers_text(spec),
        selector_text(spec.get("selector")),
    ]


def _counts(item: Json, now: datetime) -> Cells:
    spec, state = item.get("spec") or {}, item.get("status") or {}
    return [
        name_of(item),
        spec.get("replicas") or 0,
        state.get("replicas") or 0,
        state.get("readyReplicas") or 0,
        age_of(item, now),
        *containers_text(spec),
    ]


def _replica_set(item: Json, now: datetime) -> Cells:
    return [*_counts(item, now), selector_text((item.get("spec") or {}).get("selector"))]


def _controller(item: Json, now: datetime) -> Cells:
    return [*_counts(item, now), labels_text((item.get("spec") or {}).get("selector"))]


def _scale(item: Json, now: datetime) -> Cells:
    spec, state = item.get("spec") or {}, item.get("status") or {}
    return [name_of(item), spec.get("replicas") or 0, state.get("replicas") or 0, age_of(item, now)]


DEPLOYMENT = Printer(
    (
        NAME,
        Column("Ready", description="How many of the wanted pods are ready."),
        Column("Up-to-date", "integer", "How many pods have the newest template."),
        Column("Available", "integer", "How many pods have been ready for long enough."),
        AGE,
        *_TEMPLATE,
    ),
    _deployment,
)
REPLICA_SET = Printer(_REPLICAS, _replica_set)
REPLICATION_CONTROLLER = Printer(_REPLICAS, _controller)
SCALE = Printer(
    (
        NAME,
        Column("Desired", "integer", "How many pods are wanted."),
        Column("Available", "integer", "How many pods there are."),
        AGE,
    ),
    _scale,
)
