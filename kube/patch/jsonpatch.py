"""JSON patch (RFC 6902), with the words and limits of the API server.

Operations run in order on one copy of the object: all of them or none. As upstream, a negative index counts
from the end, a `test` of a missing member against null holds, and `replace` sets a missing member.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import msgspec

from kube.patch.errors import BAD_REQUEST, TOO_LARGE, PatchError
from kube.patch.values import Json, clone, same

# handlers/patch.go maxJSONPatchOperations and JSONPatchMaxCopyBytes
MAX_OPERATIONS = 10_000
MAX_COPIED_BYTES = 3 * 1024 * 1024

_INDEX = re.compile(r"-?(0|[1-9][0-9]{0,8})", re.ASCII)
_MISSING = object()


def apply(original: Json, patch: Any) -> Json:
    """The patched object; neither argument is changed or shared. PatchError: 400 when `patch` is no list of
    operations, 413 over 10,000 of them, 422 when one of them does not apply or a test fails."""
    operations = _check(patch)
    run = _Run(clone(original))
    for operation in operations:
        _OPERATIONS[operation["op"]](run, operation)
    if not isinstance(run.document, dict):
        raise PatchError("the patch leaves no object")
    return run.document


def _check(patch: Any) -> list[Json]:
    if not isinstance(patch, list):
        raise PatchError("cannot read patch: because it is not a list of operations", BAD_REQUEST)
    if len(patch) > MAX_OPERATIONS:
        message = f"The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {len(patch)}"
        raise PatchError(message, TOO_LARGE)
    for place, operation in enumerate(patch):
        if not isinstance(operation, dict):
            raise PatchError(f"cannot read patch: because operation {place} is not an object", BAD_REQUEST)
        kind = operation.get("op")
        if not isinstance(kind, str) or kind not in _OPERATIONS:
            raise PatchError(f"Unexpected kind: {kind if isinstance(kind, str) else 'unknown'}")
        for member in ("path", "from") if kind in ("move", "copy") else ("path",):
            text = operation.get(member)
            if not isinstance(text, str) or (text and text[0] != "/"):
                reason = f"operation {place} has no {member!r} that begins with '/'"
                raise PatchError(f"cannot read patch: because {reason}", BAD_REQUEST)
    return patch


class _Run:
    def __init__(self, document: Any) -> None:
        self.document = document
        self.copied_bytes = 0

    def parent(self, operation: Json, member: str = "path") -> tuple[Any, str]:
        """What holds the place a pointer (not "") names, and the last part of the pointer."""
        pointer, kind = operation[member], operation["op"]
        parts = [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]
        at: Any = self.document
        for part in (*parts[:-1], None):
            # The document itself may be no object any more: an operation before may have replaced it.
            if not isinstance(at, dict | list):
                raise PatchError(
                    f"{kind} operation does not apply: {_lacks(kind, member, pointer)}: missing value"
                )
            if part is not None:
                at = _find(at, part)
        return at, parts[-1]

    def add(self, operation: Json) -> None:
        if "value" not in operation:
            raise PatchError("add operation does not apply: missing value")
        self.put(operation, clone(operation["value"]))

    def put(self, operation: Json, value: Any) -> None:
        if operation["path"] == "":
            self.document = value
            return
        at, part = self.parent(operation)
        if isinstance(at, dict):
            at[part] = value
        elif part == "-":
            at.append(value)
        else:
            # A place behind the last item is one too.
            at.insert(_index(part, len(at) + 1, operation), value)

    def remove(self, operation: Json) -> None:
        self.take(operation, "path")

    def take(self, operation: Json, member: str) -> Any:
        if operation[member] == "":
            raise PatchError(f"{operation['op']} operation does not apply: the whole object cannot go")
        at, part = self.parent(operation, member)
        if isinstance(at, list):
            return at.pop(_index(part, len(at), operation, member))
        if part not in at:
            raise PatchError(
                f"error in {operation['op']} for path: '{operation[member]}': "
                f"Unable to remove nonexistent key: {part}: missing value"
            )
        return at.pop(part)

    def replace(self, operation: Json) -> None:
        if "value" not in operation:
            raise PatchError("replace operation does not apply: missing value")
        value = clone(operation["value"])
        if operation["path"] == "":
            self.document = value
            return
        at, part = self.parent(operation)
        if isinstance(at, list):
            at[_index(part, len(at), operation)] = value
        else:
            at[part] = value

    def move(self, operation: Json) -> None:
        source, target = operation["from"], operation["path"]
        if target.startswith(f"{source}/"):
            raise PatchError(f"move operation does not apply: {target!r} is inside {source!r}")
        if source != target:
            self.put(operation, self.take(operation, "from"))
        elif self.get(operation, "from") is _MISSING:
            raise PatchError(
                f"move operation does not apply: doc is missing from path: {source}: missing value"
            )

    def copy(self, operation: Json) -> None:
        value = self.get(operation, "from")
        if value is _MISSING:
            message = f"copy operation does not apply: doc is missing key: {operation['from']}: missing value"
            raise PatchError(message)
        self.copied_bytes += len(msgspec.json.encode(value))
        if self.copied_bytes > MAX_COPIED_BYTES:
            raise PatchError(
                "Unable to complete the copy, the accumulated size increase of copy is "
                f"{self.copied_bytes}, exceeding the limit {MAX_COPIED_BYTES}"
            )
        self.put(operation, clone(value))

    def test(self, operation: Json) -> None:
        found = self.get(operation, "path")
        wanted = operation.get("value")
        if not same(None if found is _MISSING else found, wanted):
            raise PatchError(f"testing value {operation['path']} failed: test failed")

    def get(self, operation: Json, member: str) -> Any:
        if operation[member] == "":
            return self.document
        at, part = self.parent(operation, member)
        if isinstance(at, list):
            return at[_index(part, len(at), operation, member)]
        return at.get(part, _MISSING)


def _lacks(kind: str, member: str, pointer: str) -> str:
    """Upstream's words, which differ by operation."""
    if member == "from":
        return f"doc is missing from path: {pointer}"
    if kind == "test":
        return f"is missing path: {pointer}"
    return f"doc is missing path: {pointer}" if kind == "replace" else f'doc is missing path: "{pointer}"'


def _find(at: Any, part: str) -> Any:
    if isinstance(at, dict):
        return at.get(part)
    if isinstance(at, list) and _INDEX.fullmatch(part) and -len(at) <= int(part) < len(at):
        return at[int(part)]
    return None


def _index(part: str, size: int, operation: Json, member: str = "path") -> int:
    index = int(part) if _INDEX.fullmatch(part) else size
    if not -size <= index < size:
        raise PatchError(
            f"error in {operation['op']} for path: '{operation[member]}': "
            f"Unable to access invalid index: {part}: invalid index referenced"
        )
    return index + size if index < 0 else index


_OPERATIONS: dict[str, Callable[[_Run, Json], None]] = {
    "add": _Run.add, "remove": _Run.remove, "replace": _Run.replace,
    "move": _Run.move, "copy": _Run.copy, "test": _Run.test,
}  # fmt: skip
