"""Publishes what venues trade, for `bascule symbols suggest`. In the background: no order waits for it."""

import asyncio
from collections.abc import Mapping
from typing import Final

from libs.common.domain.clock import Clock
from libs.common.domain.errors import BridgeError
from libs.common.domain.ids import AccountName
from libs.common.runtime.waiting import wait_for_event
from libs.common.store.markets import MarketStore
from libs.common.telemetry.logs import get_logger
from services.worker.brokers.port import Broker

INTERVAL_S: Final = 600.0
RETRY_S: Final = 30.0
"""After a failure: at start a venue may come up later than we do."""

log = get_logger()


class MarketLists:
    """Asks every venue for its list, and stores what it says."""

    def __init__(self, brokers: Mapping[AccountName, Broker], store: MarketStore, clock: Clock) -> None:
        self._brokers = brokers
        self._store = store
        self._clock = clock
        self._failures: dict[AccountName, str] = {}
        """What was logged last of those that fail now."""

    async def run(self, stopped: asyncio.Event) -> None:
        """Publish all lists now and every ten minutes, until `stopped` is set."""
        async with asyncio.TaskGroup() as group:
            for account in self._brokers:
                group.create_task(self._keep(account, stopped))

    async def _keep(self, account: AccountName, stopped: asyncio.Event) -> None:
        while not stopped.is_set():
            is_known = await self.publish(account)
            await wait_for_event(stopped, INTERVAL_S if is_known else RETRY_S)

    async def publish(self, account: AccountName) -> bool:
        """Publish one list, if the venue has one; tells whether that worked, and logs a failure once."""
        try:
            markets = await self._brokers[account].markets()
            if markets is not None:
                await self._store.publish(account, markets, self._clock.now_ms())
        except BridgeError as error:
            words = str(error)
        except Exception as error:  # noqa: BLE001 - an adapter's fault must end neither the loop nor the worker
            words = repr(error)
        else:
            if self._failures.pop(account, None) is not None:
                log.info("markets_published", account=account)
            return True
        if self._failures.get(account) != words:
            log.warning("markets_not_published", account=account, error=words)
            self._failures[account] = words
        return False
