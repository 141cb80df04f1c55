"""A recent kubectl beside the other commands, for a host whose PATH has none.

Taken from a later Debian suite's package into the cache of `later_suite`, and linked into the virtual
environment's `bin`. Where PATH (or an earlier run) has one of 1.28 or later, nothing is done.
"""

from __future__ import annotations

import sys
from pathlib import Path

from pykubelet.instance.kubectl import find_kubectl
from scripts.later_suite import SetupError, fetch

PACKAGE = "kubectl"


def main() -> int:
    if find_kubectl():
        return 0
    print("setup: taking kubectl from a later Debian suite")
    try:
        (unpacked,) = fetch([PACKAGE])
    except SetupError as problem:
        print(f"setup: please install kubectl 1.28 or later yourself: {problem}", file=sys.stderr)
        return 1
    link_program(unpacked.program("kubectl"), Path(sys.executable).with_name("kubectl"))
    return 0


def link_program(program: Path, link: Path) -> None:
    """`link` leads to `program`, in one step, whatever it was before."""
    fresh = link.with_name(f".{link.name}.new")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(program)
    fresh.rename(link)


if __name__ == "__main__":
    sys.exit(main())
