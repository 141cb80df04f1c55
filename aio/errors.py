"""The three bases of every error that crosses a module border.

`Retry` is the world's fault and passes, `Rejected` is the pod's fault and becomes status, `Bug` is ours.
Messages read "cannot X: because Y" and quote names; `cannot()` builds that form.
"""

from __future__ import annotations


def cannot(what: str, because: object) -> str:
    """The sentence users see: what failed, and the reason in the words of whoever knows it."""
    return f"cannot {what}: {because}"


class Retry(Exception):
    """Transient: the same attempt may succeed later.

    `reason` is a CamelCase word fit for a status or an Event; `after_seconds` is a hint from whoever failed.
    """

    def __init__(self, message: str, *, reason: str = "", after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason
        self.after_seconds = after_seconds


class Rejected(Exception):
    """The input's fault: no retry helps until somebody changes it. Becomes status or a refusal."""

    def __init__(self, message: str, *, reason: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason


class Bug(Exception):
    """Our own mistake. `story` is what led here, oldest first, so that the report can show it."""

    def __init__(self, message: str, *, story: tuple[str, ...] = ()) -> None:
        super().__init__("\n  ".join((message, *story)))
        self.message = message
        self.story = story
