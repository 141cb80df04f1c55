"""Kubernetes' protobuf bodies (`application/vnd.kubernetes.protobuf`) to JSON values and back.

client-go's typed clients, and so kubectl's `create` generators, send their bodies in this form and do not
fall back. A body is four bytes `k8s\\0` and a `runtime.Unknown`, which names apiVersion and kind beside the
message:

    pod = decode(body)          # {"apiVersion": "v1", "kind": "Pod", "metadata": ...}, as Go's JSON has it
    body = encode(pod)

Answers may always be JSON. Unknown fields are skipped, as upstream does. A body of 3 MiB takes long enough to
be read in a thread.
"""

from __future__ import annotations

from typing import Any

from kube import schema
from kube.protobuf import decoding, encoding
from kube.protobuf.decoding import decode_message
from kube.protobuf.encoding import encode_message
from kube.protobuf.errors import Broken, ProtobufError, UnknownKind

__all__ = [
    "CONTENT_TYPE", "MAGIC", "ProtobufError", "UnknownKind", "decode", "decode_message", "encode",
    "encode_message",
]  # fmt: skip

CONTENT_TYPE = "application/vnd.kubernetes.protobuf"
MAGIC = b"k8s\x00"


def decode(body: bytes, default: tuple[str, str] = ("", "")) -> dict[str, Any]:
    """The object in a body. `default` is the (apiVersion, kind) of one that names none.
    ProtobufError when it is cut or of another form, UnknownKind when its kind has no form."""
    if not body.startswith(MAGIC):
        raise ProtobufError(f"it does not begin with {MAGIC!r}")
    unknown = _read_unknown(body)
    api_version = unknown.get("apiVersion") or default[0]
    kind = unknown.get("kind") or default[1]
    if unknown.get("contentEncoding"):
        raise ProtobufError(f"its encoding {unknown['contentEncoding']!r} is not known")
    type_name = _type_of(api_version, kind)
    return {"apiVersion": api_version, "kind": kind} | decode_message(unknown.get("raw", b""), type_name)


def encode(obj: dict[str, Any], *, go_zeros: bool = False) -> bytes:
    """The body of a JSON object that names its apiVersion and kind; `go_zeros` as in `encode_message`."""
    api_version, kind = obj.get("apiVersion", ""), obj.get("kind", "")
    raw = encode_message(obj, _type_of(api_version, kind), go_zeros=go_zeros)
    return MAGIC + encoding.unknown(api_version, kind, raw)


def _read_unknown(body: bytes) -> dict[str, Any]:
    unknown: dict[str, Any] = {}
    try:
        decoding.read_message(body, len(MAGIC), len(body), decoding.UNKNOWN, unknown)
    except Broken as error:
        raise ProtobufError(error.reason) from error
    return unknown


def _type_of(api_version: str, kind: str) -> str:
    if not api_version or not kind:
        raise UnknownKind("it names no apiVersion and kind")
    type_name = schema.find_kind(api_version, kind)
    if type_name is None:
        raise UnknownKind(f'no kind "{kind}" is registered for version "{api_version}"')
    return type_name
