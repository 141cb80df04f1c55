"""The local view of the agent: /pods, /debug/pods[/UID], /debug/probes, /configz; and /drain (pure).

What is shown comes in through `AgentView`, which `agent.py` implements.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from kubelet.server.http import Handler, Request, Response, json, text


class AgentView(Protocol):
    """What the agent shows of itself. Every call is quick and does no I/O."""

    def pods(self) -> Sequence[Any]:
        """Every pod the agent knows as a v1 Pod (JSON-ready dict or struct), with its current status."""

    def summaries(self) -> Sequence[Mapping[str, Any]]:
        """One small map per pod for `/debug/pods`: uid, namespace, name, stage, phase, ..."""

    def story(self, uid: str) -> Mapping[str, Any] | None:
        """All about one pod: story, state, in flight, back-offs. None when the uid is not known."""

    def probes(self) -> Mapping[str, Any]:
        """How late probes fired since the start: a histogram, `counts[i]` up to `bounds[i]` seconds."""


def drain_action(drain: Callable[[], None]) -> dict[str, Handler]:
    """POST /drain ends every pod in order, for whoever is about to stop this node; /debug/pods tells how far
    it is. Until the agent is started again nothing is wanted any more."""

    def end_all(_: Request) -> Response:
        drain()
        return json({"draining": True})

    return {"/drain": end_all}


def view_routes(view: AgentView, configz: Callable[[], Mapping[str, Any]]) -> dict[str, Handler]:
    """The routes of the local socket. `configz` gives the JSON form of the effective configuration."""

    def pods(_: Request) -> Response:
        items = list(view.pods())
        return json({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items})

    def summaries(_: Request) -> Response:
        return json({"pods": list(view.summaries())})

    def story(request: Request) -> Response:
        uid = request.captures["uid"]
        found = view.story(uid)
        if found is None:
            return text(f'cannot show pod: no pod with uid "{uid}" is known here\n', 404)
        return json(found)

    def config(_: Request) -> Response:
        return json({"kubeletconfig": configz()})

    def probes(_: Request) -> Response:
        return json(view.probes())

    return {
        "/pods": pods,
        "/debug/pods": summaries,
        "/debug/pods/{uid}": story,
        "/debug/probes": probes,
        "/configz": config,
    }
