"""`pykubelet why POD`: the agent's own account of one pod, put into sentences. All but `why` is pure."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import PurePath
from typing import Any
from urllib.parse import quote

from pykubelet.errors import CommandError
from pykubelet.instance.api import Api
from pykubelet.instance.layout import Layout
from pykubelet.instance.local import get_json
from pykubelet.instance.manifests import Manifests, read_manifests_in
from pykubelet.instance.record import Record, read_record
from pykubelet.instance.running import find_pod, node_name
from pykubelet.tables import age

Json = Mapping[str, Any]
STORY_LINES = 30
CRASH_LOOP = "CrashLoopBackOff"
EVENT_LINES = 10


def why(args: Namespace) -> int:
    layout = Layout.of(args.root)
    pods = get_json(layout.kubelet_socket, "/debug/pods")["pods"]
    record = read_record(layout)
    manifests = read_manifests_in(record.static if record is not None else "", node_name())
    found = find_pod(pods, args.pod, node_name())
    if found is not None:
        told = get_json(layout.kubelet_socket, f"/debug/pods/{found['uid']}")
    elif (elsewhere := _ask_cluster(layout, record, args.pod)) is not None:
        told = elsewhere
    else:
        raise CommandError(not_known(args.pod, pods, manifests))
    if args.json:
        json.dump(told, sys.stdout, indent=2)
        print()
        return 0
    print("\n".join(tell(told, datetime.now(UTC), problems_of(told, manifests))))
    return 0


def _ask_cluster(layout: Layout, record: Record | None, reference: str) -> Json | None:
    """What the API has of a pod that the agent has never seen: it waits for a node, most likely."""
    if record is None or record.is_standalone:
        return None
    with Api(layout.admin_kubeconfig) as api:
        pods = [{**pod["metadata"], "pod": pod} for pod in (api.get("/api/v1/pods") or {}).get("items", ())]
        found = find_pod(pods, reference, node_name())
        if found is None:
            return None
        path = f"/api/v1/namespaces/{quote(found['namespace'])}/events"
        events = api.get(f"{path}?fieldSelector=involvedObject.uid%3D{quote(found['uid'])}") or {}
    return told_by_api(found["pod"], events.get("items", []))


def told_by_api(pod: Json, events: list[Json]) -> Json:
    """An account in the agent's form, of a pod and its events as the API has them (pure)."""
    meta, status = pod["metadata"], pod.get("status") or {}
    node = (pod.get("spec") or {}).get("nodeName")
    return {
        "namespace": meta["namespace"],
        "name": meta["name"],
        "uid": meta["uid"],
        "origin": f"the API, for node {node}" if node else "the API, for no node yet",
        "phase": status.get("phase"),
        "status": status,
        "events": sorted(events, key=lambda one: one.get("lastTimestamp") or one.get("eventTime") or ""),
    }


def not_known(name: str, pods: list[dict[str, Any]], manifests: Manifests) -> str:
    """With what is wrong in a manifest whose file bears that name."""
    names = ", ".join(sorted(pod["name"] for pod in pods)) or "none"
    text = f'cannot explain pod "{name}": because the agent has no such pod; it has {names}'
    refused = [line for path, lines in manifests.problems.items() if name in path.name for line in lines]
    return "\n".join([text, *(f"  refused: {line}" for line in refused)])


def problems_of(told: Json, manifests: Manifests) -> tuple[str, ...]:
    """What is wrong with the file that the pod came from; the agent knows it through its link."""
    origin = PurePath(told.get("origin") or "").name
    return next((lines for path, lines in manifests.problems.items() if path.name == origin), ())


def tell(told: Json, now: datetime, problems: tuple[str, ...] = ()) -> list[str]:
    """The whole account, the most important first. `problems`: of the manifest as it is now."""
    status = told.get("status") or {}
    phase = told.get("phase") or "Pending"
    lines = [
        f"{told['namespace']}/{told['name']} ({told['uid']})",
        _origin(told),
        "",
        f"{verdict(told, now)} (phase {phase})",
    ]
    for title, part in (
        ("The manifest was changed and cannot be used; what runs is its last good version", iter(problems)),
        ("Containers", _containers(status, now)),
        ("Not fulfilled", _conditions(status)),
        ("Under way", _under_way(told.get("state") or {})),
        ("Probes", _probes(told)),
        ("Events", _events(told, now)),
        ("Story (newest last)", _story(told)),
    ):
        shown = list(part)
        if shown:
            lines += ["", f"{title}:", *(f"  {line}" for line in shown)]
    return lines


def _origin(told: Json) -> str:
    """Pods of the API have no file or address that they come from."""
    if told.get("origin"):
        return f"from {told['origin']}"
    return "from the API" if told.get("wanted", True) else "from no source any more"


def verdict(told: Json, now: datetime) -> str:
    """One sentence: how the pod is and what it waits for."""
    status = told.get("status") or {}
    if not told.get("wanted", True):
        return f"it is not wanted any more and is being removed (stage {told.get('stage')})"
    if status.get("reason") or status.get("message"):
        return ": ".join(part for part in (status.get("reason"), status.get("message")) if part)
    if unscheduled := _unscheduled(status):
        return f"waits for a node: {unscheduled}"
    waiting = [
        f"{one['name']}: {_state(one.get('state', {}), now)}" + next_try(told, one["name"], now)
        for one in _statuses(status)
        if "waiting" in one.get("state", {})
    ]
    unready = [one["name"] for one in status.get("containerStatuses", ()) if not one.get("ready")]
    if waiting:
        return "; ".join(waiting)
    if status.get("phase") in ("Succeeded", "Failed"):
        return "its containers have ended and are not started again"
    if unready:
        return f"runs, and is not ready because of {', '.join(unready)}"
    return "runs and is ready" if status.get("containerStatuses") else "not started yet"


