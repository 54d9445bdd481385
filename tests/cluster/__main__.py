"""Walks the documented way over the cluster that kubectl points to: `make e2e-cluster`."""

import argparse
import sys
import time

from tests.cluster.kubectl import NAMESPACE, Kubectl
from tests.cluster.scenario import Scenario


def main() -> int:
    """Return 0 where everything was as it must be."""
    parser = argparse.ArgumentParser(prog="python -m tests.cluster", description=__doc__)
    parser.add_argument("--overlay", default="k8s/overlays/dev", help="what to apply")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long alerts are posted")
    parser.add_argument("--rate", type=float, default=20.0, help="alerts a second")
    parser.add_argument("--keep", action="store_true", help="leave everything as it is at the end")
    parser.add_argument(
        "--over", action="store_true", help="go on where the namespace is there already, and leave it there"
    )
    options = parser.parse_args()

    cluster = Kubectl(options.overlay)
    begun = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - begun:6.1f} s  {text}", flush=True)

    say(f"cluster {cluster.context()}, {options.overlay}")
    was_there = cluster.has_namespace()
    if was_there and not options.over:
        print(
            f"the namespace {NAMESPACE} is there already: what is in it may be for real money. "
            f"Delete it, or say --over (make e2e-cluster ARGS=--over)",
            file=sys.stderr,
        )
        return 2
    try:
        Scenario(cluster, say, seconds=options.seconds, rate=options.rate).walk()
    except AssertionError as error:
        print(f"\n{error}\n\n{cluster.describe()}", file=sys.stderr)
        return 1
    finally:
        if not options.keep and not was_there:
            cluster.delete()
    say("all as it must be")
    return 0


if __name__ == "__main__":
    sys.exit(main())
