"""Image names: `host:port/path:tag@digest` taken apart (github.com/distribution/reference, abridged)."""

from __future__ import annotations

import re
from dataclasses import dataclass

_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|[-]+)[a-z0-9]+)*"
_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_HOST = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])"
_REFERENCE = re.compile(
    rf"(?P<name>(?:{_HOST}(?::[0-9]+)?/)?{_COMPONENT}(?:/{_COMPONENT})*)"
    r"(?::(?P<tag>\w[\w.-]{0,127}))?"
    r"(?:@(?P<digest>[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}))?",
    re.ASCII,
)
# A repository's whole name, host included (reference.NameTotalLengthMax).
_MOST_NAME_LENGTH = 255
_MOST_LENGTH = 1024


@dataclass(frozen=True, slots=True)
class ImageReference:
    """`name` is as written; `tag` is "latest" when neither tag nor digest is written."""

    name: str
    tag: str = ""
    digest: str = ""

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return f"{self.name}{tag}{'@' + self.digest if self.digest else ''}"


def parse(image: str) -> ImageReference | None:
    """None when it is not an image name."""
    match = _REFERENCE.fullmatch(image) if len(image) <= _MOST_LENGTH else None
    if match is None or len(match["name"]) > _MOST_NAME_LENGTH:
        return None
    tag, digest = match["tag"] or "", match["digest"] or ""
    return ImageReference(match["name"], tag or ("" if digest else "latest"), digest)


def tag_of(image: str) -> str:
    """The tag, "latest" when it is implied, "" for a digest alone or what is not an image name."""
    reference = parse(image)
    return reference.tag if reference else ""
