"""What a source of pods hands over: whole sets of pods, and what is wrong with the rest.

A source calls `deliver(Delivery)` with everything it has, each time something changed (or, after the first
time, `change(PodChange)` for one pod), and `report(Problem)` once per faulty content.
Promise: a source that cannot read its input (as against one that read it and found nothing) delivers nothing,
so nobody takes "unreadable" for "empty".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from kube.errors import FieldError
from kube.meta import (
    CONFIG_HASH,
    CONFIG_MIRROR,
    CONFIG_SEEN,
    CONFIG_SOURCE,
    SOURCE_API,
    SOURCE_FILE,
    SOURCE_HTTP,
    full_name,
)
from kube.objects.core_v1 import Pod

__all__ = [
    "API",
    "CONFIG_ORIGIN",
    "FILE",
    "HTTP",
    "LOCAL_ANNOTATIONS",
    "Decode",
    "Deliver",
    "Delivery",
    "PodChange",
    "Problem",
    "Report",
    "full_name",
    "origin_of",
]

# Names of sources, as they stand in the annotation kubernetes.io/config.source.
FILE = SOURCE_FILE
HTTP = SOURCE_HTTP
API = SOURCE_API

# Ours: the file or URL a static pod came from. It is what lets a restarted agent recognise the running
# pod of a manifest that no longer decodes.
CONFIG_ORIGIN = "pykubelet/config.origin"

LOCAL_ANNOTATIONS = frozenset({CONFIG_SOURCE, CONFIG_SEEN, CONFIG_HASH, CONFIG_MIRROR, CONFIG_ORIGIN})


@dataclass(frozen=True, slots=True)
class Problem:
    """Something a user must be told about one input of a source.

    `reason` is the event reason ("FailedValidation"); `pod` is set when the pod itself is known.
    """

    source: str
    origin: str  # file path or URL
    faults: tuple[FieldError, ...]
    reason: str = "FailedValidation"
    pod: Pod | None = None

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def lines(self) -> list[str]:
        """One line per fault: `/etc/kubernetes/web.yaml:12: spec.containers[0].image: Required value`."""
        return [fault.located(self.origin) for fault in self.faults]


@dataclass(frozen=True, slots=True)
class Delivery:
    """Everything one source has now. `undecodable`: inputs that are there and cannot be used,
    by origin (path, URL) or, of the API server, by uid.

    A pod that came from an undecodable input must not be stopped because of that: a source that knew
    the last good version still lists its pods; after a restart of the agent nobody knows it, and
    `undecodable` is what tells the agent to leave the running pod alone.
    """

    source: str
    pods: tuple[Pod, ...]
    undecodable: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class PodChange:
    """One pod of a source that has delivered a whole set before. `pod` None = the source has it no more.

    What costs one pod's work stays one pod's work: a source that learns of single changes hands over these.
    """

    source: str
    uid: str
    pod: Pod | None


Deliver = Callable[[Delivery], None]
Report = Callable[[Problem], None]
Decode = Callable[[bytes, str], tuple[Pod, ...]]
"""Bytes and location (path or URL) to pods. Raises kube.errors.InvalidObject with everything wrong."""


def origin_of(pod: Pod) -> str:
    """The file or URL a static pod came from, "" for a pod of the API server."""
    return pod.metadata.annotations.get(CONFIG_ORIGIN, "")
