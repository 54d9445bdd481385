"""No-op jobs on taskiq with its Redis stream broker (taskiq-python/taskiq-redis).

The broker that acknowledges: entries of a consumer group, acknowledged one by one once their job has ended. Run by
`taskiq worker`, on uvloop, which it takes by itself. No result backend, which is its default.

`python -m benchmarks.peers.jobs.taskiq_jobs` fills the queue. Environment: PEER_REDIS (path of the socket), and that of `tally`.
"""

import asyncio
import os

from taskiq_redis import RedisStreamBroker

from benchmarks.peers.jobs.tally import ALERT, Tally

TOGETHER = 100

broker = RedisStreamBroker(f"unix://{os.environ['PEER_REDIS']}", queue_name="jobs")
tally = Tally()


@broker.task(task_name="trade")
async def trade(alert: dict[str, str]) -> None:  # noqa: ARG001 - a no-op
    """Do nothing."""
    tally.ended()


async def fill(jobs: int) -> None:
    """Enqueue that many jobs."""
    # Declares the consumer group too, which reads from the end of the stream.
    await broker.startup()
    for start in range(0, jobs, TOGETHER):
        await asyncio.gather(*(trade.kiq(ALERT) for _ in range(start, min(start + TOGETHER, jobs))))
    await broker.shutdown()


if __name__ == "__main__":
    asyncio.run(fill(int(os.environ["PEER_JOBS"])))
