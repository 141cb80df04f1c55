"""exec, attach, port-forward and cp, over WebSocket and over SPDY, from real kubectls to containers."""

from __future__ import annotations

import hashlib
import os
import re
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.clusters import Kubectl
from tests.cluster.kubectl import (
    TRANSPORTS,
    Started,
    at_rest,
    in_terminal,
    new_namespace,
    put,
    shell_pod,
    started,
)

pytestmark = pytest.mark.cluster

BIG_BYTES = 100_000_000
PAGES = "mkdir /www; echo page > /www/index.html; exec httpd -f -p 8080 -h /www"
READER = "trap exit TERM; echo ready; while read line; do echo got $line; done; echo end of input"
INTERRUPTED = "trap 'exit 3' INT; echo begun-$((1 + 1)); while :; do sleep 0.1; done"
TERMINAL = "echo ready; while read line; do echo got $line from $(tty); done"


@pytest.fixture(scope="module")
def place(kubectl: Kubectl) -> Iterator[str]:
    """A namespace with the pods that every test here uses."""
    two = at_rest("two")
    two["spec"]["containers"].append({**two["spec"]["containers"][0], "name": "side"})
    pods = [at_rest("rest"), two, shell_pod("pages", PAGES)]
    with new_namespace(kubectl) as name:
        put(kubectl, name, *pods)
        kubectl("wait", "-n", name, "pod", "--all", "--for=condition=Ready", "--timeout=60s")
        yield name


@pytest.fixture(params=TRANSPORTS)
def client(request: pytest.FixtureRequest, kubectl: Kubectl) -> Kubectl:
    return kubectl.with_env(**TRANSPORTS[request.param])


def port_of(forward: Started) -> int:
    """The local port of a port-forward that listens."""
    said = forward.wait_for("Forwarding from 127.0.0.1:")
    found = re.search(r"127\.0\.0\.1:(\d+) ", said)
    assert found is not None
    return int(found[1])


def fetch(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=20) as answer:
        return str(answer.read().decode())


def test_exec_gives_back_what_it_is_given_and_ends_with_the_input(client: Kubectl, place: str) -> None:
    done = client.run("exec", "-n", place, "-i", "rest", "--", "cat", text="x\n")
    assert (done.stdout, done.stderr) == ("x\n", "")


def test_exec_keeps_output_and_errors_apart_and_tells_the_exit_code(client: Kubectl, place: str) -> None:
    script = "echo out; echo err >&2; exit 7"
    done = client.run("exec", "-n", place, "rest", "--", "sh", "-c", script, check=False)
    assert done.returncode == 7
    assert done.stdout == "out\n"
    assert done.stderr.splitlines() == ["err", "command terminated with exit code 7"]


def test_exec_names_what_cannot_be_run(client: Kubectl, place: str) -> None:
    done = client.run("exec", "-n", place, "rest", "--", "no-such-program", check=False)
    assert done.returncode != 0
    assert '"no-such-program": executable file not found' in done.stderr
    done = client.run("exec", "-n", place, "rest", "-c", "nope", "--", "true", check=False)
    assert done.returncode == 1
    assert "container nope is not valid for pod rest" in done.stderr
    done = client.run("exec", "-n", place, "nobody", "--", "true", check=False)
    assert done.stderr == 'Error from server (NotFound): pods "nobody" not found\n'


def test_exec_finds_the_container_that_is_meant(client: Kubectl, place: str) -> None:
    words = ("exec", "-n", place, "two")
    done = client.run(*words, "--", "hostname")
    assert done.stdout == "two\n"
    assert "Defaulted container" in done.stderr
    client(*words, "-c", "side", "--", "touch", "/mark")
    assert client.run(*words, "-c", "main", "--", "ls", "/mark", check=False).returncode != 0
    client(*words, "-c", "side", "--", "ls", "/mark")


def test_exec_passes_a_stream_of_bytes_unchanged(client: Kubectl, place: str) -> None:
    said = client("exec", "-n", place, "rest", "--", "sh", "-c", "seq 1 200000 | sha256sum")
    expected = hashlib.sha256("".join(f"{n}\n" for n in range(1, 200001)).encode()).hexdigest()
    assert said.split()[0] == expected
    text = "".join(f"{n}\n" for n in range(1, 200001))
    assert client("exec", "-n", place, "-i", "rest", "--", "cat", text=text) == text


