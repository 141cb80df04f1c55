"""Validate a Node and what may change of it (pkg/apis/core/validation, ValidateNode and ValidateNodeUpdate),
on the JSON value after the structure check.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from typing import Any

from kube import errors
from kube.errors import FieldError
from kube.validation import names
from kube.validation.resources import validate_amount

Json = dict[str, Any]
EFFECTS = ("NoExecute", "NoSchedule", "PreferNoSchedule")


def node(value: Json) -> Sequence[FieldError]:
    return tuple(_node(value))


def _node(value: Json) -> Iterator[FieldError]:
    spec = value.get("spec") or {}
    yield from _taints(spec.get("taints") or ())
    for index, text in enumerate(spec.get("podCIDRs") or ()):
        if not _is_network(text):
            detail = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
            yield errors.invalid(f"spec.podCIDRs[{index}]", text, detail)
    for field in ("capacity", "allocatable"):
        for name, amount in ((value.get("status") or {}).get(field) or {}).items():
            path = f"status.{field}[{name}]"
            yield from names.each(path, name, names.qualified_name)
            yield from validate_amount(name, amount, path)


def _taints(taints: Sequence[Json]) -> Iterator[FieldError]:
    seen: set[tuple[str, str]] = set()
    for index, taint in enumerate(taints):
        path = f"spec.taints[{index}]"
        key, value, effect = (taint.get(field) or "" for field in ("key", "value", "effect"))
        yield from names.each(f"{path}.key", key, names.qualified_name)
        yield from names.each(f"{path}.value", value, names.label_value)
        if not effect:
            yield errors.required(f"{path}.effect")
        else:
            yield from names.one_of(f"{path}.effect", effect, EFFECTS)
        if (key, effect) in seen:
            yield errors.duplicate(path, taint)
        seen.add((key, effect))


def _is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return "/" in text


def node_update(value: Json, old: Json) -> Sequence[FieldError]:
    """The pod ranges and the provider's name are given once."""
    return tuple(_given_once(value.get("spec") or {}, old.get("spec") or {}))


def _given_once(spec: Json, before: Json) -> Iterator[FieldError]:
    ranges = before.get("podCIDRs") or ([before["podCIDR"]] if before.get("podCIDR") else [])
    now = spec.get("podCIDRs") or ([spec["podCIDR"]] if spec.get("podCIDR") else [])
    if ranges and now != ranges:
        detail = 'node updates may not change podCIDR except from "" to valid'
        yield errors.forbidden("spec.podCIDRs", detail)
    if before.get("providerID") and spec.get("providerID") != before["providerID"]:
        detail = 'node updates may not change providerID except from "" to valid'
        yield errors.forbidden("spec.providerID", detail)
