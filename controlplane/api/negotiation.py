"""Which form of an answer a client accepts: the object, or its metadata alone (PartialObjectMetadata).

Clauses of an Accept header are tried in order; one that cannot be met is passed over, so that a client which
would like a Table or protobuf gets the object when it also takes that.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import replace
from enum import Enum

from controlplane.api import codec
from controlplane.api.model import JSON, Response
from kube import status
from kube.client.model import JsonObject
from kube.errors import Status

_TAKES_JSON = (JSON, "application/*", "*/*")
_PARTIAL = ("PartialObjectMetadata", "PartialObjectMetadataList")
_META = "meta.k8s.io"


class Form(Enum):
    OBJECT = "object"
    METADATA = "metadata"


def form_of(accept: str) -> Form:
    """NotAcceptable when no clause can be met."""
    clauses = [clause for clause in (part.strip() for part in accept.split(",")) if clause]
    for clause in clauses:
        type_, *rest = (part.strip() for part in clause.split(";"))
        if type_.lower() not in _TAKES_JSON:
            continue
        parameters = dict(part.partition("=")[::2] for part in rest)
        if "as" not in parameters:
            return Form.OBJECT
        if parameters["as"] in _PARTIAL and (parameters.get("g"), parameters.get("v")) == (_META, "v1"):
            return Form.METADATA
    if not clauses:
        return Form.OBJECT
    message = f"only the following media types are accepted: {JSON}"
    raise status.error_of(Status(406, "NotAcceptable", message))


def in_form(answer: Response, form: Form) -> Response:
    """The answer as it was asked for; a Status stays what it is."""
    if form is Form.OBJECT:
        return answer
    if answer.stream is not None:
        return replace(answer, stream=_metadata_events(answer.stream))
    return replace(answer, body=codec.encode(_metadata_only(codec.decode(answer.body))))


def _metadata_only(value: JsonObject) -> JsonObject:
    head = {"apiVersion": f"{_META}/v1", "metadata": value["metadata"]}
    if value["kind"] == "Status":
        return value
    if "items" in value:
        items = [_metadata_only(item) for item in value["items"]]
        return {"kind": "PartialObjectMetadataList", **head, "items": items}
    return {"kind": "PartialObjectMetadata", **head}


async def _metadata_events(stream: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    try:
        async for piece in stream:
            events = [codec.decode(line) for line in piece.splitlines()]
            lines = [{**event, "object": _metadata_only(event["object"])} for event in events]
            yield b"".join(codec.encode(line) + b"\n" for line in lines)
    finally:
        if isinstance(stream, AsyncGenerator):
            await stream.aclose()
