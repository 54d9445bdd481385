"""Asks a venue what a plan depends on."""

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Final, TypeVar

import msgspec

from libs.common.domain.clock import Clock
from libs.common.domain.errors import BridgeError, LookUpUnavailable
from libs.common.domain.instruction import Instruction
from libs.common.domain.reasons import Reason
from libs.common.domain.venue import Balance
from libs.common.policy.exact import subtract
from libs.common.policy.exposure import gross_value
from libs.common.policy.halts import Effect, find_stop
from libs.common.policy.readings import Need, Readings
from libs.common.store.halts import Halts
from libs.common.store.in_flight import InFlightOrders
from libs.common.store.published import Published
from libs.common.store.reconciliation import Reconciliation
from services.worker.account import Account
from services.worker.brokers.port import Broker
from services.worker.instruments import Instruments
from services.worker.persistence import persist
from services.worker.work import Unread, Work

T = TypeVar("T")

ASKED_RARELY: Final = frozenset({Need.INSTRUMENT})
"""What is remembered for minutes: no venue is burdened by it."""

HALTED_MS: Final = 2_000
"""How often a paused lane asks whether it may go on; as in `begin`."""

OLDEST_READING_MS: Final = 110_000
"""Below the two minutes for which `begin` remembers what was reserved: older readings could not have seen it."""


class Questions:
    """Asks no more than is needed, all of it side by side, and nothing where the answer would be of no use."""

    def __init__(
        self,
        *,
        instruments: Instruments,
        published: Published,
        days: Reconciliation,
        in_flight: InFlightOrders,
        halts: Halts,
        clock: Clock,
    ) -> None:
        self._instruments = instruments
        self._published = published
        self._days = days
        self._in_flight = in_flight
        self._halts = halts
        self._clock = clock

    async def ask(self, work: Work, needs: frozenset[Need], *, turns_on_position: bool) -> Readings | Unread:
        """Return what the venue says, unless it is not worth asking now, or does not say.

        Raises:
            StoreUnavailable: The lane is lost.
        """
        if needs - ASKED_RARELY:
            hindered = await self._hindrance(work, turns_on_position=turns_on_position)
            if hindered is not None:
                return hindered
        try:
            return await self.read(work, needs)
        except LookUpUnavailable as error:
            return Unread(str(error))

    async def read(self, work: Work, needs: frozenset[Need]) -> Readings:
        """Ask the venue for all that is needed, side by side.

        Raises:
            LookUpUnavailable: It did not say.
        """
        read_at_ms = work.now_ms(self._clock)
        if not needs:
            return Readings(read_at_ms=read_at_ms)
        account, market = work.account, work.instruction.market
        broker = account.broker
        value = None
        if Need.EXPOSURE in needs and (published := await self._exposure(account)) is not None:
            value, oldest_ms = published
            read_at_ms = min(read_at_ms, oldest_ms)
        position, price, balance, instrument, resting, all_resting = await asyncio.gather(
            _if(
                Need.POSITION in needs and broker.capabilities.has_positions, lambda: broker.position(market)
            ),
            _if(Need.PRICE in needs, lambda: _price(broker, work.instruction)),
            _if(Need.BALANCE in needs, lambda: self._balance(account)),
            _if(Need.INSTRUMENT in needs, lambda: self._instruments.get(account.name, broker, market)),
            _if(Need.OPEN_ORDERS in needs, lambda: broker.open_orders(market)),
            _if(Need.ACCOUNT_ORDERS in needs, broker.open_orders),
        )
        return Readings(
            position=position,
            price=price,
            exposure=value,
            balance=balance,
            instrument=instrument,
            open_orders=None if resting is None else tuple(resting),
            account_orders=None if all_resting is None else tuple(all_resting),
            read_at_ms=read_at_ms,
        )

    async def _hindrance(self, work: Work, *, turns_on_position: bool) -> Unread | None:
        """Return why the venue is not worth asking now; None where it is.

        Lanes that wait for a halt to be lifted, or for the venue's own wish, must not ask it again and again. And what
        it says of a position is not to be planned on while an order of ours is about to change it.

        Raises:
            StoreUnavailable: The lane is lost.
        """
        account, market = work.account, work.instruction.market
        halts = (await persist(self._halts.read, work.lease)).halts
        stop = find_stop(
            halts, account=account.name, strategy=work.instruction.strategy, symbol=market, is_exit=True
        )
        if stop is not None and stop.effect is Effect.PUT_OFF:
            return Unread(
                f"{stop.halt.mode} of {stop.halt.scope}: {stop.halt.reason}", Reason.HALTED, HALTED_MS
            )
        flight = await persist(lambda: self._in_flight.of(account.name, market), work.lease)
        now_ms = work.now_ms(self._clock)
        if flight.paused_until_ms > now_ms:
            return Unread(
                "the venue asked the account to wait", Reason.THROTTLED, flight.paused_until_ms - now_ms
            )
        if not turns_on_position:
            return None
        if flight.market_order is not None:
            return Unread(f"market order {flight.market_order} is not filled yet", Reason.AWAITING_FILL)
        lag_ms = account.broker.capabilities.look_up_lag_ms
        if flight.filled_at_ms is not None and 0 <= now_ms - flight.filled_at_ms < lag_ms:
            wait_ms = flight.filled_at_ms + lag_ms - now_ms
            return Unread(
                "a fill of the market may not be in its position yet", Reason.AWAITING_FILL, wait_ms
            )
        return None

    async def _balance(self, account: Account) -> Balance | None:
        """Return the account's money; the day's profit from what its day began with, where the venue does not tell it.

        Raises:
            LookUpUnavailable: The venue did not say.
        """
        balance = await account.broker.account()
        if balance is None or balance.day_pnl is not None:
            return balance
        try:
            began_with = await self._days.day_began_with(account.name, balance.equity, self._clock.now_ms())
        except BridgeError as error:
            raise LookUpUnavailable(f"what the account's day began with is not known: {error}") from error
        return msgspec.structs.replace(balance, day_pnl=subtract(balance.equity, began_with))

    async def _exposure(self, account: Account) -> tuple[Decimal | None, int] | None:
        """Return the gross value of all positions as the reconciler published them, and when the oldest was read.

        None where nothing was ever published: the venue's own word counts then, if it has one.

        Raises:
            LookUpUnavailable: They are too old to be relied on.
        """
        try:
            positions = await self._published.positions(account.name)
        except BridgeError as error:
            raise LookUpUnavailable(f"the positions of the account are not known: {error}") from error
        if not positions:
            # Nothing was ever traded there, but for what is under way: that is reserved, and counts for so long.
            return (Decimal(0), self._clock.now_ms() - OLDEST_READING_MS) if account.is_reconciled else None
        now_ms = self._clock.now_ms()
        # A market that cannot be read any more, as when it was delisted, counts only while something is open there.
        counted = [
            one.at_ms for one in positions.values() if one.quantity or now_ms - one.at_ms <= OLDEST_READING_MS
        ]
        oldest_ms = min(counted, default=now_ms - OLDEST_READING_MS)
        if now_ms - oldest_ms > OLDEST_READING_MS:
            raise LookUpUnavailable("the positions of the account were read too long ago")
        return gross_value(positions.values()), oldest_ms


async def _price(broker: Broker, instruction: Instruction) -> Decimal | None:
    if instruction.price is not None and not broker.capabilities.has_own_prices:
        return instruction.price
    return await broker.price(instruction.market)


async def _if(is_needed: bool, ask: Callable[[], Awaitable[T | None]]) -> T | None:
    return await ask() if is_needed else None
