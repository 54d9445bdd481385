"""What every command writes: tables for people or JSON for programs on stdout, all else on stderr."""

import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import click

from cli.exit_codes import ExitCode

NOTHING: Final = "-"
LONGEST_CELL: Final = 72
"""Of a list on a terminal, but for its last column, which widens no other."""

_GOOD: Final = frozenset({"EXECUTED", "FILLED", "ACCEPTED", "ok"})
_BAD: Final = frozenset({"DEAD", "REJECTED", "EXPIRED", "UNKNOWN", "wrong", "degraded"})
_UNITS: Final = ((86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s"))


class Failure(click.ClickException):
    """The command could not do what it was asked for: one line on stderr."""

    exit_code = ExitCode.FAILED

    def show(self, file: Any = None) -> None:
        """Write the line."""
        click.echo(f"bascule: {printable(self.message)}", file=file, err=file is None)


class ReaderGone(Exception):
    """Who reads our output (`| head`) has what it wanted."""


def write(text: str = "") -> None:
    """Write a line of data.

    Raises:
        ReaderGone: Nobody reads it any more.
    """
    try:
        # click leaves colours out where stdout is no terminal; NO_COLOR does the same anywhere.
        click.echo(text, color=False if os.environ.get("NO_COLOR") else None)
    except BrokenPipeError as error:
        # Not as an OSError, which click takes for a failure.
        raise ReaderGone from error


def write_json(data: Any) -> None:
    """Write data as JSON."""
    import orjson

    write(orjson.dumps(data, option=orjson.OPT_INDENT_2).decode())


def note(text: str) -> None:
    """Write a remark that is no data."""
    click.echo(printable(text), err=True)


def write_table(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Write a list in aligned columns, long cells cut on a terminal alone; without rows nothing but a remark."""
    if not rows:
        note("none")
        return
    for line in table(headers, rows, longest=LONGEST_CELL if sys.stdout.isatty() else None):
        write(line)


def table(
    headers: Sequence[str], rows: Sequence[Sequence[object]], *, longest: int | None = None
) -> list[str]:
    """Return the lines of a table; None is shown as `-`, states in their colours.

    Args:
        headers: Of the columns.
        rows: One value for each column.
        longest: Where to cut a cell; the last column is shown whole. None: nowhere.
    """
    cells = [[*(_cut(cell(value), longest) for value in row[:-1]), cell(row[-1])] for row in rows]
    widths = [max(len(row[i]) for row in [list(headers), *cells]) for i in range(len(headers))]
    lines = [click.style(_aligned(headers, widths, headers), bold=True)]
    return lines + [_aligned([painted(text) for text in row], widths, row) for row in cells]


def cell(value: object) -> str:
    """Return a value as people see it: whole, and `-` for none."""
    return NOTHING if value is None or value == "" else printable(str(value))


def painted(text: str) -> str:
    """Return a word in the colour of what it says."""
    if text in _GOOD:
        return click.style(text, fg="green")
    if text in _BAD:
        return click.style(text, fg="red")
    return text


def printable(text: str) -> str:
    """Return a text without control characters: what came from outside must not drive a terminal."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def when(at_ms: int | None, now_ms: int) -> str:
    """Return a time as people read it, local, with its age."""
    return NOTHING if at_ms is None else f"{local_time(at_ms)} ({ago(now_ms - at_ms)})"


def local_time(at_ms: int, *, is_exact: bool = False) -> str:
    """Return a time in the local zone, ISO 8601, to the second or to the millisecond."""
    at = datetime.fromtimestamp(at_ms / 1_000, UTC).astimezone()
    return at.isoformat(sep=" ", timespec="milliseconds" if is_exact else "seconds")


def ago(age_ms: int) -> str:
    """Return an age in words."""
    return f"in {span(-age_ms)}" if age_ms <= -1_000 else f"{span(age_ms)} ago"


def span(length_ms: int) -> str:
    """Return a length of time in its largest whole unit."""
    for unit_ms, unit in _UNITS:
        if length_ms >= unit_ms:
            return f"{length_ms // unit_ms} {unit}"
    return f"{max(0, length_ms)} ms"


def size(count: int) -> str:
    """Return a number of bytes in words."""
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1_000:
            return f"{amount:.3g} {unit}"
        amount /= 1_000
    return f"{amount:.3g} TB"


def _cut(text: str, longest: int | None) -> str:
    return text if longest is None or len(text) <= longest else text[: longest - 1] + "…"


def _aligned(texts: Sequence[str], widths: Sequence[int], plain: Sequence[str]) -> str:
    # Colours have no width, so the padding is counted from the plain text.
    padded = [
        text + " " * (width - len(bare)) for text, width, bare in zip(texts, widths, plain, strict=True)
    ]
    return "  ".join(padded).rstrip()
