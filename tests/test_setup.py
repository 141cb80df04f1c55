"""The setup scripts' decisions; what they install and fetch is proven by the suites that use it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from scripts import later_suite
from scripts.setup_kubectl import link_program

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize(
    ("versions", "prefixes", "picked"),
    [
        (["2.2.1-1", "2.1.9+ds1-5", "1.7.24"], ("2.1.", "2."), "2.1.9+ds1-5"),
        (["2.3.0-1", "2.2.1-1"], ("2.1.", "2."), "2.3.0-1"),
        (["1.7.24"], ("2.1.", "2."), None),
        ([], ("",), None),
    ],
)
def test_preferred_version_wins_else_the_next_best(
    versions: list[str], prefixes: tuple[str, ...], picked: str | None
) -> None:
    assert later_suite.pick(versions, prefixes) == picked


@pytest.mark.parametrize(
    ("text", "keyrings"),
    [
        (
            "Types: deb\nURIs: http://mirror\nSigned-By: /usr/share/keyrings/a.gpg\n",
            ["/usr/share/keyrings/a.gpg"],
        ),
        ("deb [arch=amd64 signed-by=/k/b.gpg] http://mirror bookworm main\n", ["/k/b.gpg"]),
        ("deb [signed-by=/k/b.gpg,/k/c.gpg] http://mirror bookworm main\n", ["/k/b.gpg", "/k/c.gpg"]),
        ("deb http://mirror bookworm main\n", []),
        ("Signed-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n", []),
    ],
)
def test_keyrings_are_read_from_both_forms_of_a_source(text: str, keyrings: list[str]) -> None:
    assert later_suite.signed_by(text) == keyrings


def test_cache_lies_outside_the_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/cache/someone")
    assert later_suite.cache_dir() == Path("/var/cache/someone/pykubelet/debian")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert ROOT not in later_suite.cache_dir().parents


def test_package_that_was_never_unpacked_is_not_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert later_suite.find("containerd") is None


def test_every_make_target_that_is_promised_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {"up", "down", "check", "test", "bench", "proto"} <= targets
    assert "make --no-print-directory test" in (ROOT / ".ci" / "run").read_text()


def test_no_script_names_a_mirror_or_a_package_index() -> None:
    for path in [*(ROOT / "scripts").iterdir(), ROOT / "Makefile", ROOT / "pyproject.toml"]:
        if path.is_file():
            assert not re.search(r"https?://\S*(debian|pypi|mirror)", path.read_text()), path


def test_kubectl_is_linked_beside_the_other_commands_whatever_was_there(tmp_path: Path) -> None:
    link = tmp_path / "bin" / "kubectl"
    link.parent.mkdir()
    link.symlink_to(tmp_path / "gone")
    program = tmp_path / "kubectl-1.36"
    program.write_text("#!/bin/sh\n")
    link_program(program, link)
    assert link.resolve() == program
    assert [path.name for path in link.parent.iterdir()] == ["kubectl"]
