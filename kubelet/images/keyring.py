"""Registry credentials from pull secrets: which of them fit an image, best first. Pure.

The matching rules are upstream's (pkg/credentialprovider/keyring.go), because people rely on them: an entry
is a host, perhaps with a port and a path; each part of the host may be a glob; the path is a prefix. Entries
are tried from the longest path on (in reverse order of their text), equal ones in the order of the secrets.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable
from functools import lru_cache

import msgspec

from cri.types import AuthConfig
from kubelet.images.reference import InvalidReference, parse
from kubelet.objects.model import ApiObject

DOCKER_CONFIG_JSON = ("kubernetes.io/dockerconfigjson", ".dockerconfigjson")
DOCKER_CFG = ("kubernetes.io/dockercfg", ".dockercfg")
# Entries for Docker Hub are written so; images of it are named docker.io/... (defaultRegistryKey).
DEFAULT_REGISTRY = "index.docker.io"
_HUB_DOMAINS = ("docker.io", "index.docker.io")

_LONGEST_PATTERN = 1024  # a host name has at most 253 characters, one part of it 63

Entry = tuple[str, AuthConfig]
_Set = tuple[bool, tuple[tuple[str, str], ...]]  # negated; ranges of characters, both ends in it


class BadPullSecret(ValueError):
    """The secret holds no credentials that can be read; str() says why, never what it holds."""


class _Login(msgspec.Struct, frozen=True):
    username: str | None = None
    password: str | None = None
    auth: str | None = None


class _Config(msgspec.Struct, frozen=True):
    auths: dict[str, _Login] | None = None


def entries_of(secret: ApiObject) -> tuple[Entry, ...]:
    """(location, credentials) of a pull secret; none for a secret of another type. BadPullSecret."""
    try:
        if secret.type == DOCKER_CONFIG_JSON[0]:
            content = secret.data.get(DOCKER_CONFIG_JSON[1], b"{}")
            logins = msgspec.json.decode(content, type=_Config).auths or {}
        elif secret.type == DOCKER_CFG[0]:
            content = secret.data.get(DOCKER_CFG[1], b"{}")
            logins = msgspec.json.decode(content, type=dict[str, _Login])
        else:
            return ()
    except ValueError as error:
        raise BadPullSecret(f"it is not what its type says: {_where(error)}") from None
    return tuple((place, _credentials(place, login)) for place, login in logins.items())


def choose(image: str, entries: Iterable[Entry]) -> tuple[AuthConfig, ...]:
    """The credentials to try for the image, in order; none = anonymously."""
    try:
        repository = parse(image).repository
    except InvalidReference:
        return ()
    by_key: dict[str, list[AuthConfig]] = {}
    for place, credentials in entries:
        known = by_key.setdefault(_key(place), [])
        if credentials not in known:
            known.append(credentials)
    found = [one for key in sorted(by_key, reverse=True) if _matches(key, repository) for one in by_key[key]]
    if not found and repository.partition("/")[0] in _HUB_DOMAINS:
        found = by_key.get(DEFAULT_REGISTRY, [])
    return tuple(dict.fromkeys(found))


def _credentials(place: str, login: _Login) -> AuthConfig:
    username, password = login.username or "", login.password or ""
    if login.auth:
        text = login.auth.strip()
        try:
            padded = text + "=" * (-len(text) % 4)
            plain = base64.b64decode(padded, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            raise BadPullSecret(f'auth of "{place}" is not base64 of text') from None
        username, colon, password = plain.partition(":")
        if not colon:
            raise BadPullSecret(
                f'unable to parse auth field of "{place}", must be formatted as base64(username:password)'
            )
    return AuthConfig(username=username, password=password)


def _where(error: ValueError) -> str:
    """The position of a fault without the text around it, which may be a password."""
    return "it is not JSON" if not isinstance(error, msgspec.ValidationError) else str(error)


def _key(place: str) -> str:
    """Scheme and API version dropped: "https://host/v1/" and "host" are the same registry."""
    rest = re.sub(r"^https?://", "", place)
    host, slash, path = rest.partition("/")
    path = slash + path
    if path.startswith(("/v1/", "/v2/")):
        path = path[3:]
    return host if path in ("", "/") else host + path


def _matches(key: str, repository: str) -> bool:
    wanted_host, _, wanted_path = key.partition("/")
    host, _, path = repository.partition("/")
    wanted_name, wanted_port = _split_port(wanted_host)
    name, port = _split_port(host)
    wanted_parts, parts = wanted_name.split("."), name.split(".")
    if wanted_port != port or len(wanted_parts) != len(parts) or not path.startswith(wanted_path):
        return False
    return all(_fits(pattern, part) for pattern, part in zip(wanted_parts, parts, strict=True))


def _split_port(host: str) -> tuple[str, str]:
    name, colon, port = host.rpartition(":")
    return (name, port) if colon and "]" not in port else (host, "")


def _fits(pattern: str, text: str) -> bool:
    """Go's filepath.Match for one part of a host name: `*`, `?` and sets; a bad pattern matches nothing.

    Whoever may write a pull secret writes patterns, and they are tried on the agent's loop. So there is no
    backtracking beyond the last star, and the time is at most the product of the two lengths.
    """
    steps = _steps(pattern) if len(pattern) <= _LONGEST_PATTERN else None
    if steps is None:
        return False
    at = step = 0
    star, star_at = -1, 0
    while at < len(text):
        if step < len(steps) and steps[step] is None:
            star, star_at = step, at
            step += 1
        elif step < len(steps) and _is_in(text[at], steps[step]):
            at, step = at + 1, step + 1
        elif star >= 0:
            star_at += 1
            at, step = star_at, star + 1
        else:
            return False
    return all(left is None for left in steps[step:])


def _is_in(char: str, allowed: _Set | None) -> bool:
    if allowed is None:
        return False
    negated, ranges = allowed
    return any(low <= char <= high for low, high in ranges) is not negated


@lru_cache(maxsize=256)
def _steps(pattern: str) -> tuple[_Set | None, ...] | None:
    """What each step of a pattern takes: one character of a set, or (None) any number of any. None for a
    pattern that is none."""
    steps: list[_Set | None] = []
    at = 0
    while at < len(pattern):
        char = pattern[at]
        at += 1
        if char == "*":
            steps.append(None)
        elif char == "?":
            steps.append((True, ()))
        elif char == "[":
            end = pattern.find("]", at + 1)
            if end < 0:
                return None
            inside = pattern[at:end]
            negated = inside.startswith("^")
            found = re.finditer(r"(?s)(.)(?:-(.))?", inside[negated:])
            steps.append((negated, tuple((one[1], one[2] or one[1]) for one in found)))
            at = end + 1
        else:
            steps.append((False, ((char, char),)))
    return tuple(steps)
