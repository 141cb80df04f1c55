"""The plugins in the order in which they run (pkg/kubeapiserver/options/plugins.go)."""

from __future__ import annotations

from controlplane.admission.escalation import Escalation
from controlplane.admission.namespacelifecycle import NamespaceLifecycle
from controlplane.admission.noderestriction import NodeRestriction
from controlplane.admission.priority import Priority
from controlplane.admission.runtimeclass import RuntimeClass
from controlplane.admission.serviceaccount import ServiceAccount
from controlplane.admission.tolerations import DefaultTolerationSeconds, TaintNodesByCondition
from controlplane.api.model import AdmissionPlugin
from controlplane.authz.model import Judge
from controlplane.authz.rbac import Policy


def plugins(policy: Policy, judge: Judge) -> tuple[AdmissionPlugin, ...]:
    """All of them; `judge` is the whole authorizer, for the verbs `escalate` and `bind`."""
    return (
        NamespaceLifecycle(),
        ServiceAccount(),
        NodeRestriction(),
        TaintNodesByCondition(),
        Priority(),
        DefaultTolerationSeconds(),
        RuntimeClass(),
        Escalation(policy, judge),
    )
