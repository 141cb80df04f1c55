"""The last words of `up`: the pods of the manifests, where the kubeconfig is, and what to try."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pykubelet
from pykubelet.instance.record import Book
from pykubelet.instance.running import KUBELET, pod_table
from pykubelet.instance.waiting import Wait

EXAMPLE = "examples/web.yaml"


def report(book: Book, wait: Wait, kubectl: str) -> None:
    """`kubectl` is the program to name, "" for none."""
    if wait.manifests.count:
        _tell_pods(book, wait)
    if book.record.is_standalone:
        _suggest(_of_node(book, wait))
    else:
        print(f"\nkubeconfig: {book.layout.admin_kubeconfig}")
        _suggest(_of_cluster(book, _shown(kubectl, "kubectl")))
    if wait.manifests.count or book.record.is_standalone:
        print(f"\nManifests: {book.record.static} (edit, add or remove one and the node follows)")


def _tell_pods(book: Book, wait: Wait) -> None:
    print("\n" + pod_table(wait.rows), end="")
    if not wait.are_settled:
        print("\nNot every pod is there yet: `pykubelet why POD` tells what each waits for;")
        print(f"the agent's log is {book.layout.log_of(KUBELET)}.")
    problems = wait.manifests.problems
    if problems:
        print(f"\n{len(problems)} of {wait.manifests.count} manifests cannot be used:")
        for line in (line for lines in problems.values() for line in lines):
            print(f"  {line}")


def _suggest(commands: list[str]) -> None:
    print("\nTry:")
    for command in commands:
        print(f"  {command}")


def _of_cluster(book: Book, kubectl: str) -> list[str]:
    example = Path(pykubelet.__file__).parents[1] / EXAMPLE
    create = (
        f"{kubectl} apply -f {_relative(example)}"
        if example.exists()
        else f"{kubectl} create deployment web --image docker.io/library/busybox:1.35 -- httpd -f"
    )
    return [
        f"export KUBECONFIG={book.layout.admin_kubeconfig}",
        f"{kubectl} get nodes -o wide",
        create,
        f"{kubectl} get pods -w",
    ]


def _of_node(book: Book, wait: Wait) -> list[str]:
    option = "" if book.layout.is_default else f" --root {book.layout.root}"
    first = next((row.name for row in wait.rows if row.is_ready), "POD")
    other = next((row.name for row in wait.rows if not row.is_ready), first)
    program = own_name()
    return [
        f"{program} ps{option}",
        f"{program} logs{option} {first} -f",
        f"{program} why{option} {other}",
    ]


def own_name() -> str:
    """How the user can call this command."""
    return _shown(str(Path(sys.executable).with_name("pykubelet")), "pykubelet")


def _shown(program: str, name: str) -> str:
    """By its name when PATH leads to it, or when there is no such file; else by its path."""
    found, wanted = shutil.which(name), Path(program)
    if not wanted.exists() or (found is not None and wanted.samefile(found)):
        return name
    return _relative(wanted)


def _relative(path: Path) -> str:
    here = Path.cwd()
    return os.fspath(path.relative_to(here)) if path.is_relative_to(here) else os.fspath(path)
