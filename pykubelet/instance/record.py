"""What `up` wrote down for `down`, `status` and itself: one JSON file under the instance's root.

Written whole (a new file renamed over the old one) after each step, so that a half-made instance can be
stopped too.
"""

from __future__ import annotations

import os

import msgspec

from pykubelet.errors import CommandError
from pykubelet.instance.layout import Layout


class Component(msgspec.Struct, frozen=True, kw_only=True):
    """A background process; pid and start time (clock ticks since boot, proc(5)) name it for ever."""

    name: str
    pid: int
    started_ticks: int


class SharedThings(msgspec.Struct, frozen=True, kw_only=True):
    """What of the host's own was there before `up`: only what came after it may be taken away."""

    cgroups: tuple[str, ...] = ()  # directories named after containerd's namespace of CRI
    tables: tuple[str, ...] = ()  # nftables tables


class Record(msgspec.Struct, frozen=True, kw_only=True):
    root: str
    boot_id: str
    runtime_endpoint: str = ""
    is_private_runtime: bool = True
    static: str = ""
    subnet: str = ""
    healthz_port: int = 0
    conflist: str = ""  # a network configuration written for the host's own runtime
    components: tuple[Component, ...] = ()
    before: SharedThings = SharedThings()

    def component(self, name: str) -> Component | None:
        return next((one for one in self.components if one.name == name), None)

    def with_component(self, component: Component) -> Record:
        others = tuple(one for one in self.components if one.name != component.name)
        return msgspec.structs.replace(self, components=(*others, component))


def read_record(layout: Layout) -> Record | None:
    """None when there is none. CommandError for one that cannot be read: guessing could harm a host."""
    try:
        data = layout.record.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise CommandError(f'cannot read "{layout.record}": because {error.strerror}') from error
    try:
        return msgspec.json.decode(data, type=Record)
    except msgspec.MsgspecError as error:
        raise CommandError(
            f'cannot use "{layout.record}": because it is damaged: {error}; '
            f"remove it, and `pykubelet down --root {layout.root}` finds by name what is left"
        ) from error


def write_record(layout: Layout, record: Record) -> None:
    partial = layout.record.with_name("instance.json.partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n")
    partial.replace(layout.record)


def remove_record(layout: Layout) -> None:
    layout.record.unlink(missing_ok=True)
