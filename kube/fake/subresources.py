"""The subresources whose writing is more than storing: binding, eviction, scale, token."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from kube import meta, selectors, status
from kube.client import resources as r
from kube.client.model import DeleteOptions, JsonObject, copy
from kube.errors import Status
from kube.fake.history import Place

if TYPE_CHECKING:
    from kube.fake.server import FakeApi

CREATED = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}
_DEFAULT_TOKEN_SECONDS = 3600
_LEAST_TOKEN_SECONDS = 600


def bind(api: FakeApi, place: Place, body: JsonObject) -> JsonObject:
    """pods/NAME/binding: assigns the node once (BindingREST.setPodNodeAndMetadata)."""
    pod = copy(api.history.get(r.PODS, place))
    name = place[1]
    node = (body.get("target") or {}).get("name", "")
    if not node:
        raise status.bad_request("target.name: Required value")
    if "deletionTimestamp" in pod["metadata"]:
        raise status.conflict(r.PODS, name, f"pod {name} is being deleted, cannot be assigned to a host")
    if assigned := pod.setdefault("spec", {}).get("nodeName"):
        raise status.conflict(r.PODS, name, f'pod {name} is already assigned to node "{assigned}"')
    uid = (body.get("metadata") or {}).get("uid")
    if uid and uid != pod["metadata"]["uid"]:
        raise status.conflict(r.PODS, name, f"the pod has uid {pod['metadata']['uid']}, not {uid}")
    pod["spec"]["nodeName"] = node
    for field in ("labels", "annotations"):
        if extra := (body.get("metadata") or {}).get(field):
            pod["metadata"][field] = {**(pod["metadata"].get(field) or {}), **extra}
    state = pod.setdefault("status", {})
    kept = [item for item in state.get("conditions", []) if item["type"] != "PodScheduled"]
    when = meta.format_time(api.clock.now())
    state["conditions"] = [*kept, {"type": "PodScheduled", "status": "True", "lastTransitionTime": when}]
    api.history.write(r.PODS, pod)
    return dict(CREATED)


def evict(api: FakeApi, place: Place, body: JsonObject) -> JsonObject:
    """pods/NAME/eviction: a delete, unless a disruption budget has nothing left."""
    pod = api.history.get(r.PODS, place)
    if (pod.get("status") or {}).get("phase") == "Running":
        _use_budget(api, place, pod)
    options = body.get("deleteOptions") or {}
    api.delete(
        r.PODS, place, DeleteOptions(options.get("gracePeriodSeconds"), options.get("propagationPolicy", ""))
    )
    return dict(CREATED)


def _use_budget(api: FakeApi, place: Place, pod: JsonObject) -> None:
    labels = pod["metadata"].get("labels") or {}
    budgets = [
        budget
        for (namespace, _), budget in api.history.all(r.POD_DISRUPTION_BUDGETS).items()
        if namespace == place[0] and _selects((budget.get("spec") or {}).get("selector"), labels)
    ]
    for budget in budgets:
        state = budget.get("status") or {}
        allowed = state.get("disruptionsAllowed", 0)
        if allowed <= 0:
            message = "Cannot evict pod as it would violate the pod's disruption budget."
            causes = [{"reason": "DisruptionBudget", "message": budget["metadata"]["name"]}]
            raise status.error_of(Status(429, "TooManyRequests", message, {"causes": causes}))
        used = copy(budget)
        used["status"] = {**state, "disruptionsAllowed": allowed - 1}
        api.history.write(r.POD_DISRUPTION_BUDGETS, used)


def _selects(selector: Any, labels: dict[str, str]) -> bool:
    from kube import objects
    from kube.objects.meta_v1 import LabelSelector

    parsed = selectors.of_label_selector(objects.convert(selector or {}, LabelSelector))
    return parsed is not None and parsed.matches(labels)


def make_token(account: JsonObject, body: JsonObject, serial: int, now: datetime) -> JsonObject:
    """serviceaccounts/NAME/token: a TokenRequest with a made-up token that no two requests share."""
    wanted = (body.get("spec") or {}).get("expirationSeconds", _DEFAULT_TOKEN_SECONDS)
    if wanted < _LEAST_TOKEN_SECONDS:
        message = "spec.expirationSeconds: Invalid value: may not specify a duration less than 10 minutes"
        raise status.error_of(Status(422, "Invalid", message))
    owner = account["metadata"]
    answered = copy(body)
    answered["status"] = {
        "token": f"fake:{owner.get('namespace', '')}:{owner['name']}:{serial}",
        "expirationTimestamp": meta.format_time(now + timedelta(seconds=wanted)),
    }
    return answered
