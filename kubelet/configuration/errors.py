"""What is wrong with a configuration, all of it at once."""

from __future__ import annotations

from collections.abc import Sequence


class InvalidConfiguration(Exception):
    """The agent cannot start with this configuration. `problems` are whole sentences, one per fault."""

    def __init__(self, problems: Sequence[str], *, origin: str = "") -> None:
        self.problems = tuple(problems)
        self.origin = origin
        where = f' from "{origin}"' if origin else ""
        super().__init__(f"cannot use the kubelet configuration{where}: " + "; ".join(self.problems))
