"""The command line: every command leads to a function, and help costs nothing."""

from __future__ import annotations

import argparse
import importlib
import subprocess
import sys
from collections.abc import Iterator

import pytest

from pykubelet.__main__ import run
from pykubelet.cli import make_parser, split_command

pytestmark = pytest.mark.pure


def parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                yield from parsers(inner)


def test_every_command_names_a_function_that_is_there() -> None:
    handlers = {inner.get_default("handler") for inner in parsers(make_parser())} - {None}
    assert len(handlers) >= 13
    for handler in handlers:
        module, _, function = handler.partition(":")
        assert callable(getattr(importlib.import_module(module), function)), handler


def test_words_after_two_dashes_are_the_command() -> None:
    assert split_command(["exec", "-i", "web", "--", "sh", "-c", "ls -- x"]) == (
        ["exec", "-i", "web"],
        ["sh", "-c", "ls -- x"],
    )
    assert split_command(["exec", "web", "--", "a", "--", "b"])[1] == ["a", "--", "b"]
    assert split_command(["ps"]) == (["ps"], [])


def test_help_imports_neither_grpc_nor_the_agent() -> None:
    code = (
        "import sys; from pykubelet.__main__ import run\n"
        "try: run(['up', '--help'])\n"
        "except SystemExit: pass\n"
        "print([name for name in ('grpc', 'msgspec', 'kubelet', 'cri', 'asyncio') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_failure_is_one_sentence_and_an_exit_code(
    capsys: pytest.CaptureFixture[str], tmp_path: object
) -> None:
    assert run(["ps", "--runtime-endpoint", f"unix://{tmp_path}/none.sock"]) == 1
    said = capsys.readouterr().err
    assert said == (
        f'pykubelet: cannot use the runtime at "unix://{tmp_path}/none.sock": because there is no socket\n'
    )


def test_exec_without_a_command_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["exec", "web"]) == 2
    assert "because none is given" in capsys.readouterr().err


def test_status_of_no_instance_is_down_with_exit_code_3(
    capsys: pytest.CaptureFixture[str], tmp_path: object
) -> None:
    assert run(["status", "--root", f"{tmp_path}/none"]) == 3
    assert "is down" in capsys.readouterr().out
