"""/healthz, /livez, /readyz and /version: what load balancers, kubectl and people ask first."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping

from controlplane.api import codec
from controlplane.api.model import Request, Response
from controlplane.api.pages import Page
from kube import status

MAJOR, MINOR, GIT_VERSION = "1", "36", "v1.36.2"
"""The Kubernetes API that is served."""
_PATHS = ("/healthz", "/livez", "/readyz")
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}

Check = Callable[[], str]
"""Says what is wrong, "" when nothing is."""


def pages(checks: Mapping[str, Check]) -> dict[str, Page]:
    """The paths and those below them, one per check (`/livez/ping`)."""
    made: dict[str, Page] = {"/version": _version}
    for path in _PATHS:
        made[path] = made[f"{path}/"] = _health_page(path, checks)
    return made


def _health_page(root: str, checks: Mapping[str, Check]) -> Page:
    async def page(request: Request) -> Response:
        name = request.path[len(root) :].strip("/")
        if name and name not in checks:
            raise status.no_such_resource()
        excluded = request.query.get("exclude") or ()
        chosen = {name: checks[name]} if name else checks
        results = {key: "" if key in excluded else check() for key, check in chosen.items()}
        return _shown(root[1:], results, request, is_single=bool(name))

    return page


def _shown(what: str, results: Mapping[str, str], request: Request, *, is_single: bool) -> Response:
    failed = any(results.values())
    code = 500 if failed else 200
    if not failed and (is_single or "verbose" not in request.query):
        return Response(code, b"ok", "text/plain; charset=utf-8")
    lines = [
        f"[-]{name} failed: reason withheld" if wrong else f"[+]{name} ok" for name, wrong in results.items()
    ]
    lines.append(f"{what} check {'failed' if failed else 'passed'}")
    return Response(code, ("\n".join(lines) + "\n").encode(), "text/plain; charset=utf-8")


async def _version(request: Request) -> Response:
    machine = platform.machine()
    body = {
        "major": MAJOR, "minor": MINOR, "gitVersion": GIT_VERSION, "gitCommit": "", "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z", "goVersion": "", "compiler": "cpython",
        "platform": f"linux/{_MACHINES.get(machine, machine)}",
    }  # fmt: skip
    return Response(body=codec.encode(body))
