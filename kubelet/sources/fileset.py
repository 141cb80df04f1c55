"""What a manifest directory holds, and when news about it counts (pure).

Good news (a manifest that decodes) counts at once. Bad news (a file is gone, or no longer decodes) waits
`SETTLE_SECONDS` and is looked at again: editors and `mv` take a file away for a moment, and a copy is seen
half written. It need not wait when the successor is there: another file that brings the same pod.

A file that no longer decodes keeps the pods of its last good version running, and is listed as undecodable.
This differs from upstream on purpose, which at its next listing stops a pod because of a typo. Each faulty
content is reported once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from kube.errors import FieldError
from kube.meta import full_name
from kube.objects.core_v1 import Pod
from kubelet.sources.model import FILE, Delivery, Problem

SETTLE_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Reading:
    """What one look at one file gave: pods, or faults, or (with neither digest nor faults) nothing there."""

    name: str
    digest: str = ""
    pods: tuple[Pod, ...] = ()
    faults: tuple[FieldError, ...] = ()

    @property
    def is_absent(self) -> bool:
        return not self.digest and not self.faults


@dataclass(frozen=True, slots=True)
class Entry:
    """One file: the pods of its last good version, and what is wrong with the present one."""

    pods: tuple[Pod, ...] = ()
    digest: str = ""
    faults: tuple[FieldError, ...] = ()
    is_gone: bool = False  # not there at the last look, not settled yet


@dataclass(frozen=True, slots=True)
class FileSet:
    """All files by name. `due` tells when bad news about a file has to be looked at again (monotonic)."""

    files: Mapping[str, Entry] = field(default_factory=dict)
    due: Mapping[str, float] = field(default_factory=dict)
    reported: Mapping[str, str] = field(default_factory=dict)  # name -> digest of the reported content

    def next_due(self) -> float | None:
        return min(self.due.values(), default=None)

    def names_due(self, now: float) -> frozenset[str]:
        return frozenset(name for name, when in self.due.items() if when <= now)

    def digest_of(self, name: str) -> str:
        """The digest of what was last read under this name, "" when it is not there."""
        entry = self.files.get(name)
        return entry.digest if entry is not None and not entry.is_gone else ""


def take(
    files: FileSet, readings: Iterable[Reading], *, now: float, settled: frozenset[str] = frozenset()
) -> tuple[FileSet, tuple[Reading, ...]]:
    """The set after these looks, and the faulty readings to report.

    `settled` names the files whose bad news has waited long enough.
    """
    entries, due, reported = dict(files.files), dict(files.due), dict(files.reported)
    to_report: list[Reading] = []
    for reading in readings:
        name = reading.name
        before = entries.get(name)
        if not reading.is_absent and not reading.faults:
            _drop_predecessors(entries, due, reading)
            entries[name] = Entry(reading.pods, reading.digest)
            due.pop(name, None)
            reported.pop(name, None)
        elif reading.is_absent and (before is None or name in settled):
            entries.pop(name, None)
            due.pop(name, None)
            reported.pop(name, None)
        elif reading.is_absent and before is not None:
            entries[name] = replace(before, is_gone=True)
            due.setdefault(name, now + SETTLE_SECONDS)
        else:
            entries[name] = replace(
                before or Entry(), digest=reading.digest, faults=reading.faults, is_gone=False
            )
            mark = reading.digest or str(reading.faults)
            if reported.get(name) == mark:
                due.pop(name, None)
            elif name in settled and before is not None and before.faults == reading.faults:
                reported[name] = mark
                due.pop(name, None)
                to_report.append(reading)
            else:
                due[name] = now + SETTLE_SECONDS
    return FileSet(entries, due, reported), tuple(to_report)


def _drop_predecessors(entries: dict[str, Entry], due: dict[str, float], reading: Reading) -> None:
    """A renamed manifest: the old name is gone and its pods are in the new file."""
    names = {full_name(pod) for pod in reading.pods}
    for name, entry in list(entries.items()):
        if entry.is_gone and name != reading.name and any(full_name(pod) in names for pod in entry.pods):
            del entries[name]
            due.pop(name, None)


def delivery(files: FileSet, directory: str) -> Delivery:
    """All pods, in the order of their files' names; undecodable files by full path."""
    pods = tuple(pod for name in sorted(files.files) for pod in files.files[name].pods)
    broken = frozenset(location(directory, name) for name, entry in files.files.items() if entry.faults)
    return Delivery(FILE, pods, broken)


def problem(reading: Reading, directory: str) -> Problem:
    """What to tell the user about one faulty file."""
    return Problem(FILE, location(directory, reading.name), reading.faults)


def location(directory: str, name: str) -> str:
    """The full path of a manifest, as it stands in uids and messages."""
    return f"{directory.rstrip('/')}/{name}"


def is_manifest_name(name: str) -> bool:
    """Names with a leading dot are left out as upstream does, and so are the backups of editors
    (`web.yaml~`).
    """
    return not name.startswith(".") and not name.endswith("~")
