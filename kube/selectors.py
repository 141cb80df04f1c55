"""Label, field and node selectors: parse, check, match.

Rules of k8s.io/apimachinery/pkg/labels and pkg/fields: `!=` and `notin` also match objects that lack the key,
a comma is AND, an empty selector matches everything.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from kube.objects.core_v1 import NodeSelector, NodeSelectorRequirement, NodeSelectorTerm
from kube.objects.meta_v1 import LabelSelector


class Operator(StrEnum):
    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"
    GREATER = "Gt"
    LESS = "Lt"


class SelectorError(ValueError):
    """A selector that cannot be read; the message says where."""


@dataclass(frozen=True, slots=True)
class Requirement:
    key: str
    operator: Operator
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, str]) -> bool:
        return _MATCH[self.operator](labels.get(self.key), self.values)


@dataclass(frozen=True, slots=True)
class Selector:
    """All requirements must hold."""

    requirements: tuple[Requirement, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        return all(requirement.matches(labels) for requirement in self.requirements)


EVERYTHING = Selector()


def _compare(value: str | None, bounds: frozenset[str], holds: Callable[[int, int], bool]) -> bool:
    try:
        return value is not None and all(holds(int(value), int(bound)) for bound in bounds)
    except ValueError:
        return False


_MATCH: dict[Operator, Callable[[str | None, frozenset[str]], bool]] = {
    Operator.IN: lambda value, values: value in values,
    Operator.NOT_IN: lambda value, values: value not in values,
    Operator.EXISTS: lambda value, values: value is not None,
    Operator.DOES_NOT_EXIST: lambda value, values: value is None,
    Operator.GREATER: lambda value, values: _compare(value, values, lambda a, b: a > b),
    Operator.LESS: lambda value, values: _compare(value, values, lambda a, b: a < b),
}

_TOKEN = re.compile(r"\s*(==|!=|[=!,()<>]|[^\s=!,()<>]+)")
_SIGNS = frozenset(("==", "!=", "=", "!", ",", "(", ")", "<", ">"))
_SET_OPERATORS = {"in": Operator.IN, "notin": Operator.NOT_IN}
_VALUE_OPERATORS = {
    "=": Operator.IN,
    "==": Operator.IN,
    "!=": Operator.NOT_IN,
    ">": Operator.GREATER,
    "<": Operator.LESS,
}


def parse(text: str) -> Selector:
    """`a=b,c!=d,e in (f,g),h,!i` -> Selector. SelectorError says what was expected."""
    return Selector(tuple(_Reader(text).requirements()))


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = [match[1] for match in _TOKEN.finditer(text)]
        self.at = 0

    def requirements(self) -> Iterable[Requirement]:
        while self.peek():
            yield self.requirement()
            if self.peek() and self.take() != ",":
                raise self.expected("','")
            if self.at == len(self.tokens) and self.tokens[-1] == ",":
                raise self.expected("a key after ','")

    def peek(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def take(self) -> str:
        token = self.peek()
        self.at += 1
        return token

    def word(self, what: str) -> str:
        token = self.take()
        if not token or token in _SIGNS:
            raise self.expected(what)
        return token

    def expected(self, what: str) -> SelectorError:
        found = self.tokens[self.at - 1] if 0 < self.at <= len(self.tokens) else ""
        return SelectorError(f"unable to parse requirement: found {found!r}, expected: {what}")

    def requirement(self) -> Requirement:
        if self.peek() == "!":
            self.take()
            return Requirement(self.word("a key"), Operator.DOES_NOT_EXIST)
        key = self.word("a key")
        sign = self.peek()
        if sign in ("", ","):
            return Requirement(key, Operator.EXISTS)
        self.take()
        if sign in _SET_OPERATORS:
            return Requirement(key, _SET_OPERATORS[sign], frozenset(self.value_set()))
        if sign not in _VALUE_OPERATORS:
            raise self.expected("in, notin, =, ==, !=, gt, lt")
        value = "" if self.peek() in ("", ",") else self.word("a value")
        return Requirement(key, _VALUE_OPERATORS[sign], frozenset((value,)))

    def value_set(self) -> Iterable[str]:
        if self.take() != "(":
            raise self.expected("'('")
        while True:
            yield "" if self.peek() in (",", ")") else self.word("a value")
            sign = self.take()
            if sign == ")":
                return
            if sign != ",":
                raise self.expected("',' or ')'")


def of_label_selector(selector: LabelSelector | None) -> Selector | None:
    """A LabelSelector object; None (which selects nothing) stays None, `{}` selects everything."""
    if selector is None:
        return None
    exact = [
        Requirement(key, Operator.IN, frozenset((value,))) for key, value in selector.match_labels.items()
    ]
    rest = [
        Requirement(item.key, _operator(item.operator), frozenset(item.values))
        for item in selector.match_expressions
    ]
    return Selector((*exact, *rest))


def _operator(text: str) -> Operator:
    try:
        return Operator(text)
    except ValueError:
        raise SelectorError(f'"{text}" is not a valid label selector operator') from None


@dataclass(frozen=True, slots=True)
class FieldRequirement:
    field: str
    value: str
    equal: bool

    def matches(self, fields: Mapping[str, str]) -> bool:
        return (fields.get(self.field, "") == self.value) is self.equal


def parse_fields(text: str) -> tuple[FieldRequirement, ...]:
    """`spec.nodeName=n1,status.phase!=Failed`; backslash escapes `\\`, `,` and `=`. All must hold."""
    return tuple(_field_term(term) for term in re.split(r"(?<!\\),", text) if term)


def _field_term(term: str) -> FieldRequirement:
    match = re.fullmatch(r"((?:\\.|[^\\=!])+)(!=|==|=)((?:\\[\\,=]|[^\\,=])*)", term)
    if match is None:
        raise SelectorError(f"invalid selector: '{term}'; can't understand '{term}'")
    field, sign, value = match.groups()
    return FieldRequirement(field, re.sub(r"\\(.)", r"\1", value), sign != "!=")


def node_matches(selector: NodeSelector, labels: Mapping[str, str], fields: Mapping[str, str]) -> bool:
    """Required node affinity: any term holds. `fields` is {"metadata.name": NAME}."""
    return any(node_term_matches(term, labels, fields) for term in selector.node_selector_terms)


def node_term_matches(term: NodeSelectorTerm, labels: Mapping[str, str], fields: Mapping[str, str]) -> bool:
    """All expressions and fields hold; an empty term matches no node."""
    if not term.match_expressions and not term.match_fields:
        return False
    return _all_hold(term.match_expressions, labels) and _all_hold(term.match_fields, fields)


def _all_hold(items: Iterable[NodeSelectorRequirement], values: Mapping[str, str]) -> bool:
    return all(
        Requirement(item.key, _operator(item.operator), frozenset(item.values)).matches(values)
        for item in items
    )
