"""Every check of every script, found by reading them: each may be taken out by itself.

A check is an `if` that ends a function: `if <condition> then return <something> end`, on one line or with the answer in the
next ones. Taken out, its condition is never true.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from typing import Final

_IF: Final = re.compile(r"(?<![\w.])(?P<word>elseif|if)\s+(?P<condition>.+?)\s+then(?P<rest>.*)$")
_LEAVES: Final = re.compile(r"^\s*(return|break)\b")


@dataclass(frozen=True)
class Guard:
    """One check of one script."""

    script: str
    line: int
    """From 1, as the script is now."""
    text: str
    """The whole line, stripped."""
    condition: str
    start: int
    """Where its condition begins in the source."""

    @property
    def name(self) -> str:
        """Name it by what it says, since lines move."""
        return f"{self.script}: {self.text}"

    def read(self, script: str) -> str:
        """Return the source of a script, without the check if it is this one's."""
        source = read(script)
        if script != self.script:
            return source
        assert source.startswith(self.condition, self.start), f"{self.name}: the script has changed meanwhile"
        return f"{source[: self.start]}false{source[self.start + len(self.condition) :]}"


def read(script: str) -> str:
    """Return the source of a script as it is."""
    return files("libs.common.store").joinpath("lua", f"{script}.lua").read_text(encoding="utf-8")


def scripts() -> list[str]:
    """Return the names of all scripts."""
    found = files("libs.common.store").joinpath("lua").iterdir()
    return sorted(path.name.removesuffix(".lua") for path in found if path.name.endswith(".lua"))


def guards_of(script: str) -> Iterator[Guard]:
    """Yield the checks of a script, in their order."""
    lines = read(script).splitlines(keepends=True)
    start = 0
    for number, line in enumerate(lines, 1):
        found = _IF.search(line) if not line.lstrip().startswith("--") else None
        if found is not None:
            rest = found["rest"].strip() or (lines[number].strip() if number < len(lines) else "")
            block = _block(lines, number) if not found["rest"].strip() else [rest]
            if any(_LEAVES.match(one) for one in block):
                at = start + found.start("condition")
                yield Guard(script, number, line.strip(), found["condition"], at)
        start += len(line)


def _block(lines: list[str], number: int) -> list[str]:
    """Return the lines of the block that begins below a line, at the top level of it."""
    indent = len(lines[number - 1]) - len(lines[number - 1].lstrip())
    block = []
    for line in lines[number:]:
        if line.strip() and len(line) - len(line.lstrip()) <= indent:
            break
        block.append(line)
    return block


def find_guards() -> dict[str, Guard]:
    """Return every check of every script, by its name."""
    found: dict[str, Guard] = {}
    for script in scripts():
        for guard in guards_of(script):
            name, n = guard.name, 1
            while name in found:
                n += 1
                name = f"{guard.name} ({n})"
            found[name] = guard
    return found
