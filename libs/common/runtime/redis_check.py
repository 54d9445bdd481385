"""Checks Redis' promises as soon as it answers, be that later than the start of the process."""

import asyncio
from typing import Final

from redis.asyncio import Redis

from libs.common.domain.errors import StoreUnavailable
from libs.common.runtime.settings import Durability
from libs.common.runtime.waiting import wait_for_event
from libs.common.store.checks import check_server

RETRY_S: Final = 0.2


async def check_when_up(client: Redis, durability: Durability, stopping: asyncio.Event) -> None:
    """Wait until Redis answers, and return if it keeps the promises of the configuration; or once `stopping` is set.

    Raises:
        ConfigError: It does not; the process must end.
    """
    while not stopping.is_set():
        try:
            await check_server(client, durability)
        except StoreUnavailable:
            await wait_for_event(stopping, RETRY_S)
        else:
            return
