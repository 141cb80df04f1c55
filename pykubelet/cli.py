"""The command line of `pykubelet`: every command, its options and which function carries it out.

Nothing is imported here but argparse: `--help` and a wrong option cost only the interpreter's start. Handlers
are named "module:function" and take the parsed arguments.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    _Commands: TypeAlias = argparse._SubParsersAction[argparse.ArgumentParser]

DEFAULT_ROOT = "/var/lib/pykubelet"


class _Version(argparse.Action):
    """`--version`, looked up only when asked for: reading package metadata is slow."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        parser.exit(message=f"pykubelet {version('pykubelet')}\n")


def split_command(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """The words before the first `--`, and those after it: the command of `exec`."""
    words = list(argv)
    if "--" not in words:
        return words, []
    at = words.index("--")
    return words[:at], words[at + 1 :]


def make_parser() -> argparse.ArgumentParser:
    """The parser of every command; `handler` is None when none was given."""
    parser = argparse.ArgumentParser(
        prog="pykubelet",
        description="A Kubernetes node you can read: bring one up, look at its runtime, ask it why.",
    )
    parser.set_defaults(handler=None)
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    _node_commands(commands)
    _runtime_commands(commands)
    _image_commands(commands)
    return parser


def _add(commands: _Commands, name: str, handler: str, text: str) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    parser.set_defaults(handler=f"pykubelet.{handler}")
    parser.add_argument(
        "--root",
        default=DEFAULT_ROOT,
        metavar="DIR",
        help=f"the instance's directory (default {DEFAULT_ROOT}); another one is another instance",
    )
    return parser


def _node_commands(commands: _Commands) -> None:
    up = _add(commands, "up", "instance.up:up", "bring a cluster of one node up")
    up.add_argument("--static", metavar="DIR", help="directory of Pod manifests to run as static pods")
    up.add_argument("--standalone", action="store_true", help="the node alone, without a control plane")
    up.add_argument(
        "--timeout",
        type=float,
        default=120.0,
        metavar="SECONDS",
        help="wait so long for the node and for static pods",
    )

    down = _add(commands, "down", "instance.down:down", "stop everything and leave nothing running")
    down.add_argument("--purge", action="store_true", help="remove its data, images included, as well")
    down.add_argument(
        "--timeout",
        type=float,
        default=60.0,
        metavar="SECONDS",
        help="give pods so long to stop by themselves",
    )

    status = _add(
        commands, "status", "instance.status:status", "say whether the cluster is up, and what runs"
    )
    status.add_argument("--json", action="store_true", help="as JSON")

    why = _add(commands, "why", "instance.why:why", "tell the story of a pod: what happened, what is next")
    why.add_argument("pod", metavar="POD", help="name, NAMESPACE/NAME, or uid (a prefix will do)")
    why.add_argument("--json", action="store_true", help="everything the agent knows, as JSON")

    backup = _add(commands, "backup", "instance.backup:backup", "write the cluster's objects to a file")
    backup.add_argument("file", metavar="FILE", help="what to write; the cluster may be up or down")

    restore = _add(
        commands, "restore", "instance.backup:restore", "put a backup in the place of the cluster's objects"
    )
    restore.add_argument("file", metavar="FILE", help="what `backup` wrote; the cluster must be down")

    doctor = _add(commands, "doctor", "instance.doctor:doctor", "check this host for what `up` needs")
    doctor.add_argument("--json", action="store_true", help="as JSON")


def _on_runtime(commands: _Commands, name: str, handler: str, text: str) -> argparse.ArgumentParser:
    parser = _add(commands, name, handler, text)
    parser.add_argument(
        "--runtime-endpoint",
        metavar="ENDPOINT",
        help="unix:///path of the CRI socket (default: the instance's, else containerd's or CRI-O's)",
    )
    return parser


def _runtime_commands(commands: _Commands) -> None:
    ps = _on_runtime(commands, "ps", "runtime.listing:ps", "list containers, straight from the runtime")
    ps.add_argument("-a", "--all", action="store_true", help="those that do not run as well")
    ps.add_argument("--pod", metavar="NAME", help="of this pod only")
    ps.add_argument("-o", "--output", choices=("table", "json"), default="table")

    pods = _on_runtime(
        commands, "pods", "runtime.listing:pods", "list pod sandboxes, straight from the runtime"
    )
    pods.add_argument("-o", "--output", choices=("table", "json"), default="table")

    images = _on_runtime(commands, "images", "runtime.listing:images", "list the images the runtime has")
    images.add_argument("-o", "--output", choices=("table", "json"), default="table")

    inspect = _on_runtime(
        commands,
        "inspect",
        "runtime.inspect:inspect",
        "show all the runtime knows of a pod, container or image",
    )
    inspect.add_argument("name", metavar="ID|NAME")

    logs = _on_runtime(commands, "logs", "runtime.logs:logs", "print a container's log")
    logs.add_argument("name", metavar="NAME|ID", help="a pod ([NAMESPACE/]POD[/CONTAINER]) or a container")
    logs.add_argument("-c", "--container", metavar="NAME", help="which container of the pod")
    logs.add_argument("-f", "--follow", action="store_true", help="go on until the container ends")
    logs.add_argument("--tail", type=int, metavar="N", help="the last N lines")
    logs.add_argument("--since", metavar="AGE", help="only what is newer: 30s, 5m, 2h")
    logs.add_argument("--timestamps", action="store_true", help="with the time of each line")
    logs.add_argument("-p", "--previous", action="store_true", help="of the run before the last restart")

    execute = _on_runtime(commands, "exec", "runtime.execute:execute", "run a command in a container")
    execute.usage = "pykubelet exec [-h] [-i] [-t] [-c NAME] [--runtime-endpoint ENDPOINT] NAME|ID -- CMD ..."
    execute.add_argument("name", metavar="NAME|ID", help="a pod ([NAMESPACE/]POD[/CONTAINER]) or a container")
    execute.add_argument("-c", "--container", metavar="NAME", help="which container of the pod")
    execute.add_argument("-i", "--stdin", action="store_true", help="pass standard input on")
    execute.add_argument("-t", "--tty", action="store_true", help="give it a terminal")


def _image_commands(commands: _Commands) -> None:
    image = commands.add_parser(
        "image",
        help="load, list and remove images without a registry",
        description="Images, no registry needed.",
    )
    parts = image.add_subparsers(title="commands", metavar="COMMAND", required=True)
    load = _on_runtime(
        parts, "load", "runtime.image:load", "import image archives (docker save or OCI layout)"
    )
    load.add_argument("files", nargs="*", metavar="FILE", help="archives to import")
    load.add_argument(
        "--builtin", action="store_true", help="the pause and busybox images made from this host's binaries"
    )
    listing = _on_runtime(parts, "ls", "runtime.listing:images", "list the images the runtime has")
    listing.add_argument("-o", "--output", choices=("table", "json"), default="table")
    remove = _on_runtime(parts, "rm", "runtime.image:remove", "remove images")
    remove.add_argument("names", nargs="+", metavar="NAME", help="name or id")
