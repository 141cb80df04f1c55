"""The agent is killed at every point before and after every kind of action, and goes on as if nothing was.

One pod with everything in it (init container, sidecar, hooks, probe, memory volume, subPath, hostPath) lives
once per test: an agent that dies at a point of its beginning, one that dies at a point of its end, one that
finishes. What may differ after such a death, and nothing else: a hook that was running, or had ended and was
not written down, runs again (hooks are delivered at least once).
"""

from __future__ import annotations

from itertools import cycle

import pytest

from tests.node.crash_pods import rich_pod, rich_wanted
from tests.node.world import World, container_ids, tally

pytestmark = pytest.mark.node

# #3: the third container, after init container and sidecar; #5: the first restart.
BEGINNING = (
    "PrepareVolumes",
    "RunSandbox",
    "EnsureImage",
    "CreateContainer",
    "StartContainer",
    "Look",
    "CreateContainer#3",
    "StartContainer#3",
    "RunPostStart",
)
RESTARTING = ("CreateContainer", "StartContainer", "RemoveContainer")
ENDING = (
    "RunPreStop",
    "StopContainer",
    "StopContainer#3",
    "StopSandbox",
    "ReleaseVolumes",
    "RemoveSandbox",
    "ForgetPod",
)


# Each life of the pod has one death of the agent in its beginning and one in its end.
LIVES = tuple(
    (f"{when}:{begin}", f"{when}:{end}")
    for when in ("before", "after")
    for begin, end in zip(BEGINNING, cycle(ENDING), strict=False)
)


@pytest.mark.parametrize(("begin", "end"), LIVES)
def test_agent_killed_at_a_point_of_a_pods_life_does_everything_once(
    world: World, begin: str, end: str
) -> None:
    agent, marks = world.agent, world.agent.root / "tally"
    agent.start(crash_at=begin)
    agent.write_manifest(rich_pod("m", marks))
    agent.wait_killed()
    agent.start(crash_at=end)
    ids = container_ids(agent.wait_pod_ready("m"))
    hooks = 2 if "RunPostStart" in begin else 1
    world.wait_until([rich_wanted("m", agent.uid("m"), marks, ids, post_starts=hooks)])
    agent.remove_manifest("m")
    agent.wait_killed()
    agent.start()
    world.wait_until([])
    # A hook that is cut off runs again, and so does one whose end was not on the disk yet at the kill.
    assert 1 <= tally(marks / "a.pre") <= 2
    for name in ("init", "side", "a", "b"):
        assert tally(marks / name) == 1, f"{name} was started again"


@pytest.mark.parametrize("when", ("before", "after"))
@pytest.mark.parametrize("point", RESTARTING)
def test_agent_killed_while_a_container_restarts_restarts_it_once(
    world: World, when: str, point: str
) -> None:
    agent, marks = world.agent, world.agent.root / "tally"
    agent.start()
    agent.write_manifest(rich_pod("m", marks))
    ids = container_ids(agent.wait_pod_ready("m"))
    uid = agent.uid("m")
    others = {name: known for name, known in ids.items() if name != "b"}
    # The second crash leaves two dead ones behind, of which the older is removed.
    crashes = 2 if point == "RemoveContainer" else 1
    for count in range(1, crashes):
        world.crash(uid, "b")
        world.wait_until([rich_wanted("m", uid, marks, others, b_restarts=count)])
    agent.kill9()
    agent.start(crash_at=f"{when}:{point}")
    world.crash(uid, "b")
    agent.wait_killed()
    agent.start()
    world.wait_until([rich_wanted("m", uid, marks, others, b_restarts=crashes)])
