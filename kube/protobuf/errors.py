"""What is wrong with a protobuf body, with the path of the field where it shows."""

from __future__ import annotations


class ProtobufError(ValueError):
    """`path` is "spec.containers[1].name", or "" for the body as a whole; `reason` says why."""

    def __init__(self, reason: str, path: str = "", doing: str = "read") -> None:
        where = f" {path}" if path else ""
        super().__init__(f"cannot {doing} protobuf{where}: because {reason}")
        self.reason = reason
        self.path = path


class UnknownKind(ProtobufError):
    """A body of a kind that has no protobuf form here."""


class Broken(Exception):
    """One field is wrong; each message it is inside adds its own name to `path` on the way out."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.path: list[str] = []

    def inside(self, name: str) -> None:
        self.path.append(name)

    def dotted(self) -> str:
        parts = [name for name in reversed(self.path) if name]
        return ".".join(parts).replace(".[", "[")
