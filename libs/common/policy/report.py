"""What came in within a period and what became of it: counted one by one, in bounded memory."""

from collections import Counter
from collections.abc import Iterator
from typing import Final

import msgspec

from libs.common.domain.ids import AccountName, WebhookName
from libs.common.domain.lifecycle import InstructionState, OrderState
from libs.common.policy.distribution import Distribution

MOST_GROUPS: Final = 300
"""Strategies, symbols, accounts or webhooks that are told apart; names come from alerts, which may name anything."""

OTHERS: Final = "(others)"
"""What is counted together beyond that; no name that anything else has."""

PER_BPS: Final = 100
"""Slippage is counted in hundredths of a basis point."""


class OrderFate(msgspec.Struct, frozen=True):
    """One order, as far as it is known now."""

    state: OrderState
    has_filled: bool
    """At least a part of it."""
    sent_at_ms: int | None
    """When its last attempt left, by Redis' clock; None where that is not known."""
    answered_at_ms: int | None
    """When it was known what the venue made of it, or that it rests there; None where that is not known, or not when."""
    filled_at_ms: int | None
    """When it was known to be filled in full; None where it is not."""
    slippage_bps: float | None
    """By how much its fill was worse than the alert's price; None where it cannot be told."""


class ShareFate(msgspec.Struct, frozen=True):
    """What one account's share of an alert came to."""

    account: AccountName
    market: str
    """What the venue calls the symbol; empty where the account declined."""
    state: InstructionState
    reason: str
    first_sent_at_ms: int | None
    """When the first attempt at its first order left; None where none did, or only after a replay, or it is not known when."""
    orders: tuple[OrderFate, ...]


class AlertFate(msgspec.Struct, frozen=True):
    """An alert, with the shares of the accounts of one shard."""

    webhook: WebhookName
    strategy: str | None
    symbol: str
    """As sent."""
    received_at_ms: int
    """By the ingress' clock."""
    admitted_at_ms: int
    """By Redis' clock."""
    is_whole: bool
    """Whether this shard owns it: of several with shares of one alert only one does."""
    shares: tuple[ShareFate, ...]


class Asked(msgspec.Struct, frozen=True):
    """What is counted; None: all."""

    webhook: str | None = None
    strategy: str | None = None
    account: str | None = None
    symbol: str | None = None
    """As sent, or as the venue calls it."""

    @property
    def takes_posts(self) -> bool:
        """Return whether posts that were not admitted can be told by it: they name a webhook alone."""
        return self.strategy is None and self.account is None and self.symbol is None

    def takes(self, *, webhook: str, account: str | None = None) -> bool:
        """Tell whether something of a webhook, for an account where there is one, may be counted."""
        return _is_same(self.webhook, webhook) and (account is None or _is_same(self.account, account))

    def shares_of(self, alert: AlertFate) -> tuple[ShareFate, ...]:
        """Return the shares of an alert that are counted."""
        if not (_is_same(self.webhook, alert.webhook) and _is_same(self.strategy, alert.strategy)):
            return ()
        if self.account is None and self.symbol is None:
            return alert.shares
        return tuple(
            share
            for share in alert.shares
            if _is_same(self.account, share.account) and _is_same(self.symbol, alert.symbol, share.market)
        )


class Group:
    """What has one strategy, symbol, account or webhook in common."""

    __slots__ = ("alerts", "sent_ms", "slippage", "states")

    def __init__(self) -> None:
        self.alerts = 0
        self.states: Counter[InstructionState] = Counter()
        """Of instructions."""
        self.sent_ms = Distribution()
        """From an alert's receipt to its first order, of each instruction."""
        self.slippage = Distribution()
        """Of each order, in hundredths of a basis point."""

    def merge(self, other: "Group") -> None:
        """Count what another one has counted."""
        self.alerts += other.alerts
        self.states.update(other.states)
        self.sent_ms.merge(other.sent_ms)
        self.slippage.merge(other.slippage)


class Groups:
    """Groups by name, in bounded memory."""

    def __init__(self) -> None:
        self.found: dict[str | None, Group] = {}
        """By their names; None is that of alerts that name none."""

    def __getitem__(self, name: str | None) -> Group:
        """Return the group of a name, made where it is new; beyond `MOST_GROUPS` one that they share."""
        found = self.found.get(name)
        if found is None:
            name = name if len(self.found) < MOST_GROUPS else OTHERS
            found = self.found.setdefault(name, Group())
        return found

    def merge(self, others: "Groups") -> None:
        """Count what others have counted."""
        for name, group in others.found.items():
            self[name].merge(group)

    def busiest(self) -> Iterator[tuple[str | None, Group]]:
        """Yield all, by how many alerts they have; those that share a group come last."""
        order = sorted(
            self.found.items(),
            key=lambda one: (one[0] == OTHERS, -one[1].alerts, -one[1].states.total(), one[0] or ""),
        )
        yield from order


