"""Publishes what accounts' venues say of positions, prices and money."""

from decimal import Decimal

from libs.common.domain.clock import Clock
from libs.common.domain.errors import LookUpUnavailable
from libs.common.domain.ids import AccountName, Market
from libs.common.policy.exact import subtract
from libs.common.policy.exposure import gross_value
from libs.common.store.published import Published, PublishedBalance, PublishedPosition
from libs.common.store.reconciliation import Reconciliation
from services.worker.asking import Asker
from services.worker.brokers.port import Broker


class Publisher:
    """Tells all workers and operators what venues say of accounts."""

    def __init__(self, store: Reconciliation, published: Published, clock: Clock, asker: Asker) -> None:
        """Args:
        store: Keeps what an account's day began with.
        published: Where what the venues say goes.
        clock: When a venue was asked for its money.
        asker: Asks the venues.
        """
        self._store = store
        self._published = published
        self._clock = clock
        self._asker = asker

    async def publish_position(
        self,
        name: AccountName,
        broker: Broker,
        market: Market,
        quantity: Decimal,
        expected: Decimal | None,
        failures: list[LookUpUnavailable],
        asked_ms: int,
    ) -> None:
        """Publish a position as it was told at `asked_ms`, with the market's price where the venue tells it."""
        price = await self._asker.ask_or_note(name, broker.price(market), failures) if quantity else None
        position = PublishedPosition(quantity=quantity, at_ms=asked_ms, last_price=price, expected=expected)
        await self._published.publish_position(name, market, position)

    async def publish_balance(
        self, name: AccountName, broker: Broker, failures: list[LookUpUnavailable]
    ) -> None:
        """Ask for an account's money and publish it; where it is not told, nothing changes."""
        at_ms = self._clock.now_ms()
        balance = await self._asker.ask_or_note(name, broker.account(), failures)
        if balance is None:
            return
        began_with = await self._store.day_began_with(name, balance.equity, at_ms)
        day_pnl = balance.day_pnl if balance.day_pnl is not None else subtract(balance.equity, began_with)
        told = PublishedBalance(
            equity=balance.equity,
            at_ms=at_ms,
            day_pnl=day_pnl,
            currency=balance.currency,
            exposure=gross_value((await self._published.positions(name)).values()),
        )
        await self._published.publish_balance(name, told)
