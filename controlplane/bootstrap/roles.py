"""The bootstrap roles and bindings: `roles.txt` read into RBAC objects, and how old ones are renewed.

The server puts these objects back at every start (auto-update), unless someone set the annotation on one to
"false": missing rules and subjects are added, additions of the administrator stay.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from controlplane.authz.rbac import GROUP
from controlplane.authz.rules import Rule, rules_of, uncovered
from kube import objects as views
from kube import selectors
from kube.objects.meta_v1 import LabelSelector
from kube.selectors import Operator, Requirement, Selector

AUTO_UPDATE = "rbac.authorization.kubernetes.io/autoupdate"
BOOTSTRAP = "kubernetes.io/bootstrapping"
AGGREGATE = "rbac.authorization.k8s.io/aggregate-to-"
API_VERSION = f"{GROUP}/v1"

_VERBS = {
    "read": ("get", "list", "watch"),
    "change": ("create", "delete", "deletecollection", "patch", "update"),
}
_RECORD = Rule(("create", "patch", "update"), ("", "events.k8s.io"), ("events",))
_SUBJECT_KINDS = {"group": "Group", "user": "User"}

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Declared:
    """One role of the file with its binding's subjects; `bound` also for a binding without subjects."""

    namespace: str
    name: str
    rules: tuple[Rule, ...] = ()
    adds_to: tuple[str, ...] = ()
    collects: str = ""
    subjects: tuple[Json, ...] = field(default=())
    bound: bool = False

    @property
    def kind(self) -> str:
        return "Role" if self.namespace else "ClusterRole"

    def role(self) -> Json:
        body = self._object(self.kind, {f"{AGGREGATE}{name}": "true" for name in self.adds_to}, self.name)
        if self.collects:
            labels = {"matchLabels": {f"{AGGREGATE}{self.collects}": "true"}}
            body["aggregationRule"] = {"clusterRoleSelectors": [labels]}
        # The controller fills in what an aggregate collects; here it is filled in from the start.
        body["rules"] = [rule.to_json() for rule in aggregated(self) if rule.verbs]
        return body

    def binding(self) -> Json | None:
        if not self.bound:
            return None
        body = self._object(f"{self.kind}Binding", {}, self.name)
        body["roleRef"] = {"apiGroup": GROUP, "kind": self.kind, "name": self.name}
        if self.subjects:
            body["subjects"] = [dict(subject) for subject in self.subjects]
        return body

    def _object(self, kind: str, labels: dict[str, str], name: str) -> Json:
        meta: Json = {
            "name": name,
            "labels": {BOOTSTRAP: "rbac-defaults", **labels},
            "annotations": {AUTO_UPDATE: "true"},
        }
        if self.namespace:
            meta["namespace"] = self.namespace
        return {"apiVersion": API_VERSION, "kind": kind, "metadata": meta}


@cache
def declared() -> tuple[Declared, ...]:
    text = (Path(__file__).parent / "roles.txt").read_text(encoding="utf-8")
    return tuple(parse(text))


def node_rules() -> tuple[Rule, ...]:
    """What every node may do, whichever it is: the role system:node, which the Node authorizer carries."""
    return next(item.rules for item in declared() if item.name == "system:node")


def objects() -> list[Json]:
    """Every role, then every binding, new objects each time."""
    roles = [item.role() for item in declared()]
    return roles + [binding for item in declared() if (binding := item.binding()) is not None]


def parse(text: str) -> Iterator[Declared]:
    """Read the file's form; ValueError names the line it cannot read."""
    current: Declared | None = None
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        if line[0] != " ":
            if current:
                yield current
            current = _heading(line)
        elif current is None:
            raise ValueError(f"cannot read line {number}: because no role stands before it")
        else:
            current = replace(current, rules=(*current.rules, _rule(line.strip(), number)))
    if current:
        yield current


