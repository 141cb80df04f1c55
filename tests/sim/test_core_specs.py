"""Thousands of generated pods, good and broken, from bytes to containers: the agent never fails.

Each example is a batch: every manifest is refused with a reason that names a field, or becomes a pod that the
agent brings as far as it can go, and then takes away without a trace. `TALLY` counts what came by.
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from cri.fake import Behaviour
from kube.errors import InvalidObject
from kube.objects.core_v1 import Pod
from kubelet.model import Stage
from kubelet.sources.identity import Origin
from kubelet.sources.manifest import decode_static_pods
from kubelet.sources.model import FILE
from tests.simnode import NODE_NAME, SimNode, location, simulate
from tests.strategies import broken_pods, valid_pods

pytestmark = pytest.mark.sim

BATCH = 100
TALLY: Counter[str] = Counter()
# What containers do: most run, some end, crash, or cannot even be started.
LIVES = (
    Behaviour(),
    Behaviour(exit_code=0, after_seconds=2.0),
    Behaviour(exit_code=1, after_seconds=0.5),
    Behaviour(on_term=None),
    Behaviour(start_error="exec format error"),
)


def decoded(manifest: dict[str, Any], number: int) -> Pod | None:
    """The static pod of a manifest; None when it was refused, with a reason for every fault."""
    data = json.dumps(manifest).encode()
    try:
        (pod,) = decode_static_pods(data, Origin(FILE, location(str(number)), NODE_NAME))
    except InvalidObject as refusal:
        assert refusal.errors, f"refused without a reason: {manifest}"
        for fault in refusal.errors:
            assert fault.message or fault.kind, f"a fault without a message: {manifest}"
            assert fault.path, f"refused without a field path: {fault} of {manifest}"
        return None
    return pod


async def live(node: SimNode, pods: dict[str, Pod], lives: list[int]) -> None:
    """All pods of the batch come, live for a while, and go."""
    for number, life in enumerate(lives):
        node.runtime.behave(LIVES[life], container_name=NAMES[number % len(NAMES)])
    node.pods = pods
    node.deliver()
    await node.run(40)
    for worker in node.workers.all():
        status = worker.status
        TALLY[status.get("phase", "none")] += 1
        rejected = worker.state.rejected
        if rejected is not None:
            assert status["phase"] == "Failed" and status["reason"] and status["message"]
            TALLY["rejected"] += 1
        for one in (*status.get("containerStatuses", ()), *status.get("initContainerStatuses", ())):
            waiting = one["state"].get("waiting")
            assert waiting is None or waiting["reason"], f"waits without a reason: {status}"
        if worker.state.stage is Stage.TERMINATED:
            TALLY["ended"] += 1
    node.pods = {}
    node.deliver()
    await node.until(lambda: len(node.workers) == 0, within=200)
    await node.run(1)
    assert node.is_clean(), "something of a pod is left"


NAMES = ("web", "db", "cache", "log", "job-1", "a")


def run_batch(manifests: list[dict[str, Any]], lives: list[int]) -> None:
    pods: dict[str, Pod] = {}
    for number, manifest in enumerate(manifests):
        # One name is one pod: as files of a directory have it, each manifest has a name of its own.
        meta = manifest.get("metadata")
        if isinstance(meta, dict) and isinstance(meta.get("name"), str) and meta["name"] in NAMES:
            meta["name"] = f"{meta['name']}-{number}"
        TALLY["specs"] += 1
        pod = decoded(manifest, number)
        if pod is None:
            TALLY["refused"] += 1
        else:
            pods[str(number)] = pod
    with tempfile.TemporaryDirectory() as root:
        simulate(Path(root), lambda node: live(node, pods, lives))


PER_EXAMPLE = 8
"""Pods drawn at once: hypothesis costs as much per example as a pod does."""


def gather(count: int) -> list[dict[str, Any]]:
    """At least that many manifests; of the broken ones few get far enough to be run, so most are good."""
    found: list[dict[str, Any]] = []
    one = st.one_of(valid_pods(), valid_pods(), broken_pods())

    @settings(
        max_examples=-(-count // PER_EXAMPLE),
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(one, min_size=PER_EXAMPLE, max_size=PER_EXAMPLE))
    def collect(manifests: list[dict[str, Any]]) -> None:
        found.extend(manifests)

    collect()
    return found


def run_all(count: int) -> Counter[str]:
    """Generate `count` pods and run them in batches; what came by."""
    TALLY.clear()
    manifests = gather(count)
    for number, begin in enumerate(range(0, len(manifests), BATCH)):
        lives = [(number + offset) % len(LIVES) for offset in range(len(NAMES))]
        run_batch(manifests[begin : begin + BATCH], lives)
    return TALLY


def check_tally(tally: Counter[str], count: int) -> None:
    """Enough came by, and of every kind."""
    assert tally["specs"] >= count, tally
    assert tally["Running"] and tally["Pending"] and tally["Failed"] and tally["refused"], tally
    assert tally["refused"] < count * 0.6, tally


def test_two_hundred_generated_pods_are_run_or_refused_with_a_reason() -> None:
    check_tally(run_all(200), 200)
