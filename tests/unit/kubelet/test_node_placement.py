"""Pods that are on a node they did not ask for, or that the node does not bear."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from kube import meta
from kube.objects.cluster_v1 import Taint
from kube.objects.core_v1 import (
    Affinity,
    NodeAffinity,
    NodeSelector,
    NodeSelectorRequirement,
    NodeSelectorTerm,
    Toleration,
)
from kubelet.admission import Place, Room, admit
from tests.builders import make_pod

pytestmark = pytest.mark.pure

ROOM = Room({"cpu": "4", "pods": "10"}, place=Place("n1", {"zone": "a", "disk": "ssd"}))
AFFINITY = (
    "Pod was rejected: Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector"
)


def affine(**terms: Any) -> Affinity:
    return Affinity(
        node_affinity=NodeAffinity(
            required_during_scheduling_ignored_during_execution=NodeSelector(
                node_selector_terms=(NodeSelectorTerm(**terms),)
            )
        )
    )


def wants(key: str, *values: str) -> tuple[NodeSelectorRequirement, ...]:
    return (NodeSelectorRequirement(key=key, operator="In", values=values),)


@pytest.mark.parametrize(
    "spec",
    [
        {"node_selector": {"zone": "b"}},
        {"node_selector": {"zone": "a", "none": ""}},
        {"affinity": affine(match_expressions=wants("disk", "hdd"))},
        {"affinity": affine(match_fields=wants("metadata.name", "n2"))},
    ],
    ids=["selector", "label missing", "expression", "field"],
)
def test_a_pod_that_wants_another_node_is_refused(spec: dict[str, Any]) -> None:
    refused = admit(make_pod("a", **spec), [], ROOM)
    assert refused is not None
    assert (refused.reason, refused.message) == ("NodeAffinity", AFFINITY)
    assert admit(make_pod("a", **spec), [], replace(ROOM, place=None)) is None


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"node_selector": {"zone": "a"}},
        {"affinity": affine(match_expressions=wants("disk", "ssd", "nvme"))},
        {"affinity": affine(match_fields=wants("metadata.name", "n1"))},
    ],
    ids=["nothing", "selector", "expression", "field"],
)
def test_a_pod_that_wants_this_node_is_taken(spec: dict[str, Any]) -> None:
    assert admit(make_pod("a", **spec), [], ROOM) is None


def test_a_taint_that_ends_pods_keeps_them_off_but_for_static_ones() -> None:
    evil = Taint(key="k", effect="NoExecute", value="v")
    room = replace(ROOM, place=Place("n1", {}, (evil, Taint(key="other", effect="NoSchedule"))))
    refused = admit(make_pod("a"), [], room)
    assert refused is not None
    assert refused.reason == "TaintToleration"
    assert refused.message.endswith("Predicate TaintToleration failed: node(s) had untolerated taint(s)")
    bears = Toleration(key="k", operator="Equal", value="v", effect="NoExecute")
    assert admit(make_pod("a", tolerations=(bears,)), [], room) is None
    static = make_pod("a", metadata={"annotations": {meta.CONFIG_SOURCE: meta.SOURCE_FILE}})
    assert admit(static, [], room) is None
