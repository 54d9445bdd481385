"""What limits hold for an account's orders, and what its strategies and symbols set in their place."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from decimal import Decimal
from enum import StrEnum
from typing import Final

from libs.common.domain.ids import Market
from libs.common.policy.sessions import Sessions


class PositionSide(StrEnum):
    """A way that positions may go."""

    LONG = "long"
    SHORT = "short"


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskRules:
    """The limits of an order; None is no limit. Quantities are base units, values the account's quote currency."""

    max_order_quantity: Decimal | None = None
    max_order_value: Decimal | None = None
    max_position_quantity: Decimal | None = None
    """After the order, with all that rests on its side."""
    max_position_value: Decimal | None = None
    max_open_orders: int | None = None
    """Of the account, with this one; held against orders that may rest."""
    max_exposure: Decimal | None = None
    """Of the account: gross value of its positions and resting orders, with this one."""
    max_orders_per_minute: int | None = None
    """Of the account, with this one."""
    collar_bps: Decimal | None = None
    """How far the order's price may lie from the alert's, either way: its own, at market the venue's last."""
    max_daily_loss: Decimal | None = None
    """Realised and open, since the account's day began: at it, nothing is opened."""
    sessions: Sessions | None = None
    """When it may be sent."""
    allowed_symbols: tuple[str, ...] | None = None
    """Names of markets; `*` stands for any characters."""
    allowed_sides: frozenset[PositionSide] | None = None
    """Which way an order may move a position beyond nothing."""
    exempt_exits: bool | None = None
    """Whether orders that only lessen what is open go past all of them. None: yes."""

    @property
    def limits_positions(self) -> bool:
        """Tell whether a position that is about to change would make a verdict wrong."""
        return (
            self.max_position_quantity is not None
            or self.max_position_value is not None
            or self.allowed_sides is not None
        )

    @property
    def exempts_exits(self) -> bool:
        """Tell whether they do."""
        return self.exempt_exits is not False


NO_RULES: Final = RiskRules()


@dataclass(frozen=True, slots=True)
class RiskBook:
    """The rules of an account, and what its strategies and symbols set in their place."""

    account: RiskRules = NO_RULES
    strategies: Mapping[str, RiskRules] = field(default_factory=dict)
    symbols: Mapping[Market, RiskRules] = field(default_factory=dict)

    def rules_for(self, strategy: str | None, market: Market) -> RiskRules | None:
        """Return what holds for an order; None where nothing does.

        For each rule the symbol's word comes first, then the strategy's, then the account's.
        """
        rules = self.account
        if self.strategies and strategy is not None:
            rules = _overridden(rules, self.strategies.get(strategy))
        if self.symbols:
            rules = _overridden(rules, self.symbols.get(market))
        return rules if _has_limits(rules) else None


NO_RISK: Final = RiskBook()


def _overridden(rules: RiskRules, own: RiskRules | None) -> RiskRules:
    if own is None:
        return rules
    return replace(rules, **{name: value for name in _NAMES if (value := getattr(own, name)) is not None})


_NAMES: Final = tuple(one.name for one in fields(RiskRules))
_LIMITS: Final = tuple(name for name in _NAMES if name != "exempt_exits")


def _has_limits(rules: RiskRules) -> bool:
    return any(getattr(rules, name) is not None for name in _LIMITS)
