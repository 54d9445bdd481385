"""Runs the benchmarks: `python -m benchmarks [ingress|worker|all]`."""

import argparse
import os
import signal
import sys

from benchmarks import figures, ingress, worker

BENCHMARKS = ("ingress", "worker")


def main() -> None:
    """Measure, print a table and keep a file for each benchmark."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("which", nargs="?", default="all", choices=[*BENCHMARKS, "all"])
    parser.add_argument("--runs", type=int, default=5, help="of each kind, turn by turn (default: 5)")
    parser.add_argument("--seconds", type=int, default=5, help="of each run, about (default: 5)")
    parser.add_argument(
        "--patience",
        type=int,
        default=10,
        help="seconds a turn waits for a quiet machine, at most (default: 10)",
    )
    parser.add_argument(
        "--hooks",
        type=int,
        default=0,
        help="ingress: post to one of so many run-time webhooks too, turn by turn (default: 0, none)",
    )
    chosen = parser.parse_args()
    # As Ctrl-C does: what was started is ended and removed on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    for name in BENCHMARKS if chosen.which == "all" else [chosen.which]:
        print(
            f"{name}: {chosen.runs} runs of {chosen.seconds} s; load of the machine {os.getloadavg()[0]:.2f}"
        )
        if name == "ingress":
            found, details = ingress.measure(chosen.runs, chosen.seconds, chosen.patience, chosen.hooks)
        else:
            found, details = worker.measure(chosen.runs, chosen.seconds, chosen.patience)
        path = figures.write(name, found, **details)
        print(f"\n{figures.table(found)}\n\nevery run: {path}\n")


if __name__ == "__main__":
    main()
