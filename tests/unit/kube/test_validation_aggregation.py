"""ClusterRoles that aggregate: what their selectors must be."""

from __future__ import annotations

from typing import Any

import pytest

from kube.validation import policies

pytestmark = pytest.mark.pure


def wrong(rule: dict[str, Any]) -> list[str]:
    return [error.path for error in policies.cluster_role({"metadata": {}, "aggregationRule": rule})]


def test_at_least_one_selector_is_needed() -> None:
    assert wrong({}) == ["aggregationRule.clusterRoleSelectors"]
    assert wrong({"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]}) == []


def test_an_operator_must_be_known() -> None:
    odd = {"matchExpressions": [{"key": "a", "operator": "Zoo"}]}
    (path,) = wrong({"clusterRoleSelectors": [{}, odd]})
    assert path == "aggregationRule.clusterRoleSelectors[1].matchExpressions[0].operator"
