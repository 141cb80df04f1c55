"""What every admission plugin has: which writes it looks at; by default it changes and refuses nothing."""

from __future__ import annotations

from controlplane.api.model import Attributes, View
from controlplane.authz.model import refuse
from kube.client.model import JsonObject
from kube.errors import StatusError

CREATE = "create"
WRITES = ("create", "update", "patch")
DELETES = ("delete", "deletecollection")


class Plugin:
    """`verbs`, `kinds` (group/plural) and `subresources` it handles; no kinds means all of them."""

    name = ""
    verbs: tuple[str, ...] = WRITES
    kinds: frozenset[str] = frozenset()
    subresources: frozenset[str] = frozenset(("",))

    def handles(self, attributes: Attributes) -> bool:
        info = attributes.info
        return (
            info.verb in self.verbs
            and (not self.kinds or f"{info.group}/{info.resource}" in self.kinds)
            and info.subresource in self.subresources
        )

    async def mutate(self, attributes: Attributes, view: View) -> JsonObject:
        return attributes.value or {}

    async def validate(self, attributes: Attributes, view: View) -> None:
        return None


def denied(attributes: Attributes, because: str) -> StatusError:
    """403 in admission's words: `pods "web" is forbidden: BECAUSE` (admission.NewForbidden)."""
    name = attributes.info.name or name_of(attributes)
    return refuse(attributes.info.group, attributes.info.resource, name or "Unknown", because)


def name_of(attributes: Attributes) -> str:
    """Of the object, or of the prefix that its name will be made from."""
    meta = (attributes.value or attributes.old or {}).get("metadata") or {}
    return str(meta.get("name") or meta.get("generateName") or "")


def is_create(attributes: Attributes) -> bool:
    """Also an update or patch that makes the object."""
    return attributes.old is None and attributes.value is not None
