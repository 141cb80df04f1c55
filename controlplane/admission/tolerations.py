"""DefaultTolerationSeconds: pods stay 300 s on a node that is not ready or cannot be reached; and
TaintNodesByCondition: a new node takes no pods until it is found ready.
"""

from __future__ import annotations

from controlplane.admission.plugin import CREATE, Plugin
from controlplane.api.model import Attributes, View
from kube.client.model import JsonObject

NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"
SECONDS = 300


class DefaultTolerationSeconds(Plugin):
    name = "DefaultTolerationSeconds"
    kinds = frozenset(("/pods",))

    async def mutate(self, attributes: Attributes, view: View) -> JsonObject:
        pod = attributes.value or {}
        spec = pod.setdefault("spec", {})
        tolerations = list(spec.get("tolerations") or ())
        for key in (NOT_READY, UNREACHABLE):
            if not any(_tolerates(item, key) for item in tolerations):
                tolerations.append(
                    {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": SECONDS}
                )
        spec["tolerations"] = tolerations
        return pod


def _tolerates(toleration: JsonObject, key: str) -> bool:
    """Whether the pod has its own word on this taint: for the key or all, the effect or all."""
    return toleration.get("key", "") in (key, "") and toleration.get("effect", "") in ("NoExecute", "")


class TaintNodesByCondition(Plugin):
    name = "TaintNodesByCondition"
    verbs = (CREATE,)
    kinds = frozenset(("/nodes",))

    async def mutate(self, attributes: Attributes, view: View) -> JsonObject:
        node = attributes.value or {}
        spec = node.setdefault("spec", {})
        taints = list(spec.get("taints") or ())
        if not any(item.get("key") == NOT_READY and item.get("effect") == "NoSchedule" for item in taints):
            spec["taints"] = [*taints, {"key": NOT_READY, "effect": "NoSchedule"}]
        return node
