"""Runs the fuzz for long: `python -m tests.fuzz SEEDS [FIRST]`."""

import sys
import time

from tests.fuzz.runner import fuzz
from tests.support.redis_server import find_servers


def main() -> int:
    """Run the seeds from FIRST on every server there is; exit 1 where a promise was broken."""
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    first = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    is_broken = False
    for binary in find_servers():
        started = time.monotonic()
        outcome = fuzz(range(first, first + seeds), binary=binary)
        seconds = time.monotonic() - started
        print(f"{binary.test_id}: {outcome.runs} seeds in {seconds:.0f} s, {dict(outcome.counts)}")
        for seed, violations in outcome.broken.items():
            is_broken = True
            print(f"  seed {seed}: {violations[:3]}")
        print(f"  {len(outcome.broken)} seeds with a broken promise", flush=True)
    return int(is_broken)


if __name__ == "__main__":
    sys.exit(main())
