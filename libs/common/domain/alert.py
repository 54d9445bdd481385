"""Alerts: what TradingView sent, once its dialect has been read."""

from decimal import Decimal
from enum import StrEnum
from typing import Final

import msgspec

from libs.common.domain.ids import AccountName, AlertId, WebhookName
from libs.common.domain.order import OrderType


class Action(StrEnum):
    """What the alert asks for."""

    BUY = "buy"
    SELL = "sell"
    CLOSE_LONG = "close_long"
    """Close the long position, or `quantity` of it; never opens a short one."""
    CLOSE_SHORT = "close_short"
    """Close the short position, or `quantity` of it; never opens a long one."""
    CLOSE_ALL = "close_all"
    """Close whatever is open in the market."""
    TARGET = "target"
    """Trade until the position is `position`, of `quantity`."""
    FLIP = "flip"
    """Close what is open on the other side, and open `position`, of `quantity`."""
    CANCEL = "cancel"
    """Cancel the open orders of the market."""


CLOSES: Final = frozenset({Action.CLOSE_LONG, Action.CLOSE_SHORT, Action.CLOSE_ALL})
"""The actions that only ever end a position."""

# Looked up once: a member of an enumeration costs as much each time as a call. They are asked for every alert.
_NEVER_OPEN: Final = CLOSES | {Action.CANCEL}
_GOALS: Final = frozenset({Action.TARGET, Action.FLIP})


class MarketPosition(StrEnum):
    """Which way a position goes, in TradingView's words."""

    LONG = "long"
    SHORT = "short"
    FLAT = "flat"


class QuantityUnit(StrEnum):
    """What a quantity counts."""

    UNITS = "units"
    """Base units, contracts or shares."""
    QUOTE = "quote"
    """The order's value in the quote currency."""
    PERCENT_OF_EQUITY = "percent_of_equity"
    PERCENT_OF_POSITION = "percent_of_position"
    """Of what is open in the market."""
    RISK_QUOTE = "risk_quote"
    """What is lost at the stop-loss, in the quote currency; takes one."""
    RISK_PERCENT = "risk_percent"
    """What is lost at the stop-loss, in percent of the equity; takes one."""


RISK_UNITS: Final = frozenset({QuantityUnit.RISK_QUOTE, QuantityUnit.RISK_PERCENT})
"""The units that are counted from a stop-loss."""


class TimeInForce(StrEnum):
    """How long an order may rest."""

    DAY = "day"
    GTC = "gtc"
    IOC = "ioc"
    FOK = "fok"
    OPG = "opg"
    """At the opening."""
    CLS = "cls"
    """At the close."""


class ExitUnit(StrEnum):
    """How the level of a take-profit or stop-loss is given."""

    PRICE = "price"
    DISTANCE = "distance"
    """From the entry, in the quote currency."""
    PERCENT = "percent"
    """From the entry, in percent of it."""


class ExitLevel(msgspec.Struct, frozen=True):
    """Where to take profit or to stop a loss."""

    value: Decimal
    """Above 0."""
    unit: ExitUnit = ExitUnit.PRICE


class AlertContent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The meaning of a body, free of its dialect and of its credential."""

    dialect: str
    action: Action
    symbol: str
    """As sent."""
    exchange: str | None = None
    """As sent; upper and lower case mean the same."""
    quantity: Decimal | None = None
    """Above 0, in `unit`. None: the account's `default_quantity`; of a close, all of it."""
    unit: QuantityUnit = QuantityUnit.UNITS
    order_type: OrderType = OrderType.MARKET
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    take_profit: ExitLevel | None = None
    stop_loss: ExitLevel | None = None
    reduce_only: bool = False
    time_in_force: TimeInForce | None = None
    price: Decimal | None = None
    """The reference price, above 0; never an order's price."""
    strategy: str | None = None
    sender_id: str | None = None
    """The sender's own id for the alert: its dedup key."""
    bar_at_ms: int | None = None
    """The time of the bar that the alert is about, as sent; many templates put the time of firing there."""
    interval: str | None = None
    """The resolution of its chart, as sent."""
    fired_at_ms: int | None = None
    max_age_ms: int | None = None
    """How old it may become by its own word; the webhook's own maximum holds too."""
    position: MarketPosition | None = None
    """After the alert: what a target or a flip asks for, and what others expect."""
    position_size: Decimal | None = None
    """At least 0."""
    previous_position: MarketPosition | None = None
    """Before the alert."""
    previous_position_size: Decimal | None = None
    """At least 0."""


def is_exit(content: AlertContent) -> bool:
    """Tell whether an alert can only ever lessen a position or take orders back, by its own words."""
    if content.action in _NEVER_OPEN or content.reduce_only:
        return True
    return content.action in _GOALS and content.position is MarketPosition.FLAT


def needs_quantity(content: AlertContent) -> bool:
    """Tell whether an alert names no quantity although what it asks for has a size."""
    if content.quantity is not None or content.action in _NEVER_OPEN:
        return False
    return content.action not in _GOALS or content.position is not MarketPosition.FLAT


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """An admitted alert, as it is stored and shown."""

    alert_id: AlertId
    webhook: WebhookName
    content: AlertContent = msgspec.field(name="signal")
    """Stored under its first name, so that older records stay readable."""
    received_at_ms: int
    """By the ingress's clock; ages are counted by Redis' clock from admission."""
    accounts: tuple[AccountName, ...]
    raw: str
    """The body with every credential replaced by `***`."""
    trace_id: str | msgspec.UnsetType = msgspec.UNSET
    """Of its trace, where the ingress was traced."""
