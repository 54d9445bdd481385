"""No-op jobs on arq (python-arq/arq).

Its queue is a sorted set of job ids, polled; each job has a key, a key while it is in progress and a counter of tries. On
uvloop, results not kept, polled without a pause to speak of: with the pause of 0.5 s that is its default, it is the pause that
would be measured.

`python -m benchmarks.peers.jobs.arq_jobs fill` fills the queue, `work` works it off. Environment: PEER_REDIS (path of the socket),
PEER_CONCURRENCY, and that of `tally`.
"""

import asyncio
import os
import sys
from typing import Any

import uvloop
from arq import create_pool
from arq.connections import RedisSettings
from arq.worker import Worker

from benchmarks.peers.jobs.tally import ALERT, Tally

TOGETHER = 100
POLL_S = 0.001

settings = RedisSettings(unix_socket_path=os.environ["PEER_REDIS"])
tally = Tally()


async def trade(_context: dict[str, Any], alert: dict[str, str]) -> None:  # noqa: ARG001 - a no-op
    """Do nothing."""
    tally.ended()


async def fill(jobs: int) -> None:
    """Enqueue that many jobs."""
    pool = await create_pool(settings)
    for start in range(0, jobs, TOGETHER):
        together = range(start, min(start + TOGETHER, jobs))
        await asyncio.gather(*(pool.enqueue_job("trade", ALERT) for _ in together))
    await pool.aclose()


def work(concurrency: int) -> None:
    """Work until killed."""
    Worker(
        functions=[trade],
        redis_settings=settings,
        max_jobs=concurrency,
        poll_delay=POLL_S,
        keep_result=0,
        log_results=False,
    ).run()


if __name__ == "__main__":
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    if sys.argv[1] == "fill":
        asyncio.run(fill(int(os.environ["PEER_JOBS"])))
    else:
        work(int(os.environ["PEER_CONCURRENCY"]))
