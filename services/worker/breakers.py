"""Circuit breakers around the broker call: one for each (account, market), and one above them for each account.

pybreaker keeps the states and counts the streak; whether calls may pass is decided in `begin`, for all workers at
once, so what happens here is counting and reporting. pybreaker's own guards do not work on coroutines.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import pybreaker

from libs.common.domain.clock import Clock
from libs.common.domain.errors import BridgeError
from libs.common.domain.ids import AccountName, Market
from libs.common.policy.failure_rate import FailureRate
from libs.common.runtime.settings import BreakerSettings
from libs.common.store.breakers import BreakerReport, Permit, account_scope, market_scope
from libs.common.store.order_answers import Go
from libs.common.telemetry.logs import get_logger

MOST: Final = 10_000
"""Breakers kept; the one used longest ago goes first, and starts from zero if it comes back."""

RATE_NEEDS: Final = 10
"""Calls within the window below which the failure rate says nothing."""

MARKETS_NEEDED: Final = 2
"""Markets that must fail before a whole account counts as failing: one that hangs must not stop the others."""

log = get_logger()

Send = Callable[[BreakerReport], Awaitable[bool]]


class _CallFailed(Exception):
    """What pybreaker is shown for a failed call."""


class Breakers:
    """The breakers of one worker."""

    def __init__(self, settings: BreakerSettings, clock: Clock, send: Send) -> None:
        """Args:
        settings: When they open and for how long.
        clock: Monotonic time for the failure rate.
        send: Tells all workers.
        """
        self._settings = settings
        self._clock = clock
        self._send = send
        self._breakers: OrderedDict[str, _Breaker] = OrderedDict()

    async def succeeded(self, account: AccountName, market: Market, go: Go) -> None:
        """Count a call that the venue answered."""
        await self._succeeded(market_scope(account, market), go.market_breaker)
        await self._succeeded(account_scope(account), go.account_breaker)

    async def refused(self, account: AccountName, market: Market, go: Go) -> None:
        """Note that the venue refused an order: neither a success nor a failure, but it answers."""
        if go.market_breaker.is_probe or go.account_breaker.is_probe:
            await self.succeeded(account, market, go)

    async def failed(self, account: AccountName, market: Market, go: Go) -> None:
        """Count a call that the venue did not answer, or could not serve. A refusal of an order is no failure."""
        own = await self._failed(market_scope(account, market), go.market_breaker, market, 1)
        if own and go.account_breaker.is_probe:
            # A market that fails by itself says nothing about the others: one of them may be the probe at once.
            await self._report(account_scope(account), go.account_breaker, opens=True, frees_probe=True)
            return
        await self._failed(account_scope(account), go.account_breaker, market, MARKETS_NEEDED)

    async def _succeeded(self, scope: str, permit: Permit) -> None:
        breaker = self._of(scope, permit)
        if breaker is None:
            return
        breaker.succeeded(self._clock.monotonic_ms())
        if permit.is_probe:
            await self._report(scope, permit, opens=False)

    async def _failed(self, scope: str, permit: Permit, market: Market, markets_needed: int) -> bool:
        """Count a failure; tells whether the breaker is open by it."""
        breaker = self._of(scope, permit)
        if breaker is None:
            return False
        breaker.failed(self._clock.monotonic_ms(), market)
        opens = permit.is_probe or (breaker.is_open and breaker.failing_markets >= markets_needed)
        if opens and await self._report(scope, permit, opens=True):
            breaker.close()
        return opens

    def _of(self, scope: str, permit: Permit) -> "_Breaker | None":
        breaker = self._breakers.get(scope)
        if breaker is None:
            breaker = self._breakers[scope] = _Breaker(self._settings, permit.generation)
            if len(self._breakers) > MOST:
                self._breakers.popitem(last=False)
        self._breakers.move_to_end(scope)
        if permit.generation < breaker.generation:
            return None  # a call made before the breaker last moved says nothing about now
        if permit.generation > breaker.generation:
            breaker.generation = permit.generation
            breaker.close()
        return breaker

    async def _report(self, scope: str, permit: Permit, *, opens: bool, frees_probe: bool = False) -> bool:
        """Tell all workers; tells whether they know now."""
        report = BreakerReport(
            scope, permit.generation, opens, reset_ms=self._settings.reset_ms, frees_probe=frees_probe
        )
        try:
            has_moved = await self._send(report)
        except BridgeError as error:
            # A breaker is protection for the venue, not for the order: the next failure reports again.
            log.warning("breaker_not_reported", scope=scope, opens=opens, error=str(error))
            return False
        if has_moved and not frees_probe:
            log.warning("breaker_opened" if opens else "breaker_closed", scope=scope)
        return True


class _Breaker:
    def __init__(self, settings: BreakerSettings, generation: int) -> None:
        self.generation = generation
        self._streak = pybreaker.CircuitBreaker(
            fail_max=settings.failures, reset_timeout=settings.reset_ms / 1_000
        )
        self._rate = FailureRate(share=settings.rate, at_least=RATE_NEEDS, window_ms=settings.window_ms)
        self._window_ms = settings.window_ms
        self._failed_at_ms: dict[Market, int] = {}
        self._is_streak = False
        """Whether the last call failed."""

    def succeeded(self, at_ms: int) -> None:
        self._rate.add(at_ms, is_failure=False)
        if not self._is_streak:
            return  # pybreaker takes longer over it than the whole rest of the count
        self._is_streak = False
        if self.is_open:  # nobody was told, and the venue has recovered by itself
            self.close()
            return
        with self._streak.calling():
            pass

    def failed(self, at_ms: int, market: Market) -> None:
        self._is_streak = True
        self._rate.add(at_ms, is_failure=True)
        self._failed_at_ms[market] = at_ms
        if len(self._failed_at_ms) > MARKETS_NEEDED:
            since_ms = at_ms - self._window_ms
            self._failed_at_ms = {one: when for one, when in self._failed_at_ms.items() if when > since_ms}
        with suppress(_CallFailed, pybreaker.CircuitBreakerError), self._streak.calling():
            raise _CallFailed
        if self._rate.is_too_high:
            self._streak.open()

    @property
    def failing_markets(self) -> int:
        """How many markets have failed of late."""
        newest_ms = max(self._failed_at_ms.values(), default=0)
        return sum(when > newest_ms - self._window_ms for when in self._failed_at_ms.values())

    @property
    def is_open(self) -> bool:
        return self._streak.current_state == pybreaker.STATE_OPEN

    def close(self) -> None:
        self._streak.close()
        self._rate.clear()
        self._failed_at_ms.clear()
        self._is_streak = False
