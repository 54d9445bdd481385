"""Runs the sweep: `python -m tests.sweep --seed 7 --share 0.1`."""

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.sweep.flows import FLOWS
from tests.sweep.runner import CELLS, Sweep
from tests.sweep.scenario import Result
from tests.sweep.steps import choose, scenarios


async def sweep(options: argparse.Namespace, directory: Path) -> int:
    """Record the paths, play the chosen scenarios, print a line for each; return how many ended badly."""
    started_s = time.monotonic()
    async with Sweep(directory, cells=options.cells) as running:
        await running.record(options.flow or FLOWS)
        everything = [one for one in scenarios(running.steps) if options.only in str(one)]
        chosen = choose(everything, max(1, round(options.share * len(everything))), options.seed)
        print(
            f"seed {options.seed}: {len(running.steps)} steps, {len(chosen)} of {len(everything)} scenarios"
        )
        print("flow | process | request | nth | outcome | result | seconds", flush=True)
        await running.play(chosen, show)
    counts = Counter(result.verdict.value for result in running.results)
    print(f"{dict(counts)} in {time.monotonic() - started_s:.0f} s, seed {options.seed}")
    return len(running.broken)


def show(result: Result) -> None:
    """Print a line of the table."""
    print(f"{result.scenario} | {result.verdict} | {result.elapsed_s:.1f}", flush=True)
    if result.detail:
        print(f"  {result.detail}", flush=True)


def main() -> int:
    """Run it from the command line; exit 1 where anything ended badly."""
    parser = argparse.ArgumentParser(prog="python -m tests.sweep", description=sweep.__doc__)
    parser.add_argument("--seed", type=int, default=random.randrange(10_000), help="chooses the share")
    parser.add_argument("--share", type=float, default=1.0, help="of all scenarios, 0 to 1")
    parser.add_argument("--cells", type=int, default=CELLS, help="bridges at a time")
    parser.add_argument("--flow", action="append", choices=list(FLOWS), help="only these paths")
    parser.add_argument("--only", default="", help="only scenarios whose line contains this")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bascule-sweep-") as directory:
        return int(asyncio.run(sweep(options, Path(directory))) > 0)


if __name__ == "__main__":
    sys.exit(main())
