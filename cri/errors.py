"""What a runtime call can fail with, as exceptions that say which call, which code and why.

`from_status` turns a gRPC status (its code by name and its message) into the narrowest class, and is pure:
the wire adapter, the fake and tests share it.
"""

from __future__ import annotations

import re

__all__ = [
    "AlreadyExists",
    "CriError",
    "DeadlineExceeded",
    "ImagePullError",
    "InvalidArgument",
    "NameReserved",
    "NotFound",
    "Unavailable",
    "Unimplemented",
    "from_status",
]


class CriError(Exception):
    """A runtime call failed: `code` is the gRPC status name, `message` the runtime's text."""

    default_code = "UNKNOWN"

    def __init__(self, message: str, *, call: str = "", code: str = "") -> None:
        self.message = message
        self.call = call
        self.code = code or self.default_code
        super().__init__(f"cannot {call}: because {message}" if call else message)


class NotFound(CriError):
    """The sandbox, container or image is not known to the runtime."""

    default_code = "NOT_FOUND"


class DeadlineExceeded(CriError):
    """No answer in time; whether the runtime did it is unknown until it is asked."""

    default_code = "DEADLINE_EXCEEDED"


class Unavailable(CriError):
    """Nobody answers on the socket, or the connection broke under the call."""

    default_code = "UNAVAILABLE"


class Unimplemented(CriError):
    """This runtime does not serve the call."""

    default_code = "UNIMPLEMENTED"


class InvalidArgument(CriError):
    """The runtime refuses the request itself; the same request will be refused again."""

    default_code = "INVALID_ARGUMENT"


class AlreadyExists(CriError):
    """The thing to be made is there."""

    default_code = "ALREADY_EXISTS"


class NameReserved(AlreadyExists):
    """The name belongs to `owner_id`: an earlier attempt made it, or is still making it."""

    default_code = "UNKNOWN"

    def __init__(self, message: str, *, owner_id: str, call: str = "", code: str = "") -> None:
        super().__init__(message, call=call, code=code)
        self.owner_id = owner_id


class ImagePullError(CriError):
    """The image could not be fetched; `message` is the registry's or resolver's reason."""


_BY_CODE: dict[str, type[CriError]] = {
    kind.default_code: kind
    for kind in (NotFound, DeadlineExceeded, Unavailable, Unimplemented, InvalidArgument, AlreadyExists)
}
# containerd: name "x" is reserved for "id" (quotes may come escaped). CRI-O returns the holder itself or says
# that the name is reserved without an id we could use for anything else.
_RESERVED = re.compile(r'name \\?"(?P<name>[^"\\]+)\\?" is reserved for \\?"(?P<owner>[^"\\]+)\\?"')
# CRI-O: name is reserved / already in use by <id>. You have to remove that container …
_IN_USE = re.compile(r"is already in use by (?P<owner>[0-9a-zA-Z_.-]*[0-9a-zA-Z])")
# Failures of a pull that say something about the call or the connection rather than about the image.
_NOT_THE_IMAGE = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "CANCELLED"})


def from_status(code: str, message: str, call: str) -> CriError:
    """The exception for a gRPC status: its `code` by name ("NOT_FOUND"), its `message`, the CRI `call`."""
    if call in ("RunPodSandbox", "CreateContainer"):
        reserved = _RESERVED.search(message) or _IN_USE.search(message)
        if reserved:
            return NameReserved(message, owner_id=reserved["owner"], call=call, code=code)
    if call == "PullImage" and code not in _NOT_THE_IMAGE:
        return ImagePullError(message, call=call, code=code)
    return _BY_CODE.get(code, CriError)(message, call=call, code=code)
