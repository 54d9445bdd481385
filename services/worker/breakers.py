"""One circuit breaker for each (account, market), around the broker call.

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
from libs.common.policy.failure_rate import FailureRate
from libs.common.runtime.settings import BreakerSettings
from libs.common.store.orders import BreakerReport, Go
from libs.common.telemetry.logs import get_logger

MOST: Final = 10_000
"""Breakers kept; the one used longest ago goes first, and starts from zero if it comes back."""

RATE_NEEDS: Final = 10
"""Calls within the window below which the failure rate says nothing."""

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

    async def succeeded(self, scope: str, go: Go) -> None:
        """Count a call that the venue answered."""
        breaker = self._of(scope, go)
        if breaker is None:
            return
        if breaker.is_open:  # nobody was told, and the venue has recovered by itself
            breaker.close()
        breaker.count(self._clock.monotonic_ms(), is_failure=False)
        if go.is_probe:
            await self._report(scope, go, opens=False)

    async def failed(self, scope: str, go: Go) -> None:
        """Count a call that the venue did not answer, or could not serve. A refusal of an order is no failure."""
        breaker = self._of(scope, go)
        if breaker is None:
            return
        breaker.count(self._clock.monotonic_ms(), is_failure=True)
        if (go.is_probe or breaker.is_open) and await self._report(scope, go, opens=True):
            breaker.close()

    def _of(self, scope: str, go: Go) -> "_Breaker | None":
        breaker = self._breakers.get(scope)
        if breaker is None:
            breaker = self._breakers[scope] = _Breaker(self._settings, go.breaker_generation)
            if len(self._breakers) > MOST:
                self._breakers.popitem(last=False)
        self._breakers.move_to_end(scope)
        if go.breaker_generation < breaker.generation:
            return None  # a call made before the breaker last moved says nothing about now
        if go.breaker_generation > breaker.generation:
            breaker.generation = go.breaker_generation
            breaker.close()
        return breaker

    async def _report(self, scope: str, go: Go, *, opens: bool) -> bool:
        """Tell all workers; tells whether they know now."""
        report = BreakerReport(scope, go.breaker_generation, opens=opens, reset_ms=self._settings.reset_ms)
        try:
            has_moved = await self._send(report)
        except BridgeError as error:
            # A breaker is protection for the venue, not for the order: the next failure reports again.
            log.warning("breaker_not_reported", scope=scope, opens=opens, error=str(error))
            return False
        if has_moved:
            log.warning("breaker_opened" if opens else "breaker_closed", scope=scope)
        return True


class _Breaker:
    def __init__(self, settings: BreakerSettings, generation: int) -> None:
        self.generation = generation
        self._streak = pybreaker.CircuitBreaker(
            fail_max=settings.failures, reset_timeout=settings.reset_ms / 1_000
        )
        self._rate = FailureRate(share=settings.rate, at_least=RATE_NEEDS, window_ms=settings.window_ms)

    def count(self, at_ms: int, *, is_failure: bool) -> None:
        self._rate.add(at_ms, is_failure=is_failure)
        with suppress(_CallFailed, pybreaker.CircuitBreakerError), self._streak.calling():
            if is_failure:
                raise _CallFailed
        if is_failure and self._rate.is_too_high:
            self._streak.open()

    @property
    def is_open(self) -> bool:
        return self._streak.current_state == pybreaker.STATE_OPEN

    def close(self) -> None:
        self._streak.close()
        self._rate.clear()
