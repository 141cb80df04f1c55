"""UIDs of objects."""

from __future__ import annotations

import uuid

import pytest

from controlplane.api.uids import Uids

pytestmark = pytest.mark.pure


def test_uids_are_random_uuids_and_none_comes_twice() -> None:
    new = Uids()
    made = [new() for _ in range(1000)]
    assert len(set(made)) == 1000
    for text in made:
        found = uuid.UUID(text)
        assert (found.version, found.variant, str(found)) == (4, uuid.RFC_4122, text)
