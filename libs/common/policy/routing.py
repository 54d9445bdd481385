"""From what an alert means to the lanes it goes to: which account takes it, and what its venue calls the symbol."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from operator import attrgetter
from typing import Final

import msgspec

from libs.common.domain.alert import Action, AlertContent
from libs.common.domain.errors import AdmissionError
from libs.common.domain.ids import AccountName, AlertId, LaneName, Market, lane_name
from libs.common.domain.instruction import Instruction
from libs.common.domain.lifecycle import InstructionState
from libs.common.domain.reasons import Reason
from libs.common.policy.allowance import ANYTHING, Only, check_allowed
from libs.common.policy.symbols import Mapped, SymbolMap, SymbolMode, SymbolRule, Unmapped

MAX_KNOWN: Final = 4_096
"""Decisions that a router remembers."""

_MORE: Final = (
    "unit",
    "order_type",
    "limit_price",
    "stop_price",
    "take_profit",
    "stop_loss",
    "reduce_only",
    "time_in_force",
    "position",
    "position_size",
    "previous_position",
    "previous_position_size",
)
"""What an alert may say besides, and its instructions say after it."""

_more: Final = attrgetter(*_MORE)
_NO_MORE: Final = _more(AlertContent(dialect="", action=Action.BUY, symbol=""))


class LaneBy(StrEnum):
    """What keeps its order of arrival."""

    SYMBOL = "symbol"
    """One order of arrival per account and symbol."""
    STRATEGY = "strategy"
    """One per account, symbol and strategy: strategies trade the same symbol side by side.

    It takes a dialect that names the strategy: alerts that name none are ordered by symbol all the same.
    """


@dataclass(frozen=True, slots=True)
class Destination:
    """An account that takes the alert."""

    account: AccountName
    market: Market
    lane: LaneName
    because: str
    """How the market was found, in words."""


@dataclass(frozen=True, slots=True)
class Declined:
    """An account that does not: its share ends at once, and says why."""

    account: AccountName
    lane: LaneName
    """By the symbol as sent."""
    state: InstructionState
    """REJECTED or SKIPPED."""
    reason: Reason
    detail: str
    field: str | None
    """The field of the alert that is to blame; None where the configuration is."""


Share = Destination | Declined


@dataclass(frozen=True, slots=True)
class Route:
    """One account that a webhook trades."""

    account: AccountName
    lane_by: LaneBy = LaneBy.SYMBOL
    mode: SymbolMode = SymbolMode.AS_SENT
    rules: frozenset[SymbolRule] = frozenset()
    only: Only = ANYTHING
    default_quantity: Decimal | None = None
    """Base units, of an alert that names no quantity; where it goes does not depend on it."""
    is_known: bool = True
    """Whether the configuration has it; a webhook made at run time may outlive its account."""


class Router:
    """The accounts of one webhook, and the symbol table."""

    def __init__(self, routes: Sequence[Route], symbols: SymbolMap, only: Only = ANYTHING) -> None:
        """Args:
        routes: One for each account, at least one.
        symbols: What symbols are to their venues.
        only: The webhook's own lists.
        """
        self._only = only
        self._routes = tuple(routes)
        self._symbols = symbols
        self.accounts = tuple(route.account for route in self._routes)
        self.default_quantities = {route.account: route.default_quantity for route in self._routes}
        self._known: dict[tuple[Action, str, str | None, str | None], tuple[Share, ...]] = {}

    def shares(self, content: AlertContent) -> tuple[Share, ...]:
        """Return each account's share of an alert, in the order of the webhook's accounts; at least one takes it.

        Raises:
            AdmissionError: 422, it is on none of the webhook's lists, or no account takes it.
        """
        # A strategy sends the same symbols again and again.
        asked = (content.action, content.symbol, content.exchange, content.strategy)
        known = self._known.get(asked)
        if known is None:
            known = self._decide(content)
            if len(self._known) >= MAX_KNOWN:
                self._known.clear()
            self._known[asked] = known
        return known

    def _decide(self, content: AlertContent) -> tuple[Share, ...]:
        refused = check_allowed(content, self._only)
        if refused is not None:
            raise AdmissionError(422, Reason.NOT_ALLOWED, refused.detail, field=refused.field)
        shares = tuple(self._share(route, content) for route in self._routes)
        for share in shares:
            if isinstance(share, Destination):
                return shares
        # The first says it best: for most webhooks it is the only one.
        first = shares[0]
        assert isinstance(first, Declined)
        others = f"; {len(shares) - 1} more accounts decline it too" if len(shares) > 1 else ""
        raise AdmissionError(422, first.reason, first.detail + others, field=first.field)

    def _share(self, route: Route, content: AlertContent) -> Share:
        account = route.account
        if not route.is_known:
            detail = f"the configuration has no account {account}"
            return _declined(
                account, content, InstructionState.REJECTED, Reason.UNKNOWN_ACCOUNT, detail, None
            )
        refused = check_allowed(content, route.only)
        if refused is not None:
            detail = f"account {account} does not take it: {refused.detail}"
            return _declined(
                account, content, InstructionState.SKIPPED, Reason.NOT_ALLOWED, detail, refused.field
            )
        match self._symbols.map(content.symbol, content.exchange, account, route.mode, route.rules):
            case Mapped(market, because):
                strategy = content.strategy if route.lane_by is LaneBy.STRATEGY else None
                return Destination(account, market, lane_name(account, market, strategy), because)
            case Unmapped() as unmapped:
                detail = unmapped.detail(content.symbol, account)
                return _declined(
                    account, content, InstructionState.REJECTED, Reason.UNKNOWN_SYMBOL, detail, "symbol"
                )


def instruction_of(
    alert_id: AlertId, content: AlertContent, share: Share, traceparent: str | None = None
) -> Instruction:
    """Return what an alert asks of one account; of one that declines, what it would have been."""
    market = share.market if isinstance(share, Destination) else Market(content.symbol)
    is_as_sent = isinstance(share, Destination) and market == content.symbol
    plain = Instruction(
        alert_id=alert_id,
        account=share.account,
        market=market,
        action=content.action,
        quantity=content.quantity,
        price=content.price,
        strategy=content.strategy,
        # A replay of what was declined is mapped again too.
        symbol=None if is_as_sent else content.symbol,
        exchange=content.exchange,
        traceparent=traceparent,
    )
    # Most say no more, and each field costs where it is named.
    more = _more(content)
    return (
        plain if more == _NO_MORE else msgspec.structs.replace(plain, **dict(zip(_MORE, more, strict=True)))
    )


def _declined(
    account: AccountName,
    content: AlertContent,
    state: InstructionState,
    reason: Reason,
    detail: str,
    field: str | None,
) -> Declined:
    return Declined(account, lane_name(account, Market(content.symbol)), state, reason, detail, field)
