"""What venues say about their markets, remembered for a while: it changes rarely, and orders wait for it."""

from typing import Final

from libs.common.domain.clock import Clock
from libs.common.domain.ids import AccountName, Market
from libs.common.domain.venue import Instrument
from services.worker.brokers.port import Broker

KEPT_MS: Final = 600_000
MOST: Final = 10_000


class Instruments:
    """Asks each venue once in ten minutes about each market."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._known: dict[tuple[AccountName, Market], tuple[int, Instrument | None]] = {}

    async def get(self, account: AccountName, broker: Broker, market: Market) -> Instrument | None:
        """Return how finely a market can be traded; None where the venue does not tell.

        Raises:
            LookUpUnavailable: The venue did not say.
        """
        key, now_ms = (account, market), self._clock.monotonic_ms()
        known = self._known.get(key)
        if known is not None and known[0] > now_ms:
            return known[1]
        found = await broker.instrument(market)
        if len(self._known) >= MOST:
            self._known.clear()
        self._known[key] = (now_ms + KEPT_MS, found)
        return found
