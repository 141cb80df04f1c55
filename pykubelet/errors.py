"""What a command fails with: one sentence for the user and the exit code."""

from __future__ import annotations


class CommandError(Exception):
    """The command cannot be carried out; the text is "cannot X: because Y"."""

    def __init__(self, text: str, *, exit_code: int = 1) -> None:
        super().__init__(text)
        self.exit_code = exit_code
