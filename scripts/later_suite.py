"""Packages of a later Debian suite, unpacked into a cache of our own.

Mechanism: a private apt (its own source list, lists and archives under the cache directory; mirror, keyring,
proxy and credentials as the host's apt configuration has them) downloads a package of a later suite, and
`dpkg-deb -x` unpacks it into a directory named after its exact version. Promise: the host's lists, packages
and sources stay as they are; two runs at once do not disturb each other (a lock); a package that is already
unpacked costs no network at all. Only the standard library is used.

Usage: later_suite.py [--refresh] [PACKAGE...]     prints one line per package: NAME VERSION DIRECTORY
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

SUITES = ("forky",)
"""Later suites than the host's, in order of preference."""

PACKAGES: dict[str, tuple[str, ...]] = {
    # The version prefixes we prefer, best first. A suite moves on: then the next best is taken, and said.
    "containerd": ("2.1.", "2."),
    # Unpacked rather than installed: the installed package would start a service on every host.
    "docker-registry": ("2.", ""),
    # The newest kubectl that we promise to serve.
    "kubectl": ("1.36.", ""),
}


DEBIAN_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
"""Where Debian's package debian-archive-keyring keeps the keys of all its releases."""


class SetupError(Exception):
    """Something that the host lacks; the text says what and what to do."""


@dataclass(frozen=True, slots=True)
class Unpacked:
    """One package on disk: `root` holds `usr/bin/...`."""

    name: str
    version: str
    root: Path

    def program(self, name: str) -> Path:
        return self.root / "usr" / "bin" / name


@dataclass(frozen=True, slots=True)
class Mirror:
    """Where the host's own release comes from, and the key it is checked with ("" = the default)."""

    uri: str
    keyrings: str


def cache_dir() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "pykubelet" / "debian"


def find(name: str) -> Unpacked | None:
    """What an earlier run unpacked, or None. No network, no process."""
    link = cache_dir() / "current" / name
    if not link.is_symlink():
        return None
    root = link.resolve()
    if not root.is_dir():
        return None
    return Unpacked(name, root.name.split("_")[1], root)


def fetch(names: Sequence[str], *, refresh: bool = False) -> list[Unpacked]:
    """Unpack what is missing of `names`; raise SetupError when the host cannot."""
    have = {name: find(name) for name in names}
    with contextlib.ExitStack() as held:
        if refresh or any(unpacked is None for unpacked in have.values()):
            held.enter_context(_lock())
            apt = PrivateApt(cache_dir())
            updated = False
            for name in names:
                # Another run may have done it while this one waited for the lock.
                have[name] = None if refresh else find(name)
                if have[name] is None:
                    if not updated:
                        apt.update()
                        updated = True
                    have[name] = apt.unpack(name)
    return [unpacked for unpacked in have.values() if unpacked is not None]


