"""Records as `--json` shows them. Field names are an interface: they stay."""

from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from libs.common.domain.alert import Alert, ExitLevel
    from libs.common.domain.ids import AccountName, Market
    from libs.common.policy.fills import Position
    from libs.common.store.dead_letters import DeadLetter
    from libs.common.store.journal import JournalEntry, Post
    from libs.common.store.published import PublishedBalance, PublishedPosition
    from libs.common.store.records import AlertRecord, InstructionRecord, OrderRecord

Document = dict[str, Any]


def alert_document(record: "AlertRecord") -> Document:
    """Return an alert; with one instruction its account, market and order are repeated at the top."""
    alert, content, decisive = record.alert, record.alert.content, record.decisive
    instructions = [instruction_document(instruction) for instruction in record.instructions]
    document: Document = {
        "alert_id": alert.alert_id,
        "sender_id": content.sender_id,
        "state": None if decisive is None else decisive.state.value,
        "reason": None if decisive is None else decisive.reason,
        "webhook": alert.webhook,
        "strategy": content.strategy,
        "action": content.action.value,
        "quantity": decimal(content.quantity),
        "symbol": content.symbol,
        "unit": content.unit.value,
        "order_type": content.order_type.value,
        "limit_price": decimal(content.limit_price),
        "stop_price": decimal(content.stop_price),
        "take_profit": _exit_level(content.take_profit),
        "stop_loss": _exit_level(content.stop_loss),
        "position": None if content.position is None else content.position.value,
        "exchange": content.exchange,
        "interval": content.interval,
        "bar_at_ms": content.bar_at_ms,
        "max_age_ms": content.max_age_ms,
        "price": decimal(content.price),
        "received_at_ms": alert.received_at_ms,
        "fired_at_ms": content.fired_at_ms,
        "dialect": content.dialect,
        "trace_id": alert.trace_id or None,
    }
    if len(instructions) == 1:
        document |= {name: instructions[0][name] for name in ("account", "market", "client_order_id")}
    return document | {"instructions": instructions}


def whole_alert_document(record: "AlertRecord", history: "Sequence[JournalEntry]") -> Document:
    """Return an alert with its body and all that happened to it."""
    document = alert_document(record)
    instructions = document.pop("instructions")
    return document | {
        "raw": record.alert.raw,
        "history": [history_document(entry) for entry in history],
        "instructions": instructions,
    }


def instruction_document(record: "InstructionRecord") -> Document:
    """Return an alert's fate on one account."""
    return {
        "account": record.account,
        "market": record.market,
        "state": record.state.value,
        "reason": record.reason,
        "detail": record.detail or None,
        "waits_for": record.waits_for,
        "client_order_id": record.orders[0].client_order_id if record.orders else None,
        "orders": [_own_order(order) for order in record.orders],
        "slippage_bps": record.slippage_bps,
        "attempts": record.attempts,
        "admitted_at_ms": record.admitted_at_ms,
        "deadline_at_ms": record.deadline_ms,
        "ended_at_ms": record.ended_at_ms,
    }


def order_document(record: "OrderRecord") -> Document:
    """Return an order by itself."""
    own = _own_order(record)
    return {
        "client_order_id": own.pop("client_order_id"),
        "alert_id": record.alert_id,
        "account": record.account,
        "symbol": record.market,
        **own,
    }


def history_document(entry: "JournalEntry") -> Document:
    """Return one state change."""
    return {
        "at_ms": entry.at_ms,
        "event": entry.event,
        "account": entry.account,
        "reason": entry.reason or None,
        "client_order_id": entry.client_order_id,
        "attempt": int(entry.detail) if entry.is_attempt and entry.detail.isdigit() else None,
        "detail": None if entry.is_attempt else entry.detail or None,
        "note": _note(entry.note),
    }


def _note(text: str) -> object:
    """Return what led to an order, or what the venue said, as it was written."""
    if not text:
        return None
    import msgspec

    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:  # a record of another version, or damaged: better shown than hidden
        return text


