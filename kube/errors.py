"""What can be wrong with an object, in Kubernetes' words: field errors, and the Status that carries them.

A `FieldError` prints as the API server prints it (`spec.containers[1].name: Duplicate value: "a"`), because
people and tools search for those words. `line` is where the field stands in a manifest, 0 when unknown.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any


class ErrorKind(Enum):
    """The value is the `reason` of a Status cause; `text` is how the error itself starts."""

    REQUIRED = "FieldValueRequired"
    INVALID = "FieldValueInvalid"
    DUPLICATE = "FieldValueDuplicate"
    NOT_SUPPORTED = "FieldValueNotSupported"
    FORBIDDEN = "FieldValueForbidden"
    NOT_FOUND = "FieldValueNotFound"
    TOO_LONG = "FieldValueTooLong"
    TOO_MANY = "FieldValueTooMany"
    TYPE_INVALID = "FieldValueTypeInvalid"
    INTERNAL = "InternalError"
    DECODE = "DecodeError"
    UNKNOWN_FIELD = "UnknownField"
    DUPLICATE_FIELD = "DuplicateField"

    @property
    def text(self) -> str:
        return _TEXTS[self]


_TEXTS = {
    ErrorKind.REQUIRED: "Required value",
    ErrorKind.INVALID: "Invalid value",
    ErrorKind.DUPLICATE: "Duplicate value",
    ErrorKind.NOT_SUPPORTED: "Unsupported value",
    ErrorKind.FORBIDDEN: "Forbidden",
    ErrorKind.NOT_FOUND: "Not found",
    ErrorKind.TOO_LONG: "Too long",
    ErrorKind.TOO_MANY: "Too many",
    ErrorKind.TYPE_INVALID: "Invalid value",
    ErrorKind.INTERNAL: "Internal error",
    ErrorKind.DECODE: "",
    ErrorKind.UNKNOWN_FIELD: "",
    ErrorKind.DUPLICATE_FIELD: "",
}
# Their messages name the field themselves, as `unknown field "spec.foo"`.
_NAMES_FIELD = (ErrorKind.UNKNOWN_FIELD, ErrorKind.DUPLICATE_FIELD)


@dataclass(frozen=True, slots=True)
class FieldError:
    """One thing wrong with one field. `path` is "spec.containers[0].name" or "" for the whole object."""

    path: str
    message: str
    kind: ErrorKind = ErrorKind.INVALID
    line: int = 0

    def __str__(self) -> str:
        if not self.path or self.kind in _NAMES_FIELD:
            return self.message
        return f"{self.path}: {self.message}"

    def located(self, file: str) -> str:
        """With the place in a file, as compilers print it: `web.yaml:12: spec.x: Required value`."""
        return f"{file}:{self.line}: {self}" if self.line else f"{file}: {self}"


def required(path: str, detail: str = "") -> FieldError:
    return _plain(path, ErrorKind.REQUIRED, detail)


def forbidden(path: str, detail: str) -> FieldError:
    return _plain(path, ErrorKind.FORBIDDEN, detail)


def invalid(path: str, value: Any, detail: str) -> FieldError:
    return _with_value(path, ErrorKind.INVALID, value, detail)


def type_invalid(path: str, value: Any, detail: str) -> FieldError:
    return _with_value(path, ErrorKind.TYPE_INVALID, value, detail)


def duplicate(path: str, value: Any) -> FieldError:
    return _with_value(path, ErrorKind.DUPLICATE, value, "")


def not_found(path: str, value: Any) -> FieldError:
    return _with_value(path, ErrorKind.NOT_FOUND, value, "")


def not_supported(path: str, value: Any, supported: Iterable[str]) -> FieldError:
    values = ", ".join(json.dumps(item) for item in sorted(supported))
    return _with_value(path, ErrorKind.NOT_SUPPORTED, value, f"supported values: {values}" if values else "")


def too_long(path: str, most_bytes: int) -> FieldError:
    return _plain(path, ErrorKind.TOO_LONG, f"may not be more than {most_bytes} bytes")


def too_many(path: str, count: int, most: int) -> FieldError:
    return _with_value(path, ErrorKind.TOO_MANY, count, f"must have at most {most} items")


def _plain(path: str, kind: ErrorKind, detail: str) -> FieldError:
    return FieldError(path, f"{kind.text}: {detail}" if detail else kind.text, kind)


def _with_value(path: str, kind: ErrorKind, value: Any, detail: str) -> FieldError:
    # json.dumps quotes printable strings as Go's %q does, and leaves numbers and booleans bare.
    shown = json.dumps("null" if value is None else value, ensure_ascii=False)
    body = f"{kind.text}: {shown}"
    return FieldError(path, f"{body}: {detail}" if detail else body, kind)


class InvalidObject(ValueError):
    """An object that was refused, with everything that is wrong with it; never empty."""

    def __init__(self, errors: Sequence[FieldError], kind: str = "", name: str = "") -> None:
        self.errors = tuple(errors)
        self.kind = kind
        self.name = name
        super().__init__(self.message)

    @property
    def message(self) -> str:
        """`Pod "web" is invalid: [spec.a: ..., spec.b: ...]`, without brackets when it is one error."""
        subject = f'{self.kind or "object"} "{self.name}" is invalid'
        return f"{subject}: {join_errors(self.errors)}"

    def located(self, file: str) -> tuple[str, ...]:
        return tuple(error.located(file) for error in self.errors)


def join_errors(errors: Iterable[FieldError]) -> str:
    """One error as it is, several as `[a, b]`, repeated ones once (as upstream's ToAggregate)."""
    texts = list(dict.fromkeys(str(error) for error in errors))
    return texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"


def at_lines(errors: Iterable[FieldError], line_of: dict[str, int]) -> tuple[FieldError, ...]:
    """Give each error the line of its field, or of the nearest parent that has one, in order of lines."""
    placed = [replace(error, line=error.line or nearest_line(error.path, line_of)) for error in errors]
    return tuple(sorted(placed, key=lambda error: error.line))


def nearest_line(path: str, line_of: dict[str, int]) -> int:
    while path and path not in line_of:
        path = path[: max(path.rfind("."), path.rfind("["), 0)]
    return line_of.get(path, 0)


@dataclass(frozen=True, slots=True)
class Status:
    """The API's answer when something went wrong (meta/v1 Status), as a value."""

    code: int
    reason: str
    message: str
    details: dict[str, Any] | None = None
    metadata: dict[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        body = {
            "kind": "Status", "apiVersion": "v1", "metadata": self.metadata or {}, "status": "Failure",
            "message": self.message, "reason": self.reason,
        }  # fmt: skip
        if self.details:
            body["details"] = self.details
        return {**body, "code": self.code}


class StatusError(Exception):
    """An API call that failed; `status` says how. Callers branch on `status.reason`, then `status.code`."""

    def __init__(self, status: Status) -> None:
        super().__init__(status.message)
        self.status = status


def invalid_status(refused: InvalidObject, group: str = "") -> Status:
    """422 Invalid with a cause per field (causes carry the message without the path)."""
    causes = [
        {"reason": error.kind.value, "message": error.message, "field": error.path or "<nil>"}
        for error in refused.errors
    ]
    details: dict[str, Any] = {"name": refused.name, "kind": refused.kind, "causes": causes}
    if group:
        details["group"] = group
    return Status(422, "Invalid", refused.message, details)
