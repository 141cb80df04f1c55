"""What happens to an object on its way into the store: the rules of Kubernetes' registries that its clients
depend on, as functions from values to values. Specs are not validated here.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from kube import errors, meta, status
from kube.client import resources as r
from kube.client.model import DeleteOptions, JsonObject, copy
from kube.client.resources import Resource
from kube.errors import InvalidObject

# Their status is written through /status alone.
WITH_STATUS = frozenset((
    r.PODS, r.NODES, r.NAMESPACES, r.SERVICES, r.REPLICATION_CONTROLLERS, r.PERSISTENT_VOLUMES,
    r.PERSISTENT_VOLUME_CLAIMS, r.RESOURCE_QUOTAS, r.DEPLOYMENTS, r.REPLICA_SETS, r.DAEMON_SETS,
    r.STATEFUL_SETS, r.JOBS, r.CRON_JOBS, r.POD_DISRUPTION_BUDGETS, r.CERTIFICATE_SIGNING_REQUESTS,
    r.RESOURCE_CLAIMS,
))  # fmt: skip
# A status that comes with the object is kept (nodeStrategy does not clear it: a kubelet registers with one).
KEEPS_STATUS_AT_CREATE = frozenset((r.NODES,))
WITH_GENERATION = frozenset((
    r.PODS, r.REPLICATION_CONTROLLERS, r.DEPLOYMENTS, r.REPLICA_SETS, r.DAEMON_SETS, r.STATEFUL_SETS, r.JOBS,
    r.CRON_JOBS, r.POD_DISRUPTION_BUDGETS, r.ENDPOINT_SLICES, r.RESOURCE_SLICES,
))  # fmt: skip
# A write to /status may change labels and annotations too.
STATUS_WRITES_METADATA = frozenset((r.PODS, r.NODES, r.PERSISTENT_VOLUMES))
CREATE_ON_UPDATE = frozenset((
    r.LEASES, r.EVENTS, r.ENDPOINTS, r.SERVICES, r.LIMIT_RANGES, r.RUNTIME_CLASSES, r.ROLES, r.ROLE_BINDINGS,
    r.CLUSTER_ROLES, r.CLUSTER_ROLE_BINDINGS,
))  # fmt: skip
# A DELETE that is done is answered with the object, not with a Status (ReturnDeletedObject).
RETURNS_DELETED = frozenset((
    r.PODS, r.SERVICES, r.SERVICE_ACCOUNTS, r.POD_TEMPLATES, r.RESOURCE_QUOTAS, r.PERSISTENT_VOLUMES,
    r.PERSISTENT_VOLUME_CLAIMS, r.STORAGE_CLASSES, r.CSI_NODES,
))  # fmt: skip
ORPHANS_BY_DEFAULT = frozenset((r.REPLICATION_CONTROLLERS, r.JOBS))
SCALABLE = frozenset((r.DEPLOYMENTS, r.REPLICA_SETS, r.REPLICATION_CONTROLLERS, r.STATEFUL_SETS))

ORPHAN = "orphan"
FOREGROUND = "foregroundDeletion"
DEFAULT_GRACE_SECONDS = 30
# metadata that only the server sets
_SERVER_FIELDS = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation")
_OPTIONAL_IN_METADATA = ("labels", "annotations", "finalizers", "ownerReferences")
# What a new object's status says; what is not optional in it is there from the start.
_FIRST_STATUS: dict[Resource, JsonObject] = {
    r.PODS: {"phase": "Pending"}, r.NAMESPACES: {"phase": "Active"}, r.REPLICA_SETS: {"replicas": 0},
    r.REPLICATION_CONTROLLERS: {"replicas": 0},
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Moment:
    """What a write needs from the world."""

    now: datetime
    uid: str


def check_type(resource: Resource, body: JsonObject) -> None:
    """BadRequest when the body is not an object of this resource."""
    kind, api_version = body.get("kind"), body.get("apiVersion")
    if not kind:
        raise status.bad_request("Object 'Kind' is missing in the body of the request")
    if (api_version, kind) != (resource.api_version, resource.kind):
        message = (
            f"the object provided is unrecognized: is {api_version}/{kind}, "
            f"must be {resource.api_version}/{resource.kind}"
        )
        raise status.bad_request(message)


def created(resource: Resource, body: JsonObject, namespace: str, moment: Moment) -> JsonObject:
    """The object as it is stored. Its name must be chosen already (generateName is the server's part)."""
    value = copy(body)
    meta_ = value.setdefault("metadata", {})
    if meta_.pop("resourceVersion", ""):
        raise status.bad_request("resourceVersion should not be set on objects to be created")
    if not meta_.get("name"):
        wrong = errors.required("metadata.name", "name or generateName is required")
        raise refused(resource, "", wrong)
    _place(resource, meta_, namespace)
    for name in _SERVER_FIELDS:
        meta_.pop(name, None)
    meta_["uid"] = moment.uid
    meta_["creationTimestamp"] = meta.format_time(moment.now)
    if resource in WITH_GENERATION:
        meta_["generation"] = 1
    _leave_out_empty(meta_)
    if resource in WITH_STATUS - KEEPS_STATUS_AT_CREATE:
        value["status"] = dict(_FIRST_STATUS.get(resource, {}))
    if resource == r.NAMESPACES:
        value.setdefault("spec", {}).setdefault("finalizers", ["kubernetes"])
    return value


def _leave_out_empty(meta_: JsonObject) -> None:
    """Of metadata nobody sees whether a list or a map is empty or not there (all are `omitempty`)."""
    for name in _OPTIONAL_IN_METADATA:
        if name in meta_ and not meta_[name]:
            del meta_[name]


def _place(resource: Resource, meta_: JsonObject, namespace: str) -> None:
    if not resource.namespaced:
        meta_.pop("namespace", None)
        return
    if not namespace:
        raise status.bad_request("an empty namespace may not be set during creation")
    if meta_.setdefault("namespace", namespace) != namespace:
        message = "the namespace of the provided object does not match the namespace sent on the request"
        raise status.bad_request(message)


def updated(resource: Resource, old: JsonObject, body: JsonObject, subresource: str) -> JsonObject:
    """What a PUT or the result of a PATCH makes of `old`; equal to `old` when nothing changes. Subresources
    other than "status" write spec and status together.

    Conflict when the body is based on another version or is another object of that name.
    """
    value = copy(body)
    old_meta = old["metadata"]
    meta_ = value.setdefault("metadata", {})
    name = old_meta["name"]
    version = meta_.get("resourceVersion", "")
    if version and version != old_meta["resourceVersion"]:
        raise status.modified(resource, name)
    if (uid := meta_.get("uid", "")) and uid != old_meta["uid"]:
        raise _wrong_uid(resource, name, uid, old_meta["uid"])
    for field in ("name", "namespace", "resourceVersion", *_SERVER_FIELDS):
        if field in old_meta:
            meta_[field] = old_meta[field]
        else:
            meta_.pop(field, None)
    _leave_out_empty(meta_)
    if subresource == "status":
        value = _with_new_status(resource, old, value)
    elif not subresource and resource in WITH_STATUS:
        _take_over(value, old, "status")
    _check_finalizers(resource, old, value)
    is_wish = subresource != "binding"  # a pod that was given its node is still of its first generation
    if resource in WITH_GENERATION and is_wish and _spec_of(value) != _spec_of(old):
        value["metadata"]["generation"] = old_meta.get("generation", 0) + 1
    return value


def _take_over(value: JsonObject, old: JsonObject, field: str) -> None:
    if field in old:
        value[field] = old[field]
    else:
        value.pop(field, None)


def _with_new_status(resource: Resource, old: JsonObject, value: JsonObject) -> JsonObject:
    merged = copy(old)
    _take_over(merged, value, "status")
    if resource in STATUS_WRITES_METADATA:
        for field in ("labels", "annotations", "finalizers"):
            _take_over(merged["metadata"], value["metadata"], field)
    return merged


def _check_finalizers(resource: Resource, old: JsonObject, value: JsonObject) -> None:
    before = old["metadata"].get("finalizers") or []
    added = [name for name in value["metadata"].get("finalizers") or [] if name not in before]
    if added and "deletionTimestamp" in old["metadata"]:
        shown = ", ".join(f'"{name}"' for name in added)
        detail = (
            "no new finalizers can be added if the object is being deleted, "
            f"found new finalizers []string{{{shown}}}"
        )
        raise refused(resource, old["metadata"]["name"], errors.forbidden("metadata.finalizers", detail))


def _spec_of(value: JsonObject) -> JsonObject:
    return {name: part for name, part in value.items() if name not in ("metadata", "status")}


def is_finished(value: JsonObject) -> bool:
    """Whether a deletion that was asked for has nothing left to wait for."""
    meta_ = value["metadata"]
    if "deletionTimestamp" not in meta_ or meta_.get("finalizers"):
        return False
    return not meta_.get("deletionGracePeriodSeconds") and not (value.get("spec") or {}).get("finalizers")


def check_preconditions(resource: Resource, value: JsonObject, options: DeleteOptions) -> None:
    meta_ = value["metadata"]
    if options.uid and options.uid != meta_["uid"]:
        raise _wrong_uid(resource, meta_["name"], options.uid, meta_["uid"])
    if options.resource_version and options.resource_version != meta_["resourceVersion"]:
        because = (
            f"Precondition failed: ResourceVersion in precondition: {options.resource_version}, "
            f"ResourceVersion in object meta: {meta_['resourceVersion']}"
        )
        raise status.conflict(resource, meta_["name"], because)


def deleted(
    resource: Resource, value: JsonObject, options: DeleteOptions, now: datetime
) -> JsonObject | None:
    """What is left of the object after a DELETE; None when it may go at once (check preconditions before)."""
    left = copy(value)
    meta_ = left["metadata"]
    _set_propagation(resource, meta_, options.propagation)
    grace = _grace_seconds(resource, value, options)
    if "deletionTimestamp" in meta_:
        _shorten(meta_, grace if options.grace_period_seconds is not None else None)
    elif grace or meta_.get("finalizers") or (left.get("spec") or {}).get("finalizers"):
        meta_["deletionTimestamp"] = meta.format_time(now + timedelta(seconds=grace))
        meta_["deletionGracePeriodSeconds"] = grace
        if resource in WITH_GENERATION:
            meta_["generation"] = meta_.get("generation", 0) + 1
        if resource == r.NAMESPACES:
            left["status"] = {**(left.get("status") or {}), "phase": "Terminating"}
    else:
        return None
    return None if is_finished(left) else left


def marked_by_force(
    resource: Resource, value: JsonObject, options: DeleteOptions, now: datetime
) -> JsonObject | None:
    """A pod that may run and is deleted by force is first marked with its grace of zero, so that its node
    hears how little time it has, also when it is on its way out with a longer one; None = nothing to mark
    (rest.BeforeDelete sets it before the removal)."""
    if resource != r.PODS or options.grace_period_seconds != 0:
        return None
    if value["metadata"].get("deletionGracePeriodSeconds") == 0:
        return None
    is_over = (value.get("status") or {}).get("phase") in ("Succeeded", "Failed")
    if is_over or not (value.get("spec") or {}).get("nodeName"):
        return None
    marked = copy(value)
    meta_ = marked["metadata"]
    if "deletionTimestamp" in meta_:
        _shorten(meta_, 0)
        return marked
    meta_["deletionTimestamp"] = meta.format_time(now)
    meta_["deletionGracePeriodSeconds"] = 0
    meta_["generation"] = meta_.get("generation", 0) + 1
    return marked


def _grace_seconds(resource: Resource, value: JsonObject, options: DeleteOptions) -> int:
    """podStrategy.CheckGracefulDelete; nothing but pods is deleted gracefully."""
    if resource != r.PODS:
        return 0
    spec = value.get("spec") or {}
    if not spec.get("nodeName") or (value.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
        return 0
    period = options.grace_period_seconds
    if period is None:
        period = int(spec.get("terminationGracePeriodSeconds", DEFAULT_GRACE_SECONDS))
    return 1 if period < 0 else period


def _shorten(meta_: JsonObject, grace: int | None) -> None:
    """A second delete may only bring the end nearer (rest.BeforeDelete)."""
    before = meta_.get("deletionGracePeriodSeconds") or 0
    if grace is None or grace >= before:
        return
    deadline = meta.parse_time(meta_["deletionTimestamp"]) - timedelta(seconds=before - grace)
    meta_["deletionTimestamp"] = meta.format_time(deadline)
    meta_["deletionGracePeriodSeconds"] = grace


def _set_propagation(resource: Resource, meta_: JsonObject, propagation: str) -> None:
    finalizers = list(meta_.get("finalizers") or [])
    if not propagation:
        has_own = ORPHAN in finalizers or FOREGROUND in finalizers
        if resource not in ORPHANS_BY_DEFAULT or has_own:
            return
        propagation = "Orphan"
    kept = [name for name in finalizers if name not in (ORPHAN, FOREGROUND)]
    if propagation == "Orphan":
        kept.append(ORPHAN)
    elif propagation == "Foreground":
        kept.append(FOREGROUND)
    if kept:
        meta_["finalizers"] = kept
    else:
        meta_.pop("finalizers", None)


def _wrong_uid(resource: Resource, name: str, wanted: str, found: str) -> Exception:
    because = f"Precondition failed: UID in precondition: {wanted}, UID in object meta: {found}"
    return status.conflict(resource, name, because)


def refused(resource: Resource, name: str, *wrong: errors.FieldError) -> Exception:
    invalid = InvalidObject(wrong, resource.kind, name)
    return status.error_of(errors.invalid_status(invalid, resource.group))


def success(resource: Resource, value: JsonObject) -> JsonObject:
    """The Status that answers a deletion that is done."""
    details: dict[str, Any] = {"name": value["metadata"]["name"], "kind": resource.plural}
    if resource.group:
        details["group"] = resource.group
    details["uid"] = value["metadata"].get("uid", "")
    return {
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details,
    }  # fmt: skip
