"""Runs benchmarks: `python -m benchmarks [name ...|main|full]`."""

import argparse
import os
import time

from benchmarks import figures
from benchmarks.effort import Effort, Patience
from benchmarks.registry import BENCHMARKS, GROUPS, chosen
from benchmarks.signals import end_on_signals


def main() -> None:
    """Measure, print a table and keep a file for each benchmark."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "names",
        nargs="*",
        default=["main"],
        metavar="name",
        help=f"{', '.join([*BENCHMARKS, *GROUPS])} (default: main)",
    )
    parser.add_argument("--runs", type=int, help="of each kind, turn by turn (default: each benchmark's own)")
    parser.add_argument("--seconds", type=int, help="of each run, about (default: each benchmark's own)")
    parser.add_argument(
        "--patience",
        type=int,
        default=40,
        help="seconds that all turns together wait for a quiet machine, at most (default: 40)",
    )
    given = parser.parse_args()
    for name in ("runs", "seconds"):
        if (number := getattr(given, name)) is not None and number < 1:
            parser.error(f"--{name}: {number} is not a number from 1 on")
    if unknown := set(given.names) - {*BENCHMARKS, *GROUPS}:
        parser.error(f"no benchmark is called {', '.join(sorted(unknown))}")
    end_on_signals()
    patience, started_s = Patience(given.patience), time.monotonic()
    for name in chosen(given.names):
        benchmark = BENCHMARKS[name]
        effort = Effort(given.runs or benchmark.runs, given.seconds or benchmark.seconds, patience)
        print(f"{name}: {effort.runs} runs; load of the machine {os.getloadavg()[0]:.2f}", flush=True)
        measured = benchmark.measure(effort)
        path = figures.write(name, measured.figures, measured.runs, **measured.circumstances)
        print(f"\n{figures.table(measured.figures)}\n\nevery run: {path}\n", flush=True)
    print(f"in all {time.monotonic() - started_s:.0f} s")


if __name__ == "__main__":
    main()