class PrivateApt:
    """apt-get with source list, lists and archives of its own below `cache`."""

    def __init__(self, cache: Path) -> None:
        for tool in ("apt-get", "dpkg-deb"):
            if shutil.which(tool) is None:
                raise SetupError(f"cannot take packages of {', '.join(SUITES)}: this host has no {tool}")
        self._cache = cache
        apt = cache / "apt"
        for part in ("lists/partial", "state", "archives/partial", "sources"):
            (apt / part).mkdir(parents=True, exist_ok=True)
        (apt / "status").touch()
        mirror = host_mirror()
        lines = ["Types: deb", f"URIs: {mirror.uri}", f"Suites: {' '.join(SUITES)}", "Components: main"]
        if mirror.keyrings:
            lines.append(f"Signed-By: {mirror.keyrings}")
        (apt / "sources" / "later.sources").write_text("\n".join(lines) + "\n")
        settings = {
            "Dir::Etc::sourcelist": "/dev/null",
            "Dir::Etc::sourceparts": str(apt / "sources"),
            "Dir::Etc::preferences": "/dev/null",
            "Dir::Etc::preferencesparts": "/dev/null",
            "Dir::State": str(apt / "state"),
            "Dir::State::lists": str(apt / "lists"),
            "Dir::State::status": str(apt / "status"),
            "Dir::Cache": str(apt),
            "Dir::Cache::archives": str(apt / "archives"),
            "Acquire::Languages": "none",
            "APT::Sandbox::User": "root",
            "APT::Update::Post-Invoke-Success": "",
        }
        self._options = [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]

    def update(self) -> None:
        _run(["apt-get", *self._options, "-qq", "update"], "read the package lists of a later suite")

    def choose(self, name: str) -> str:
        """The version to take, by the prefixes of PACKAGES; apt's own order decides among equals."""
        listing = _run(["apt-cache", *self._options, "madison", name], f"look for package {name!r}")
        versions = [fields[1].strip() for line in listing.splitlines() if len(fields := line.split("|")) > 1]
        wanted = PACKAGES.get(name, ("",))
        version = pick(versions, wanted)
        if version is None:
            raise SetupError(f"cannot take package {name!r}: {', '.join(SUITES)} has {versions or 'none'}")
        if not version.startswith(wanted[0]):
            print(f"{name}: {wanted[0]}x has left the suite, taking {version}", file=sys.stderr)
        return version

    def unpack(self, name: str) -> Unpacked:
        version = self.choose(name)
        root = self._cache / "packages" / f"{name}_{version}_{platform.machine()}"
        if not root.is_dir():
            root.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=self._cache) as scratch:
                command = ["apt-get", *self._options, "-qq", "download", f"{name}={version}"]
                _run(command, f"download package {name!r}", cwd=scratch)
                (archive,) = Path(scratch).glob("*.deb")
                tree = Path(scratch) / "tree"
                _run(["dpkg-deb", "-x", str(archive), str(tree)], f"unpack package {name!r}")
                tree.rename(root)
        current = self._cache / "current"
        current.mkdir(exist_ok=True)
        fresh = current / f".{name}.new"
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(root)
        fresh.rename(current / name)
        return Unpacked(name, version, root)


def pick(versions: Sequence[str], prefixes: Sequence[str]) -> str | None:
    """The first version with the first prefix that any has; None when none has any."""
    matching = (version for prefix in prefixes for version in versions if version.startswith(prefix))
    return next(matching, None)


def host_mirror() -> Mirror:
    """The mirror and keyrings of the host's own release, as its apt configuration says."""
    codename = _codename()
    form = "$(RELEASE)|$(COMPONENT)|$(REPO_URI)|$(SOURCESENTRY)"
    for line in _run(["apt-get", "indextargets", "--format", form], "read apt's sources").splitlines():
        release, component, uri, entry = line.split("|")
        if release == codename and component == "main":
            # A source may be checked against one release's key alone; Debian's whole keyring also has the
            # later release's. apt takes several, separated by commas.
            source = Path(entry.rpartition(":")[0])
            keyrings = signed_by(source.read_text() if source.is_file() else "")
            if DEBIAN_KEYRING.exists() and str(DEBIAN_KEYRING) not in keyrings:
                keyrings.append(str(DEBIAN_KEYRING))
            return Mirror(uri, ",".join(keyrings))
    raise SetupError(f"cannot find a Debian mirror: apt's sources name no {codename!r} main")


def signed_by(text: str) -> list[str]:
    """Keyring files that a source list names, in either of apt's two forms."""
    named = re.findall(r"(?im)^signed-by:[ \t]*(/.*)$|\[[^]\n]*signed-by=(/[^]\s]+)", text)
    return list(dict.fromkeys(word for pair in named for word in re.split(r"[\s,]+", "".join(pair)) if word))


def _codename() -> str:
    for line in Path("/etc/os-release").read_text().splitlines():
        key, _, value = line.partition("=")
        if key == "VERSION_CODENAME":
            return value.strip('"')
    raise SetupError("cannot tell this host's Debian release: /etc/os-release names no VERSION_CODENAME")


@contextlib.contextmanager
def _lock() -> Iterator[None]:
    directory = cache_dir()
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _run(command: list[str], purpose: str, cwd: str | None = None) -> str:
    env = os.environ | {"LC_ALL": "C.UTF-8"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=env, check=False)
    if done.returncode:
        said = (done.stderr or done.stdout).strip()
        raise SetupError(f"cannot {purpose}: {command[0]} exited with {done.returncode}: {said}")
    return done.stdout


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Unpack packages of a later Debian suite into a cache.")
    parser.add_argument("--refresh", action="store_true", help="look for a newer version")
    parser.add_argument("packages", nargs="*", default=list(PACKAGES))
    options = parser.parse_args(argv)
    try:
        for unpacked in fetch(options.packages, refresh=options.refresh):
            print(unpacked.name, unpacked.version, unpacked.root)
    except SetupError as problem:
        print(problem, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
