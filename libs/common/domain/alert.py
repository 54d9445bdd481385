"""Alerts: what TradingView sent, once its dialect has been read."""

from decimal import Decimal
from enum import StrEnum

import msgspec

from libs.common.domain.ids import AccountName, AlertId, WebhookName


class Action(StrEnum):
    """What the alert asks for."""

    BUY = "buy"
    SELL = "sell"


class AlertContent(msgspec.Struct, frozen=True, kw_only=True):
    """The meaning of a body, free of its dialect and of its credential."""

    dialect: str
    action: Action
    symbol: str
    """As sent."""
    quantity: Decimal | None = None
    """Base units, above 0; None takes the account's `default_quantity`."""
    price: Decimal | None = None
    """The reference price, above 0."""
    strategy: str | None = None
    sender_id: str | None = None
    """The sender's own id for the alert: its dedup key."""
    fired_at_ms: int | None = None


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
