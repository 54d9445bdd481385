"""Whether a venue's position is what our own orders explain. Pure.

What is expected is what the venue said when it was last compared, and all that our orders have filled since. A
difference is believed only where it stands in two looks with nothing under way: a venue that trades for us is always a
moment ahead of what we have written down.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

import msgspec

from libs.common.domain.ids import ClientOrderId, Market
from libs.common.domain.lifecycle import AMBIGUOUS, RESTING, OrderState
from libs.common.policy.exact import add, multiply, subtract

SETTLING_MS: Final = 3_000
"""How long after a fill a venue's position may not show it yet."""

FORGOTTEN_MS: Final = 86_400_000
"""How long after its last fill a market in which nothing is open is asked about."""

FEE_SHARE: Final = Decimal("0.01")
"""The most of what was bought that a spot venue keeps as its fee, in the coin itself."""

IN_DOUBT: Final = AMBIGUOUS | RESTING
"""States in which it is no surprise that an order of ours rests at the venue."""


class Base(msgspec.Struct, frozen=True, kw_only=True):
    """What is counted from."""

    quantity: Decimal
    """What the venue said."""
    fills_id: str
    """The last of our fills that is in it, by its entry in the stream of fills."""
    active_at_ms: int
    """When something was last filled or open."""


@dataclass(frozen=True, slots=True)
class FillEntry:
    """A quantity that an order of ours newly filled."""

    entry_id: str
    market: Market
    quantity: Decimal
    """Base units, signed."""

    @property
    def at_ms(self) -> int:
        """Return when it was written down, by Redis' clock."""
        return position_in_stream(self.entry_id)[0]


@dataclass(frozen=True, slots=True)
class Look:
    """One answer of the venue, held against what we know."""

    at_ms: int
    """When the venue was asked, by Redis' clock."""
    venue: Decimal
    expected: Decimal | None
    """None where nothing is known to count from."""
    fills_id: str
    """The last fill that is counted in."""
    last_fill_ms: int
    """When the last fill in this market was written down, later than `at_ms` where it came meanwhile; 0: none since
    the base."""
    is_still: bool
    """Whether no lane of this market had work while the venue was asked."""
    bought: Decimal = Decimal(0)
    """Base units bought since the base: of them the venue may have kept its fee."""
    is_followed_up: bool = True
    """Whether the venue told of every resting order of this market since the look before."""


@dataclass(frozen=True, slots=True)
class Agreed:
    """The venue's word is what is counted from now on."""


@dataclass(frozen=True, slots=True)
class Suspected:
    """They differ: look again."""


@dataclass(frozen=True, slots=True)
class Unsettled:
    """Too much is under way to tell."""


@dataclass(frozen=True, slots=True)
class Drifted:
    """They differ, and nothing that we know of explains it."""

    expected: Decimal
    venue: Decimal

    @property
    def words(self) -> str:
        """Return it in words."""
        return f"expected {self.expected:f}, the venue says {self.venue:f}"


Verdict = Agreed | Suspected | Unsettled | Drifted


def expected_quantity(base: Base, fills: Iterable[FillEntry]) -> Decimal:
    """Return what the venue's position should be, exactly.

    Args:
        base: What is counted from.
        fills: Of its market; those that are in the base already are left out.
    """
    counted = position_in_stream(base.fills_id)
    return add(
        base.quantity, *(fill.quantity for fill in fills if position_in_stream(fill.entry_id) > counted)
    )


def judge(look: Look, before: Look | None = None) -> Verdict:
    """Return what a look says.

    Args:
        look: It.
        before: The one some seconds earlier, where that one made us suspect a drift.
    """
    if not look.is_still or look.at_ms - look.last_fill_ms < SETTLING_MS:
        return Unsettled()
    if look.expected is None or _is_explained(look.venue, look.expected, look.bought):
        return Agreed()
    if before is None:
        return Suspected()
    is_same = (look.venue, look.expected) == (before.venue, before.expected)
    if not is_same or not look.is_followed_up:
        return Unsettled()
    return Drifted(look.expected, look.venue)


def bought_quantity(fills: Iterable[FillEntry]) -> Decimal:
    """Return how much of these fills was bought, exactly."""
    return add(*(fill.quantity for fill in fills if fill.quantity > 0))


def next_base(look: Look, before: Base | None) -> Base | None:
    """Return what is counted from after a look; None where the market need not be asked about any more."""
    active_at_ms = max(0 if before is None else before.active_at_ms, look.last_fill_ms)
    if before is None or look.venue:
        active_at_ms = look.at_ms
    if not look.venue and look.at_ms - active_at_ms > FORGOTTEN_MS:
        return None
    return Base(quantity=look.venue, fills_id=look.fills_id, active_at_ms=active_at_ms)


def surprise(client_order_id: ClientOrderId, state: OrderState | None) -> str | None:
    """Return in words why it is a surprise that an order rests at the venue; None where it is none.

    Args:
        client_order_id: As the venue has it.
        state: Of our record; None where there is none.
    """
    if state in IN_DOUBT:
        return None
    known = "we have no record of it" if state is None else f"it is {state} in our records"
    return f"order {client_order_id} rests at the venue: {known}"


def _is_explained(venue: Decimal, expected: Decimal, bought: Decimal) -> bool:
    return subtract(expected, multiply(bought, FEE_SHARE)) <= venue <= expected


def position_in_stream(entry_id: str) -> tuple[int, int]:
    """Return the id of a stream's entry so that ids can be compared."""
    time, _, sequence = entry_id.partition("-")
    return int(time), int(sequence or 0)
