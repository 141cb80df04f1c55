"""Nobody grants more than they hold: the check of every write to a role or a binding.

Rules of pkg/registry/rbac: who may `escalate` a role, or `bind` it, is free of it, as is system:masters.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from controlplane.api.model import Decision, UserInfo
from controlplane.authn.identity import MASTERS
from controlplane.authz.model import Ask, Judge
from controlplane.authz.rbac import GROUP, Policy
from controlplane.authz.rules import Rule, rules_of, uncovered
from kube import status
from kube.errors import Status

RESOURCES = {
    "Role": "roles", "ClusterRole": "clusterroles",
    "RoleBinding": "rolebindings", "ClusterRoleBinding": "clusterrolebindings",
}  # fmt: skip


def why_not(
    kind: str,
    item: Mapping[str, Any],
    old: Mapping[str, Any] | None,
    user: UserInfo,
    held: tuple[Policy, Judge],
) -> str:
    """Why the user may not write `item` (over `old`), "" when they may. NotFound when a binding names a role
    that does not exist."""
    policy, judge = held
    if MASTERS in user.groups:
        return ""
    namespace = item["metadata"].get("namespace", "")
    if kind in ("Role", "ClusterRole"):
        return _role(kind, item, old, user, held)
    ref = item.get("roleRef", {})
    if old is not None and old.get("roleRef") == ref and old.get("subjects") == item.get("subjects"):
        return ""
    role_kind, name = ref.get("kind", ""), ref.get("name", "")
    bind = Ask("bind", GROUP, RESOURCES.get(role_kind, ""), namespace=namespace, name=name)
    if judge.judge(user, bind).decision is Decision.ALLOWED:
        return ""
    rules = policy.rules_of_role(role_kind, namespace if role_kind == "Role" else "", name)
    if rules is None:
        message = f'{RESOURCES.get(role_kind, role_kind)}.{GROUP} "{name}" not found'
        raise status.error_of(Status(404, "NotFound", message))
    return _refusal(policy, user, namespace, rules)


def _role(
    kind: str,
    item: Mapping[str, Any],
    old: Mapping[str, Any] | None,
    user: UserInfo,
    held: tuple[Policy, Judge],
) -> str:
    policy, judge = held
    meta = item["metadata"]
    namespace, name = meta.get("namespace", ""), meta.get("name", "")
    escalate = Ask("escalate", GROUP, RESOURCES[kind], namespace=namespace, name=name)
    unchanged = old is not None and rules_of(old) == rules_of(item)
    if unchanged and (old or {}).get("aggregationRule") == item.get("aggregationRule"):
        return ""
    if judge.judge(user, escalate).decision is Decision.ALLOWED:
        return ""
    # Whose rules are filled in by selectors could come to hold anything.
    everything = (Rule(("*",), ("*",), ("*",)), Rule(("*",), urls=("*",)))
    if item.get("aggregationRule") and uncovered(policy.rules_for(user, namespace), everything):
        return "must have cluster-admin privileges to use the aggregationRule"
    return _refusal(policy, user, namespace, rules_of(item))


def _refusal(policy: Policy, user: UserInfo, namespace: str, wanted: Iterable[Rule]) -> str:
    missing = uncovered(policy.rules_for(user, namespace), wanted)
    if not missing:
        return ""
    groups = " ".join(f'"{group}"' for group in user.groups)
    shown = "\n".join(str(rule) for rule in compact(missing))
    return (
        f'user "{user.name}" (groups=[{groups}]) is attempting to grant RBAC permissions '
        f"not currently held:\n{shown}"
    )


def compact(parts: Iterable[Rule]) -> list[Rule]:
    """Parts that differ in their verb only, as one rule each, sorted as shown (validation.CompactRules)."""
    verbs: dict[Rule, list[str]] = {}
    for part in parts:
        key = Rule((), part.groups, part.resources, part.names, part.urls)
        if part.verbs[0] not in verbs.setdefault(key, []):
            verbs[key].append(part.verbs[0])
    merged = [
        Rule(tuple(found), key.groups, key.resources, key.names, key.urls) for key, found in verbs.items()
    ]
    return sorted(merged, key=str)
