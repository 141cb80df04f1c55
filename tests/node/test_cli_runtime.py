"""`pykubelet ps|pods|images|inspect|logs|exec|image` against real runtimes, with no agent."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cri.imagefile import busybox_bytes
from cri.types import ContainerConfig, ContainerMetadata, ImageSpec, PodSandboxConfig, PodSandboxMetadata
from cri.wire import Runtime, connect
from tests.runtimes import PrivateContainerd

pytestmark = pytest.mark.node

BUSYBOX = ImageSpec(image="docker.io/library/busybox:1.35")
# The two streams are two pipes: what is written at once may be logged in either order.
SCRIPT = """
echo one; sleep 0.3; echo two >&2; sleep 0.3; echo three
trap 'exit 0' TERM
while ! test -e /tmp/end; do sleep 0.1; done
echo four
"""
ENDED = "echo early; exit 4"
SECONDS = 15

Cli = Callable[..., subprocess.CompletedProcess[str]]


def command(runtime: PrivateContainerd, *words: str) -> list[str]:
    """The endpoint goes right after the command, before any `--`."""
    at = 2 if words[0] == "image" else 1
    endpoint = ["--runtime-endpoint", runtime.endpoint]
    return [sys.executable, "-m", "pykubelet", *words[:at], *endpoint, *words[at:]]


@pytest.fixture
def cli(runtime: PrivateContainerd) -> Cli:
    def run(*words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command(runtime, *words),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )

    return run


async def _start(node: Runtime, logs: Path) -> str:
    metadata = PodSandboxMetadata(name="duo", uid="uid-duo", namespace="shop")
    box_config = PodSandboxConfig(metadata=metadata, log_directory=str(logs))
    box = await node.runtime.run_pod_sandbox(box_config)
    for name, attempt, script in (("main", 0, SCRIPT), ("job", 0, ENDED), ("job", 1, ENDED)):
        config = ContainerConfig(
            metadata=ContainerMetadata(name=name, attempt=attempt),
            image=BUSYBOX,
            command=("sh", "-c", script),
            log_path=f"{name}/{attempt}.log",
        )
        (logs / name).mkdir(exist_ok=True)
        container = await node.runtime.create_container(box, config, box_config)
        await node.runtime.start_container(container)
    return box


@pytest.fixture
def pod(runtime: PrivateContainerd, tmp_path: Path) -> Iterator[str]:
    """A pod shop/duo: `main` runs, `job` has ended twice. Yields the id of its sandbox."""

    async def start() -> str:
        node = await connect(runtime.endpoint)
        try:
            return await _start(node, tmp_path)
        finally:
            await node.close()

    async def remove(box: str) -> None:
        node = await connect(runtime.endpoint)
        try:
            await node.runtime.stop_pod_sandbox(box)
            await node.runtime.remove_pod_sandbox(box)
        finally:
            await node.close()

    box = asyncio.run(start())
    yield box
    asyncio.run(remove(box))


def wait_until(is_true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + SECONDS
    while not is_true():
        assert time.monotonic() < deadline, f"not in {SECONDS} s: {what}"
        time.sleep(0.05)


def test_tables_show_what_runs(cli: Cli, pod: str) -> None:
    wait_until(lambda: cli("ps", "-a", "--pod", "duo").stdout.count("Exited") == 2, "both jobs have ended")
    header, *rows = cli("ps", "--pod", "duo").stdout.splitlines()
    assert header.split() == ["CONTAINER", "IMAGE", "CREATED", "STATE", "NAME", "ATTEMPT", "POD"]
    (row,) = (line.split() for line in rows)
    assert row[1] == BUSYBOX.image
    assert row[3:] == ["Running", "main", "0", "shop/duo"]
    listed = json.loads(cli("ps", "-a", "--pod", "shop/duo", "-o", "json").stdout)["containers"]
    assert {(one["metadata"]["name"], one["metadata"]["attempt"]) for one in listed} == {
        ("main", 0),
        ("job", 0),
        ("job", 1),
    }
    boxes = [line.split() for line in cli("pods").stdout.splitlines()[1:]]
    assert [box[2:5] for box in boxes if pod.startswith(box[0])] == [["Ready", "duo", "shop"]]
    assert any(line.startswith("docker.io/library/busybox   1.35 ") for line in images_of(cli))


def images_of(cli: Cli) -> list[str]:
    """Lines of the table with every gap of the same width."""
    return ["   ".join(line.split()[:2]) + " " for line in cli("images").stdout.splitlines()]


def test_logs_by_name_of_each_run(cli: Cli, pod: str) -> None:
    wait_until(lambda: "three" in cli("logs", "duo").stdout, "the script has spoken")
    whole = cli("logs", "shop/duo/main")
    assert (whole.returncode, whole.stdout, whole.stderr) == (0, "one\nthree\n", "two\n")
    assert cli("logs", "duo", "--tail", "1").stdout == "three\n"
    stamped = cli("logs", "duo", "-c", "main", "--timestamps", "--tail", "1").stdout
    assert stamped.endswith(" three\n")
    assert stamped[4] == "-"
    assert cli("logs", "duo", "--since", "1h").stdout == "one\nthree\n"
    assert cli("logs", "duo/job").stdout == "early\n"
    assert cli("logs", "-p", "duo/job").stdout == "early\n"
    missing = cli("logs", "-p", "duo")
    assert missing.returncode == 1
    assert "because no earlier run of it is left" in missing.stderr


def test_followed_log_ends_with_its_container(runtime: PrivateContainerd, cli: Cli, pod: str) -> None:
    with subprocess.Popen(
        command(runtime, "logs", "-f", "duo"), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as follower:
        assert follower.stdout is not None
        assert follower.stdout.readline() == "one\n"
        assert follower.stdout.readline() == "three\n"
        assert cli("exec", "duo", "--", "touch", "/tmp/end").returncode == 0
        assert follower.stdout.readline() == "four\n"
        assert follower.wait(SECONDS) == 0


def test_exec_passes_streams_and_exit_code_on(cli: Cli, pod: str) -> None:
    done = cli("exec", "duo", "--", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (done.returncode, done.stdout, done.stderr) == (7, "out\n", "err\n")
    said = cli("exec", "-i", "shop/duo/main", "--", "sh", "-c", "read line; echo got $line", stdin="hello\n")
    assert (said.returncode, said.stdout) == (0, "got hello\n")
    piped = cli("exec", "-i", "duo", "--", "cat", stdin="one\ntwo\n")
    assert (piped.returncode, piped.stdout, piped.stderr) == (0, "one\ntwo\n", "")
    no_terminal = cli("exec", "-i", "-t", "duo", "--", "cat", stdin="one\n")
    assert (no_terminal.returncode, no_terminal.stdout) == (0, "one\n")
    assert "standard input is none" in no_terminal.stderr
    ended = cli("exec", "duo/job", "--", "true")
    assert ended.returncode == 1
    assert "because it does not run (state exited)" in ended.stderr
    absent = cli("exec", "duo", "--", "/no/such/program")
    assert absent.returncode != 0
    assert "no such file" in absent.stderr + absent.stdout


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """Both ends of a terminal: the user's, and the one that programs have."""
    ends = pty.openpty()
    yield ends
    for end in ends:
        os.close(end)


