"""What may change of a pod that is there (ValidatePodUpdate, ValidatePodEphemeralContainersUpdate,
ValidatePodResize): on the main path hardly anything, on two paths one thing each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from kube import errors, objects, qos
from kube.client.model import JsonObject
from kube.errors import FieldError
from kube.objects.core_v1 import Pod
from kube.validation import validate_pod_spec
from kube.validation.ephemeral import ephemeral_containers

DEADLINE_MAX_SECONDS = 2**31 - 1
MAY_CHANGE = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)
_FREE = ("activeDeadlineSeconds", "tolerations", "schedulingGates")
_RESIZABLE = ("cpu", "memory")


def complete(value: JsonObject) -> None:
    """The class of a new pod, which it keeps (podStrategy.PrepareForCreate)."""
    value["status"]["qosClass"] = qos.of_spec(objects.convert(value, Pod).spec).value


def update(value: JsonObject, old: JsonObject) -> Sequence[FieldError]:
    """Images, the deadline, more tolerations, gates that go; nothing else of the spec."""
    spec, before = value.get("spec") or {}, old.get("spec") or {}
    return () if spec == before else tuple(_update(value, spec, before))


def _update(value: JsonObject, spec: JsonObject, before: JsonObject) -> Iterator[FieldError]:
    yield from validate_pod_spec(objects.convert(value, Pod).spec, "spec")
    for field, what in (("containers", "containers"), ("initContainers", "init containers")):
        if len(spec.get(field) or ()) != len(before.get(field) or ()):
            yield errors.forbidden(f"spec.{field}", f"pod updates may not add or remove {what}")
            return
    yield from _deadline(spec.get("activeDeadlineSeconds"), before.get("activeDeadlineSeconds"))
    yield from _tolerations_kept(spec, before)
    yield from _gates(spec, before)
    if _fixed(spec, before) != _fixed(before, before):
        yield errors.forbidden("spec", MAY_CHANGE)


def _deadline(now: int | None, before: int | None) -> Iterator[FieldError]:
    path = "spec.activeDeadlineSeconds"
    if before is None:
        return
    if now is None:
        yield errors.invalid(path, None, "must not update from a positive integer to nil value")
    elif now > before:
        yield errors.invalid(path, now, "must be less than or equal to previous value")


def _tolerations_kept(spec: JsonObject, before: JsonObject) -> Iterator[FieldError]:
    now = [_without(item, "tolerationSeconds") for item in spec.get("tolerations") or []]
    if any(_without(item, "tolerationSeconds") not in now for item in before.get("tolerations") or []):
        detail = "existing toleration can not be modified except its tolerationSeconds"
        yield errors.forbidden("spec.tolerations", detail)


def _gates(spec: JsonObject, before: JsonObject) -> Iterator[FieldError]:
    known = [gate.get("name") for gate in before.get("schedulingGates") or ()]
    for index, gate in enumerate(spec.get("schedulingGates") or ()):
        if gate.get("name") not in known:
            detail = f"only deletion is allowed, but found new scheduling gate '{gate.get('name')}'"
            yield errors.forbidden(f"spec.schedulingGates[{index}].name", detail)
    if known and not _contains(spec.get("nodeSelector"), before.get("nodeSelector")):
        detail = "only additions to spec.nodeSelector are allowed (no mutations or deletions)"
        yield errors.invalid("spec.nodeSelector", spec.get("nodeSelector"), detail)


def _contains(now: JsonObject | None, before: JsonObject | None) -> bool:
    return (before or {}).items() <= (now or {}).items()


def _fixed(spec: JsonObject, before: JsonObject) -> JsonObject:
    """The spec with everything that may change as it was."""
    fixed = {key: item for key, item in spec.items() if key not in _FREE}
    for field in ("containers", "initContainers"):
        if field in spec:
            fixed[field] = [{**item, "image": ""} for item in spec[field]]
    if before.get("schedulingGates"):
        fixed.pop("nodeSelector", None)
    grace = "terminationGracePeriodSeconds"
    if (before.get(grace) or 0) < 0 and spec.get(grace) in (1, before[grace]):
        fixed[grace] = 1
    return fixed


def _without(item: JsonObject, field: str) -> JsonObject:
    return {key: value for key, value in item.items() if key != field}


# --- pods/ephemeralcontainers ---


def with_ephemeral(old: JsonObject, wanted: JsonObject) -> JsonObject:
    """The pod with the ephemeral containers of `wanted` and nothing else of it."""
    listed = (wanted.get("spec") or {}).get("ephemeralContainers") or []
    return _with_spec(old, wanted, {**old["spec"], "ephemeralContainers": listed})


def _with_spec(old: JsonObject, wanted: JsonObject, spec: JsonObject) -> JsonObject:
    version = (wanted.get("metadata") or {}).get("resourceVersion", "")
    return {**old, "spec": spec, "metadata": {**old["metadata"], "resourceVersion": version}}


def ephemeral_update(value: JsonObject, old: JsonObject) -> Sequence[FieldError]:
    """Ephemeral containers are only added."""
    return tuple(_ephemeral(value, old))


def _ephemeral(value: JsonObject, old: JsonObject) -> Iterator[FieldError]:
    yield from ephemeral_containers(value["spec"])
    path = "spec.ephemeralContainers"
    now = {item.get("name"): item for item in value["spec"].get("ephemeralContainers") or ()}
    for item in old["spec"].get("ephemeralContainers") or ():
        name = item.get("name")
        if name not in now:
            yield errors.forbidden(path, f'existing ephemeral containers "{name}" may not be removed\n')
        elif now[name] != item:
            yield errors.forbidden(path, f'existing ephemeral containers "{name}" may not be changed\n')


# --- pods/resize ---


def with_resources(old: JsonObject, wanted: JsonObject) -> JsonObject:
    """The pod with the resources that `wanted` has for its containers."""
    spec = dict(old["spec"])
    for field in ("containers", "initContainers"):
        new = {item.get("name"): item for item in (wanted.get("spec") or {}).get(field) or ()}
        if field in spec:
            spec[field] = [_resized(item, new.get(item.get("name"))) for item in spec[field]]
    return _with_spec(old, wanted, spec)


def _resized(container: JsonObject, wanted: JsonObject | None) -> JsonObject:
    if wanted is None:
        return container
    made = dict(container)
    for field in ("resources", "resizePolicy"):
        if field in wanted:
            made[field] = wanted[field]
    return made


def resize(value: JsonObject, old: JsonObject) -> Sequence[FieldError]:
    """CPU and memory alone, and the pod stays in its class."""
    return tuple(_resize(value, old))


def _resize(value: JsonObject, old: JsonObject) -> Iterator[FieldError]:
    pod = objects.convert(value, Pod)
    yield from validate_pod_spec(pod.spec, "spec")
    if qos.of_spec(pod.spec) != qos.of_spec(objects.convert(old, Pod).spec):
        detail = "Pod QOS Class may not change as a result of resizing"
        yield errors.invalid("spec", qos.of_spec(pod.spec).value, detail)
    for field in ("containers", "initContainers"):
        pairs = zip(value["spec"].get(field) or (), old["spec"].get(field) or (), strict=True)
        for index, (now, before) in enumerate(pairs):
            if _not_resizable(now) != _not_resizable(before):
                path = f"spec.{field}[{index}].resources"
                yield errors.forbidden(path, "only cpu and memory resources are mutable")


def _not_resizable(container: JsonObject) -> dict[str, Any]:
    resources = container.get("resources") or {}
    return {
        side: {name: text for name, text in (resources.get(side) or {}).items() if name not in _RESIZABLE}
        for side in ("limits", "requests")
    }
