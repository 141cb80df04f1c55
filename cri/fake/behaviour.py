"""What simulated processes do: commands compiled to short programs, with no process, thread or shell.

A program is a list of steps (say, wait, set the TERM trap, exit). Tests give one as a `Behaviour`; otherwise
the command itself is compiled from the part of a POSIX shell that container tests use: echo with >&2, sleep,
exit, true, false, trap, wait, hostname, pwd, printenv, env, `sh -c`, `;`, `&`, `&&`, `||`, an idle endless
loop. Variables expand everywhere (single quotes do not protect). What cannot be compiled gives None, and the
runtime falls back on its default behaviour.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

FOREVER = float("inf")
NOT_FOUND_STATUS = 127
SHELLS = frozenset({"sh", "ash", "bash"})
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+)|\?)")
_TERM_NAMES = frozenset({"TERM", "SIGTERM", "15"})
_IDLE_LOOP = re.compile(r"while\s+(?:true|:)\s*;\s*do\s+(?:sleep\s+[\d.]+|true|:)\s*;\s*done")
_FOREVER_WORD = "__forever__"
_OPERATORS = frozenset({";", "&", "&&", "||"})


@dataclass(frozen=True, slots=True)
class Say:
    text: bytes
    stream: str = "stdout"


@dataclass(frozen=True, slots=True)
class Wait:
    """Time passes. A shell runs its traps only after a foreground command, but at once inside `wait`."""

    seconds: float
    defers_traps: bool = False


@dataclass(frozen=True, slots=True)
class Trap:
    """From now on TERM exits with `exit_code`, or is ignored (None)."""

    exit_code: int | None


@dataclass(frozen=True, slots=True)
class Exit:
    code: int


Step = Say | Wait | Trap | Exit


@dataclass(frozen=True, slots=True)
class Program:
    """`steps`, then exit 0. Without a handler TERM takes its default, which PID 1 of a namespace ignores."""

    steps: tuple[Step, ...] = ()
    has_handler: bool = False
    on_term: int | None = None
    term_seconds: float = 0.0
    is_oom: bool = False
    start_error: str = ""


@dataclass(frozen=True, slots=True)
class Behaviour:
    """A process as a test wants it.

    `exit_code` None runs until it is stopped, else it exits with that after `after_seconds`. TERM makes it
    exit with `on_term` after `term_seconds`; None ignores TERM. `is_oom`: the OOM killer ends it (137).
    `start_error` makes StartContainer (or ExecSync) fail with that text.
    """

    exit_code: int | None = None
    after_seconds: float = 0.0
    on_term: int | None = 0
    term_seconds: float = 0.0
    stdout: bytes = b""
    stderr: bytes = b""
    is_oom: bool = False
    start_error: str = ""

    def program(self) -> Program:
        steps: list[Step] = []
        if self.stdout:
            steps.append(Say(self.stdout))
        if self.stderr:
            steps.append(Say(self.stderr, "stderr"))
        code = 137 if self.is_oom else self.exit_code
        if code is None:
            steps.append(Wait(FOREVER))
        else:
            steps += [Wait(self.after_seconds), Exit(code)]
        return Program(
            tuple(steps),
            has_handler=True,
            on_term=self.on_term,
            term_seconds=self.term_seconds,
            is_oom=self.is_oom,
            start_error=self.start_error,
        )


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a command can see of its container."""

    env: Mapping[str, str] = field(default_factory=dict)
    hostname: str = ""
    working_dir: str = "/"


class _NotKnown(Exception):
    """The command is outside the part of the shell that is simulated."""


def compile_command(argv: Sequence[str], around: Surroundings) -> Program | None:
    """The program of a command line, or None when it is not one that can be simulated."""
    if not argv:
        return None
    try:
        return _Compiler(around).compile(list(argv))
    except (_NotKnown, ValueError):
        return None


