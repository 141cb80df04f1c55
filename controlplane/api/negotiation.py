"""Which form of an answer a client accepts. Answers are JSON; a client that takes none of it is told so."""

from __future__ import annotations

from controlplane.api.model import JSON
from kube import status
from kube.errors import Status

_TAKES_JSON = (JSON, "application/*", "*/*")


def check_accept(accept: str) -> None:
    """NotAcceptable when no clause of the Accept header takes plain JSON."""
    clauses = [clause for clause in (part.strip() for part in accept.split(",")) if clause]
    if not clauses or any(_takes_json(clause) for clause in clauses):
        return
    message = "only the following media types are accepted: " + JSON
    raise status.error_of(Status(406, "NotAcceptable", message))


def _takes_json(clause: str) -> bool:
    """A clause that asks for another kind (`as=Table`) cannot be met by the object itself."""
    type_, *parameters = (part.strip() for part in clause.lower().split(";"))
    return type_ in _TAKES_JSON and not any(item.startswith("as=") for item in parameters)
