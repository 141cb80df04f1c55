"""Which credentials of pull secrets fit an image, in upstream's order."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from cri.types import AuthConfig
from kubelet.images.keyring import BadPullSecret, choose, entries_of
from kubelet.objects.model import ApiObject, Kind, ObjectKey

pytestmark = pytest.mark.pure

JSON = ("kubernetes.io/dockerconfigjson", ".dockerconfigjson")
CFG = ("kubernetes.io/dockercfg", ".dockercfg")


def secret(shape: tuple[str, str], content: Any) -> ApiObject:
    text = content if isinstance(content, str) else json.dumps(content)
    return ApiObject(ObjectKey(Kind.SECRET, "shop", "s"), data={shape[1]: text.encode()}, type=shape[0])


def users(image: str, *places: str) -> list[str]:
    """The user names tried for the image, when each place has one named after it."""
    return [one.username for one in choose(image, [(place, AuthConfig(username=place)) for place in places])]


@pytest.mark.parametrize(
    ("place", "image", "fits"),
    [
        ("reg.io", "reg.io/app", True),
        ("https://reg.io", "reg.io/app", True),
        ("http://reg.io/v1/", "reg.io/app", True),
        ("https://reg.io/v2/team", "reg.io/team/app", True),
        ("reg.io/", "reg.io/app", True),
        ("reg.io/team", "reg.io/team/app:1", True),
        ("reg.io/team", "reg.io/teamwork/app", True),
        ("reg.io/team", "reg.io/other/app", False),
        ("reg.io", "reg.io:5000/app", False),
        ("reg.io:5000", "reg.io:5000/app", True),
        ("*.io", "reg.io/app", True),
        ("*.reg.io", "reg.io/app", False),
        ("*.reg.io", "eu.reg.io/app", True),
        ("*.reg.io", "a.b.reg.io/app", False),
        ("prefix-*.reg.io:80/team", "prefix-eu.reg.io:80/team/app", True),
        ("r?g.io", "reg.io/app", True),
        ("[pr]eg.io", "reg.io/app", True),
        ("[^r]eg.io", "reg.io/app", False),
        ("[reg.io", "reg.io/app", False),
        ("[a-r]eg.io", "reg.io/app", True),
        ("[s-z-]eg.io", "reg.io/app", False),
        ("[^a-qs-z]eg*.*io*", "reg.io/app", True),
        ("*e*.io", "reg.io/app", True),
        ("*gg*.io", "reg.io/app", False),
        ("re?.io", "re.io/app", False),
        ("docker.io", "busybox", True),
        ("https://index.docker.io/v1/", "busybox", True),
        ("index.docker.io", "user/app", True),
        ("index.docker.io", "reg.io/app", False),
        ("reg.io", "not an image", False),
    ],
)
def test_place_fits_images_as_upstream_says(place: str, image: str, fits: bool) -> None:
    assert users(image, place) == ([place] if fits else [])


@pytest.mark.parametrize("pattern", ["*a" * 25 + "*b", "*" * 100_000 + "b", "?*" * 30 + "b"])
def test_a_pattern_made_to_last_is_answered_all_the_same(pattern: str) -> None:
    # With a matcher that backtracks this would take longer than any test may.
    assert users(f"{'a' * 63}.io/app", f"{pattern}.io") == []


def test_longest_path_comes_first_and_the_hub_only_when_nothing_else_fits() -> None:
    assert users("reg.io/a/b/app", "reg.io", "reg.io/a/b", "*.io", "reg.io/a") == [
        "reg.io/a/b",
        "reg.io/a",
        "reg.io",
        "*.io",
    ]
    assert users("busybox", "index.docker.io", "docker.io/library") == ["docker.io/library"]


def test_equal_places_are_tried_in_the_order_of_the_secrets_and_doubles_once() -> None:
    first, second = AuthConfig(username="1"), AuthConfig(username="2")
    entries = [("reg.io", first), ("https://reg.io", second), ("reg.io/v1/", first)]
    assert choose("reg.io/app", entries) == (first, second)


@pytest.mark.parametrize("shape", [JSON, CFG], ids=["dockerconfigjson", "dockercfg"])
def test_both_kinds_of_secret_and_both_spellings_of_a_login_are_read(shape: tuple[str, str]) -> None:
    auth = base64.b64encode(b"ann:pass:word").decode().rstrip("=")
    logins = {"a.io": {"auth": auth}, "b.io": {"username": "bob", "password": "x", "email": "e"}}
    found = dict(entries_of(secret(shape, {"auths": logins} if shape is JSON else logins)))
    assert found == {
        "a.io": AuthConfig(username="ann", password="pass:word"),
        "b.io": AuthConfig(username="bob", password="x"),
    }


def test_secret_of_another_type_holds_no_credentials() -> None:
    opaque = secret(("Opaque", ".dockerconfigjson"), {"auths": {"a.io": {"username": "x"}}})
    assert entries_of(opaque) == ()
    assert entries_of(secret(JSON, {})) == ()


@pytest.mark.parametrize(
    "content",
    ["{", {"auths": []}, {"auths": {"a.io": {"auth": "%%%"}}}, {"auths": {"a.io": {"auth": "c2VzYW1l"}}}],
)
def test_secret_that_cannot_be_read_says_so_without_what_it_holds(content: Any) -> None:
    with pytest.raises(BadPullSecret) as bad:
        entries_of(secret(JSON, content))
    assert "sesame" not in str(bad.value) and "%%%" not in str(bad.value)
