"""What a conformance case is: an async function over a Context, its name and what it needs.

A case says one thing a CRI v1 runtime must do. It fails by `expect`, or by any runtime error that it did not
ask for. Its title is its function's name as a sentence. `needs="kernel"` marks what only real processes show;
`may_lack` names the CRI call that a runtime may legitimately not implement, and then the case is skipped.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Literal, TypeVar, overload

from cri.errors import CriError

if TYPE_CHECKING:
    from cri.conformance.context import Context

Body = Callable[["Context"], Awaitable[None]]
ErrorT = TypeVar("ErrorT", bound=CriError)
Needs = Literal["", "kernel"]


class CaseFailed(AssertionError):
    """The runtime did something else than CRI asks; the message says what was wanted and what was seen."""


@dataclass(frozen=True, slots=True)
class Case:
    area: str
    body: Body
    needs: Needs = ""
    may_lack: str = ""

    @property
    def title(self) -> str:
        return f"{self.area}: {self.body.__name__.replace('_', ' ')}"


def case(*, needs: Needs = "", may_lack: str = "") -> Callable[[Body], Case]:
    """Declare an async function a case; its area is the last part of its module's name."""

    def declare(body: Body) -> Case:
        return Case(body.__module__.rpartition(".")[2], body, needs, may_lack)

    return declare


def cases_in(modules: Iterable[ModuleType]) -> tuple[Case, ...]:
    """Every case of some modules, in the order in which they are written."""
    return tuple(value for module in modules for value in vars(module).values() if isinstance(value, Case))


def expect(condition: object, wanted: str) -> None:
    """Fail the case unless `condition`; `wanted` is a sentence about what should be and what is."""
    if not condition:
        raise CaseFailed(wanted)


def expect_equal(seen: object, wanted: object, what: str) -> None:
    expect(seen == wanted, f"{what}: want {wanted!r}, got {seen!r}")


@overload
async def expect_error(call: Awaitable[object], what: str) -> CriError: ...
@overload
async def expect_error(call: Awaitable[object], what: str, kind: type[ErrorT]) -> ErrorT: ...


async def expect_error(call: Awaitable[object], what: str, kind: type[CriError] = CriError) -> CriError:
    """The error that `call` must fail with; failing otherwise, or not at all, fails the case."""
    try:
        answer = await call
    except kind as error:
        return error
    except CriError as error:
        raise CaseFailed(f"{what}: want {kind.__name__}, got {error.code} {error.message!r}") from error
    raise CaseFailed(f"{what}: want {kind.__name__}, got success ({answer!r})")
