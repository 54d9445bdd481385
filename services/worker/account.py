"""What the worker knows of one account: its broker and the numbers that rule its orders."""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from libs.common.domain.ids import AccountName, Market
from libs.common.policy.risk_rules import NO_RISK, RiskBook
from libs.common.policy.symbols import SymbolMode, SymbolRule
from libs.common.runtime.account_settings import OnUnknown
from services.worker.brokers.port import Broker


@dataclass(frozen=True, slots=True)
class MarketLimits:
    """Microseconds between orders in the long run, and burst; or `NO_LIMIT`."""

    symbol: tuple[int, int]
    account: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Account:
    """One account of the configuration, ready to trade."""

    name: AccountName
    broker: Broker
    window_ms: int
    """How long a request may execute once it has left: `request_expiry`."""
    default_quantity: Decimal | None
    limits_of: Callable[[Market], MarketLimits]
    """The rate limits of one market, and of the account."""
    mode: SymbolMode = SymbolMode.AS_SENT
    """What becomes of a symbol that is not in the table."""
    rules: frozenset[SymbolRule] = frozenset()
    """How a symbol is written before that."""
    risk: RiskBook = NO_RISK
    """Its risk limits, and those of its strategies and symbols."""
    fill_wait_ms: int = 2_000
    """How long a market order is waited for that the venue has only taken."""
    on_unknown: OnUnknown = OnUnknown.HOLD
    exits_pass_breaker: bool = False
    """Whether an open breaker lets orders through that only lessen a position."""
    is_reconciled: bool = False
    """Whether its fills are noted, to be held against the venue's positions."""
