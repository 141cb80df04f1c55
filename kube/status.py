"""Refusals of an API server as exceptions by kind, made from a Status and in Kubernetes' own words.

`except status.NotFound:` instead of comparing reasons; a reason without a class here is a plain StatusError.
The functions at the end make the refusals that every server of the API gives, with upstream's messages.
"""

from __future__ import annotations

from typing import Any

from kube.client.resources import Resource
from kube.errors import Status, StatusError


class BadRequest(StatusError):
    """400: the request could not be read."""


class Unauthorized(StatusError):
    """401: the credentials are missing, wrong or expired."""


class Forbidden(StatusError):
    """403: the user may not."""


class NotFound(StatusError):
    """404: no such object, or no such resource."""


class MethodNotAllowed(StatusError):
    """405: the resource has no such verb."""


class AlreadyExists(StatusError):
    """409: the name is taken."""


class Conflict(StatusError):
    """409: somebody wrote in between, or a precondition does not hold: read again."""


class Expired(StatusError):
    """410: the version asked for is no longer kept: list again."""


class Invalid(StatusError):
    """422: the object breaks a rule."""


class TooManyRequests(StatusError):
    """429: later, or not while a disruption budget forbids it."""


class ServerTimeout(StatusError):
    """500 or 504: the server ran out of time; the work may have been done all the same."""


_BY_REASON: dict[str, type[StatusError]] = {
    "BadRequest": BadRequest,
    "Unauthorized": Unauthorized,
    "Forbidden": Forbidden,
    "NotFound": NotFound,
    "MethodNotAllowed": MethodNotAllowed,
    "AlreadyExists": AlreadyExists,
    "Conflict": Conflict,
    "Expired": Expired,
    "Gone": Expired,
    "Invalid": Invalid,
    "TooManyRequests": TooManyRequests,
    "ServerTimeout": ServerTimeout,
    "Timeout": ServerTimeout,
}
# For answers that are no Status (a proxy's): errors.NewGenericServerResponse has these.
_REASON_BY_CODE = {
    400: "BadRequest", 401: "Unauthorized", 403: "Forbidden", 404: "NotFound", 405: "MethodNotAllowed",
    406: "NotAcceptable", 409: "Conflict", 410: "Gone", 413: "RequestEntityTooLarge",
    415: "UnsupportedMediaType", 422: "Invalid", 429: "TooManyRequests", 500: "InternalError",
    503: "ServiceUnavailable", 504: "Timeout",
}  # fmt: skip


def error_of(status: Status) -> StatusError:
    """The exception for a Status; one without a reason is judged by its code."""
    reason = status.reason or _REASON_BY_CODE.get(status.code, "")
    return _BY_REASON.get(reason, StatusError)(status)


def of_json(value: Any, code: int = 0) -> Status | None:
    """A decoded Status object; None when `value` is something else. `code` is used where it says none."""
    if not isinstance(value, dict) or value.get("kind") != "Status":
        return None
    details = value.get("details")
    return Status(
        code=_int(value.get("code")) or code,
        reason=str(value.get("reason") or ""),
        message=str(value.get("message") or "unknown"),
        details=details if isinstance(details, dict) else None,
    )


def reason_of(code: int) -> str:
    """The reason that goes with an HTTP code."""
    return _REASON_BY_CODE.get(code, "Unknown")


def of_code(code: int, text: str) -> Status:
    """For an answer that is no Status, as a proxy in between gives them."""
    shown = " ".join(text.split())[:200] or "no body"
    message = f"the server answered {code}: {shown}"
    return Status(code, reason_of(code), message)


def retry_after_seconds(status: Status) -> float | None:
    """The server's hint, when it gave one."""
    found = (status.details or {}).get("retryAfterSeconds")
    return float(found) if isinstance(found, int | float) and found > 0 else None


def _int(value: Any) -> int:
    return value if isinstance(value, int) else 0


def _of(code: int, reason: str, message: str, resource: Resource, name: str) -> StatusError:
    details: dict[str, Any] = {"kind": resource.plural, "name": name, "group": resource.group}
    return error_of(Status(code, reason, message, {key: text for key, text in details.items() if text}))


def not_found(resource: Resource, name: str) -> StatusError:
    return _of(404, "NotFound", f'{resource.qualified} "{name}" not found', resource, name)


def already_exists(resource: Resource, name: str) -> StatusError:
    return _of(409, "AlreadyExists", f'{resource.qualified} "{name}" already exists', resource, name)


def conflict(resource: Resource, name: str, because: str) -> StatusError:
    message = f'Operation cannot be fulfilled on {resource.qualified} "{name}": {because}'
    return _of(409, "Conflict", message, resource, name)


def modified(resource: Resource, name: str) -> StatusError:
    """The conflict of a write that is based on an older version."""
    because = "the object has been modified; please apply your changes to the latest version and try again"
    return conflict(resource, name, because)


def expired(message: str, continue_token: str = "") -> StatusError:
    """`continue_token` goes on with a list all the same, at the latest revision."""
    metadata = {"continue": continue_token} if continue_token else None
    return error_of(Status(410, "Expired", message, metadata=metadata))


def too_old(revision: int, oldest: int) -> StatusError:
    return expired(f"too old resource version: {revision} ({oldest})")


def bad_request(message: str) -> StatusError:
    return error_of(Status(400, "BadRequest", message))


def no_such_resource() -> StatusError:
    return error_of(Status(404, "NotFound", "the server could not find the requested resource"))


def method_not_allowed() -> StatusError:
    message = "the server does not allow this method on the requested resource"
    return error_of(Status(405, "MethodNotAllowed", message))


def unsupported_media_type(found: str, accepted: tuple[str, ...]) -> StatusError:
    message = (
        "the body of the request was in an unknown format - "
        f"accepted media types include: {', '.join(accepted)}"
    )
    return error_of(Status(415, "UnsupportedMediaType", message, {"found": found}))
