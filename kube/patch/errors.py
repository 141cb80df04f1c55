"""Why a patch does not apply, with the HTTP code Kubernetes gives it."""

from __future__ import annotations

BAD_REQUEST = 400
TOO_LARGE = 413
UNSUPPORTED = 415
UNPROCESSABLE = 422


class PatchError(ValueError):
    """`code` is 400 for what is no patch, 413 for one over a limit, 415 for a kind of patch the object does
    not have, 422 for one that does not fit it; the message is spelled as Kubernetes spells it, if it does."""

    def __init__(self, message: str, code: int = UNPROCESSABLE) -> None:
        super().__init__(message)
        self.code = code
