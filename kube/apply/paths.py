"""Sets of fields, and their FieldsV1 form.

A path is a tuple of elements as FieldsV1 spells them: `f:NAME` a field or an entry of a map, `k:{KEYS}` an
item of a list by its keys, `v:VALUE` an item of a set, `i:N` an item by its place. A set of fields is a
frozenset of paths; whatever lies below a path is not in the set unless it is there itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from kube.apply.shape import Shape

Path = tuple[str, ...]
Fields = frozenset[Path]

NONE: Fields = frozenset()
_KINDS = ("f", "k", "v", "i")


def to_fields_v1(fields: Iterable[Path]) -> dict[str, Any]:
    """Nested by element; `.` says that a path which has more below it is a member itself."""
    root: dict[str, Any] = {}
    for path in sorted(fields):
        node = root
        for depth, element in enumerate(path, 1):
            known = node.get(element)
            if known is None:
                known = node[element] = {}
            elif not known and depth < len(path):
                # Empty means a member: in this order it comes before what lies below it.
                known["."] = {}
            node = known
    return root


def of_fields_v1(value: Any) -> Fields:
    """ValueError for what is not FieldsV1."""
    found: set[Path] = set()
    _collect(value, (), found)
    return frozenset(found)


def _collect(node: Any, path: Path, found: set[Path]) -> None:
    if not isinstance(node, dict):
        raise ValueError(f"cannot read FieldsV1: because {node!r} is no object")
    if path and (not node or "." in node):
        found.add(path)
    for element, below in node.items():
        if element == ".":
            continue
        if element[1:2] != ":" or element[0] not in _KINDS:
            raise ValueError(f"cannot read FieldsV1: because {element!r} is no path element")
        _collect(below, (*path, _canonical(element)), found)


def _canonical(element: str) -> str:
    """As we write it ourselves, so that equal elements are equal texts."""
    kind = element[0]
    if kind == "f" or kind == "i":
        return element
    value = json.loads(element[2:])
    if kind == "k" and not isinstance(value, dict):
        raise ValueError(f"cannot read FieldsV1: because {element!r} has no keys")
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, sort_keys=True)
    return f"{kind}:{text}"


def shown(path: Path) -> str:
    """For people, as `.spec.containers[name="main"].image`."""
    return "".join(map(_shown_element, path))


def _shown_element(element: str) -> str:
    kind, rest = element[0], element[2:]
    if kind == "f":
        return f".{rest}"
    if kind == "k":
        pairs = json.loads(rest).items()
        return "[" + ",".join(f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in pairs) + "]"
    return f"[={rest}]" if kind == "v" else f"[{rest}]"


def with_structs(fields: Iterable[Path], shape: Shape) -> Fields:
    """Also the declared fields on the way to each member, which are never members by themselves."""
    found = set(fields)
    ways: dict[Path, Shape] = {(): shape}
    for path in tuple(found):
        for depth in range(1, len(path)):
            way = path[:depth]
            if way not in ways:
                parent, element = ways[way[:-1]], way[-1]
                ways[way] = parent.child(element)
                if parent.is_field(element):
                    found.add(way)
    return frozenset(found)


def below(fields: Iterable[Path], stems: Iterable[Path]) -> Fields:
    """The members that are one of the stems or lie below one."""
    wanted = set(stems)
    return frozenset(
        path for path in fields if any(path[:depth] in wanted for depth in range(1, len(path) + 1))
    )