def change_document(entry: "JournalEntry", alert: "Alert | None") -> Document:
    """Return a state change by itself, with what its alert is about."""
    content = None if alert is None else alert.content
    return {
        **history_document(entry),
        "alert_id": entry.alert_id or None,
        "account": entry.account or None,
        "lane": entry.lane or None,
        "webhook": None if alert is None else alert.webhook,
        "strategy": None if content is None else content.strategy,
        "symbol": None if content is None else content.symbol,
        "action": None if content is None else content.action.value,
        "quantity": None if content is None else decimal(content.quantity),
    }


def letter_document(letter: "DeadLetter") -> Document:
    """Return a dead letter."""
    return {
        "dead_letter_id": letter.letter_id,
        "at_ms": letter.at_ms,
        "alert_id": letter.alert_id or None,
        "account": letter.account or None,
        "symbol": letter.market or None,
        "lane": letter.lane,
        "state": letter.state,
        "reason": letter.reason,
        "detail": letter.detail or None,
        "attempts": letter.attempts,
        "deadline_at_ms": letter.deadline_ms,
    }


def post_document(post: "Post") -> Document:
    """Return a post to a webhook."""
    return {
        "event_id": post.event_id,
        "at_ms": post.at_ms,
        "webhook": post.webhook,
        "outcome": post.outcome.value,
        "status": post.status,
        "reason": post.code,
        "code": post.code,
        "field": post.field or None,
        "detail": post.detail or None,
        "alert_id": post.alert_id or None,
        "raw": post.raw or None,
    }


def position_document(
    account: "AccountName", market: "Market", position: "Position", account_cash: Decimal | None
) -> Document:
    """Return a paper position, as of now; `unrealised` is what closing it at the last price would earn, before fees."""
    last = position.last_price
    return {
        "account": account,
        "symbol": market,
        "quantity": decimal(position.quantity),
        "average_price": decimal(position.average_price),
        "last_price": decimal(last),
        "unrealised": None if last is None else decimal(position.quantity * last - position.cost),
        "realised": decimal(position.realised),
        "fees": decimal(position.fees),
        "account_cash": decimal(account_cash),
        "account_equity": None,
        "expected": None,
        "drift": None,
        "read_at_ms": None,
    }


def published_document(
    account: "AccountName",
    market: "Market",
    position: "PublishedPosition",
    balance: "PublishedBalance | None",
) -> Document:
    """Return a position as a worker last read it; `drift` is how much it is above what its orders add up to."""
    return {
        "account": account,
        "symbol": market,
        "quantity": decimal(position.quantity),
        "average_price": None,
        "last_price": decimal(position.last_price),
        "unrealised": None,
        "realised": None,
        "fees": None,
        "account_cash": None,
        "account_equity": None if balance is None else decimal(balance.equity),
        "expected": decimal(position.expected),
        "drift": decimal(position.drift),
        "read_at_ms": position.at_ms,
    }


def decimal(value: Decimal | None) -> str | None:
    """Return an exact number as text, never with an exponent."""
    return None if value is None else f"{value:f}"


def _exit_level(level: "ExitLevel | None") -> Document | None:
    return None if level is None else {"value": decimal(level.value), "unit": level.unit.value}


def _own_order(record: "OrderRecord") -> Document:
    plan, report = record.plan, record.report
    return {
        "client_order_id": record.client_order_id,
        "side": None if plan is None else plan.side.value,
        "type": None if plan is None else plan.type.value,
        "quantity": None if plan is None else decimal(plan.quantity),
        "state": record.state.value,
        "attempts": record.attempts,
        "order_id": None if report is None else report.order_id or None,
        "filled_quantity": None if report is None else decimal(report.filled_quantity),
        "average_price": None if report is None else decimal(report.average_price),
        "fee": None if report is None else decimal(report.fee),
        "slippage_bps": record.slippage_bps,
        "signed_at_ms": record.signed_at_ms,
        "ended_at_ms": record.ended_at_ms,
    }
