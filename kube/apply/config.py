"""An applied configuration as it was meant: checked against the schema, without nulls, and only what it says.

A null says nothing here: a field that is to go is left out of the next configuration.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kube import structure
from kube.errors import ErrorKind, FieldError

_IDENTITY = ("name", "namespace", "uid", "resourceVersion")


@dataclass(frozen=True, slots=True)
class Config:
    """`value` lacks what is `unknown` (paths as "spec.foo"); with anything `wrong` it must not be used."""

    value: dict[str, Any]
    wrong: tuple[FieldError, ...]
    unknown: tuple[str, ...]


def read(body: dict[str, Any], type_name: str) -> Config:
    checked = structure.check(body, type_name)
    is_unknown = [error.kind is ErrorKind.UNKNOWN_FIELD for error in checked.errors]
    pairs = list(zip(checked.errors, is_unknown, strict=True))
    return Config(
        value=_said(body, checked.value),
        wrong=tuple(error for error, unknown in pairs if not unknown),
        unknown=tuple(error.path for error, unknown in pairs if unknown),
    )


def _said(body: Any, checked: Any) -> Any:
    """The checked value, which has empty required fields too, where the body has one."""
    if isinstance(body, dict) and isinstance(checked, dict):
        return {
            key: _said(item, checked[key])
            for key, item in body.items()
            if item is not None and key in checked
        }
    if isinstance(body, list) and isinstance(checked, list):
        return [_said(item, clean) for item, clean in zip(body, checked, strict=True)]
    return checked


def without_status(config: dict[str, Any]) -> dict[str, Any]:
    """For the object itself, whose status has a path of its own."""
    return {key: item for key, item in config.items() if key != "status"}


def status_alone(config: dict[str, Any], metadata: tuple[str, ...]) -> dict[str, Any]:
    """For the status's path: `metadata` is what that may write beside it."""
    kept = {key: item for key, item in config["metadata"].items() if key in _IDENTITY or key in metadata}
    head = {key: item for key, item in config.items() if key in ("apiVersion", "kind", "status")}
    return {**head, "metadata": kept}
