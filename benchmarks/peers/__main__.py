"""Runs what others do beside Bascule: `python -m benchmarks.peers [names]`; docs/benchmarks-peers.md says what each promises."""

import argparse
import os
import signal
import sys

from benchmarks import figures
from benchmarks.peers import receiving, working
from benchmarks.peers.catalog import QUEUES, RECEIVERS, Jobs, Receiver, missing


def main() -> None:
    """Measure, print a table of receivers and one of queues, and keep a file of both."""
    names = [peer.name for peer in (*RECEIVERS, *QUEUES)]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=f"which (default: all): {', '.join(names)}")
    parser.add_argument("--runs", type=int, default=5, help="of each, turn by turn (default: 5)")
    parser.add_argument("--seconds", type=int, default=3, help="of each run of a receiver (default: 3)")
    parser.add_argument("--jobs", type=int, default=10_000, help="in each run of a queue (default: 10,000)")
    parser.add_argument(
        "--patience",
        type=int,
        default=5,
        help="seconds a turn waits for a quiet machine, at most (default: 5)",
    )
    chosen = parser.parse_args()
    if unknown := sorted(set(chosen.names) - set(names)):
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(names)}")
    if chosen.runs < 1 or chosen.seconds < 1 or chosen.jobs < 2:
        parser.error("at least one run, of a second and two jobs")
    # As Ctrl-C does: what was started is ended and removed on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    receivers: list[Receiver] = []
    queues: list[Jobs] = []
    for peer in (*RECEIVERS, *QUEUES):
        if chosen.names and peer.name not in chosen.names:
            continue
        if reason := missing(peer):
            print(f"{peer.name} is skipped: {reason}")
        elif isinstance(peer, Receiver):
            receivers.append(peer)
        else:
            queues.append(peer)
    found: dict[str, list[figures.Figure]] = {}
    details: dict[str, dict[str, object]] = {}
    if receivers:
        print(
            f"receivers: {chosen.runs} runs of {chosen.seconds} s; load of the machine {os.getloadavg()[0]:.2f}"
        )
        found["receivers"], details["receivers"] = receiving.measure(
            receivers, chosen.runs, chosen.seconds, chosen.patience
        )
        print(f"\n{figures.table(found['receivers'])}\n")
    if queues:
        print(
            f"queues: {chosen.runs} runs of {chosen.jobs} jobs; load of the machine {os.getloadavg()[0]:.2f}"
        )
        found["queues"], details["queues"] = working.measure(
            queues, chosen.runs, chosen.jobs, chosen.patience
        )
        print(f"\n{figures.table(found['queues'])}\n")
    if found:
        runs = {name: some.pop("runs") for name, some in details.items()}
        together = [figure for some in found.values() for figure in some]
        print(f"every run: {figures.write('peers', together, runs=runs, **details)}")


if __name__ == "__main__":
    main()
