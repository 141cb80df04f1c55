"""Walks through values by their shape: the fields of one, the differences of two, a merge, a removal.

Nothing is changed in place, and what comes out shares nothing that a caller may change with what went in.
Items of a list that cannot be told apart (a key is missing, or two have the same) are one leaf together.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from kube.apply.errors import ApplyError
from kube.apply.paths import Fields, Path, shown
from kube.apply.shape import Shape
from kube.patch.values import clone


class _Missing:
    """Where there is no value, which is another thing than null."""


MISSING: Final = _Missing()


@dataclass(slots=True)
class Difference:
    """Leaves, and containers that came or went, with all that is in them."""

    added: set[Path] = field(default_factory=set)
    modified: set[Path] = field(default_factory=set)
    removed: set[Path] = field(default_factory=set)

    def without(self, dropped: Fields) -> Difference:
        return Difference(self.added - dropped, self.modified - dropped, self.removed - dropped)

    @property
    def changed(self) -> set[Path]:
        return self.added | self.modified


def fields_of(value: Any, shape: Shape) -> Fields:
    """What an applied configuration owns: leaves, items, entries of maps and empty objects.

    ApplyError for items that cannot be told apart.
    """
    return frozenset(_fields(value, shape, ()))


def _fields(value: Any, shape: Shape, path: Path) -> Iterator[Path]:
    if not shape.fits(value):
        yield path
        return
    parts = _parts_of_config(value, shape, path)
    if not parts and isinstance(value, dict) and path:
        yield path
    for element, part in parts.items():
        place, inner = (*path, element), shape.child(element)
        if inner.fits(part):
            if part and not shape.is_field(element):
                yield place
            yield from _fields(part, inner, place)
        else:
            yield place


def _parts_of_config(value: Any, shape: Shape, path: Path) -> dict[str, Any]:
    if isinstance(value, dict):
        return {f"f:{name}": item for name, item in value.items()}
    found: dict[str, Any] = {}
    for index, item in enumerate(value):
        element = shape.element_of(item)
        if element is None:
            keys = " or ".join(f'"{key}"' for key in shape.keys)
            because = f"associative list with keys has an element that omits key field {keys}"
            raise ApplyError(f"{shown(path)}: element {index}: {because} (and doesn't have default value)")
        if element in found:
            raise ApplyError(f"{shown(path)}: duplicate entries for key {shown((element,))}")
        found[element] = item
    return found


def _parts(value: Any, shape: Shape) -> dict[str, Any] | None:
    """Of a container, by element; None when they cannot be told apart."""
    if isinstance(value, dict):
        return {f"f:{name}": item for name, item in value.items()}
    found: dict[str, Any] = {}
    for item in value:
        element = shape.element_of(item)
        if element is None or element in found:
            return None
        found[element] = item
    return found


def compare(old: Any, new: Any, shape: Shape) -> Difference:
    """What changed from `old` to `new`. Cheap where they are equal."""
    found = Difference()
    _compare(old, new, shape, (), found)
    return found


def _compare(old: Any, new: Any, shape: Shape, path: Path, found: Difference) -> None:
    if old is not MISSING and new is not MISSING and old == new:
        return
    before = _side(old, shape)
    after = _side(new, shape)
    if before is not None and after is not None and (before or after):
        for element in {**before, **after}:
            _compare(
                before.get(element, MISSING), after.get(element, MISSING), shape.child(element),
                (*path, element), found,
            )  # fmt: skip
        if not path or (old is not MISSING and new is not MISSING):
            return
    if old is MISSING:
        found.added.add(path)
    elif new is MISSING:
        found.removed.add(path)
    else:
        found.modified.add(path)


def _side(value: Any, shape: Shape) -> dict[str, Any] | None:
    """The parts of one side; nothing is a container without parts."""
    if value is MISSING:
        return {}
    return _parts(value, shape) if shape.fits(value) else None


def merge(live: Any, config: Any, shape: Shape) -> Any:
    """The configuration over what is there: its leaves win, and what it does not say stays. Items of lists
    keep the configuration's order among themselves, the others their place between them."""
    if not (shape.fits(live) and shape.fits(config)):
        return _fresh(config, shape)
    if isinstance(config, dict):
        made = clone(live)
        for name, item in config.items():
            inner = shape.child(f"f:{name}")
            if live.get(name) is not None:
                made[name] = merge(live[name], item, inner)
            else:
                made |= _fresh({name: item}, shape)
        return made
    there, wanted = _parts(live, shape), _parts_of_config(config, shape, ())
    if there is None:
        return _merge_doubtful(live, wanted, shape)
    return [
        merge(there[element], wanted[element], shape.child(element))
        if element in there and element in wanted
        else _fresh(wanted[element], shape.child(element))
        if element in wanted
        else clone(there[element])
        for element in _order(list(there), list(wanted))
    ]


def _merge_doubtful(live: list[Any], wanted: dict[str, Any], shape: Shape) -> list[Any]:
    """Items there cannot all be told apart: those that the configuration names are its own from now on."""
    kept = [clone(item) for item in live if shape.element_of(item) not in wanted]
    return kept + [_fresh(item, shape.child(element)) for element, item in wanted.items()]


def _fresh(config: Any, shape: Shape) -> Any:
    """Where nothing is yet: without lists that have no items, and what is empty but for such lists: nobody
    would own them."""
    if isinstance(config, dict) and shape.fits(config):
        made = {}
        for name, item in config.items():
            inner = shape.child(f"f:{name}")
            value = _fresh(item, inner)
            if value or not inner.fits(item) or not (item or inner.is_list):
                made[name] = value
        return made
    if isinstance(config, list) and shape.fits(config):
        return [_fresh(item, shape.inner or shape) for item in config]
    return clone(config)


def _order(there: list[str], wanted: list[str]) -> Iterator[str]:
    known, shared = set(there), set(wanted)
    ahead = iter([element for element in wanted if element in known])
    next_shared = next(ahead, None)
    rest = iter(wanted)
    for element in there:
        if element not in shared:
            yield element
        elif element == next_shared:
            for one in rest:
                yield one
                if one == element:
                    break
            next_shared = next(ahead, None)
    yield from rest


def remove(value: Any, fields: Fields, shape: Shape, kept: Fields = frozenset()) -> Any:
    """The value without those fields and all below them. A container that has nothing left goes too, unless
    it is in `kept`."""
    ways = {path[:depth] for path in fields for depth in range(len(path))}
    return _remove(value, shape, (), _Removal(fields, ways, kept))


@dataclass(frozen=True, slots=True)
class _Removal:
    fields: Fields
    ways: set[Path]
    kept: Fields


def _remove(value: Any, shape: Shape, path: Path, work: _Removal) -> Any:
    if path not in work.ways or not shape.fits(value):
        return clone(value)
    if isinstance(value, list):
        items = ((shape.element_of(item) or "", item) for item in value)
        return [left for _, left in _left(items, shape, path, work)]
    pairs = ((f"f:{name}", item) for name, item in value.items())
    return {element[2:]: left for element, left in _left(pairs, shape, path, work)}


def _left(
    parts: Iterator[tuple[str, Any]], shape: Shape, path: Path, work: _Removal
) -> Iterator[tuple[str, Any]]:
    for element, part in parts:
        place = (*path, element)
        if place in work.fields:
            continue
        left = _remove(part, shape.child(element), place, work)
        if left or left == part or place in work.kept:
            yield element, left
