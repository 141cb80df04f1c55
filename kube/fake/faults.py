"""What may go wrong with calls to the fake, on demand: refusals, delays, no answer at all."""

from __future__ import annotations

from dataclasses import dataclass, field

from kube.client.resources import Resource
from kube.client.unreachable import Unreachable

SERVER = "https://fake"


@dataclass(frozen=True, slots=True)
class Request:
    """One call as the fake saw it; `verb` as RBAC spells it, "delete" or "deletecollection" among them."""

    verb: str
    resource: Resource | None
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    user: str = ""

    def __str__(self) -> str:
        plural = self.resource.plural if self.resource else "-"
        target = "/".join(part for part in (plural, self.namespace, self.name, self.subresource) if part)
        return f"{self.verb} {target}"


@dataclass(frozen=True, slots=True)
class Pattern:
    """Which calls a fault hits; what is empty matches everything."""

    verb: str = ""
    resource: Resource | None = None
    name: str = ""
    subresource: str | None = None
    user: str = ""

    def matches(self, request: Request) -> bool:
        return (
            self.verb in ("", request.verb)
            and self.resource in (None, request.resource)
            and self.name in ("", request.name)
            and self.subresource in (None, request.subresource)
            and self.user in ("", request.user)
        )


EVERY_CALL = Pattern()


@dataclass(slots=True)
class Fault:
    """`times` < 0 = until it is taken away. With `after` the call is carried out, and then its answer is
    lost: the way a write happens that its caller believes failed."""

    pattern: Pattern
    error: Exception | None = None
    delay_seconds: float = 0.0
    times: int = 1
    after: bool = False


@dataclass(slots=True)
class Verdict:
    """What becomes of one call."""

    delay_seconds: float = 0.0
    before: Exception | None = None
    after: Exception | None = None


@dataclass(slots=True)
class Faults:
    is_unreachable: bool = False
    pending: list[Fault] = field(default_factory=list)

    def add(self, fault: Fault) -> Fault:
        self.pending.append(fault)
        return fault

    def judge(self, request: Request) -> Verdict:
        """Each fault that matches is used up by one call; delays add up, the first error of a side counts."""
        verdict = Verdict()
        if self.is_unreachable:
            verdict.before = Unreachable(SERVER, "connection refused")
            return verdict
        for fault in [fault for fault in self.pending if fault.pattern.matches(request)]:
            verdict.delay_seconds += fault.delay_seconds
            if fault.after:
                verdict.after = verdict.after or fault.error
            else:
                verdict.before = verdict.before or fault.error
            fault.times -= 1
            if fault.times == 0:
                self.pending.remove(fault)
        return verdict
