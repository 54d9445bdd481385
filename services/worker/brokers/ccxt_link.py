"""Keeps an account's exchange ready for use through ccxt: markets, clocks, and what each call's failure means."""

import asyncio
import decimal
from collections.abc import Awaitable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import Context
from typing import Any, Final, TypeVar

from libs.common.domain.clock import Clock
from libs.common.domain.errors import BrokerError, BrokerNotReady, LookUpUnavailable
from libs.common.runtime.account_settings import CcxtAccount
from libs.common.telemetry.logs import get_logger
from services.worker.brokers.ccxt_errors import ClockRefused, CredentialsRefused, is_json, masked, meaning
from services.worker.brokers.ccxt_exchange import CALL, PATIENT_S, Call, Exchange
from services.worker.brokers.ccxt_venues import Venue

REFRESH_S: Final = 3_600.0
"""Between two loads of the markets: they change when an exchange lists one or changes its steps."""

RETRY_S: Final = 5.0
"""After a load that failed."""

LONGEST_LOAD_S: Final = 30.0
"""Such a list has megabytes at some exchanges."""

DIGITS: Final = 60
"""That calculations carry. ccxt sets rounding and traps of the decimal context it is called in."""

Told = TypeVar("Told")

log = get_logger()


class Link:
    """One account's way to its exchange."""

    def __init__(
        self,
        account: CcxtAccount,
        exchange: Exchange,
        venue: Venue,
        secrets: Sequence[str],
        clock: Clock,
    ) -> None:
        """Args:
        account: Its settings.
        exchange: ccxt's.
        venue: What is known of it.
        secrets: What no error may hold.
        clock: Tells how far off the exchange's is.
        """
        self._account, self._exchange, self._venue = account, exchange, venue
        self._secrets, self._clock = secrets, clock
        self.skew_ms: int | None = None
        """How far our clock is ahead of the exchange's; None where it has none, or was not asked yet."""
        self._is_ready = False
        self._keeping: asyncio.Task[None] | None = None
        self._wanted = asyncio.Event()
        self._preparing = asyncio.Lock()

    async def ready(self) -> None:
        """Load the markets and compare clocks, unless that was done.

        Raises:
            LookUpUnavailable: The exchange did not say.
        """
        self._start()
        async with self._preparing:
            if not self._is_ready:
                await self._prepare()

    def check_ready(self) -> None:
        """See to it that nothing is sent before the markets are loaded.

        Raises:
            BrokerNotReady: They are not.
        """
        self._start()
        if not self._is_ready:
            raise BrokerNotReady("nothing was sent: the markets are not loaded yet")

    def check_usable(self, what: str) -> None:
        """See to it that nothing is asked before the markets are loaded.

        Raises:
            LookUpUnavailable: They are not.
        """
        self._start()
        if not self._is_ready:
            raise LookUpUnavailable(f"the question for {what} was not asked: the markets are not loaded yet")

    async def call(self, call: Call, doing: Awaitable[Any], none_for: Sequence[str] = ()) -> Any:
        """Await what sends something, and raise what its failure means.

        Raises:
            BrokerError: As the port says, or `Duplicate`.
        """
        before = CALL.set(call)
        try:
            return await doing
        except Exception as error:
            if type(error).__name__ in none_for:
                return None
            failure = meaning(error, call, self._venue, self._secrets, self._clock.now_ms())
            self._note(failure)
            raise failure from error
        finally:
            CALL.reset(before)

    async def ask(self, what: str, question: Awaitable[Any], none_for: Sequence[str] = ()) -> Any:
        """Return the answer to a question.

        Raises:
            LookUpUnavailable: There was none.
        """
        call = Call(lambda: True)
        before = CALL.set(call)
        try:
            answer = await question
        except BrokerError:
            raise
        except Exception as error:
            if type(error).__name__ in none_for:
                return None
            words = masked(f"{type(error).__name__}: {error}", self._secrets)
            if "AuthenticationError" in {kind.__name__ for kind in type(error).__mro__}:
                self._note(CredentialsRefused(words))
            raise LookUpUnavailable(f"the question for {what} was not answered: {words}") from error
        finally:
            CALL.reset(before)
        if call.answer is not None and not is_json(call.answer.body):
            # ccxt makes an empty balance or list of a page.
            words = masked(call.answer.body, self._secrets)
            raise LookUpUnavailable(f"the question for {what} was not answered: {words}")
        return answer

    async def aclose(self) -> None:
        """Stop refreshing, and close all connections."""
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.wait([self._keeping])
        await self._exchange.close()

    def _start(self) -> None:
        if self._keeping is None:
            self._keeping = asyncio.create_task(self._keep(), context=Context())  # no alert's

    async def _keep(self) -> None:
        """Load markets and compare clocks, now and then; no order waits for it."""
        failed, is_first = "", True
        while True:
            self._wanted.clear()
            try:
                async with self._preparing:
                    if not (is_first and self._is_ready):
                        await self._prepare()
            except Exception as error:  # noqa: BLE001 - no fault of an adapter may end this loop: nothing would be traded
                if str(error) != failed:
                    failed = str(error)
                    log.warning("markets_not_loaded", exchange=self._account.exchange, error=failed)
                wait_s = RETRY_S
            else:
                failed, wait_s = "", REFRESH_S
            is_first = False
            # Not wait_for, which in Python 3.11 may lose the cancellation that ends this loop.
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._wanted.wait()

    async def _prepare(self) -> None:
        exchange = self._exchange
        with exact():
            if exchange.has.get("fetchTime"):
                try:
                    await self._compare_clocks()
                except LookUpUnavailable:
                    if self._venue.has_synchronised_clock:
                        raise
            if self._account.exchange == "bitget":
                await self._ask_bitget_account()
            if self._account.exchange == "bybit":
                await self.ask("account", exchange.is_unified_enabled())
            before = PATIENT_S.set(LONGEST_LOAD_S)
            try:
                await self.ask("markets", exchange.load_markets(True))
            finally:
                PATIENT_S.reset(before)
        self._is_ready = True

    async def _compare_clocks(self) -> None:
        before_ms = self._clock.now_ms()
        server_ms = await self.ask("time", self._exchange.fetch_time())
        if not isinstance(server_ms, int | float):
            raise LookUpUnavailable(f"the question for time was not answered: {server_ms}")
        after_ms = self._clock.now_ms()
        self.skew_ms = (before_ms + after_ms) // 2 - int(server_ms)
        if self._venue.has_synchronised_clock:
            # By the later of our two readings: a stamp in the exchange's future would be refused.
            self._exchange.options["timeDifference"] = after_ms - int(server_ms)

    async def _ask_bitget_account(self) -> None:
        # ccxt takes any failure of this question, a time-out too, for "no", and never asks again.
        refused = object()
        question = self._exchange.privateUtaGetV3AccountSettings()
        answer = await self.ask("account", _or(question, "ExchangeError", refused))
        self._exchange.options["uta"] = answer is not refused

    def _note(self, failure: BrokerError) -> None:
        if isinstance(failure, CredentialsRefused):
            log.error("credentials_refused", exchange=self._account.exchange, error=str(failure))
        elif isinstance(failure, ClockRefused):
            self._wanted.set()


@contextmanager
def exact() -> Iterator[None]:
    """Keep ccxt's changes to the decimal context from everybody else, and our calculations from its 28 digits."""
    with decimal.localcontext(decimal.Context(prec=DIGITS, rounding=decimal.ROUND_HALF_EVEN)):
        yield


async def _or(question: Awaitable[Told], family: str, otherwise: Told) -> Told:
    try:
        return await question
    except Exception as error:
        if family in {kind.__name__ for kind in type(error).__mro__}:
            return otherwise
        raise
