"""The one answer to wrong credentials. The client learns nothing; the cause is for the log."""

from __future__ import annotations

from kube import status
from kube.errors import Status, StatusError


def unauthorized(because: str) -> StatusError:
    """401 with Kubernetes' plain message; `because` is in the exception's `__notes__`."""
    error = status.error_of(Status(401, "Unauthorized", "Unauthorized"))
    error.add_note(because)
    return error


def cause(error: StatusError) -> str:
    """Why, for logs and for TokenReview's `status.error`."""
    return ", ".join(getattr(error, "__notes__", ())) or error.status.message
