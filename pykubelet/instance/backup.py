"""`pykubelet backup FILE` and `pykubelet restore FILE`: the control plane's store to a file and back.

A backup is taken while the control plane runs or not; a restore needs it stopped, keeps what was there beside
it, and makes every client list anew. Certificates are not part of it.
"""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

from aio.errors import cannot
from pykubelet.instance.layout import Layout
from pykubelet.instance.running import locked


def backup(args: Namespace) -> int:
    """`pykubelet backup FILE`."""
    return backup_store(Layout.of(args.root).store, Path(args.file))


def restore(args: Namespace) -> int:
    """`pykubelet restore FILE`."""
    layout = Layout.of(args.root)
    with locked(layout):
        return restore_store(Path(args.file), layout.store)


def backup_store(store: Path, target: Path) -> int:
    """Write the store in the file `store` to `target`; the exit code, 1 with one line of why not."""
    from controlplane.store.backup import backup_file

    def run() -> str:
        if not store.exists():
            raise FileNotFoundError(cannot(f'back up "{store}"', "it does not exist"))
        backup_file(store, target)
        return f'Wrote "{target}" ({target.stat().st_size} bytes).'

    return _told(run)


def restore_store(source: Path, store: Path) -> int:
    """Put the backup `source` in the place of the store in `store`; the exit code as above."""
    from controlplane.store.backup import replaced_path, restore_file

    def run() -> str:
        if not source.exists():
            raise FileNotFoundError(cannot(f'restore "{source}"', "it does not exist"))
        had_one = store.exists()
        store.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        revision = restore_file(source, store)
        kept = f' What was there is in "{replaced_path(store)}".' if had_one else ""
        return f'Restored "{store}" at revision {revision}.{kept}'

    return _told(run)


def _told(run: Callable[[], str]) -> int:
    from controlplane.store.errors import StoreError

    try:
        print(run())
    except (StoreError, OSError) as error:
        print(f"pykubelet: {error}", file=sys.stderr)
        return 1
    return 0
