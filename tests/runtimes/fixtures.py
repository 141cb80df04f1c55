"""pytest fixtures over the private runtimes, and the check that a session leaves nothing on the host.

- `runtime`: one per kind for the whole session, with the built-in images; tests that take it run once per
  kind. A test may create what it likes in it and must remove what it created.
- `own_runtime`: the same, but for one test alone, which may kill, restart or reboot it.
- `registry`: a private registry for the whole session.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.runtimes.containerd import KINDS, PrivateContainerd, RuntimeMissing
from tests.runtimes.leftovers import MARK_VARIABLE, Scope, leftovers, picture
from tests.runtimes.registry import PrivateRegistry

NEEDS_HOST = ("conformance", "node", "cluster")
"""Suites that touch the host; a session without them takes no picture of it."""


class Workshop:
    """The session's directory, and the runtimes made in it."""

    def __init__(self) -> None:
        # Short, because sockets live below it; not pytest's tmp_path for that reason.
        self.base = Path(tempfile.mkdtemp(prefix="pkt-", dir="/tmp"))
        self.mark = secrets.token_hex(8)
        self.bridges: set[str] = set()
        self._number = 0

    def start(self, kind: str) -> PrivateContainerd:
        self._number += 1
        runtime = PrivateContainerd(kind, self.base / str(self._number))
        self.bridges.add(runtime.layout.bridge)
        try:
            runtime.start().import_images()
        except BaseException:
            runtime.stop()
            raise
        return runtime


@pytest.fixture(scope="session", autouse=True)
def workshop(request: pytest.FixtureRequest) -> Iterator[Workshop | None]:
    """Pictures the host first and last; fails the session for what it left behind."""
    if not any(item.get_closest_marker(suite) for item in request.session.items for suite in NEEDS_HOST):
        yield None
        return
    everything = bool(request.config.getoption("counts")) and os.geteuid() == 0
    before = picture() if everything else None
    shop = Workshop()
    # Told to end, a session still cleans up: the default would leave runtimes running.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    os.environ[MARK_VARIABLE] = shop.mark
    yield shop
    del os.environ[MARK_VARIABLE]
    mine = picture(Scope(shop.mark, shop.base / "-", frozenset(shop.bridges)))
    left = leftovers(picture(Scope("", Path("/nowhere"))), mine)
    left += [f"file {path}" for path in shop.base.iterdir()]
    shutil.rmtree(shop.base)
    if before is not None:
        left += leftovers(before, picture())
    assert not left, "the tests left on this host:\n  " + "\n  ".join(dict.fromkeys(left))


def _require(workshop: Workshop | None) -> Workshop:
    if os.geteuid() != 0:
        pytest.skip("a real runtime needs root")
    assert workshop is not None, "only tests of the conformance, node and cluster suites may use a runtime"
    return workshop


def _start(workshop: Workshop, kind: str) -> PrivateContainerd:
    try:
        return workshop.start(kind)
    except RuntimeMissing as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="session", params=KINDS)
def runtime(request: pytest.FixtureRequest, workshop: Workshop | None) -> Iterator[PrivateContainerd]:
    started = _start(_require(workshop), request.param)
    yield started
    started.stop()


@pytest.fixture(params=KINDS)
def own_runtime(request: pytest.FixtureRequest, workshop: Workshop | None) -> Iterator[PrivateContainerd]:
    started = _start(_require(workshop), request.param)
    yield started
    started.stop()


@pytest.fixture(scope="session")
def registry(workshop: Workshop | None) -> Iterator[PrivateRegistry]:
    with PrivateRegistry(_require(workshop).base / "registry") as started:
        yield started
