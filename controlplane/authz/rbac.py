"""RBAC: roles and bindings in, decisions out.

`Policy` holds the four kinds as they are fed to it (`put`, `remove`: the caller follows the watch caches) and
keeps for every subject the bindings that name it, so a decision looks only at the user's own. Decisions are
remembered until the policy changes. No I/O, no clock.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from controlplane.api.model import Decision, UserInfo, Verdict
from controlplane.authn.identity import split_service_account
from controlplane.authz.model import Access
from controlplane.authz.rules import Rule, Rules, rules_of

GROUP = "rbac.authorization.k8s.io"
ROLES = ("Role", "ClusterRole")
BINDINGS = ("RoleBinding", "ClusterRoleBinding")
REMEMBERED_MAX = 8192

# A subject: ("User", "", name), ("Group", "", name), ("ServiceAccount", namespace, name)
Subject = tuple[str, str, str]
# (kind, namespace, name)
Key = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Binding:
    kind: str
    namespace: str
    name: str
    role: Key
    subjects: tuple[Subject, ...]


@dataclass(frozen=True, slots=True)
class Grant:
    """A binding that reaches the user, by which subject, and what its role allows; without rules when there
    is no such role."""

    binding: Binding
    subject: Subject
    rules: Rules | None


class Policy:
    """The RBAC authorizer and all it knows."""

    def __init__(self) -> None:
        self._roles: dict[Key, Rules] = {}
        self._bindings: dict[Key, Binding] = {}
        self._by_subject: dict[Subject, dict[Key, Binding]] = {}
        self._remembered: dict[tuple[Any, ...], Verdict] = {}

    def put(self, kind: str, item: Mapping[str, Any]) -> None:
        """A role or binding as it is now (JSON)."""
        key = (kind, item["metadata"].get("namespace", ""), item["metadata"]["name"])
        self._remembered.clear()
        if kind in ROLES:
            self._roles[key] = Rules(rules_of(item))
            return
        self._forget_binding(key)
        binding = _binding(key, item)
        self._bindings[key] = binding
        for subject in binding.subjects:
            self._by_subject.setdefault(subject, {})[key] = binding

    def remove(self, kind: str, namespace: str, name: str) -> None:
        self._remembered.clear()
        key = (kind, namespace, name)
        self._roles.pop(key, None)
        self._forget_binding(key)

    def _forget_binding(self, key: Key) -> None:
        binding = self._bindings.pop(key, None)
        for subject in binding.subjects if binding else ():
            named = self._by_subject[subject]
            named.pop(key, None)
            if not named:
                del self._by_subject[subject]

    def rules_of_role(self, kind: str, namespace: str, name: str) -> tuple[Rule, ...] | None:
        """None when there is no such role; the namespace of a ClusterRole is ""."""
        found = self._roles.get((kind, namespace, name))
        return found.all if found else None

    def grants(self, user: UserInfo, namespace: str) -> Iterator[Grant]:
        """Everything that reaches the user: cluster-wide, then (with a namespace) in the namespace."""
        named = [
            (subject, binding)
            for subject in _subjects_of(user)
            for binding in self._by_subject.get(subject, {}).values()
        ]
        for wanted in ("", namespace) if namespace else ("",):
            for subject, binding in named:
                if binding.namespace == wanted:
                    yield Grant(binding, subject, self._roles.get(binding.role))

    def rules_for(self, user: UserInfo, namespace: str) -> list[Rule]:
        return [rule for grant in self.grants(user, namespace) if grant.rules for rule in grant.rules.all]

    def judge(self, user: UserInfo, access: Access) -> Verdict:
        key = (
            user.name, user.groups, access.verb, access.is_resource, access.group, access.resource,
            access.subresource, access.namespace, access.name, access.path,
        )  # fmt: skip
        known = self._remembered.get(key)
        if known is None:
            known = self._decide(user, access)
            if len(self._remembered) >= REMEMBERED_MAX:
                self._remembered.clear()
            self._remembered[key] = known
        return known

    def _decide(self, user: UserInfo, access: Access) -> Verdict:
        missing = []
        for grant in self.grants(user, access.namespace if access.is_resource else ""):
            if grant.rules is None:
                missing.append(_missing(grant.binding.role))
            elif grant.rules.allow(access):
                return Verdict(Decision.ALLOWED, f"RBAC: allowed by {_story(grant)}")
        return Verdict(Decision.NO_OPINION, f"RBAC: {_listed(missing)}" if missing else "")


def _binding(key: Key, item: Mapping[str, Any]) -> Binding:
    kind, namespace, name = key
    ref = item.get("roleRef", {})
    role_kind = ref.get("kind", "")
    role = (role_kind, namespace if role_kind == "Role" else "", ref.get("name", ""))
    subjects = dict.fromkeys(_subject(subject, namespace) for subject in item.get("subjects") or ())
    return Binding(kind, namespace, name, role, tuple(subjects))


def _subject(subject: Mapping[str, Any], namespace: str) -> Subject:
    kind = subject.get("kind", "")
    account = kind == "ServiceAccount"
    return kind, subject.get("namespace") or namespace if account else "", subject.get("name", "")


def _subjects_of(user: UserInfo) -> Iterator[Subject]:
    yield "User", "", user.name
    for group in user.groups:
        yield "Group", "", group
    account = split_service_account(user.name)
    if account:
        yield "ServiceAccount", *account


def _missing(role: Key) -> str:
    kind, _, name = role
    return f'{kind.lower()}.{GROUP} "{name}" not found'


def _listed(errors: list[str]) -> str:
    unique = list(dict.fromkeys(errors))
    return unique[0] if len(unique) == 1 else f"[{', '.join(unique)}]"


def _story(grant: Grant) -> str:
    """`ClusterRoleBinding "a" of ClusterRole "b" to Group "c"` (clusterRoleBindingDescriber)."""
    binding = grant.binding
    name = f"{binding.name}/{binding.namespace}" if binding.namespace else binding.name
    kind, namespace, subject = grant.subject
    who = f"{subject}/{namespace}" if kind == "ServiceAccount" else subject
    return f'{binding.kind} "{name}" of {binding.role[0]} "{binding.role[2]}" to {kind} "{who}"'
