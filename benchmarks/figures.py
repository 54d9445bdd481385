"""Figures of repeated runs: their median and spread, as a table and as a file."""

import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

DIRECTORY = Path(__file__).parents[1] / "var" / "bench"


@dataclass(frozen=True)
class Spread:
    """The median of some runs, and the worst and best of them."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> "Spread":
        """Return the spread of at least one value."""
        known = list(values)
        return cls(statistics.median(known), min(known), max(known))


@dataclass(frozen=True)
class Figure:
    """One line of the table."""

    what: str
    value: Spread
    unit: str = ""
    target: float | None = None
    """The least it should be."""
    digits: int = 0
    most: float | None = None
    """The most it should be."""
    is_detail: bool = False
    """Told on the terminal and in the file, left out of the documentation."""

    @property
    def verdict(self) -> str:
        """Say whether the median reaches the target."""
        if self.target is None and self.most is None:
            return ""
        reaches = self.target is None or self.value.median >= self.target
        keeps = self.most is None or self.value.median <= self.most
        return "reached" if reaches and keeps else "MISSED"

    @property
    def wanted(self) -> str:
        """Return the target in words: `>= 8,000`, `<= 3.0` or `30 to 70`; empty without one."""
        least, most = (
            "" if bound is None else f"{bound:,.{self.digits}f}" for bound in (self.target, self.most)
        )
        if least and most:
            return f"{least} to {most}"
        return f">= {least}" if least else f"<= {most}" if most else ""

    def numbers(self) -> tuple[str, str, str]:
        """Return median, low and high as text."""
        value = self.value
        median, low, high = (f"{number:,.{self.digits}f}" for number in (value.median, value.low, value.high))
        return median, low, high


def table(figures: Sequence[Figure]) -> str:
    """Return lines for people."""
    rows: list[tuple[str, ...]] = [("what", "median", "low", "high", "unit", "target", "")]
    rows += [
        (figure.what, *figure.numbers(), figure.unit, figure.wanted, figure.verdict) for figure in figures
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if column in (0, 4, 6) else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    lines.insert(1, "-" * max(map(len, lines)))
    return "\n".join(lines)


def read(document: dict[str, Any]) -> list[Figure]:
    """Return the figures of a file that `write` made."""
    names = {field.name for field in fields(Figure)} - {"value"}
    return [
        Figure(value=Spread(**kept["value"]), **{name: kept[name] for name in names & kept.keys()})
        for kept in document["figures"]
    ]


def newest() -> dict[str, dict[str, Any]]:
    """Return the newest document of each benchmark in `var/bench/`, by its name."""
    documents = (json.loads(path.read_text()) for path in sorted(DIRECTORY.glob("*-*.json")))
    return {
        document["benchmark"]: document
        for document in sorted(documents, key=lambda document: str(document["at"]))
    }


def write(name: str, figures: Sequence[Figure], runs: Any, **circumstances: Any) -> Path:
    """Keep the figures, every single run and the circumstances in `var/bench/`, and return the file."""
    now = datetime.now(UTC)
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    path = DIRECTORY / f"{name}-{now:%Y%m%dT%H%M%S}.json"
    document = {
        "benchmark": name,
        "at": now.isoformat(timespec="seconds"),
        "machine": machine(),
        **circumstances,
        "figures": [asdict(figure) | {"verdict": figure.verdict} for figure in figures],
        "runs": runs,
    }
    path.write_text(json.dumps(document, indent=1) + "\n")
    return path


def machine() -> dict[str, Any]:
    """Describe what the figures were seen on."""
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return {
        "processor": models[0] if models else platform.machine(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "fsync_ms": fsync_ms(),
        "python": platform.python_version(),
        "system": platform.release().partition("-")[0],
    }


def fsync_ms(times: int = 200) -> float:
    """Return what one small append and its fsync take where the private Redis keeps its data: the median, ms.

    Every round trip to Redis waits for one: with a slow disk it is the disk that a benchmark measures.
    """
    took_s = []
    with tempfile.TemporaryFile(dir=DIRECTORY, buffering=0) as file:
        for _ in range(times):
            file.write(b"x" * 4_096)
            started_s = time.perf_counter()
            os.fdatasync(file.fileno())
            took_s.append(time.perf_counter() - started_s)
    return round(statistics.median(took_s) * 1_000, 3)
