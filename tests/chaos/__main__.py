"""Runs chaos for long: `python -m tests.chaos --seconds 300 [--seed N] [--hours N]`; exit 1 where a promise broke."""

import argparse
import asyncio
import secrets
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from tests.chaos.faults import FAULTS
from tests.chaos.report import Report
from tests.chaos.runner import KILLS, Chaos

STRETCH_S: Final = 180.0

CALM_EVERY: Final = 4
"""In one stretch of so many, by its seed, workers are killed and nothing else."""


def main() -> int:
    """Run stretches until the time is over and print what they came to."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument(
        "--seed", type=int, default=None, help="of the first stretch; each next one has the next"
    )
    parser.add_argument("--seconds", type=float, default=300.0, help="how long in all")
    parser.add_argument("--hours", type=float, default=None, help="the same in hours")
    parser.add_argument("--rate", type=float, default=60.0, help="alerts a second")
    parser.add_argument("--every", type=float, default=1.5, help="seconds between faults, on average")
    parser.add_argument("--verbose", action="store_true", help="print every fault as it ends")
    options = parser.parse_args()
    seed = secrets.randbelow(1_000_000) if options.seed is None else options.seed
    seconds = options.seconds if options.hours is None else options.hours * 3_600
    return asyncio.run(_run(seed, seconds, options.rate, options.every, is_verbose=options.verbose))


async def _run(seed: int, seconds: float, per_s: float, every_s: float, *, is_verbose: bool) -> int:
    # Ends as by Ctrl-C, so that nothing is left behind.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, signal.raise_signal, signal.SIGINT)
    print(f"seed {seed}", flush=True)
    report = Report()
    with tempfile.TemporaryDirectory(prefix="bascule-chaos-", ignore_cleanup_errors=True) as directory:
        tell = (lambda line: print(f"  {line}", flush=True)) if is_verbose else (lambda _: None)
        chaos = Chaos(Path(directory), per_s=per_s, fault_every_s=every_s, tell=tell)
        deadline_s = time.monotonic() + seconds
        try:
            await chaos.world.start()
            while (left_s := deadline_s - time.monotonic()) > 0:
                only = sorted(KILLS) if seed % CALM_EVERY == 1 else tuple(FAULTS)
                outcome = await chaos.stretch(seed, max(20.0, min(STRETCH_S, left_s - 30.0)), only)
                report.add(outcome)
                print(report.line(outcome), flush=True)
                for violation in outcome.violations[:20]:
                    print(f"  VIOLATION {violation.promise}: {violation.detail}", flush=True)
                seed += 1
        finally:
            chaos.world.close()
    print(report.table())
    return 1 if report.violations else 0


if __name__ == "__main__":
    sys.exit(main())
