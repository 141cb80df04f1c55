"""Drop-in files laid over the main file (pure).

As upstream does with --config-dir: maps are merged key by key, lists and scalars are replaced, an explicit
null takes the key out. A relative path is relative to the directory of the file that names it.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from typing import Any

from kubelet.configuration.types import PATH_FIELDS


def merge_patch(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` laid on `base` (RFC 7386). Neither is changed."""
    merged = dict(base)
    for key, value in over.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, Mapping):
            below = merged.get(key)
            merged[key] = merge_patch(below if isinstance(below, Mapping) else {}, value)
        else:
            merged[key] = value
    return merged


def resolve_paths(document: Mapping[str, Any], directory: str) -> dict[str, Any]:
    """`document` with its relative paths made absolute against `directory`."""
    result = dict(document)
    for path in PATH_FIELDS:
        *parents, leaf = path.split(".")
        _resolve(result, parents, leaf, directory)
    return result


def _resolve(node: dict[str, Any], parents: list[str], leaf: str, directory: str) -> None:
    for name in parents:
        below = node.get(name)
        if not isinstance(below, Mapping):
            return
        node[name] = dict(below)
        node = node[name]
    value = node.get(leaf)
    if isinstance(value, str) and value and not posixpath.isabs(value):
        node[leaf] = posixpath.normpath(posixpath.join(directory, value))
