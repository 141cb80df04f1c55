"""Structured logging in klog's two forms, text and JSON, on standard error.

`get(name)` gives a logger whose calls name what happened and its values as keywords:
`log.info("Syncing pod", pod="shop/web", uid=uid)`. `log.v(4).info(...)` costs about a tenth of a microsecond
when level 4 is off. Verbosity is one number, overridden per module by `--vmodule` patterns. Where standard
error is the journal (`JOURNAL_STREAM`), lines carry `<6>`-style priorities. Records of the standard library's
`logging` (asyncio, aiohttp) are led through the same formatter.
"""

from __future__ import annotations

import fnmatch
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import FrameType
from typing import Literal, TextIO

from aio.klog import Entry, format_json, format_text

Format = Literal["text", "json"]
_PRIORITY = {"I": "<6>", "W": "<4>", "E": "<3>", "F": "<2>"}


@dataclass(slots=True)
class _Settings:
    verbosity: int = 0
    vmodule: tuple[tuple[str, int], ...] = ()
    render: Callable[[Entry], str] = format_text
    stream: TextIO | None = None
    is_journal: bool = False


_settings = _Settings()
_loggers: dict[str, Logger] = {}


class Logger:
    """Named after its module; made by `get`."""

    __slots__ = ("_levels", "_verbosity", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self._verbosity = 0
        self._levels: dict[int, VerboseLogger] = {}

    def info(self, message: str, /, **values: object) -> None:
        _write("I", message, values, None, 0)

    def warning(self, message: str, /, *, err: object = None, **values: object) -> None:
        _write("W", message, values, err, 0)

    def error(self, message: str, /, *, err: object = None, **values: object) -> None:
        _write("E", message, values, err, 0)

    def is_enabled(self, level: int) -> bool:
        return level <= self._verbosity

    def v(self, level: int) -> VerboseLogger:
        """A logger that writes only when the verbosity of this module is at least `level`."""
        if level > self._verbosity:
            return _DISABLED
        found = self._levels.get(level)
        if found is None:
            found = self._levels[level] = VerboseLogger(level)
        return found


class VerboseLogger:
    """What `Logger.v` returns; false when disabled, so that costly values can be skipped with `if`."""

    __slots__ = ("_level",)

    def __init__(self, level: int) -> None:
        self._level = level

    def __bool__(self) -> bool:
        return self._level >= 0

    def info(self, message: str, /, **values: object) -> None:
        if self._level >= 0:
            _write("I", message, values, None, self._level)


_DISABLED = VerboseLogger(-1)


def get(name: str) -> Logger:
    """The logger of module `name` (`__name__`); the same object every time."""
    logger = _loggers.get(name)
    if logger is None:
        logger = _loggers[name] = Logger(name)
        logger._verbosity = _verbosity_of(name)
    return logger


def configure(
    verbosity: int = 0,
    vmodule: Mapping[str, int] | None = None,
    format: Format = "text",
    *,
    stream: TextIO | None = None,
) -> None:
    """Set what is written and how, for every logger made before or after. `stream` defaults to stderr."""
    _settings.verbosity = verbosity
    _settings.vmodule = tuple((vmodule or {}).items())
    _settings.render = format_json if format == "json" else format_text
    _settings.stream = stream
    _settings.is_journal = _is_journal(stream or sys.stderr)
    for logger in _loggers.values():
        logger._verbosity = _verbosity_of(logger.name)
    root = logging.getLogger()
    root.handlers = [handler for handler in root.handlers if not isinstance(handler, _Bridge)]
    root.addHandler(_Bridge())


def parse_vmodule(text: str) -> dict[str, int]:
    """`worker=4,kubelet/volumes/*=5` as a mapping. Raises ValueError that quotes the wrong part."""
    patterns: dict[str, int] = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        pattern, equals, level = part.partition("=")
        if not (equals and pattern and level.isdigit()):
            raise ValueError(f'"{part}" must be pattern=N')
        patterns[pattern] = int(level)
    return patterns


def _verbosity_of(name: str) -> int:
    """The first matching pattern decides: against the last part of the name, or all of it with slashes."""
    path = name.replace(".", "/")
    base = path.rpartition("/")[2]
    for pattern, level in _settings.vmodule:
        subject = path if "/" in pattern else base
        if fnmatch.fnmatchcase(subject, pattern):
            return level
    return _settings.verbosity


def _is_journal(stream: TextIO) -> bool:
    """True when systemd says, in JOURNAL_STREAM as device:inode, that this very stream is the journal."""
    expected = os.environ.get("JOURNAL_STREAM", "")
    if not expected:
        return False
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return expected == f"{found.st_dev}:{found.st_ino}"


def _write(severity: str, message: str, values: Mapping[str, object], err: object, level: int) -> None:
    frame: FrameType | None = sys._getframe(2)
    caller = f"{os.path.basename(frame.f_code.co_filename)}:{frame.f_lineno}" if frame else "???:1"  # noqa: PTH119
    _emit(Entry(severity, time.time(), threading.get_native_id(), caller, message, values, err, level))


def _emit(entry: Entry) -> None:
    text = _settings.render(entry)
    if _settings.is_journal:
        prefix = _PRIORITY[entry.severity]
        text = prefix + text.replace("\n", "\n" + prefix)
    stream = _settings.stream or sys.stderr
    stream.write(text + "\n")
    stream.flush()


class _Bridge(logging.Handler):
    """Leads the standard library's records here; only warnings and worse arrive at verbosity below 4."""

    def emit(self, record: logging.LogRecord) -> None:
        severity = "E" if record.levelno >= logging.ERROR else "I"
        if logging.WARNING <= record.levelno < logging.ERROR:
            severity = "W"
        if severity == "I" and _settings.verbosity < 4:
            return
        err = record.exc_info[1] if record.exc_info else None
        values = {"logger": record.name}
        caller = f"{record.filename}:{record.lineno}"
        thread = threading.get_native_id()
        _emit(Entry(severity, record.created, thread, caller, record.getMessage(), values, err, 0))
