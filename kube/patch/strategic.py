"""Strategic merge patch: a merge patch that knows which lists merge, and by which key.

Objects merge, null deletes a member. A list whose field says so merges item by item: an item with the same
merge key is patched, another is added; lists of plain values merge as sets; all other lists are replaced.
Directives:

    $patch: delete | replace | merge      in an object, or in an item of a list that merges
    $retainKeys: [...]                    every other member of the object goes
    $deleteFromPrimitiveList/F: [...]     values that leave the list F
    $setElementOrder/F: [...]             the order of the list F; items only the server has keep their places

Without an order, items of the patch come first, as upstream has it. The rules of order, of which a patch is
checked by its own, and the words of errors are upstream's (apimachinery's strategicpatch).
"""

from __future__ import annotations

from typing import Any

from kube.patch.errors import BAD_REQUEST, PatchError
from kube.patch.fields import (
    DELETE_VALUES,
    DIRECTIVE,
    RETAIN_KEYS,
    SET_ORDER,
    Rule,
    identities,
    identity,
    identity_of,
    is_directive,
    rule,
)
from kube.patch.strategic_diff import diff
from kube.patch.values import Json, clone
from kube.schema import TypeRef

__all__ = ["apply", "diff"]


def apply(original: Json, patch: Any, type_name: str) -> Json:
    """`original`, of the schema's `type_name` ("apps_v1.Deployment"), patched; neither argument is changed or
    shared. PatchError: 400 for a patch that is none, 422 for one that does not fit."""
    if not isinstance(patch, dict):
        raise PatchError("Invalid JSON Patch", BAD_REQUEST)
    return _object(clone(original), patch, TypeRef(type_name))


def _object(original: Json, patch: Json, type_: TypeRef | None) -> Json:
    """Merge into `original`, which is ours to change; `patch` is only read."""
    directive = patch.get(DIRECTIVE)
    if directive == "replace":
        return _fresh_object(patch)
    if directive == "delete":
        return {}
    if directive not in (None, "merge"):
        raise _bad_directive(directive, patch)
    if RETAIN_KEYS in patch:
        _retain_keys(original, patch)
    directives = [key for key in patch if is_directive(key)]
    ordered = {key.removeprefix(SET_ORDER) for key in directives if key.startswith(SET_ORDER)}
    for key in ordered:
        _ordered_list(original, patch, key, rule(type_, key))
    for key, value in patch.items():
        if key not in ordered and key not in directives:
            _member(original, key, value, type_)
    for key in directives:
        if key.startswith(DELETE_VALUES):
            _delete_values(original, key.removeprefix(DELETE_VALUES), patch[key])
    return original


def _member(original: Json, key: str, value: Any, type_: TypeRef | None) -> None:
    if value is None:
        original.pop(key, None)
        return
    now = original.get(key)
    if isinstance(value, dict) and isinstance(now, dict):
        how = rule(type_, key)
        original[key] = _fresh(value) if how.replace else _object(now, value, how.inner)
    elif isinstance(value, list) and isinstance(now, list):
        how = rule(type_, key)
        original[key] = _list(now, value, how) if how.merge else _fresh(value)
    else:
        original[key] = _fresh(value)


def _fresh(value: Any) -> Any:
    """A part of a patch where the object has nothing: without nulls and directives."""
    if isinstance(value, dict):
        return _fresh_object(value)
    if isinstance(value, list):
        return [_fresh(item) for item in value if not _is_directive(item)]
    return value


def _fresh_object(patch: Json) -> Json:
    if patch.get(DIRECTIVE) == "delete":
        return {}
    return {key: _fresh(value) for key, value in patch.items() if value is not None and not is_directive(key)}


# Directives


def _bad_directive(directive: Any, patch: Json) -> PatchError:
    return PatchError(f"unknown patch type: {directive} in map: {patch}")


def _retain_keys(original: Json, patch: Json) -> None:
    keys = patch[RETAIN_KEYS]
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise PatchError("invalid patch format of retainKeys", BAD_REQUEST)
    for key, value in patch.items():
        if value is not None and not is_directive(key) and key not in keys:
            raise PatchError("invalid patch format of retainKeys", BAD_REQUEST)
    for key in original.keys() - set(keys):
        del original[key]


def _delete_values(original: Json, key: str, values: Any) -> None:
    if not isinstance(values, list) or any(isinstance(value, dict | list) for value in values):
        raise PatchError("invalid patch format of primitive list", BAD_REQUEST)
    now = original.get(key)
    if isinstance(now, list):
        gone = {identity(value) for value in values}
        original[key] = [item for item in now if identity(item) not in gone]


