"""Strategic merge patches that turn one object into another, as `kubectl apply` sends them.

One walk makes both kinds: three-way, where `base` is what the author wrote the last time, so that only what
was dropped since goes and what others added stays; and two-way, where the base is the object itself. Where
merge keys are doubled or missing, so that a patch of items would hit the wrong one, the list is replaced.
"""

from __future__ import annotations

from typing import Any

from kube.patch.errors import PatchError
from kube.patch.fields import (
    DELETE_VALUES,
    DIRECTIVE,
    RETAIN_KEYS,
    SET_ORDER,
    Rule,
    identities,
    identity,
    rule,
)
from kube.patch.values import Json, clone, same
from kube.schema import TypeRef


def diff(current: Json, modified: Json, type_name: str, last_applied: Json | None = None) -> Json:
    """The patch that `strategic.apply` makes `modified` of `current` with; {} when there is nothing to do.
    With `last_applied`, the three-way patch. `type_name` is the object's in the schema; `modified` has no
    nulls."""
    base = current if last_applied is None else last_applied
    return _objects(current, modified, base, TypeRef(type_name))


def _objects(current: Json, modified: Json, base: Json, type_: TypeRef | None) -> Json:
    patch: Json = {}
    for key, value in modified.items():
        now, how = current.get(key), rule(type_, key)
        if isinstance(value, dict) and isinstance(now, dict) and not how.replace:
            inner = _objects(now, value, _dict(base.get(key)), how.inner)
            if inner:
                patch[key] = inner | _retained(value, how)
        elif isinstance(value, list) and isinstance(now, list) and how.merge:
            patch |= _lists(key, (now, value, _list(base.get(key))), how)
        elif key not in current or not same(now, value):
            patch[key] = clone(value)
    for key in base:
        if key not in modified and key in current:
            patch[key] = None
    return patch


def _dict(value: Any) -> Json:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _retained(value: Json, how: Rule) -> Json:
    return {RETAIN_KEYS: sorted(value)} if how.retain_keys else {}


def _lists(key: str, lists: tuple[list[Any], list[Any], list[Any]], how: Rule) -> Json:
    """What the patch says of one list that merges, of its (current, modified, base) values."""
    current, modified, base = lists
    if same(current, modified):
        return {}
    if not how.key:
        return _values(key, lists)
    if not all(_is_keyed(items, how.key) for items in lists):
        return {key: [*clone(modified), {DIRECTIVE: "replace"}]}
    now = dict(zip(identities(current, how.key), current, strict=True))
    wanted = dict(zip(identities(modified, how.key), modified, strict=True))
    was = dict(zip(identities(base, how.key), base, strict=True))
    items = []
    for name, item in wanted.items():
        inner = _objects(now[name], item, was.get(name, {}), how.inner) if name in now else clone(item)
        if inner:
            items.append(inner | {how.key: item[how.key]} | (_retained(item, how) if name in now else {}))
    gone = [name for name in was if name in now and name not in wanted]
    items += [{DIRECTIVE: "delete", how.key: now[name][how.key]} for name in gone]
    order = {SET_ORDER + key: [{how.key: item[how.key]} for item in modified]}
    if items:
        return {key: items} | order
    return order if _is_reordered(list(now), list(wanted)) else {}


def _values(key: str, lists: tuple[list[Any], list[Any], list[Any]]) -> Json:
    current, modified, base = ([identity(item) for item in items] for items in lists)
    added = [item for item, name in zip(lists[1], modified, strict=True) if name not in current]
    gone = [
        item for item, name in zip(lists[2], base, strict=True) if name in current and name not in modified
    ]
    patch: Json = {key: added} if added else {}
    if gone:
        patch[DELETE_VALUES + key] = gone
    if patch or _is_reordered(current, modified):
        patch[SET_ORDER + key] = list(lists[1])
    return patch


def _is_reordered(current: list[str], modified: list[str]) -> bool:
    return [name for name in current if name in modified] != modified


def _is_keyed(items: list[Any], key: str) -> bool:
    """Whether every item is an object with the key, and no two have the same."""
    try:
        names = identities(items, key)
    except PatchError:
        return False
    return len(set(names)) == len(names)
