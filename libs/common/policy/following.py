"""What a look-up says about an order that rests at its venue, and when to ask again. Pure."""

from decimal import Decimal
from typing import Final

import msgspec

from libs.common.domain.lifecycle import RESTING, OrderState
from libs.common.domain.order import OrderPlan, OrderReport
from libs.common.policy.exact import divide, multiply, plain, subtract
from libs.common.policy.retry import Uniform

SOONEST_MS: Final = 1_000
"""Between two look-ups of a young order."""

LATEST_MS: Final = 10_000
"""The same for one that has rested for long."""

AGE_PER_POLL: Final = 20
"""An order is looked up again after a twentieth of the time for which it has rested."""

JITTER: Final = 0.2
"""The share by which a pause may be longer or shorter, so that orders of one moment do not stay together."""

LOST_LOOK_UPS: Final = 3
"""Look-ups in a row that find nothing before an order counts as lost."""

LOST_MS: Final = 30_000
"""And the time that they must span."""

LOST_POLL_MS: Final = 300_000
"""Between two look-ups of a lost order."""

_PRICE_STEP: Final = Decimal("1e-12")


class Fill(msgspec.Struct, frozen=True, kw_only=True):
    """A quantity that was filled since an order was looked up last."""

    quantity: Decimal
    """Base units, above 0."""
    price: Decimal | None
    """What one unit of it cost on average, as far as the venue's averages tell; None where it tells none."""
    total: Decimal
    """All that is filled now."""


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What an order is now that the venue was asked."""

    state: OrderState
    report: OrderReport
    """With everything that was ever told to be filled."""
    fill: Fill | None

    @property
    def has_ended(self) -> bool:
        """Return whether nothing more can happen to the order."""
        return self.state not in RESTING


class Absence(msgspec.Struct, frozen=True, kw_only=True):
    """Look-ups in a row to which the venue said that it knows no such order."""

    look_ups: int = 0
    since_ms: int = 0
    """When the first of them was made."""
    is_lost: bool = False
    """Whether they were enough to count the order as lost."""


PRESENT: Final = Absence()


def see(plan: OrderPlan, state: OrderState, known: OrderReport | None, report: OrderReport) -> Seen:
    """Return what a report makes of an order.

    What was filled once stays filled: a venue's answer may come from a replica that lags. An order of which a part is
    filled was not refused, whatever the venue calls the end of its rest.

    Args:
        plan: The order.
        state: As known so far: ACCEPTED or PARTIAL.
        known: The last report; None where the venue acknowledged the order and said no more.
        report: What the venue says now.
    """
    before = Decimal(0) if known is None else known.filled_quantity
    told = report.filled_quantity
    if report.state is OrderState.FILLED and not told:
        told = plan.quantity
    if told < before and known is not None:
        report = msgspec.structs.replace(
            report, filled_quantity=before, average_price=known.average_price, fee=known.fee
        )
        told = before
    now = _state(report.state, state, told)
    report = msgspec.structs.replace(report, state=now, filled_quantity=told)
    quantity = subtract(told, before)
    fill = None
    if quantity > 0:
        fill = Fill(quantity=quantity, price=_price(known, report, quantity), total=told)
    return Seen(state=now, report=report, fill=fill)


def miss(absence: Absence, now_ms: int) -> Absence:
    """Return the absence of an order after one more look-up that found nothing."""
    since_ms = absence.since_ms if absence.look_ups else now_ms
    look_ups = absence.look_ups + 1
    is_lost = absence.is_lost or (look_ups >= LOST_LOOK_UPS and now_ms - since_ms >= LOST_MS)
    return Absence(look_ups=look_ups, since_ms=since_ms, is_lost=is_lost)


def poll_ms(age_ms: int, uniform: Uniform, *, limit_in_ms: int | None = None) -> int:
    """Return the pause before an order is looked up again.

    Args:
        age_ms: How long it has rested.
        uniform: `random.uniform` or a stub.
        limit_in_ms: How long it may rest yet; None for ever. It is looked up again by then.
    """
    pause_ms = min(LATEST_MS, max(SOONEST_MS, age_ms // AGE_PER_POLL))
    pause_ms = int(pause_ms * uniform(1 - JITTER, 1 + JITTER))
    if limit_in_ms is not None and limit_in_ms > 0:
        pause_ms = min(pause_ms, limit_in_ms)
    return pause_ms


def fill_words(fill: Fill, plan: OrderPlan) -> str:
    """Return a fill in words, for the journal."""
    price = "" if fill.price is None else f" at {_text(fill.price)}"
    return f"{_text(fill.quantity)}{price}, {_text(fill.total)} of {_text(plan.quantity)}"


def _text(number: Decimal) -> str:
    return format(plain(number), "f")


def _state(told: OrderState, before: OrderState, filled: Decimal) -> OrderState:
    if told in RESTING:
        return OrderState.PARTIAL if filled or before is OrderState.PARTIAL else OrderState.ACCEPTED
    if told is OrderState.REJECTED and (filled or before is OrderState.PARTIAL):
        return OrderState.CANCELED
    return told


def _price(known: OrderReport | None, report: OrderReport, quantity: Decimal) -> Decimal | None:
    average = report.average_price
    if average is None or known is None or not known.filled_quantity or known.average_price is None:
        return average
    paid = subtract(
        multiply(average, report.filled_quantity), multiply(known.average_price, known.filled_quantity)
    )
    price = divide(paid, quantity, _PRICE_STEP)
    # Averages are rounded by the venue: of a small fill after a large one they may say nonsense.
    return price if price > 0 else average
