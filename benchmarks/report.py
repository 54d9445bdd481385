"""Prints the tables of the documentation from the newest files in `var/bench/`, or writes them into it.

`python -m benchmarks.report` prints, `python -m benchmarks.report --write` puts each table between its two marks in
`docs/benchmarks.md`.
"""

import argparse
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks import figures
from benchmarks.registry import BENCHMARKS

DOCUMENT = Path(__file__).parents[1] / "docs" / "benchmarks.md"
MARKED = re.compile(r"(<!-- table: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


def table(document: Mapping[str, Any]) -> str:
    """Return the figures of one file as a table, without their details, under a line that says when and where."""
    machine = document["machine"]
    seen = (
        f"{str(document['at'])[:10]}, {machine['cores']} cores of {machine['processor']}, Linux {machine['system']},"
        f" Python {machine['python']}, fsync {machine['fsync_ms']} ms, load at the end {machine['load']:.1f}"
    )
    lines = [f"{seen}:", "", "| | median | low | high | | target | |", "|---|---:|---:|---:|---|---|---|"]
    for figure in figures.read(dict(document)):
        if figure.is_detail:
            continue
        what = figure.what.strip()
        # What stands under another line says less by itself.
        named = f"… {what}" if figure.what.startswith(" ") else what
        cells = (named, *figure.numbers(), figure.unit, figure.wanted, figure.verdict)
        lines.append(f"| {' | '.join(cells)} |".replace("|  |", "| |").replace("|  |", "| |"))
    return "\n".join(lines)


def filled(text: str, documents: Mapping[str, Mapping[str, Any]]) -> str:
    """Return a text with the table of each document between its marks; other marks keep what they hold."""

    def replace(match: re.Match[str]) -> str:
        before, name, after = match.groups()
        return f"{before}{table(documents[name])}\n{after}" if name in documents else match.group()

    return MARKED.sub(replace, text)


def main() -> None:
    """Print or write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description=__doc__)
    parser.add_argument("--write", action="store_true", help="change docs/benchmarks.md")
    found = figures.newest()
    if parser.parse_args().write:
        DOCUMENT.write_text(filled(DOCUMENT.read_text(), found))
        return
    order = [*BENCHMARKS, *sorted(found.keys() - BENCHMARKS.keys())]
    for name in order:
        if name in found:
            title = BENCHMARKS[name].title if name in BENCHMARKS else name.capitalize()
            print(f"### {title}\n\n{table(found[name])}\n")


if __name__ == "__main__":
    main()
