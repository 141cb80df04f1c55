"""NamespaceLifecycle: nothing is made in a namespace that is not there or on its way out, and the ones that a
cluster lives by stay (staging/src/k8s.io/apiserver/pkg/admission/plugin/namespace/lifecycle).
"""

from __future__ import annotations

from controlplane.admission.plugin import CREATE, Plugin, denied, is_create
from controlplane.api.model import Attributes, View
from kube import status
from kube.client.resources import NAMESPACES
from kube.errors import StatusError

IMMORTAL = frozenset(("default", "kube-system", "kube-public"))
# They write nothing, so they may be asked about a namespace that is gone.
_REVIEWS = "authorization.k8s.io"


class NamespaceLifecycle(Plugin):
    name = "NamespaceLifecycle"
    verbs = (CREATE, "update", "patch", "delete")

    def handles(self, attributes: Attributes) -> bool:
        return attributes.info.verb in self.verbs

    async def validate(self, attributes: Attributes, view: View) -> None:
        info = attributes.info
        if info.group == "" and info.resource == "namespaces":
            if info.verb == "delete" and info.name in IMMORTAL:
                raise denied(attributes, "this namespace may not be deleted")
            return
        if not info.namespace or info.group == _REVIEWS or info.verb == "delete":
            return
        if not is_create(attributes) and not (info.subresource and info.verb == CREATE):
            return
        namespace = view.get(NAMESPACES, "", info.namespace)
        if namespace is None:
            raise status.not_found(NAMESPACES, info.namespace)
        phase = (namespace.get("status") or {}).get("phase")
        terminating = phase == "Terminating" or namespace["metadata"].get("deletionTimestamp")
        # What only acts on what is there already, such as an eviction, still goes through.
        if terminating and not info.subresource:
            raise _terminating(attributes)


def _terminating(attributes: Attributes) -> StatusError:
    namespace = attributes.info.namespace
    error = denied(
        attributes,
        f"unable to create new content in namespace {namespace} because it is being terminated",
    )
    cause = {
        "reason": "NamespaceTerminating",
        "message": f"namespace {namespace} is being terminated",
        "field": "metadata.namespace",
    }
    found = error.status
    details = {**(found.details or {}), "causes": [cause]}
    return status.error_of(type(found)(found.code, found.reason, found.message, details))