def _unscheduled(status: Json) -> str:
    """Why the scheduler has found no node, "" when it has or has not tried."""
    for one in status.get("conditions", ()):
        if one["type"] == "PodScheduled" and one["status"] == "False":
            return str(one.get("message") or one.get("reason") or "the scheduler does not say why")
    return ""


def _statuses(status: Json) -> list[Json]:
    return [*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())]


def _containers(status: Json, now: datetime) -> Iterator[str]:
    for one in _statuses(status):
        count = one.get("restartCount", 0)
        restarts = f", restarted {count} times" if count > 1 else ", restarted once" if count else ""
        ready = "ready" if one.get("ready") else "not ready"
        yield f"{one['name']}: {_state(one.get('state', {}), now)} ({ready}{restarts})"
        last = one.get("lastState", {}).get("terminated")
        if last is not None:
            yield f"  before that: {_terminated(last, now)}"


def _state(state: Json, now: datetime) -> str:
    if (waiting := state.get("waiting")) is not None:
        message = f": {waiting['message']}" if waiting.get("message") else ""
        return f"waits, {waiting.get('reason', 'for its turn')}{message}"
    if (ended := state.get("terminated")) is not None:
        return _terminated(ended, now)
    if (running := state.get("running")) is not None:
        return f"runs since {_ago(running.get('startedAt'), now)}"
    return "not there yet"


def _terminated(ended: Json, now: datetime) -> str:
    message = str(ended.get("message", "")).strip()
    said = f', saying "{message}"' if message else ""
    reason = ended.get("reason", "ended")
    return f"{reason}, exit code {ended.get('exitCode', 0)}, {_ago(ended.get('finishedAt'), now)} ago{said}"


def _ago(time: str | None, now: datetime) -> str:
    return age((now - datetime.fromisoformat(time)).total_seconds()) if time else "some time"


def _conditions(status: Json) -> Iterator[str]:
    for one in status.get("conditions", ()):
        if one["status"] != "True":
            detail = ": ".join(part for part in (one.get("reason"), one.get("message")) if part)
            yield f"{one['type']}" + (f" ({detail})" if detail else "")


def _under_way(state: Json) -> Iterator[str]:
    for one in state.get("inFlight", ()):
        yield f"{one['kind']} {one['target']}".rstrip()
    for one in state.get("retries", ()):
        yield f"{one['kind']} {one['target']}".rstrip() + f": failed {one['failures']} times, tried again"
    if state.get("networkError"):
        yield f"network: {state['networkError']}"


def next_try(told: Json, container: str, now: datetime) -> str:
    """ "; next try in 28s" for a container in crash back-off, which counts from the end of its last run."""
    memory = ((told.get("state") or {}).get("containers") or {}).get(container) or {}
    backoff, last = memory.get("backoff"), memory.get("last_exit")
    if (memory.get("waiting") or {}).get("reason") != CRASH_LOOP or not backoff or not last:
        return ""
    left = last["finished_at"] / 1e9 + backoff["delay_seconds"] - now.timestamp()
    return f"; next try in {age(max(left, 0.0))}"


def _probes(told: Json) -> Iterator[str]:
    for probe in told.get("probes", ()):
        _, container, kind = probe["key"]
        last = probe.get("last") or {}
        message = str(last.get("message", "")).strip()
        result = f"{last['verdict']}, {probe['run']} in a row" if last else "not asked yet"
        said = f' ("{message}")' if message and last["verdict"] != "success" else ""
        held = ", held until the container has started" if probe.get("is_held") else ""
        yield f"{kind} of {container}: {result}{said}{held}"


def _events(told: Json, now: datetime) -> Iterator[str]:
    for one in list(told.get("events", ()))[-EVENT_LINES:]:
        times = f" (x{one['count']})" if (one.get("count") or 1) > 1 else ""
        ago = _ago(one.get("lastTimestamp"), now)
        yield f"{ago:>6} ago  {one['type']:7} {one['reason']}: {one['message']}{times}"


def _story(told: Json) -> Iterator[str]:
    """What happened and what was done about it; mere looks at the runtime are left out."""
    lines: list[str] = []
    for chapter in told.get("story", ()):
        actions = [action for action in chapter["actions"] if not action.startswith("Look(")]
        event = chapter["event"]
        if event.startswith("done: "):
            # The reason was told when it was begun.
            event = event.split("): ")[0] + ")" if "): " in event else event.rpartition(": ")[0]
        if event.startswith("done: Look") or (event == "Woke" and not actions):
            lines += [f"              -> {action}" for action in actions]
            continue
        moment = datetime.fromtimestamp(chapter["at"], UTC).strftime("%H:%M:%S.%f")[:-3]
        lines.append(f"{moment}  {event}")
        lines += [f"              -> {action}" for action in actions]
    yield from lines[-STORY_LINES:]
