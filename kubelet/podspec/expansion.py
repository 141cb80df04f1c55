"""`$(NAME)` references in env values, commands, arguments and subPathExpr.

A reference that nothing defines stays as written; `$$` is a literal dollar, so `$$(NAME)` is never
expanded. The rules are those of Kubernetes' expansion package, including its odd corners: a lone `$`
and an unclosed `$(` are literal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping


def expand(text: str, lookup: Callable[[str], str | None]) -> str:
    """`text` with every reference replaced by `lookup(name)`; None from it keeps the reference."""
    if "$" not in text:
        return text
    out: list[str] = []
    position = 0
    while True:
        dollar = text.find("$", position)
        if dollar < 0 or dollar + 1 == len(text):
            out.append(text[position:])
            return "".join(out)
        out.append(text[position:dollar])
        position = dollar + 2
        following = text[dollar + 1]
        if following == "$":
            out.append("$")
            continue
        end = text.find(")", position) if following == "(" else -1
        if end < 0:
            out.append("$" + following)
            continue
        name = text[position:end]
        value = lookup(name)
        out.append(f"$({name})" if value is None else value)
        position = end + 1


def expand_with(text: str, *contexts: Mapping[str, str]) -> str:
    """Like `expand`, looking in each mapping in turn."""

    def lookup(name: str) -> str | None:
        for context in contexts:
            if name in context:
                return context[name]
        return None

    return expand(text, lookup)


def expand_all(texts: Iterable[str], envs: Mapping[str, str]) -> tuple[str, ...]:
    """A command or its arguments, every element expanded."""
    return tuple(expand_with(text, envs) for text in texts)


def expand_strict(text: str, envs: Mapping[str, str]) -> tuple[str, tuple[str, ...]]:
    """For subPathExpr: the expansion, and the sorted names that are undefined or empty."""
    missing: set[str] = set()

    def lookup(name: str) -> str:
        value = envs.get(name, "")
        if not value:
            missing.add(name)
        return value

    return expand(text, lookup), tuple(sorted(missing))
