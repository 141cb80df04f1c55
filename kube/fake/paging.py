"""Lists of the fake: which state a version asks for, and pages with continue tokens."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from kube import status
from kube.client.model import JsonObject, ListOptions, ObjectList
from kube.errors import Status
from kube.fake.history import History, Place
from kube.selection import Selection


@dataclass(frozen=True, slots=True)
class _Token:
    revision: int
    start: Place


def read_list(history: History, selection: Selection, options: ListOptions) -> ObjectList:
    """In the order of namespace and name; all pages of one list show one revision."""
    token = _decode(options.continue_token) if options.continue_token else None
    if token and options.resource_version not in ("", "0"):
        raise status.bad_request("specifying resource version is not allowed when using continue")
    revision = _revision(history, options, token)
    try:
        state = _state(history, selection, revision)
    except status.Expired:
        if token is None:
            raise
        raise _token_expired() from None
    places = sorted(place for place, value in state.items() if selection.holds(value))
    if token:
        places = [place for place in places if place > token.start]
    shown = places[: options.limit] if options.limit else places
    rest = len(places) - len(shown)
    return ObjectList(
        items=tuple(msgspec.json.encode(state[place]) for place in shown),
        resource_version=str(revision),
        continue_token=_encode(_Token(revision, shown[-1])) if rest else "",
        remaining=rest if rest and not selection.has_selectors else None,
    )


def _state(history: History, selection: Selection, revision: int) -> Mapping[Place, JsonObject]:
    if revision == history.revision:
        return history.all(selection.resource)
    return history.at(selection.resource, revision)


def _revision(history: History, options: ListOptions, token: _Token | None) -> int:
    if token:
        return token.revision
    wanted = parse_version(options.resource_version)
    if wanted > history.revision:
        raise too_large(wanted, history.revision)
    exact = options.resource_version_match == "Exact" or (
        options.limit > 0 and wanted > 0 and not options.resource_version_match
    )
    return wanted if exact else history.revision


def too_large(wanted: int, current: int) -> Exception:
    message = f"Too large resource version: {wanted}, current: {current}"
    causes = [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]
    return status.error_of(Status(504, "Timeout", message, {"causes": causes, "retryAfterSeconds": 1}))


def parse_version(text: str) -> int:
    """ "" and "0" are 0. BadRequest for anything that is no version."""
    if not text:
        return 0
    if not text.isdecimal():
        raise status.bad_request(f'Invalid value: "{text}": strconv.ParseUint: invalid syntax')
    return int(text)


def _encode(token: _Token) -> str:
    text = msgspec.json.encode({"rv": token.revision, "start": list(token.start)})
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def _decode(text: str) -> _Token:
    try:
        padded = text + "=" * (-len(text) % 4)
        body = msgspec.json.decode(base64.urlsafe_b64decode(padded), type=dict[str, object])
        revision, start = body["rv"], body["start"]
    except (binascii.Error, ValueError, KeyError) as error:
        raise status.bad_request(f"continue key is not valid: {error}") from error
    if not (isinstance(revision, int) and isinstance(start, list) and len(start) == 2):
        raise status.bad_request("continue key is not valid")
    return _Token(revision, (str(start[0]), str(start[1])))


def _token_expired() -> Exception:
    return status.expired(
        "The provided continue parameter is too old to display a consistent list result. "
        "You must start a new list without the continue parameter."
    )