def _ordered_list(original: Json, patch: Json, key: str, how: Rule) -> None:
    """Merge the list `key`, when there is one, and put it in the order the patch gives."""
    order, now, items = patch[SET_ORDER + key], original.get(key), patch.get(key)
    if not isinstance(order, list) or not isinstance(items, list | None) or not isinstance(now, list | None):
        raise PatchError("invalid patch format of setElementOrder list", BAD_REQUEST)
    if items is None and key in patch:
        # A null deletes the list, whatever its order was to be.
        original.pop(key, None)
        return
    _check_order(items or [], order, how.key)
    if items is None:
        merged = now
    elif now is None or not how.merge:
        merged = _fresh(items)
    elif _is_replaced(items):
        original[key] = _replaced(items)
        return
    else:
        merged = _merged(list(now), items, how)
    if merged is not None:
        original[key] = _in_order(merged, order, now or [], how.key)


def _check_order(items: list[Any], order: list[Any], key: str) -> None:
    """Every item of the patch must be in the order, and in that order."""
    wanted = iter(identities(order, key))
    for item in items:
        if _is_directive(item):
            continue
        name = identity_of(item, key)
        if not any(name == other for other in wanted):
            raise PatchError(
                f"The order in patch list:\n{items}\n doesn't match $setElementOrder list:\n{order}\n"
            )


# Lists that merge


def _list(original: list[Any], patch: list[Any], how: Rule) -> list[Any]:
    if _is_replaced(patch):
        return _replaced(patch)
    merged = _merged(list(original), patch, how)
    return _in_order(merged, [item for item in patch if not _is_directive(item)], original, how.key)


def _is_directive(item: Any) -> bool:
    if not isinstance(item, dict) or DIRECTIVE not in item or item[DIRECTIVE] == "merge":
        return False
    if item[DIRECTIVE] not in ("delete", "replace"):
        raise _bad_directive(item[DIRECTIVE], item)
    return True


def _is_replaced(patch: list[Any]) -> bool:
    return any(isinstance(item, dict) and item.get(DIRECTIVE) == "replace" for item in patch)


def _replaced(patch: list[Any]) -> list[Any]:
    """Every item of the patch that is no directive, in the order of the patch."""
    found: list[Any] = _fresh(patch)
    return found


def _merged(original: list[Any], patch: list[Any], how: Rule) -> list[Any]:
    if not original and not patch:
        return original
    kinds = {type(item) if isinstance(item, dict | list) else None for item in (*original, *patch)}
    if list in kinds:
        raise PatchError("lists of lists are not supported")
    if len(kinds) > 1:
        raise PatchError("list element types are not identical")
    if dict not in kinds:
        return list({identity(item): item for item in (*patch, *original)}.values())
    if not how.key:
        raise PatchError("cannot merge lists without merge key")
    return _merged_by_key(original, patch, how)


def _merged_by_key(original: list[Json], patch: list[Json], how: Rule) -> list[Json]:
    plain = []
    for item in patch:
        directive = item.get(DIRECTIVE)
        if directive == "delete":
            gone = identity_of(item, how.key)
            original = [other for other in original if identity_of(other, how.key) != gone]
        elif directive in (None, "merge"):
            plain.append(item)
        else:
            raise _bad_directive(directive, item)
    places: dict[str, int] = {}
    for place, item in enumerate(original):
        places.setdefault(identity_of(item, how.key), place)
    for item in plain:
        name = identity_of(item, how.key)
        if name in places:
            place = places[name]
            original[place] = _object(original[place], item, how.inner)
        else:
            places[name] = len(original)
            original.append(_fresh_object(item))
    return original


def _in_order(merged: list[Any], order: list[Any], before: list[Any], key: str) -> list[Any]:
    """Items of `order` in that order; others, which only the server has, before those they stood before."""
    ranks = {name: rank for rank, name in reversed(list(enumerate(identities(order, key))))}
    places = {name: place for place, name in reversed(list(enumerate(identities(before, key))))}
    ours: list[tuple[str, Any]] = []
    others: list[tuple[str, Any]] = []
    for item in merged:
        name = identity_of(item, key)
        (ours if name in ranks else others).append((name, item))
    ours.sort(key=lambda pair: ranks[pair[0]])
    ordered = []
    at = 0
    for name, item in ours:
        place = places.get(name, -1)
        while at < len(others) and places.get(others[at][0], len(places)) < place:
            ordered.append(others[at][1])
            at += 1
        ordered.append(item)
    return ordered + [item for _, item in others[at:]]