def test_exec_in_a_terminal_is_one_and_follows_its_size(client: Kubectl, place: str) -> None:
    with in_terminal(client, "exec", "-n", place, "-it", "rest", "--", "sh", rows=33, columns=99) as shell:
        shell.wait_for("# ")
        shell.send("tty\n")
        shell.wait_for("/dev/pts/")
        shell.send("echo columns-$(stty size </dev/tty 2>&1)-\n")
        shell.wait_for("columns-33 99-")
        shell.resize(44, 111)
        shell.send(
            "while [ \"$(stty size </dev/tty)\" != '44 111' ]; do sleep 0.05; done; echo is-$((40 + 4))\n"
        )
        shell.wait_for("is-44")
        shell.send(f'sh -c "{INTERRUPTED}"; echo code-$?\n')
        shell.wait_for("begun-2")
        shell.send("\x03")
        shell.wait_for("code-3")
        shell.send("exit 5\n")
        assert shell.code() == 5
        assert "command terminated with exit code 5" in shell.said


def test_attach_passes_both_ways_and_ends_with_the_container(client: Kubectl, place: str) -> None:
    spec = shell_pod("reader", READER, restartPolicy="Never", container={"stdin": True, "stdinOnce": True})
    put(client, place, spec)
    client("wait", "-n", place, "pod/reader", "--for=condition=Ready", "--timeout=60s")
    try:
        with started(client, "attach", "-n", place, "-i", "reader") as attached:
            attached.send("one\n")
            attached.wait_for("got one\n")
            attached.send("two\n")
            attached.wait_for("got two\n")
            attached.close_input()
            attached.wait_for("end of input")
            assert attached.code() == 0
        client("wait", "-n", place, "pod/reader", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s")
        assert client("logs", "-n", place, "reader").splitlines() == [
            "ready", "got one", "got two", "end of input",
        ]  # fmt: skip
    finally:
        client("delete", "-n", place, "pod", "reader")


def test_attach_to_a_terminal_is_that_of_the_container(client: Kubectl, place: str) -> None:
    spec = shell_pod("seat", TERMINAL, container={"stdin": True, "tty": True})
    put(client, place, spec)
    client("wait", "-n", place, "pod/seat", "--for=condition=Ready", "--timeout=60s")
    try:
        with in_terminal(client, "attach", "-n", place, "-it", "seat") as attached:
            attached.send("word\n")
            attached.wait_for("got word from /dev/")
    finally:
        client("delete", "-n", place, "pod", "seat", "--now")


def test_forwarded_port_serves_several_connections(client: Kubectl, place: str) -> None:
    with started(client, "port-forward", "-n", place, "pod/pages", ":8080") as forward:
        port = port_of(forward)
        assert fetch(port) == "page\n"
        pages: list[str] = []
        threads = [threading.Thread(target=lambda: pages.append(fetch(port))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert pages == ["page\n"] * 8
        assert forward.process.poll() is None


def test_forwarded_port_that_nobody_listens_on_says_so(client: Kubectl, place: str) -> None:
    with started(client, "port-forward", "-n", place, "pod/pages", ":81") as forward:
        port = port_of(forward)
        with pytest.raises(OSError):
            fetch(port)
        forward.wait_for("connection refused")


def test_service_is_forwarded_to_one_of_its_pods(client: Kubectl, place: str) -> None:
    client("expose", "-n", place, "pod", "pages", "--port=80", "--target-port=8080")
    try:
        with started(client, "port-forward", "-n", place, "service/pages", ":80") as forward:
            assert fetch(port_of(forward)) == "page\n"
    finally:
        client("delete", "-n", place, "service", "pages")


def test_copy_of_a_hundred_megabytes_arrives_whole_both_ways(
    client: Kubectl, place: str, tmp_path: Path
) -> None:
    there, back = tmp_path / "there", tmp_path / "back"
    there.write_bytes(os.urandom(1 << 20) * (BIG_BYTES >> 20) + b"end")
    expected = hashlib.sha256(there.read_bytes()).hexdigest()
    client("cp", "-n", place, str(there), "rest:/tmp/big")
    assert client("exec", "-n", place, "rest", "--", "sha256sum", "/tmp/big").split()[0] == expected
    client("cp", "-n", place, "rest:tmp/big", str(back))
    assert hashlib.sha256(back.read_bytes()).hexdigest() == expected
    client("exec", "-n", place, "rest", "--", "rm", "/tmp/big")


def test_run_gives_a_pod_its_input_shows_its_output_and_removes_it(client: Kubectl, place: str) -> None:
    words = (
        "run",
        "-n",
        place,
        "once",
        "--rm",
        "-i",
        "--restart=Never",
        "--image=docker.io/library/busybox:1.35",
    )
    done = client.run(*words, "--", "sh", "-c", "cat; echo done", text="given\n")
    assert "given\ndone\n" in done.stdout
    assert client.run("get", "-n", place, "pod", "once", check=False).returncode == 1
