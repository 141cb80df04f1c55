"""One number per event: the revision, and which event of its transaction. Numbers grow as events do."""

from __future__ import annotations

from typing import NamedTuple

from controlplane.store.model import MAX_OPERATIONS, Event

SHIFT = MAX_OPERATIONS.bit_length() - 1
"""Operations of one transaction are numbered in these low bits."""


class Placed(NamedTuple):
    """An event and its place in the order of all."""

    position: int
    event: Event


def first_of(revision: int) -> int:
    return revision << SHIFT


def revision_of(position: int) -> int:
    return position >> SHIFT
