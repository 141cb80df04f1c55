"""Priority: the number behind a pod's priorityClassName (plugin/pkg/admission/priority)."""

from __future__ import annotations

from controlplane.admission.plugin import CREATE, Plugin, denied, is_create
from controlplane.api.model import Attributes, View
from kube.client.model import JsonObject
from kube.client.resources import PRIORITY_CLASSES

PREEMPT = "PreemptLowerPriority"


class Priority(Plugin):
    name = "Priority"
    kinds = frozenset(("/pods", "scheduling.k8s.io/priorityclasses"))
    verbs = (CREATE, "update", "patch")

    async def mutate(self, attributes: Attributes, view: View) -> JsonObject:
        value = attributes.value or {}
        if attributes.info.resource != "pods" or not is_create(attributes):
            return value
        spec = value.setdefault("spec", {})
        name, priority, policy = self._class_of(attributes, view, spec.get("priorityClassName", ""))
        if name:
            spec["priorityClassName"] = name
        asked = spec.get("priority")
        if asked is not None and asked != priority:
            message = (
                f"the integer value of priority ({asked}) must not be provided in pod spec; priority "
                "admission controller computed "
                f"{priority} from the given PriorityClass name"
            )
            raise denied(attributes, message)
        asked_policy = spec.get("preemptionPolicy")
        if asked_policy is not None and asked_policy != policy:
            message = (
                f"the string value of PreemptionPolicy ({asked_policy}) must not be provided in pod spec; "
                f"priority admission controller computed {policy} from the given PriorityClass name"
            )
            raise denied(attributes, message)
        spec["priority"], spec["preemptionPolicy"] = priority, policy
        return value

    async def validate(self, attributes: Attributes, view: View) -> None:
        """There is one default class at most."""
        value = attributes.value or {}
        if attributes.info.resource != "priorityclasses" or not value.get("globalDefault"):
            return
        for item in view.list(PRIORITY_CLASSES):
            other = item["metadata"]["name"]
            if item.get("globalDefault") and other != value["metadata"].get("name"):
                message = f'PriorityClass "{other}" is already marked as default. Only one default can exist'
                raise denied(attributes, message)

    def _class_of(self, attributes: Attributes, view: View, name: str) -> tuple[str, int, str]:
        """(name, value, preemption policy)."""
        if not name:
            defaults = [item for item in view.list(PRIORITY_CLASSES) if item.get("globalDefault")]
            if not defaults:
                return "", 0, PREEMPT
            # Two of them can only come of a race; the lower counts.
            found = min(defaults, key=lambda item: int(item.get("value", 0)))
        else:
            known = view.get(PRIORITY_CLASSES, "", name)
            if known is None:
                raise denied(attributes, f"no PriorityClass with name {name} was found")
            found = known
        return found["metadata"]["name"], found.get("value", 0), found.get("preemptionPolicy") or PREEMPT
