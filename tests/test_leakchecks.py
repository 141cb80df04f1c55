"""The leak checks see what they are for: each is shown a leak, in a pytest of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def run(test: str, tmp_path: Path) -> str:
    """What pytest prints for one test file under the leak checks."""
    (tmp_path / "test_it.py").write_text(f"import asyncio, os, pytest\n\n{test}\n")
    (tmp_path / "pytest.ini").write_text("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "tests.leakchecks",
        "-p",
        "no:cacheprovider",
        str(tmp_path),
    ]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout


@pytest.mark.parametrize(
    ("test", "said"),
    [
        (
            "@pytest.mark.asyncio\nasync def test_it():\n"
            "    task = asyncio.create_task(asyncio.sleep(9), name='forgotten')\n",
            "forgotten",
        ),
        ("def test_it():\n    os.open('/etc/hostname', os.O_RDONLY)\n", "/etc/hostname"),
        ("def test_it():\n    os.pipe()\n", "pipe:"),
    ],
)
def test_leak_fails_the_test_and_is_named(test: str, said: str, tmp_path: Path) -> None:
    printed = run(test, tmp_path)
    assert said in printed
    assert "1 error" in printed or "1 failed" in printed


def test_test_that_gives_everything_back_passes(tmp_path: Path) -> None:
    test = (
        "@pytest.mark.asyncio\nasync def test_it():\n"
        "    task = asyncio.create_task(asyncio.sleep(9))\n    await asyncio.sleep(0)\n    task.cancel()\n"
        "    open('/etc/hostname').close()\n"
    )
    assert "1 passed" in run(test, tmp_path)
