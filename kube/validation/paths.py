"""Validate paths inside volumes: nothing may climb out with `..`."""

from __future__ import annotations

from collections.abc import Iterator

from kube import errors
from kube.errors import FieldError


def no_backsteps(path: str, value: str) -> Iterator[FieldError]:
    if ".." in value.split("/"):
        yield errors.invalid(path, value, "must not contain '..'")


def below(path: str, value: str) -> Iterator[FieldError]:
    """A relative path that stays below where it starts."""
    if value.startswith("/"):
        yield errors.invalid(path, value, "must be a relative path")
    yield from no_backsteps(path, value)


def required_below(path: str, value: str | None) -> Iterator[FieldError]:
    """A file that a volume makes: names beginning with `..` belong to the atomic writer."""
    if not value:
        yield errors.required(path)
        return
    yield from below(path, value)
    if value.startswith("..") and not value.startswith("../"):
        yield errors.invalid(path, value, "must not start with '..'")


def absolute(path: str, value: str) -> Iterator[FieldError]:
    if not value.startswith("/"):
        yield errors.invalid(path, value, "must be an absolute path")
