"""Checks Redis' promises as soon as it answers, be that later than the start of the process."""

import asyncio
from typing import Final

from redis.asyncio import Redis

from libs.common.domain.errors import StoreUnavailable
from libs.common.runtime.settings import Durability
from libs.common.runtime.waiting import wait_for_event
from libs.common.store.checks import check_server
from libs.common.telemetry.logs import get_logger

RETRY_S: Final = 0.2

log = get_logger()


async def check_when_up(client: Redis, durability: Durability, stopping: asyncio.Event) -> bool:
    """Wait until Redis answers, and tell whether it did: False where `stopping` was set before.

    By the event and not by cancelling: a cancelled Redis call may complete at that very moment, and on Python 3.11
    the cancellation is then lost.

    Raises:
        ConfigError: It does not keep the promises of the configuration; the process must end.
    """
    is_away = False
    while not stopping.is_set():
        try:
            await check_server(client, durability)
        except StoreUnavailable as error:
            if not is_away:
                log.warning("redis_away", error=str(error))
            is_away = True
            await wait_for_event(stopping, RETRY_S)
        else:
            return True
    return False
