"""The cases, by what they are about; `ALL` is the suite in its order."""

from __future__ import annotations

from cri.conformance.case import cases_in
from cri.conformance.cases import (
    container,
    event,
    exec,
    image,
    lifecycle,
    log,
    namespace,
    runtime,
    sandbox,
    security,
    stats,
)

ALL = cases_in((runtime, sandbox, namespace, lifecycle, container, security, log, exec, stats, event, image))
