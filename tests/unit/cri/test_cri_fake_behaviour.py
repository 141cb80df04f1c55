"""Commands compile to the program a shell would run, and only those that can be simulated do."""

from __future__ import annotations

import pytest

from cri.fake.behaviour import FOREVER, Exit, Program, Say, Surroundings, Trap, Wait, compile_command

pytestmark = pytest.mark.pure

AROUND = Surroundings({"NAME": "value"}, "web-0", "/srv")


def steps(*argv: str) -> tuple[object, ...]:
    program = compile_command(argv, AROUND)
    assert program is not None
    return program.steps


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("echo hello", [Say(b"hello\n"), Exit(0)]),
        ("echo -n hello >&2; exit 3", [Say(b"hello", "stderr"), Exit(3)]),
        ("echo a 1>&2\necho b", [Say(b"a\n", "stderr"), Say(b"b\n"), Exit(0)]),
        ("echo gone > /dev/null; false", [Exit(1)]),
        ("false && echo no; false || echo yes", [Say(b"yes\n"), Exit(0)]),
        ("false; echo $?", [Say(b"1\n"), Exit(0)]),
        ("X=1; echo $X ${NAME} $UNSET.", [Say(b"1 value .\n"), Exit(0)]),
        ("exit 5; echo never", [Exit(5)]),
        ("sleep 2; echo x", [Wait(2.0, defers_traps=True), Say(b"x\n"), Exit(0)]),
        ("sleep 1m & wait", [Wait(60.0), Exit(0)]),
        ("trap 'exit 9' TERM INT; while true; do sleep 1; done", [Trap(9), Wait(FOREVER), Exit(0)]),
        ("trap '' TERM", [Trap(None), Exit(0)]),
        ("exec sleep 3", [Wait(3.0), Exit(0)]),
        ("hostname; pwd; printenv NAME", [Say(b"web-0\n"), Say(b"/srv\n"), Say(b"value\n"), Exit(0)]),
        ("printenv NOTHING", [Exit(1)]),
        ("sh -c 'echo in; exit 2'; echo out", [Say(b"in\n"), Say(b"out\n"), Exit(0)]),
    ],
)
def test_script_compiles_to_what_a_shell_would_do(script: str, expected: list[object]) -> None:
    assert list(steps("sh", "-c", script)) == expected


@pytest.mark.parametrize(
    "script", ["nginx -g x", "for i in 1 2; do echo $i; done", "cat < /etc/passwd", "echo 'unclosed", "a | b"]
)
def test_what_cannot_be_simulated_is_not_pretended(script: str) -> None:
    assert compile_command(["sh", "-c", script], AROUND) is None


def test_plain_commands_need_no_shell() -> None:
    assert steps("/bin/echo", "a  b") == (Say(b"a  b\n"), Exit(0))
    assert steps("sleep", "infinity") == (Wait(FOREVER), Exit(0))
    assert steps("exit", "3", "after", "2") == (Wait(2.0), Exit(3))
    assert compile_command([], AROUND) is None
    assert compile_command(["httpd", "-f"], AROUND) is None
    assert compile_command(["true"], AROUND) == Program((Exit(0),))
