"""A runtime for tests: see `cri.fake.runtime`. Public names are here."""

from __future__ import annotations

from cri.fake.behaviour import Behaviour
from cri.fake.faults import ALWAYS, Call, Fault
from cri.fake.images import FakeImages, Pullable
from cri.fake.levers import NEVER, Abandoned
from cri.fake.runtime import FakeRuntime
from cri.fake.source import FakeEventSource

__all__ = [
    "ALWAYS",
    "NEVER",
    "Abandoned",
    "Behaviour",
    "Call",
    "FakeEventSource",
    "FakeImages",
    "FakeRuntime",
    "Fault",
    "Pullable",
]
