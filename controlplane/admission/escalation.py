"""Roles and bindings: nobody writes into them more than they hold (see controlplane.authz.escalation)."""

from __future__ import annotations

from controlplane.admission.plugin import Plugin, denied
from controlplane.api.model import Attributes, View
from controlplane.authz.escalation import RESOURCES, why_not
from controlplane.authz.model import Judge
from controlplane.authz.rbac import GROUP, Policy


class Escalation(Plugin):
    name = "RBACEscalation"
    kinds = frozenset(f"{GROUP}/{plural}" for plural in RESOURCES.values())

    def __init__(self, policy: Policy, judge: Judge) -> None:
        self._held = (policy, judge)

    async def validate(self, attributes: Attributes, view: View) -> None:
        item = attributes.value or {}
        because = why_not(attributes.resource.kind, item, attributes.old, attributes.user, self._held)
        if because:
            raise denied(attributes, because)