def _heading(line: str) -> Declared:
    place, *words = line.split()
    namespace, slash, name = place.partition("/")
    if not slash:
        namespace, name = "", place
    subjects = [_subject(word) for word in words if word.startswith(("group:", "user:", "account:"))]
    if "@" in words:
        subjects.append(_account("kube-system", name.rpartition(":")[2]))
    return Declared(
        namespace,
        name,
        adds_to=tuple(word[1:] for word in words if word[0] == "+"),
        collects=next((word[1:] for word in words if word[0] == "="), ""),
        subjects=tuple(subjects),
        bound=bool(subjects) or "-" in words,
    )


def _subject(word: str) -> Json:
    kind, _, name = word.partition(":")
    if kind == "account":
        return _account(*name.split("/"))
    return {"apiGroup": GROUP, "kind": _SUBJECT_KINDS[kind], "name": name}


def _account(namespace: str, name: str) -> Json:
    return {"kind": "ServiceAccount", "name": name, "namespace": namespace}


def _rule(line: str, number: int) -> Rule:
    if line == "record":
        return _RECORD
    parts = [tuple(part.split(",")) for part in line.split(": ")]
    if not 3 <= len(parts) <= 4:
        raise ValueError(f"cannot read line {number}: because {line!r} is no rule")
    verbs = tuple(verb for word in parts[2] for verb in _VERBS.get(word, (word,)))
    if parts[0] == ("url",):
        return Rule(verbs, urls=parts[1])
    groups = tuple("" if group == "core" else group for group in parts[0])
    return Rule(verbs, groups, parts[1], parts[3] if len(parts) == 4 else ())


def aggregated(role: Declared) -> tuple[Rule, ...]:
    """The rules of a role, with those that an aggregate collects."""
    if not role.collects:
        return role.rules
    parts = [item for item in declared() if role.collects in item.adds_to]
    return tuple(dict.fromkeys(rule for part in parts for rule in aggregated(part)))


def aggregate(role: Mapping[str, Any], all_roles: Iterable[Mapping[str, Any]]) -> list[Json] | None:
    """The rules that an aggregating ClusterRole must have, from the others' labels, in order of names; None
    when it does not aggregate (ClusterRoleAggregationController)."""
    rule = role.get("aggregationRule")
    if not rule:
        return None
    chosen = [_selector(item) for item in rule.get("clusterRoleSelectors") or ()]
    found: list[Json] = []
    for other in sorted(all_roles, key=lambda item: str(item["metadata"]["name"])):
        meta = other["metadata"]
        if meta["name"] == role["metadata"]["name"]:
            continue
        if any(selector.matches(meta.get("labels") or {}) for selector in chosen):
            found.extend(item for item in other.get("rules") or () if item not in found)
    return found


def _selector(value: Mapping[str, Any]) -> Selector:
    """One that cannot be read selects nothing."""
    try:
        found = selectors.of_label_selector(views.convert(value, LabelSelector))
    except selectors.SelectorError:
        found = None
    return found if found is not None else _NOTHING


_NOTHING = Selector((Requirement("", Operator.EXISTS),))


def reconcile(wanted: Json, existing: Json | None) -> Json | None:
    """The object to write so that `existing` holds all of `wanted`; None when it does already, or when its
    annotation keeps it out of our hands."""
    if existing is None:
        return wanted
    meta = existing["metadata"]
    if (meta.get("annotations") or {}).get(AUTO_UPDATE, "true") == "false":
        return None
    merged = {**existing, "metadata": dict(meta)}
    for key in ("labels", "annotations"):
        merged["metadata"][key] = {**wanted["metadata"][key], **(meta.get(key) or {})}
    # What an aggregate holds is the controller's to say.
    if "rules" in wanted and "aggregationRule" not in wanted:
        missing = uncovered(rules_of(existing), rules_of(wanted))
        merged["rules"] = [*(existing.get("rules") or ()), *(rule.to_json() for rule in missing)]
    if "aggregationRule" in wanted:
        merged["aggregationRule"] = existing.get("aggregationRule") or wanted["aggregationRule"]
    if "subjects" in wanted:
        have = existing.get("subjects") or []
        merged["subjects"] = [*have, *(item for item in wanted["subjects"] if item not in have)]
    return None if merged == existing else merged
