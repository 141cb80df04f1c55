"""Static tokens: a CSV file of `token,user,uid[,"group,group"]` (--token-auth-file)."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterator, Mapping

from aio.errors import Rejected, cannot
from controlplane.api.model import UserInfo


class BadTokenFile(Rejected):
    """The file cannot be read as tokens; the message names the line and never a token."""


class StaticTokens:
    """Keeps digests alone, so finding one takes the same time however much of a guess is right."""

    def __init__(self, tokens: Mapping[str, UserInfo]) -> None:
        self._users = {_digest(token): user for token, user in tokens.items()}

    def user_of(self, token: str) -> UserInfo | None:
        return self._users.get(_digest(token))


def read_tokens(text: str) -> StaticTokens:
    """BadTokenFile for lines with less than three columns, empty or repeated tokens."""
    tokens: dict[str, UserInfo] = {}
    for line, row in _rows(text):
        if len(row) < 3:
            raise BadTokenFile(cannot(f"read line {line}", "it needs token, user and uid"))
        token, name, uid = row[:3]
        if not token or not name:
            raise BadTokenFile(cannot(f"read line {line}", "the token or the user is empty"))
        if token in tokens:
            raise BadTokenFile(cannot(f"read line {line}", "its token stands in an earlier line too"))
        groups = tuple(group.strip() for group in row[3].split(",") if group.strip()) if row[3:] else ()
        tokens[token] = UserInfo(name, uid, groups)
    return StaticTokens(tokens)


def _rows(text: str) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(text), skipinitialspace=True)
    for row in reader:
        cells = [cell.strip() for cell in row]
        if any(cells) and not cells[0].startswith("#"):
            yield reader.line_num, cells


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
