"""Health checks over HTTP, in the words of Kubernetes' healthz package (pure handlers).

`/healthz` runs every check: "ok", or 500 with the names of those that failed. `?verbose` lists them all,
`?exclude=NAME` leaves one out, `/healthz/NAME` runs one and says why it fails.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from kubelet.server.http import Handler, Request, Response, text

Check = Callable[[], str | None]
"""None when healthy, else the reason in one sentence. Quick, no I/O."""


def healthz_routes(checks: Mapping[str, Check]) -> dict[str, Handler]:
    """Routes for `/healthz` and one below it per check, `ping` always among them."""
    every: dict[str, Check] = {"ping": lambda: None, **checks}
    routes: dict[str, Handler] = {"/healthz": lambda request: _all(every, request)}
    for name, check in every.items():
        routes[f"/healthz/{name}"] = _single(check)
    return routes


def _single(check: Check) -> Handler:
    def answer(_: Request) -> Response:
        reason = check()
        return text("ok") if reason is None else text(f"internal server error: {reason}\n", 500)

    return answer


def _all(checks: Mapping[str, Check], request: Request) -> Response:
    excluded = {name for name in request.query.get("exclude", "").split(",") if name}
    lines, failed = [], False
    for name, check in checks.items():
        if name in excluded:
            lines.append(f"[+]{name} excluded: ok\n")
        elif check() is None:
            lines.append(f"[+]{name} ok\n")
        else:
            failed = True
            lines.append(f"[-]{name} failed: reason withheld\n")
    lines += [
        f'warn: some health checks cannot be excluded: no matches for "{name}"\n'
        for name in sorted(excluded - checks.keys())
    ]
    if failed:
        return text("".join([*lines, "healthz check failed\n"]), 500)
    if "verbose" in request.query:
        return text("".join([*lines, "healthz check passed\n"]))
    return text("ok")
