"""The text of one flag to its value, in pflag's way (pure).

`FlagText.add` is called once per occurrence; `value` gives JSON-like values for configuration fields
(durations already as seconds, lists as tuples). Raises ValueError with the reason only: the caller names the
flag.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from typing import Any

from kube.go_duration import parse_duration
from kubelet.configuration.flag_table import FlagKind
from kubelet.configuration.types import MemoryReservation, Taint, VModuleItem

_TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_FALSE = frozenset({"0", "f", "F", "false", "FALSE", "False"})


def read_value(kind: FlagKind, text: str, earlier: Any) -> Any:
    """The value after one more occurrence of a flag; `earlier` is the value so far, None at the first."""
    return _READERS[kind](text, earlier)


def _bool(text: str, _: Any) -> bool:
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ValueError("must be true or false")


def _int(text: str, _: Any) -> int:
    try:
        return int(text, 0)
    except ValueError:
        raise ValueError("must be an integer") from None


def _ip(text: str, _: Any) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise ValueError("must be an IP address") from None


def _list(text: str, earlier: Any) -> tuple[str, ...]:
    return (*(earlier or ()), *(text.split(",") if text else ()))


def _pairs(text: str, separator: str) -> list[tuple[str, str]]:
    pairs = []
    for item in filter(None, text.split(",")):
        key, found, value = item.partition(separator)
        if not found:
            raise ValueError(f'malformed pair "{item}": expected key{separator}value')
        pairs.append((key.strip(), value.strip()))
    return pairs


def _map(text: str, earlier: Any) -> dict[str, str]:
    return {**(earlier or {}), **dict(_pairs(text, "="))}


def _pair(text: str, earlier: Any) -> dict[str, str]:
    key, found, value = text.partition("=")
    if not found:
        raise ValueError(f'malformed pair "{text}": expected key=value')
    return {**(earlier or {}), key.strip(): value.strip()}


def _thresholds(text: str, earlier: Any) -> dict[str, str]:
    return {**(earlier or {}), **dict(_pairs(text, "<"))}


def _bools(text: str, earlier: Any) -> dict[str, bool]:
    return {**(earlier or {}), **{key: _bool(value, None) for key, value in _pairs(text, "=")}}


def _headers(text: str, earlier: Any) -> dict[str, tuple[str, ...]]:
    headers: dict[str, tuple[str, ...]] = dict(earlier or {})
    for key, value in _pairs(text, ":"):
        headers[key] = (*headers.get(key, ()), value)
    return headers


def _taints(text: str, earlier: Any) -> tuple[Taint, ...]:
    taints = list(earlier or ())
    for item in filter(None, text.split(",")):
        body, found, effect = item.rpartition(":")
        if not found or not body:
            raise ValueError(f'malformed taint "{item}": expected key=value:effect')
        key, _, value = body.partition("=")
        taints.append(Taint(key=key, value=value, effect=effect))
    return tuple(taints)


def _memory(text: str, earlier: Any) -> tuple[MemoryReservation, ...]:
    node, found, limits = text.partition(":")
    if not found or not node.isdigit():
        raise ValueError('malformed reservation: expected a NUMA node and limits, as in "0:memory=1Gi"')
    return (*(earlier or ()), MemoryReservation(numa_node=int(node), limits=dict(_pairs(limits, "="))))


def _vmodule(text: str, earlier: Any) -> tuple[VModuleItem, ...]:
    items = [VModuleItem(file_pattern=key, verbosity=_int(value, None)) for key, value in _pairs(text, "=")]
    return (*(earlier or ()), *items)


def _version(text: str, _: Any) -> str:
    return "raw" if text == "raw" else ("true" if _bool(text, None) else "")


_READERS: Mapping[FlagKind, Callable[[str, Any], Any]] = {
    "bool": _bool,
    "string": lambda text, _: text,
    "int": _int,
    "duration": lambda text, _: parse_duration(text),
    "ip": _ip,
    "list": _list,
    "map": _map,
    "pair": _pair,
    "thresholds": _thresholds,
    "bools": _bools,
    "headers": _headers,
    "taints": _taints,
    "memory": _memory,
    "vmodule": _vmodule,
    "version": _version,
}
