"""A CNI network configuration list, read with everything that is wrong with it, by path (pure).

Shapes: CNI specification 1.1, section 1. Unknown keys are the plugins' business and are kept.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from kube.errors import FieldError, InvalidObject, duplicate, invalid, not_supported, required, type_invalid

VERSIONS = ("0.3.1", "0.4.0", "1.0.0", "1.1.0")
"""Of configurations, oldest first."""
CHECK_SINCE = "0.4.0"
GC_SINCE = "1.1.0"
"""STATUS came with the same version."""

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.\-]*\Z")
_NAME_RULE = "must begin with a letter or digit, followed by letters, digits, '_', '.' or '-'"


@dataclass(frozen=True, slots=True)
class Plugin:
    """One plugin of a list. `config` is its whole object, `type` the name of its program."""

    type: str
    config: Mapping[str, Any]
    capabilities: frozenset[str] = frozenset()

    @property
    def ipam_type(self) -> str:
        """The address plugin that it delegates to, "" for none."""
        ipam = self.config.get("ipam")
        return str(ipam.get("type", "")) if isinstance(ipam, dict) else ""


@dataclass(frozen=True, slots=True)
class NetworkList:
    """`versions` are those that the list may be used with, best first; `version` is the first."""

    name: str
    versions: tuple[str, ...]
    plugins: tuple[Plugin, ...]
    disable_check: bool = False
    disable_gc: bool = False

    @property
    def version(self) -> str:
        return self.versions[0]


@dataclass(slots=True)
class _Reader:
    errors: list[FieldError] = field(default_factory=list)

    def text(self, value: Mapping[str, Any], key: str, path: str) -> str:
        found = value.get(key)
        if found is None or found == "":
            self.errors.append(required(path))
            return ""
        if not isinstance(found, str):
            self.errors.append(type_invalid(path, found, "must be a string"))
            return ""
        return found

    def flag(self, value: Mapping[str, Any], key: str) -> bool:
        # Some writers quote their booleans, and libcni takes both.
        found = value.get(key, False)
        if isinstance(found, bool):
            return found
        if found not in ("true", "false"):
            self.errors.append(type_invalid(key, found, "must be a boolean"))
        return bool(found == "true")


def parse(data: bytes, file: str = "") -> NetworkList:
    """The list in a .conflist file. InvalidObject with every fault, each by its path."""
    try:
        value = json.loads(data)
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        fault = FieldError("", f"cannot read a network list: because {error}")
        raise InvalidObject((fault,), "network list", file) from error
    if not isinstance(value, dict):
        fault = type_invalid("", type(value).__name__, "must be an object")
        raise InvalidObject((fault,), "network list", file)
    reader = _Reader()
    name = reader.text(value, "name", "name")
    if name and not _NAME.match(name):
        reader.errors.append(invalid("name", name, _NAME_RULE))
    found = NetworkList(
        name=name,
        versions=_versions(value, reader),
        plugins=_plugins(value.get("plugins"), reader),
        disable_check=reader.flag(value, "disableCheck"),
        disable_gc=reader.flag(value, "disableGC"),
    )
    if reader.errors:
        raise InvalidObject(reader.errors, "network list", name or file)
    return found


def is_at_least(version: str, since: str) -> bool:
    """Whether a version of the specification is `since` or newer."""
    return _order(version) >= _order(since)


def _order(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def _versions(value: Mapping[str, Any], reader: _Reader) -> tuple[str, ...]:
    """`cniVersions` (1.1) beside or instead of `cniVersion`."""
    found = list(_listed(value.get("cniVersions"), reader))
    if "cniVersion" in value or not found:
        single = reader.text(value, "cniVersion", "cniVersion")
        if single and single not in VERSIONS:
            reader.errors.append(not_supported("cniVersion", single, VERSIONS))
        elif single:
            found.append(single)
    return tuple(sorted(set(found), key=_order, reverse=True)) or (VERSIONS[0],)


def _listed(value: Any, reader: _Reader) -> Iterator[str]:
    """Those of them that are known: a list made for the future still names a version of today."""
    if value is None:
        return
    if not isinstance(value, list):
        reader.errors.append(type_invalid("cniVersions", value, "must be a list"))
        return
    for index, version in enumerate(value):
        if not isinstance(version, str):
            reader.errors.append(type_invalid(f"cniVersions[{index}]", version, "must be a string"))
        elif version in VERSIONS:
            yield version


def _plugins(value: Any, reader: _Reader) -> tuple[Plugin, ...]:
    if value is None or value == []:
        reader.errors.append(required("plugins", "at least one plugin is needed"))
        return ()
    if not isinstance(value, list):
        reader.errors.append(type_invalid("plugins", value, "must be a list"))
        return ()
    plugins = []
    for index, item in enumerate(value):
        path = f"plugins[{index}]"
        if not isinstance(item, dict):
            reader.errors.append(type_invalid(path, item, "must be an object"))
            continue
        plugins.append(_plugin(item, path, reader))
    return tuple(plugins)


def _plugin(value: dict[str, Any], path: str, reader: _Reader) -> Plugin:
    kind = reader.text(value, "type", f"{path}.type")
    if kind and (kind != kind.strip("/ ") or "/" in kind or kind in (".", "..")):
        reader.errors.append(invalid(f"{path}.type", kind, "must be the name of a program, without a path"))
    capabilities = value.get("capabilities", {})
    if not isinstance(capabilities, dict):
        reader.errors.append(type_invalid(f"{path}.capabilities", capabilities, "must be an object"))
        capabilities = {}
    for name, wanted in capabilities.items():
        if not isinstance(wanted, bool):
            reader.errors.append(type_invalid(f"{path}.capabilities.{name}", wanted, "must be a boolean"))
    ipam = value.get("ipam")
    if ipam is not None and not isinstance(ipam, dict):
        reader.errors.append(type_invalid(f"{path}.ipam", ipam, "must be an object"))
    elif ipam:
        _ranges(ipam, f"{path}.ipam", reader)
    return Plugin(kind, value, frozenset(name for name, wanted in capabilities.items() if wanted is True))


def _ranges(ipam: Mapping[str, Any], path: str, reader: _Reader) -> None:
    """host-local's ranges, since a typing mistake there shows only when the first pod starts."""
    ranges = ipam.get("ranges")
    if ranges is None or ipam.get("type") != "host-local":
        return
    subnets: set[str] = set()
    if not isinstance(ranges, list):
        reader.errors.append(type_invalid(f"{path}.ranges", ranges, "must be a list"))
        return
    for outer, group in enumerate(ranges):
        if not isinstance(group, list):
            reader.errors.append(type_invalid(f"{path}.ranges[{outer}]", group, "must be a list"))
            continue
        for inner, one in enumerate(group):
            where = f"{path}.ranges[{outer}][{inner}].subnet"
            subnet = reader.text(one if isinstance(one, dict) else {}, "subnet", where)
            if subnet in subnets:
                reader.errors.append(duplicate(where, subnet))
            subnets.add(subnet)
