"""The risk limits of an account, as the configuration writes them."""

from collections.abc import Mapping
from dataclasses import fields
from decimal import Decimal
from typing import Any, Final

from libs.common.domain.ids import Market
from libs.common.policy.risk_rules import PositionSide, RiskBook, RiskRules
from libs.common.policy.sessions import Sessions
from libs.common.runtime.sections import Section, WrongValue
from libs.common.runtime.setting_values import Count

_NUMBERS: Final = (
    "max_order_quantity",
    "max_order_value",
    "max_position_quantity",
    "max_position_value",
    "max_exposure",
    "collar_bps",
    "max_daily_loss",
)
_LISTS: Final = ("sessions", "allowed_symbols", "allowed_sides")


class RiskLimits(Section, frozen=True, kw_only=True):
    """What an order is held against. None: as for the account, and of an account no limit."""

    max_order_quantity: Decimal | None = None
    """Base units of one order."""
    max_order_value: Decimal | None = None
    """Value of one order in the quote currency: at its own price, at market at the venue's last."""
    max_position_quantity: Decimal | None = None
    """Base units of a market's position after the order, with all that rests on the order's side."""
    max_position_value: Decimal | None = None
    """The value of that."""
    max_open_orders: Count | None = None
    """Orders of the account that rest, with this one; market orders are not held against it."""
    max_exposure: Decimal | None = None
    """Gross value of all positions and resting orders of the account, with this order."""
    max_orders_per_minute: Count | None = None
    """Orders of the account in any minute; what is more is refused, while `limits` lets it wait."""
    collar_bps: Decimal | None = None
    """Basis points by which the order's price may differ from the alert's, either way: its own price, at market the
    venue's last. An alert without a price is refused."""
    max_daily_loss: Decimal | None = None
    """Realised and open loss since the account's day began, at which nothing is opened any more."""
    sessions: tuple[str, ...] | None = None
    """When orders may be sent: hours in a time zone, or the tables `always`, `forex` and `nyse`."""
    allowed_symbols: tuple[str, ...] | None = None
    """Markets by the venue's name, whatever their case; `*` stands for any characters."""
    allowed_sides: tuple[PositionSide, ...] | None = None
    """Which way an order may take a position: `[long]` refuses what would open a short one."""
    exempt_exits: bool | None = None
    """Whether orders that only lessen what is open go past all of these. None: yes."""

    def __post_init__(self) -> None:
        for name in _NUMBERS:
            number: Decimal | None = getattr(self, name)
            if number is not None and not (number.is_finite() and number > 0):
                raise WrongValue(name, "a number above 0")
        for name in _LISTS:
            if getattr(self, name) == ():
                raise WrongValue(name, "at least one; leave the key out where there is no limit")
        try:
            self.rules()
        except ValueError as error:
            raise WrongValue("sessions", str(error)) from error

    def rules(self) -> RiskRules:
        """Return what these limits say."""
        rules: dict[str, Any] = {one.name: getattr(self, one.name) for one in fields(RiskRules)}
        if self.sessions is not None:
            rules["sessions"] = Sessions.parse(self.sessions)
        if self.allowed_sides is not None:
            rules["allowed_sides"] = frozenset(self.allowed_sides)
        return RiskRules(**rules)


class RiskSettings(RiskLimits, frozen=True, kw_only=True):
    """The same for a whole account, and for some of its strategies and markets in place of that."""

    strategies: Mapping[str, RiskLimits] = {}
    """By the name that alerts give; a key set here comes before the account's."""
    symbols: Mapping[Market, RiskLimits] = {}
    """By the venue's name of the market; a key set here comes before the strategy's."""

    def book(self) -> RiskBook:
        """Return all of it, ready to judge by."""
        return RiskBook(
            self.rules(),
            {name: limits.rules() for name, limits in self.strategies.items()},
            {market: limits.rules() for market, limits in self.symbols.items()},
        )
