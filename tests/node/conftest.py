"""Fixtures of the node suite: a world is a private runtime and an agent on it that does not run yet."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from tests.node.agent import AgentProcess
from tests.node.world import World
from tests.runtimes import PrivateContainerd

# One crash a second is not held back for longer: the tests are about crashes, not about back-off.
SETTINGS = {"crashLoopBackOff": {"maxContainerRestartPeriod": "1s"}}


@pytest.fixture
def world(runtime: PrivateContainerd) -> Iterator[World]:
    """On the session's runtime, which is empty again afterwards."""
    yield from _world(runtime)


@pytest.fixture
def own_world(own_runtime: PrivateContainerd) -> Iterator[World]:
    """On a runtime that the test may stop, kill or reboot."""
    yield from _world(own_runtime, is_own=True)


def _world(runtime: PrivateContainerd, *, is_own: bool = False) -> Iterator[World]:
    root = runtime.root.parent / f"agent-{secrets.token_hex(3)}"
    made = World(runtime, AgentProcess(runtime.endpoint, root, SETTINGS))
    try:
        yield made
    finally:
        made.clear(may_stop_runtime=is_own)
