"""Validate an Event (pkg/apis/core/validation/events.go), on the JSON value after the structure check."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from kube import errors
from kube.errors import FieldError
from kube.validation import names

Json = dict[str, Any]
SHORT_MAX, NOTE_MAX = 128, 1024
_DEFAULT, _SYSTEM = "default", "kube-system"
_MISMATCH = "does not match event.namespace"


def event(value: Json) -> Sequence[FieldError]:
    """Events with an eventTime must tell who reports and what was done; older ones need not."""
    return tuple(_new(value) if value.get("eventTime") else _old(value))


def _old(value: Json) -> Iterator[FieldError]:
    about, namespace = _namespaces(value)
    if about != namespace and (about or namespace != _DEFAULT):
        yield errors.invalid("involvedObject.namespace", about, _MISMATCH)


def _new(value: Json) -> Iterator[FieldError]:
    about, namespace = _namespaces(value)
    if (about and about != namespace) or (not about and namespace not in (_DEFAULT, _SYSTEM)):
        yield errors.invalid("involvedObject.namespace", about, _MISMATCH)
    yield from names.required_name(
        "reportingComponent", value.get("reportingComponent"), names.qualified_name
    )
    for field in ("reportingInstance", "action", "reason"):
        text = value.get(field) or ""
        if not text:
            yield errors.required(field)
        elif len(text) > SHORT_MAX:
            yield errors.invalid(field, text, f"can have at most {SHORT_MAX} characters")
    if len(value.get("message") or "") > NOTE_MAX:
        yield errors.invalid("message", value["message"], f"can have at most {NOTE_MAX} characters")


def _namespaces(value: Json) -> tuple[str, str]:
    """Of what it is about, and its own. A cluster's object has its events in a namespace of the server's."""
    return (value.get("involvedObject") or {}).get("namespace", ""), value["metadata"].get("namespace", "")
