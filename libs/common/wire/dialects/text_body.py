"""What the text dialects share: bodies made of assignments or of words."""

import re
from typing import Final

_SEPARATOR: Final = re.compile(r"[;\n]")
_ASSIGNMENT: Final = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_]*)\s*=(.*)", re.ASCII | re.DOTALL)
_WORD: Final = re.compile(r"(?:\{\{[^{}]*\}\}|\S)+")
"""Strangers' bodies are read with it: a pattern that looks for `}}` from every `{{` on would take them minutes."""


def assignments_of(text: str) -> list[tuple[str, str]] | None:
    """Return the `name=value` pairs between semicolons and line ends, names as written; None where one is no pair."""
    pairs = []
    for part in _SEPARATOR.split(text):
        if not part.strip():
            continue
        found = _ASSIGNMENT.fullmatch(part)
        if found is None:
            return None
        pairs.append((found[1], found[2].strip()))
    return pairs


def lines_of(text: str) -> list[str]:
    """Return the lines that hold something, without surrounding space."""
    return [line for one in text.split("\n") if (line := one.strip())]


def words_of(line: str) -> list[str]:
    """Return the words of a line; a placeholder that was not filled in is one, whatever it holds."""
    return _WORD.findall(line)
