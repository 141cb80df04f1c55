"""What `up` wrote down for `down`, `status` and itself: one JSON file under the instance's root.

Written whole (a new file renamed over the old one) at each change, so that a half-made instance can be
stopped too. Ports and ranges are in a second one, which stays when the first is removed: a cluster that comes
up again is found where it was.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from pykubelet.errors import CommandError
from pykubelet.instance.layout import Layout

T = TypeVar("T", bound=msgspec.Struct)


class Component(msgspec.Struct, frozen=True, kw_only=True):
    """A background process; pid and start time (clock ticks since boot, proc(5)) name it for ever."""

    name: str
    pid: int
    started_ticks: int


class SharedThings(msgspec.Struct, frozen=True, kw_only=True):
    """What of the host's own was there before `up`: only what came after it may be taken away."""

    cgroups: tuple[str, ...] = ()  # directories named after containerd's namespace of CRI
    tables: tuple[str, ...] = ()  # nftables tables


class Choices(msgspec.Struct, frozen=True, kw_only=True):
    """What was chosen once for a cluster: its objects, kubeconfigs and certificates rely on it."""

    subnet: str = ""
    api_port: int = 0
    kubelet_port: int = 0
    healthz_port: int = 0


class Record(msgspec.Struct, frozen=True, kw_only=True):
    root: str
    boot_id: str
    runtime_endpoint: str = ""
    is_private_runtime: bool = True
    static: str = ""
    subnet: str = ""
    healthz_port: int = 0
    is_standalone: bool = False  # the agent alone, without a control plane
    api_port: int = 0
    kubelet_port: int = 0
    advertise_address: str = ""  # by which pods and other hosts reach the API server
    conflist: str = ""  # a network configuration written for the host's own runtime
    components: tuple[Component, ...] = ()
    before: SharedThings = SharedThings()

    def component(self, name: str) -> Component | None:
        return next((one for one in self.components if one.name == name), None)

    def with_component(self, component: Component) -> Record:
        others = tuple(one for one in self.components if one.name != component.name)
        return msgspec.structs.replace(self, components=(*others, component))


class Book:
    """The record while steps go on side by side: each change is on disk before the next relies on it."""

    def __init__(self, layout: Layout, record: Record) -> None:
        self.layout = layout
        self.record = record

    def change(self, **values: Any) -> None:
        """Fields of Record, by name."""
        self._put(msgspec.structs.replace(self.record, **values))

    def started(self, component: Component) -> None:
        """A process that was just started; its pid is also in a file of its own, for people and scripts."""
        self._put(self.record.with_component(component))
        self.layout.pid_file(component.name).write_text(f"{component.pid}\n")

    def _put(self, record: Record) -> None:
        self.record = record
        write_record(self.layout, record)


def first_record(layout: Layout, boot_id: str, before: SharedThings) -> Record:
    """Of an instance that is down: nothing but what it chose when it was up."""
    chosen = _read(layout.choices, Choices, "it is made anew, with other ports") or Choices()
    return Record(root=str(layout.root), boot_id=boot_id, before=before, **msgspec.structs.asdict(chosen))


def keep_choices(layout: Layout, record: Record) -> None:
    names = (field.name for field in msgspec.structs.fields(Choices))
    _write(layout.choices, Choices(**{name: getattr(record, name) for name in names}))


def read_record(layout: Layout) -> Record | None:
    """None when there is none. CommandError for one that cannot be read: guessing could harm a host."""
    mend = f"`pykubelet down --root {layout.root}` then finds by name what is left"
    return _read(layout.record, Record, mend)


def write_record(layout: Layout, record: Record) -> None:
    _write(layout.record, record)


def _read(file: Path, type_: type[T], when_removed: str) -> T | None:
    try:
        data = file.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise CommandError(f'cannot read "{file}": because {error.strerror}') from error
    try:
        return msgspec.json.decode(data, type=type_)
    except msgspec.MsgspecError as error:
        raise CommandError(
            f'cannot use "{file}": because it is damaged: {error}; remove it, and {when_removed}'
        ) from error


def _write(file: Path, value: msgspec.Struct) -> None:
    partial = file.with_name(f"{file.name}.partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as written:
        written.write(msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n")
    partial.replace(file)


def remove_record(layout: Layout) -> None:
    layout.record.unlink(missing_ok=True)