class Tally:
    """Counts alerts and posts."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self.alerts = 0
        self.outcomes: Counter[tuple[InstructionState, str]] = Counter()
        """Instructions, by state and reason."""
        self.orders: Counter[OrderState] = Counter()
        self.fills = 0
        """Orders of which at least a part was filled."""
        self.admitted_ms = Distribution()
        """From an alert's receipt to its admission."""
        self.sent_ms = Distribution()
        """From an alert's receipt to its first order, of each instruction."""
        self.answered_ms = Distribution()
        """From an order's sending until it was known what the venue made of it."""
        self.filled_ms = Distribution()
        """From an order's sending until it was known to be filled in full."""
        self.slippage = Distribution()
        """Of each order, in hundredths of a basis point."""
        self.strategies = Groups()
        self.symbols = Groups()
        self.accounts = Groups()
        self.webhooks = Groups()
        self.duplicates: Counter[str] = Counter()
        """By webhook."""
        self.refused: Counter[tuple[str, int, str]] = Counter()
        """By webhook, status and code."""
        self.gone = 0
        """Alerts of which the record is kept no longer; counted nowhere else."""
        self.unreadable = 0
        """Alerts of which a record cannot be read; counted nowhere else."""

    def count_alert(self, alert: AlertFate) -> None:
        """Count an alert, and the shares of it that are asked for."""
        shares = self._asked.shares_of(alert)
        if not shares:
            return
        groups = (self.strategies[alert.strategy], self.symbols[alert.symbol], self.webhooks[alert.webhook])
        # Of a single account there is one share, wherever it lies.
        if alert.is_whole or self._asked.account is not None:
            self.alerts += 1
            self.admitted_ms.add(alert.admitted_at_ms - alert.received_at_ms)
            for group in groups:
                group.alerts += 1
        for share in shares:
            own = self.accounts[share.account]
            own.alerts += 1
            self.outcomes[share.state, share.reason] += 1
            for group in (*groups, own):
                group.states[share.state] += 1
            if share.first_sent_at_ms is not None:
                took_ms = share.first_sent_at_ms - alert.received_at_ms
                self.sent_ms.add(took_ms)
                for group in (*groups, own):
                    group.sent_ms.add(took_ms)
            for order in share.orders:
                self._count_order(order, (*groups, own))

    def count_duplicate(self, webhook: str) -> None:
        """Count a post of an alert that was admitted before."""
        if self._asked.takes(webhook=webhook):
            self.duplicates[webhook] += 1

    def count_refused(self, webhook: str, status: int, code: str) -> None:
        """Count a post that was refused."""
        if self._asked.takes(webhook=webhook):
            self.refused[webhook, status, code] += 1

    def count_gone(self, webhook: str, account: str) -> None:
        """Count an alert of which there is no record any more, as far as what is left of it may be asked for."""
        if self._asked.takes(webhook=webhook, account=account):
            self.gone += 1

    def merge(self, other: "Tally") -> None:
        """Count what another one has counted, of another shard."""
        self.alerts += other.alerts
        self.fills += other.fills
        self.gone += other.gone
        self.unreadable += other.unreadable
        self.outcomes.update(other.outcomes)
        self.orders.update(other.orders)
        self.duplicates.update(other.duplicates)
        self.refused.update(other.refused)
        for name in ("admitted_ms", "sent_ms", "answered_ms", "filled_ms", "slippage"):
            getattr(self, name).merge(getattr(other, name))
        for name in ("strategies", "symbols", "accounts", "webhooks"):
            getattr(self, name).merge(getattr(other, name))

    @property
    def states(self) -> Counter[InstructionState]:
        """Return how many instructions are in each state."""
        found: Counter[InstructionState] = Counter()
        for (state, _), count in self.outcomes.items():
            found[state] += count
        return found

    def _count_order(self, order: OrderFate, groups: tuple[Group, ...]) -> None:
        self.orders[order.state] += 1
        self.fills += order.has_filled
        if order.sent_at_ms is not None and order.answered_at_ms is not None:
            self.answered_ms.add(order.answered_at_ms - order.sent_at_ms)
        if order.sent_at_ms is not None and order.filled_at_ms is not None:
            self.filled_ms.add(order.filled_at_ms - order.sent_at_ms)
        if order.slippage_bps is not None:
            slippage = round(order.slippage_bps * PER_BPS)
            self.slippage.add(slippage)
            for group in groups:
                group.slippage.add(slippage)


def _is_same(wanted: str | None, *values: str | None) -> bool:
    return wanted is None or wanted.casefold() in {value.casefold() for value in values if value}