class _Compiler:
    def __init__(self, around: Surroundings) -> None:
        self._env = dict(around.env)
        self._around = around
        self._steps: list[Step] = []
        self._background: list[float] = []
        self._has_trap = False

    def compile(self, argv: list[str]) -> Program:
        status = self._command(argv, is_shell=False)
        if not self._steps or not isinstance(self._steps[-1], Exit):
            self._steps.append(Exit(status))
        return Program(tuple(self._steps))

    def _script(self, text: str) -> int:
        status = 0
        for joiner, words, ends_background in _statements(text):
            if (joiner == "&&" and status != 0) or (joiner == "||" and status == 0):
                continue
            if self._steps and isinstance(self._steps[-1], Exit):
                break
            status = self._background_command(words) if ends_background else self._simple(words, status)
        return status

    def _simple(self, words: list[str], last_status: int) -> int:
        words, stream, is_discarded = _redirections(words)
        while words and re.fullmatch(r"\w+=.*", words[0]):
            name, _, value = words.pop(0).partition("=")
            self._env[name] = self._expand(value, last_status)
        if not words:
            return 0
        expanded = [self._expand(word, last_status) for word in words]
        before = len(self._steps)
        status = self._command(expanded, is_shell=True)
        new = self._steps[before:]
        self._steps[before:] = [
            Say(step.text, stream) if isinstance(step, Say) and stream else step
            for step in new
            if not (is_discarded and isinstance(step, Say))
        ]
        return status

    def _background_command(self, words: list[str]) -> int:
        name, *args = words
        if name != "sleep":
            raise _NotKnown
        self._background.append(_seconds(args))
        return 0

    def _command(self, argv: list[str], *, is_shell: bool) -> int:
        name, args = argv[0].rpartition("/")[2], argv[1:]
        if name in SHELLS:
            if len(args) != 2 or args[0] not in ("-c", "-ec"):
                raise _NotKnown
            status = self._script(args[1])
            if is_shell and self._steps and isinstance(self._steps[-1], Exit):
                self._steps.pop()  # an inner shell's exit ends only the inner shell
            return status
        if name == "exit":
            return self._exit(args)
        if is_shell and name in ("exec", "trap", "wait", _FOREVER_WORD):
            return self._builtin(name, args)
        return self._applet(name, args, is_shell=is_shell)

    def _builtin(self, name: str, args: list[str]) -> int:
        if name == "exec":
            status = self._command(args, is_shell=False)
            self._steps.append(Exit(status))
            return status
        if name == "trap":
            self._trap(args)
        elif name == "wait":
            self._steps.append(Wait(max(self._background, default=0.0)))
            self._background.clear()
        else:
            # An idle loop has one effect: time passes. Its traps run between two turns, that is, soon.
            self._steps.append(Wait(FOREVER))
        return 0

    def _applet(self, name: str, args: list[str], *, is_shell: bool) -> int:
        if name in ("true", ":"):
            return 0
        if name == "false":
            return 1
        if name == "sleep":
            self._steps.append(Wait(_seconds(args), defers_traps=is_shell))
        elif name == "echo":
            newline = "" if args[:1] == ["-n"] else "\n"
            self._say(" ".join(args[1:] if args[:1] == ["-n"] else args) + newline)
        elif name == "hostname" and not args:
            self._say(self._around.hostname + "\n")
        elif name == "pwd":
            self._say(self._around.working_dir + "\n")
        elif name == "env" and not args:
            self._say("".join(f"{key}={value}\n" for key, value in self._env.items()))
        elif name == "printenv" and len(args) == 1:
            if args[0] not in self._env:
                return 1
            self._say(self._env[args[0]] + "\n")
        else:
            raise _NotKnown
        return 0

    def _exit(self, args: list[str]) -> int:
        """`exit N`, and for test manifests `exit N after SECONDS`."""
        code = int(args[0]) & 0xFF if args else 0
        if args[1:2] == ["after"]:
            self._steps.append(Wait(_seconds(args[2:])))
        self._steps.append(Exit(code))
        return code

    def _trap(self, args: list[str]) -> None:
        if len(args) < 2 or not _TERM_NAMES.intersection(args[1:]):
            raise _NotKnown
        action = args[0].split()
        if action[:1] == ["exit"]:
            self._steps.append(Trap(int(action[1]) & 0xFF if len(action) > 1 else 0))
        elif not action or action == [":"]:
            self._steps.append(Trap(None))
        else:
            raise _NotKnown

    def _say(self, text: str) -> None:
        self._steps.append(Say(text.encode()))

    def _expand(self, word: str, last_status: int) -> str:
        def value(match: re.Match[str]) -> str:
            name = match[1] or match[2]
            return self._env.get(name, "") if name else str(last_status)

        return _VARIABLE.sub(value, word)


def _statements(text: str) -> Iterator[tuple[str, list[str], bool]]:
    """(operator before it, words, whether `&` ends it) of each statement of a script."""
    lexer = shlex.shlex(_IDLE_LOOP.sub(_FOREVER_WORD, text), posix=True, punctuation_chars=";&|<>()\n")
    lexer.whitespace, lexer.whitespace_split, lexer.commenters = " \t", True, ""
    joiner, words = ";", list[str]()
    for token in [*lexer, ";"]:
        operator = ";" if token and not token.strip("\n;") else token
        if operator not in _OPERATORS:
            words.append(token)
            continue
        if words:
            yield joiner, words, operator == "&"
            words = []
        joiner = operator if operator in ("&&", "||") else ";"


def _redirections(words: list[str]) -> tuple[list[str], str, bool]:
    """The words without redirections, the stream they go to ("" = unchanged), whether output is dropped."""
    kept: list[str] = []
    stream, is_discarded, index = "", False, 0
    while index < len(words):
        word = words[index]
        following = words[index + 1] if index + 1 < len(words) else ""
        if word == ">&" and following in ("1", "2"):
            stream = "stderr" if following == "2" else "stdout"
            kept = kept[:-1] if kept[-1:] == ["1"] else kept
            index += 2
        elif word == ">" and following == "/dev/null":
            is_discarded = True
            index += 2
        elif word[:1] in ("<", ">", "|", "("):
            raise _NotKnown
        else:
            kept.append(word)
            index += 1
    return kept, stream, is_discarded


def _seconds(args: Sequence[str]) -> float:
    if len(args) != 1:
        raise _NotKnown
    text = args[0]
    if text in ("inf", "infinity"):
        return FOREVER
    unit = {"s": 1, "m": 60, "h": 3600, "d": 86400}.get(text[-1:], 0)
    return float(text[:-1]) * unit if unit else float(text)
