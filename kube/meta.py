"""Reading an object's metadata: names, times, deletion, and where a pod came from."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from kube.objects.core_v1 import Pod

# Annotations by which an agent marks what it did not get from the API (pkg/kubelet/types/pod_update.go).
CONFIG_SOURCE = "kubernetes.io/config.source"
CONFIG_HASH = "kubernetes.io/config.hash"
CONFIG_MIRROR = "kubernetes.io/config.mirror"
CONFIG_SEEN = "kubernetes.io/config.seen"

SOURCE_API = "api"
SOURCE_FILE = "file"
SOURCE_HTTP = "http"

# scheduling.SystemCriticalPriority: 2 * HighestUserDefinablePriority
SYSTEM_CRITICAL_PRIORITY = 2_000_000_000

_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def full_name(pod: Pod) -> str:
    """`name_namespace`, upstream's key of a pod across sources."""
    return f"{pod.metadata.name}_{pod.metadata.namespace}"


def display_name(pod: Pod) -> str:
    """`namespace/name`, for people and logs."""
    return f"{pod.metadata.namespace}/{pod.metadata.name}"


def source_of(pod: Pod) -> str:
    """Which source the pod came from; pods without the mark are the API server's."""
    return pod.metadata.annotations.get(CONFIG_SOURCE, SOURCE_API)


def is_static(pod: Pod) -> bool:
    return source_of(pod) != SOURCE_API


def is_mirror(pod: Pod) -> bool:
    """Whether this is the API's copy of a static pod."""
    return CONFIG_MIRROR in pod.metadata.annotations


def is_critical(pod: Pod) -> bool:
    """Static and mirror pods, and pods of a system priority (IsCriticalPod)."""
    return is_static(pod) or is_mirror(pod) or (pod.spec.priority or 0) >= SYSTEM_CRITICAL_PRIORITY


def is_deleting(pod: Pod) -> bool:
    return pod.metadata.deletion_timestamp is not None


def deletion_deadline(pod: Pod) -> datetime | None:
    """When the pod's grace ends: `deletionTimestamp` is the time of the request plus the grace."""
    stamp = pod.metadata.deletion_timestamp
    return parse_time(stamp) if stamp else None


def deletion_requested_at(pod: Pod) -> datetime | None:
    """When the deletion was asked for."""
    deadline = deletion_deadline(pod)
    if deadline is None:
        return None
    return deadline - timedelta(seconds=pod.metadata.deletion_grace_period_seconds or 0)


def parse_time(text: str) -> datetime:
    """RFC 3339 with up to nine digits of a second -> aware datetime in UTC (microseconds kept).
    ValueError names the text."""
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise ValueError(f"cannot read time {text!r}: because it is not RFC 3339")
    seconds, fraction, zone = match.groups()
    offset = "+00:00" if zone in "Zz" else zone
    micros = ((fraction or "") + "000000")[:6]
    try:
        return datetime.fromisoformat(f"{seconds.upper()}.{micros}{offset}").astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"cannot read time {text!r}: because {error}") from error


def format_time(when: datetime) -> str:
    """As the API writes Time: UTC, whole seconds, `Z`. Aware datetimes only."""
    return _utc(when).strftime("%Y-%m-%dT%H:%M:%SZ")


def format_micro_time(when: datetime) -> str:
    """As the API writes MicroTime: six digits of a second."""
    return _utc(when).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _utc(when: datetime) -> datetime:
    if when.tzinfo is None:
        raise ValueError(f"cannot write time {when}: because it has no zone")
    return when.astimezone(UTC)
