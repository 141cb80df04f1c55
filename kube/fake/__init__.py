"""A small true API server in memory, for tests of everything that talks to one.

    api = FakeApi(clock)                      # the clock of the test, usually a virtual one
    api.put(pod)                              # somebody else's write
    client = api.client("scheduler")          # a kube.client.Client
    api.fail(status.conflict(...), Pattern("update", resources.PODS))

It has the rules clients depend on (versions and conflicts, generateName, status and other subresources,
graceful deletion, finalizers, selectors, pages at one revision, watches that resume, bookmarks, 410), and
goes wrong on demand. It does not validate specs, authenticate or authorise, and runs no controller.
"""

from __future__ import annotations

from kube.fake.client import FakeClient
from kube.fake.faults import Fault, Pattern, Request
from kube.fake.server import FakeApi

__all__ = ["FakeApi", "FakeClient", "Fault", "Pattern", "Request"]
