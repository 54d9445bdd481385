"""Fuzzes the door for long: `python -m tests.door_fuzz POSTS [SEED]`."""

import secrets
import sys
import tempfile
import time
from pathlib import Path

from tests.door_fuzz.runner import fuzz_door
from tests.support.redis_server import RedisServer


def main() -> int:
    """Post; exit 1 where a promise was broken."""
    posts = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else secrets.randbelow(10**9)
    print(f"seed {seed}", flush=True)
    started_s = time.monotonic()
    with RedisServer() as redis, tempfile.TemporaryDirectory(prefix="bascule-fuzz-") as directory:
        outcome = fuzz_door(Path(directory), redis, posts, seed)
    print(f"{outcome.posts} posts in {time.monotonic() - started_s:.0f} s, {outcome.alerts} records found")
    print("  " + ", ".join(f"{what} {count}" for what, count in outcome.counts.most_common()))
    for example in outcome.examples:
        print(example)
    print(f"broken promises: {dict(outcome.violations) or 'none'}")
    return int(bool(outcome.violations))


if __name__ == "__main__":
    sys.exit(main())
