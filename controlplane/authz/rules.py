"""RBAC's rules (rbac/v1 PolicyRule) as values: matching a request, covering one another, and an index.

`Rules` answers for a whole role with a dozen dictionary look-ups, however many rules the role has.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from controlplane.authz.model import Access

ALL = "*"


@dataclass(frozen=True, slots=True)
class Rule:
    """`names` empty means every object; `urls` may end in `*`."""

    verbs: tuple[str, ...]
    groups: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    urls: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Rule:
        def texts(key: str) -> tuple[str, ...]:
            return tuple(value.get(key) or ())

        return cls(
            texts("verbs"), texts("apiGroups"), texts("resources"), texts("resourceNames"),
            texts("nonResourceURLs"),
        )  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        fields = {
            "verbs": self.verbs, "apiGroups": self.groups, "resources": self.resources,
            "resourceNames": self.names, "nonResourceURLs": self.urls,
        }  # fmt: skip
        return {key: list(values) for key, values in fields.items() if values}

    def __str__(self) -> str:
        """As upstream shows a rule in its refusals (PolicyRule.CompactString)."""
        fields = (
            ("APIGroups", self.groups), ("Resources", self.resources),
            ("NonResourceURLs", self.urls), ("ResourceNames", self.names), ("Verbs", self.verbs),
        )  # fmt: skip
        return "{" + ", ".join(f"{name}:{_go_list(values)}" for name, values in fields if values) + "}"


def rules_of(role: Mapping[str, Any]) -> tuple[Rule, ...]:
    """Of a Role or ClusterRole object; ones without rules (`rules: null`) have none."""
    return tuple(Rule.from_json(item) for item in role.get("rules") or ())


class Rules:
    """What a set of rules allows. Immutable once made."""

    __slots__ = ("_resources", "_urls", "all")

    def __init__(self, rules: Iterable[Rule]) -> None:
        self.all = tuple(rules)
        # (verb, group, resource) -> the names it is limited to; None for all.
        self._resources: dict[tuple[str, str, str], frozenset[str] | None] = {}
        self._urls: list[tuple[str, str]] = []
        for rule in self.all:
            self._add(rule)

    def _add(self, rule: Rule) -> None:
        for verb in rule.verbs:
            self._urls.extend((verb, url) for url in rule.urls)
            for group in rule.groups:
                for resource in rule.resources:
                    key = (verb, group, resource)
                    known = self._resources.get(key, frozenset())
                    limited = None if not rule.names or known is None else known | set(rule.names)
                    self._resources[key] = limited

    def allow(self, access: Access) -> bool:
        if not access.is_resource:
            return any(
                verb in (ALL, access.verb) and url_matches(url, access.path) for verb, url in self._urls
            )
        return any(self._key_allows(key, access.name) for key in _keys(access))

    def _key_allows(self, key: tuple[str, str, str], name: str) -> bool:
        limited = self._resources.get(key, _NOTHING)
        return limited is None or (bool(name) and name in limited)


_NOTHING: frozenset[str] = frozenset()


def _keys(access: Access) -> Iterator[tuple[str, str, str]]:
    resources = [ALL, access.resource]
    if access.subresource:
        resources = [ALL, f"{access.resource}/{access.subresource}", f"{ALL}/{access.subresource}"]
    for verb in (ALL, access.verb):
        for group in (ALL, access.group):
            for resource in resources:
                yield verb, group, resource


def url_matches(pattern: str, path: str) -> bool:
    """`*`, a path, or a path's beginning followed by `*` (NonResourceURLMatches)."""
    if pattern in (ALL, path):
        return True
    return pattern.endswith(ALL) and path.startswith(pattern.rstrip(ALL))


def uncovered(owned: Iterable[Rule], wanted: Iterable[Rule]) -> list[Rule]:
    """The parts of `wanted`, one verb and resource each, that `owned` lacks (rulevalidation.Covers)."""
    owner = tuple(owned)
    return [part for rule in wanted for part in _parts(rule) if not any(_covers(one, part) for one in owner)]


def _parts(rule: Rule) -> Iterator[Rule]:
    for verb in rule.verbs:
        for url in rule.urls:
            yield Rule((verb,), urls=(url,))
        for group in rule.groups:
            for resource in rule.resources:
                if not rule.names:
                    yield Rule((verb,), (group,), (resource,))
                for name in rule.names:
                    yield Rule((verb,), (group,), (resource,), (name,))


def _covers(owner: Rule, part: Rule) -> bool:
    """Whether one rule holds one part."""
    if not _has(owner.verbs, part.verbs[0]):
        return False
    if part.urls:
        return any(_url_covers(url, part.urls[0]) for url in owner.urls)
    if not _has(owner.groups, part.groups[0]) or not _resource_covers(owner.resources, part.resources[0]):
        return False
    return not owner.names or (bool(part.names) and part.names[0] in owner.names)


def _has(owned: tuple[str, ...], wanted: str) -> bool:
    return ALL in owned or wanted in owned


def _resource_covers(owned: tuple[str, ...], wanted: str) -> bool:
    _, slash, subresource = wanted.partition("/")
    return _has(owned, wanted) or (bool(slash) and f"{ALL}/{subresource}" in owned)


def _url_covers(owned: str, wanted: str) -> bool:
    if owned in (ALL, wanted):
        return True
    return owned.endswith(ALL) and wanted.startswith(owned.rstrip(ALL))


def _go_list(values: Iterable[str]) -> str:
    """As Go's %q prints a list of texts."""
    return "[" + " ".join(f'"{value}"' for value in values) + "]"