def test_exec_on_a_terminal_has_its_size_and_its_keys(
    runtime: PrivateContainerd, pod: str, terminal: tuple[int, int]
) -> None:
    ours, theirs = terminal
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 33, 101, 0, 0))
    before = termios.tcgetattr(theirs)
    words = command(runtime, "exec", "-i", "-t", "duo", "--", "sh")
    with ended(subprocess.Popen(words, stdin=theirs, stdout=theirs, stderr=theirs)) as shell:
        seen = read_until(ours, b"# ")
        os.write(ours, b"stty size\r")
        # The size follows the session's start; the shell is asked until it has come.
        while b"33 101" not in seen:
            seen = read_until(ours, b"# ")
            if b"33 101" not in seen:
                os.write(ours, b"stty size\r")
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 20, 50, 0, 0))
        shell.send_signal(signal.SIGWINCH)
        while b"20 50" not in seen:
            os.write(ours, b"stty size\r")
            seen = read_until(ours, b"# ")
        # Ctrl-C is the shell's, not ours; then a code of its own.
        os.write(ours, b"sh -c 'echo sta\"\"rted; sleep 1000'\r")
        read_until(ours, b"started")
        os.write(ours, b"\x03")
        read_until(ours, b"# ")
        os.write(ours, b"exit 5\r")
        assert shell.wait(SECONDS) == 5
    assert termios.tcgetattr(theirs) == before


@contextmanager
def ended(process: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """Whatever the test finds, the process does not outlive it."""
    with process:
        try:
            yield process
        finally:
            process.kill()


def read_until(descriptor: int, what: bytes) -> bytes:
    deadline = time.monotonic() + SECONDS
    seen = b""
    while what not in seen:
        assert time.monotonic() < deadline, f"{what!r} did not come, only {seen!r}"
        if select.select([descriptor], [], [], 1.0)[0]:
            seen += os.read(descriptor, 4096)
    return seen


def test_inspect_shows_pod_container_and_image(cli: Cli, pod: str) -> None:
    shown = json.loads(cli("inspect", "duo").stdout)
    assert shown["kind"] == "pod"
    assert shown["status"]["id"] == pod
    assert len(shown["containers"]) == 3
    container = json.loads(cli("inspect", "duo/main").stdout)
    assert container["kind"] == "container"
    assert container["status"]["state"] == "CONTAINER_RUNNING"
    assert container["info"]["info"]["pid"] > 0
    image = json.loads(cli("inspect", "busybox:1.35").stdout)
    assert image["kind"] == "image"
    assert BUSYBOX.image in image["status"]["repoTags"]
    assert "no pod, container or image" in cli("inspect", "nothing").stderr


def test_image_is_loaded_listed_and_removed(cli: Cli, tmp_path: Path) -> None:
    name = "localhost/cli/tool:2"
    archive = tmp_path / "tool.tar"
    archive.write_bytes(busybox_bytes((name,), labels={"test": "cli"}))
    assert cli("image", "load", str(archive)).stdout == f"loaded {name}\n"
    assert "localhost/cli/tool" in cli("image", "ls").stdout
    assert cli("image", "rm", name).stdout == f"removed {name}\n"
    assert "localhost/cli/tool" not in cli("image", "ls").stdout
    again = cli("image", "rm", name)
    assert again.returncode == 1
    assert "because the runtime has no such image" in again.stderr
    assert cli("image", "load", "--builtin").stdout == "the built-in images are there already\n"
    damaged = tmp_path / "damaged.tar"
    damaged.write_bytes(b"no archive")
    refused = cli("image", "load", str(damaged))
    assert refused.returncode == 1
    assert "cannot import" in refused.stderr
