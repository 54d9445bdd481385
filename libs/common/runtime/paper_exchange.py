"""From a paper account's settings to the exchange that is simulated for it."""

import random
from dataclasses import dataclass, field, fields
from decimal import Decimal

from libs.common.domain.venue import Instrument
from libs.common.policy.book import Book
from libs.common.policy.faults import Faults, Latency
from libs.common.policy.order_checks import Rules, always_open
from libs.common.policy.retry import Uniform
from libs.common.policy.sessions import Sessions
from libs.common.runtime.account_settings import PaperAccount
from libs.common.runtime.paper_settings import PRESETS


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperExchange:
    """How one account's exchange behaves."""

    rules: Rules = field(default_factory=Rules)
    """Of every market."""
    default_price: Decimal | None = None
    """Where neither an order nor an earlier one gives a price; None: there is none then."""
    cash: Decimal = Decimal(0)
    """What the account started with."""
    currency: str = ""
    faults: Faults = field(default_factory=Faults)
    latency: Latency = field(default_factory=Latency)
    seed: int = 0
    """What all its dice are thrown from."""

    def dice(self, *of: object) -> Uniform:
        """Return the dice of one event, the same for the same event: whichever worker throws them."""
        if not self.rules.partial_fills:
            return _unused
        return random.Random(":".join(map(str, (self.seed, *of)))).uniform  # noqa: S311 - a game, no secret

    def price_for(self, book: Book, reference_price: Decimal | None) -> Decimal | None:
        """Return the price that an order brings to its market; None where it trades at the last one, if any."""
        if reference_price is not None:
            return reference_price
        return self.default_price if book.last_price is None else None


def paper_exchange(account: PaperAccount) -> PaperExchange:
    """Return the exchange that an account's settings ask for, its preset's figures where they leave 0."""
    preset = PRESETS[account.preset]
    own, given = account.faults, preset.faults
    faults = {one.name: getattr(own, one.name) or getattr(given, one.name) for one in fields(Faults)}
    latency = (account.latency_ms, account.latency_most_ms)
    least_ms, most_ms = latency if any(latency) else (preset.latency_ms, preset.latency_most_ms)
    return PaperExchange(
        rules=Rules(
            slippage_bps=exact(account.slippage_bps) or preset.slippage_bps,
            fee_bps=exact(account.fee_bps) or preset.fee_bps,
            instrument=Instrument(
                quantity_step=account.quantity_step,
                price_step=account.price_step,
                min_quantity=account.min_quantity,
                max_quantity=account.max_quantity,
                min_value=account.min_value,
            ),
            is_open=Sessions.parse(account.hours).is_open if account.hours else always_open,
            partial_fills=account.partial_fills or preset.partial_fills,
        ),
        default_price=account.default_price,
        cash=account.cash,
        currency=account.currency,
        faults=Faults(**faults),
        latency=Latency(least_ms=least_ms, most_ms=most_ms),
        seed=account.seed,
    )


def _unused(low: float, high: float) -> float:
    raise AssertionError(f"all fills are whole, asked for {low} to {high}")


def exact(number: float) -> Decimal:
    """Return a number as it was written: 2.5, not the binary fraction next to it."""
    return Decimal(repr(number))
