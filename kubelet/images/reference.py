"""Image references: `busybox` -> `docker.io/library/busybox:latest`, or why the text is none.

Pure. The grammar and the default names are those of the OCI distribution project (package
reference, `ParseNormalizedNamed`), which runtimes and clients share; the error texts are the ones
a kubelet shows behind `InvalidImageName`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

DEFAULT_DOMAIN = "docker.io"
LEGACY_DEFAULT_DOMAIN = "index.docker.io"
OFFICIAL_PREFIX = "library/"
DEFAULT_TAG = "latest"
NAME_LENGTH_LIMIT = 255

_ALNUM = r"[a-z0-9]+"
_COMPONENT = rf"{_ALNUM}(?:(?:[._]|__|-+){_ALNUM})*"
_DOMAIN_PART = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN = rf"(?:{_DOMAIN_PART}(?:\.{_DOMAIN_PART})*|\[(?:[a-fA-F0-9:]+)\])(?::[0-9]+)?"
_NAME = rf"(?:{_DOMAIN}/)?{_COMPONENT}(?:/{_COMPONENT})*"
_TAG = r"[\w][\w.-]{0,127}"
_DIGEST = r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}"
_REFERENCE = re.compile(rf"(?P<name>{_NAME})(?::(?P<tag>{_TAG}))?(?:@(?P<digest>{_DIGEST}))?", re.ASCII)
_ANCHORED_ID = re.compile(r"[a-f0-9]{64}", re.ASCII)


class InvalidReference(ValueError):
    """The text is no image reference; str() is distribution's wording."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A normalised reference. `tag` and `digest` are "" when the text has none."""

    domain: str
    path: str
    tag: str = ""
    digest: str = ""

    @property
    def repository(self) -> str:
        return f"{self.domain}/{self.path}"

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.repository}{tag}{digest}"


@lru_cache(maxsize=1024)
def parse(text: str) -> Reference:
    """Parse and normalise `text`, adding domain and `library/` but no tag.

    Raises InvalidReference.
    """
    if _ANCHORED_ID.fullmatch(text):
        raise InvalidReference(
            f"invalid repository name ({text}), cannot specify 64-byte hexadecimal strings"
        )
    domain, remainder = _split_domain(text)
    repository = remainder.partition(":")[0].partition("@")[0]
    if repository.lower() != repository:
        raise InvalidReference(f"invalid reference format: repository name ({repository}) must be lowercase")
    match = _REFERENCE.fullmatch(f"{domain}/{remainder}")
    if match is None:
        raise InvalidReference("invalid reference format")
    name = match["name"]
    if len(name) > NAME_LENGTH_LIMIT:
        raise InvalidReference(f"repository name must not be more than {NAME_LENGTH_LIMIT} characters")
    return Reference(domain, name.removeprefix(f"{domain}/"), match["tag"] or "", match["digest"] or "")


def _split_domain(text: str) -> tuple[str, str]:
    """(domain, rest). The first part is a domain when it looks like a host: a dot, a colon, capitals."""
    first, slash, rest = text.partition("/")
    is_host = bool(slash) and ("." in first or ":" in first or first == "localhost" or first.lower() != first)
    domain, remainder = (first, rest) if is_host else (DEFAULT_DOMAIN, text)
    if domain == LEGACY_DEFAULT_DOMAIN:
        domain = DEFAULT_DOMAIN
    if domain == DEFAULT_DOMAIN and "/" not in remainder:
        remainder = OFFICIAL_PREFIX + remainder
    return domain, remainder


def with_default_tag(text: str) -> str:
    """`text` itself when it has a tag or digest, else its normalised form with `:latest`.

    This is what goes to the runtime: a name with a tag stays as written, so that a runtime with
    short-name rules of its own can apply them. Raises InvalidReference.
    """
    reference = parse(text)
    if reference.tag or reference.digest:
        return text
    return f"{reference}:{DEFAULT_TAG}"


def normalised(text: str) -> str:
    """The full form of `text`, for comparing references. Raises InvalidReference."""
    reference = parse(text)
    if reference.tag or reference.digest:
        return str(reference)
    return f"{reference}:{DEFAULT_TAG}"


def default_policy(text: str) -> str:
    """The pull policy the API gives a container that names none: Always for `latest`, else IfNotPresent.

    A text that is no reference gets IfNotPresent; it fails later, with its own reason.
    """
    try:
        reference = parse(text)
    except InvalidReference:
        return "IfNotPresent"
    is_latest = reference.tag == DEFAULT_TAG or not (reference.tag or reference.digest)
    return "Always" if is_latest else "IfNotPresent"
