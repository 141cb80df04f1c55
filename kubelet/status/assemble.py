"""`pod_status`: the whole v1 PodStatus of a pod, ready to be encoded as JSON (pure).

It promises what API clients rely on: a terminal phase is shown only when nothing runs, and never
taken back; addresses, start time and restart counts stay; transition times move only with their
condition. It runs after every step of a worker, so it must stay well under 0.1 ms.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import msgspec

from kube import qos
from kubelet import reasons
from kubelet.model import Phase, Stage
from kubelet.status import conditions as pod_conditions
from kubelet.status import containers
from kubelet.status.inputs import JsonObject, StatusInputs, coming_back
from kubelet.status.phase import phase_of


@dataclass(frozen=True, slots=True)
class _Outcome:
    """`shown` goes into the status; `judged` is what conditions are computed from."""

    shown: str
    judged: str
    reason: str = ""
    message: str = ""


def pod_status(inputs: StatusInputs) -> JsonObject:
    """The status of `inputs.pod` now. The result shares values with the inputs: treat it as read-only."""
    if not inputs.previous and inputs.pod.status.phase:
        inputs = replace(inputs, previous=msgspec.to_builtins(inputs.pod.status))
    init, regular, ephemeral = _container_lists(inputs)
    by_name = {status["name"]: status for status in (*init, *regular)}
    outcome = _outcome(inputs, by_name)
    status: JsonObject = {"phase": outcome.shown, "conditions": _conditions(inputs, outcome, by_name)}
    if outcome.reason:
        status["reason"] = outcome.reason
    if outcome.message:
        status["message"] = outcome.message
    _set_identity(status, inputs)
    for field, entries in (
        ("containerStatuses", sorted(regular, key=_name)),
        ("initContainerStatuses", init),
        ("ephemeralContainerStatuses", ephemeral),
    ):
        if entries:
            status[field] = entries
    return status


def _name(status: JsonObject) -> str:
    return str(status["name"])


def _container_lists(inputs: StatusInputs) -> tuple[list[JsonObject], list[JsonObject], list[JsonObject]]:
    """Statuses of init, regular and ephemeral containers; none for a pod that was never let in."""
    is_unknown = inputs.observed is None or not inputs.observed.containers
    if inputs.verdict is not None and inputs.verdict.is_rejection and is_unknown:
        return [], [], []
    spec = inputs.pod.spec
    view = containers.view_of(inputs)
    init = containers.statuses(view, "initContainerStatuses", spec.init_containers)
    regular = containers.statuses(view, "containerStatuses", spec.containers)
    ephemeral = containers.statuses(view, "ephemeralContainerStatuses", spec.ephemeral_containers)
    if inputs.stage >= Stage.TERMINATED:
        containers.end_lost(spec, init, regular)
    return init, regular, ephemeral


def _outcome(inputs: StatusInputs, by_name: Mapping[str, JsonObject]) -> _Outcome:
    """Phase with its reason and message: never back from terminal, never terminal while something runs."""
    previous = inputs.previous
    old_phase = previous.get("phase", "")
    old_reason, old_message = previous.get("reason", ""), previous.get("message", "")
    if old_phase in reasons.TERMINAL_PHASES:
        return _Outcome(old_phase, old_phase, old_reason, old_message)
    back = coming_back(inputs)
    phase = phase_of(inputs.pod.spec, by_name, is_over=inputs.stage >= Stage.TERMINATING, coming_back=back)
    if inputs.stage >= Stage.TERMINATED and phase not in reasons.TERMINAL_PHASES:
        phase = reasons.FAILED
    reason, message = (old_reason, old_message) if phase == old_phase else ("", "")
    if inputs.verdict is not None:
        phase, reason, message = inputs.verdict.phase, inputs.verdict.reason, inputs.verdict.message
    if phase in reasons.TERMINAL_PHASES and _may_run(inputs, by_name):
        held = old_phase or (reasons.RUNNING if any(map(_is_begun, by_name.values())) else reasons.PENDING)
        return _Outcome(held, phase, old_reason, old_message)
    return _Outcome(phase, phase, reason, message)


def _is_begun(status: JsonObject) -> bool:
    return containers.has_begun(status)


def _may_run(inputs: StatusInputs, by_name: Mapping[str, JsonObject]) -> bool:
    """Something of this pod runs, or may for all we know; once TERMINATED nothing does."""
    if inputs.stage >= Stage.TERMINATED:
        return False
    if inputs.observed is None:
        return any("running" in status["state"] for status in by_name.values())
    return any(container.phase in (Phase.RUNNING, Phase.UNKNOWN) for container in inputs.observed.containers)


def _conditions(
    inputs: StatusInputs, outcome: _Outcome, by_name: Mapping[str, JsonObject]
) -> list[JsonObject]:
    previous = {entry["type"]: entry for entry in inputs.previous.get("conditions", ())}
    facts = pod_conditions.Facts(
        pod=inputs.pod,
        phase=outcome.judged,
        by_name=by_name,
        observed=inputs.observed,
        previous=previous,
        now=containers.stamp(int(inputs.now)),
        is_restarting_all=inputs.is_restarting_all,
    )
    return pod_conditions.conditions(facts)


def _set_identity(status: JsonObject, inputs: StatusInputs) -> None:
    """Generation, class, start time and addresses: set once, kept after the end."""
    previous, pod = inputs.previous, inputs.pod
    generation = max(pod.metadata.generation or 0, previous.get("observedGeneration", 0))
    if generation:
        status["observedGeneration"] = generation
    status["qosClass"] = previous.get("qosClass") or str(qos.of_pod(pod))
    start_time = previous.get("startTime") or (
        containers.stamp(int(inputs.start_time)) if inputs.start_time else None
    )
    if start_time:
        status["startTime"] = start_time
    if inputs.node.ips:
        status["hostIP"] = inputs.node.ips[0]
        status["hostIPs"] = [{"ip": ip} for ip in inputs.node.ips]
    ips = _pod_ips(inputs)
    if ips:
        status["podIP"] = ips[0]
        status["podIPs"] = [{"ip": ip} for ip in ips]


def _pod_ips(inputs: StatusInputs) -> list[str]:
    """At most one address per family, the node's primary family first; kept when the sandbox is gone."""
    before = [entry["ip"] for entry in inputs.previous.get("podIPs", ())]
    if inputs.pod.spec.host_network:
        # set once; a node that becomes dual-stack adds its second family
        return sort_ips([*before, *inputs.node.ips], inputs.node.ips)
    sandbox = inputs.observed.sandbox() if inputs.observed is not None else None
    current = (sandbox.ips if sandbox is not None else ()) or inputs.ips
    return sort_ips(current or before, inputs.node.ips)


def sort_ips(ips: Sequence[str], node_ips: Sequence[str]) -> list[str]:
    """The first address of the node's primary family, then the first of the other (sortPodIPs upstream)."""
    is_primary_v6 = bool(node_ips) and ":" in node_ips[0]
    chosen: list[str] = []
    for is_v6 in (is_primary_v6, not is_primary_v6):
        chosen.extend([ip for ip in ips if (":" in ip) is is_v6][:1])
    return chosen
