"""The crash tests of the node suite reach every kind of action there is."""

from __future__ import annotations

import pytest

from kubelet import actions
from tests.node.test_crash_marks import LIVES, RESTARTING

pytestmark = pytest.mark.pure


def test_every_kind_of_action_has_its_points() -> None:
    kinds = {name for name in vars(actions) if _is_action(name)}
    points = [point.partition(":")[2] for life in LIVES for point in life]
    reached = {point.partition("#")[0] for point in (*points, *RESTARTING)}
    assert reached == kinds


def _is_action(name: str) -> bool:
    found = getattr(actions, name)
    bases = (actions.Action, actions.ForContainer, actions.ForSandbox, actions.Cancel)
    return isinstance(found, type) and issubclass(found, actions.Action) and found not in bases
