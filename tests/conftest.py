"""Where the tests' own machinery is put together: counts per suite, leak checks, real runtimes.

Suites are folders: unit (marker pure: decisions, no I/O beyond a temporary directory), sim (loops under
virtual time), conformance (one suite for a fake and the real thing), node (the agent against a real runtime),
cluster (whole processes of a control plane, real kubectl), and the files directly here (project: layers,
packaging, the machinery itself).
"""

from __future__ import annotations

import os

import hypothesis

# In a continuous build the same examples are tried every time: a new one is for the next person to find.
hypothesis.settings.register_profile("steady", derandomize=True, database=None)
if os.environ.get("CI"):
    hypothesis.settings.load_profile("steady")

pytest_plugins = ["tests.counting", "tests.leakchecks", "tests.runtimes.fixtures"]
