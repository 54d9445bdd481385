"""No-op jobs on dramatiq with its Redis broker (Bogdanp/dramatiq).

Its worker takes messages in batches by a script, runs them in threads and acknowledges each by a script; its default
middleware is on. Run by `dramatiq`, one process.

`python -m benchmarks.peers.jobs.dramatiq_jobs` fills the queue. Environment: PEER_REDIS (path of the socket), and that of `tally`.
"""

import os

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from benchmarks.peers.jobs.tally import ALERT, Tally

broker = RedisBroker(url=f"unix://{os.environ['PEER_REDIS']}")
dramatiq.set_broker(broker)
tally = Tally()


@dramatiq.actor
def trade(alert: dict[str, str]) -> None:  # noqa: ARG001 - a no-op
    """Do nothing."""
    tally.ended()


def fill(jobs: int) -> None:
    """Enqueue that many jobs."""
    for _ in range(jobs):
        trade.send(ALERT)


if __name__ == "__main__":
    fill(int(os.environ["PEER_JOBS"]))
