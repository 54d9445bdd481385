"""What every broker adapter implements, and the one contract suite tests."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Final, Protocol

from libs.common.domain.ids import ClientOrderId, Market
from libs.common.domain.order import OrderReport, OrderRequest
from libs.common.domain.venue import EVERYTHING, Balance, Instrument, OpenOrder, OrderAbilities

StillOurs = Callable[[], bool]
"""Tells whether the lane may still be traded; asked at the last moment before anything leaves."""

NOT_OURS: Final = "the lane is no longer ours: nothing was sent"
"""What an adapter says where it may not."""


class Deduplication(StrEnum):
    """What a venue does with a client order id that it has seen before."""

    NONE = "none"
    """Executes it again."""
    OPEN = "open"
    """Refuses it while the first order is open, executes it again afterwards."""
    LIFETIME = "lifetime"
    """Never executes it twice."""


class LookUp(StrEnum):
    """What a venue's answer to "do you know this order" is worth."""

    AUTHORITATIVE = "authoritative"
    """What it does not know now, it has not executed up to now."""
    LAGGING = "lagging"
    """It may know an order only some time after it executed it."""
    NONE = "none"
    """It cannot be asked."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What the rules of sending again depend on."""

    deduplication: Deduplication
    honours_expiry: bool
    """Whether it refuses an order after its `expires_at_ms`."""
    look_up: LookUp
    look_up_lag_ms: int = 0
    """How long after it executed an order the venue may still say that it does not know it."""
    orders: OrderAbilities = EVERYTHING
    """What an order can carry."""
    has_own_prices: bool = True
    """Whether `price` is the market's. Where it only repeats what alerts said, an alert's own counts for it."""
    has_positions: bool = True
    """Whether `position` says what is open. A dry run holds nothing."""


class Broker(Protocol):
    """One account's way to its venue."""

    @property
    def capabilities(self) -> Capabilities:
        """What the rules of sending again depend on."""
        ...

    async def place(self, request: OrderRequest, still_ours: StillOurs) -> OrderReport:
        """Send one order, and return what the venue made of it.

        Called right after the worker checked its lease: an adapter signs and sends before anything else, asks
        `still_ours` at the last moment, and sends nothing where the answer is no.

        Raises:
            BrokerUnavailable: Certainly not executed; `BrokerThrottled` where the venue was asked too often.
            OrderRejected: Refused for good.
            OrderOutcomeUnknown: Anything else.
        """
        ...

    async def find(self, client_order_id: ClientOrderId, symbol: Market) -> OrderReport | None:
        """Return what the venue knows of an order; None where it says that it knows nothing.

        Raises:
            LookUpUnavailable: It did not say.
        """
        ...

    async def position(self, symbol: Market) -> Decimal:
        """Return the signed position, base units.

        Raises:
            LookUpUnavailable: The venue did not say.
        """
        ...

    async def price(self, symbol: Market) -> Decimal | None:
        """Return the last price; None where the venue has none.

        Raises:
            LookUpUnavailable: The venue did not say.
        """
        ...

    async def account(self) -> Balance | None:
        """Return the account's money; None where the venue does not tell.

        Raises:
            LookUpUnavailable: The venue did not say.
        """
        ...

    async def instrument(self, symbol: Market) -> Instrument | None:
        """Return how finely a market can be traded; None where the venue does not tell.

        Raises:
            LookUpUnavailable: The venue did not say.
        """
        ...

    async def open_orders(self, symbol: Market | None = None) -> Sequence[OpenOrder] | None:
        """Return what rests, in one market or in all; None where the venue does not tell.

        Raises:
            LookUpUnavailable: The venue did not say.
        """
        ...

    async def cancel_open(self, symbol: Market, order_ids: Sequence[str], still_ours: StillOurs) -> None:
        """Cancel resting orders by the venue's own ids. One that rests no longer is no error; others stay.

        Calling it again with the same ids is harmless.

        Raises:
            BrokerUnavailable: Nothing was cancelled; `BrokerThrottled` where the venue was asked too often.
            OrderRejected: It does not cancel them, or cannot cancel single orders.
            OrderOutcomeUnknown: Anything else; `open_orders` tells.
        """
        ...

    async def markets(self) -> Sequence[Market] | None:
        """Return the names of all markets that can be traded; None where there is no list of them.

        Raises:
            LookUpUnavailable: The venue did not say.
        """
        ...

    async def aclose(self) -> None:
        """Close connections; again is harmless."""
        ...
