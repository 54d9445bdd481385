"""What TradingView would send for a dialect's template: every placeholder filled in, as for a strategy's order."""

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final

from libs.common.policy.symbols import split_exchange
from libs.common.wire.dialects import algo_trade_analytics, openalgo
from libs.common.wire.dialects.dialect import FREE_PLACES, PLACEHOLDER, Dialect

INTERVAL: Final = "15"
"""The resolution of the chart, minutes."""

_BAR_MS: Final = 900_000
_EXCHANGE: Final = "BINANCE"
_PLACEHOLDER: Final = re.compile(r"\{\{([^{}]*)\}\}")
_BUY: Final = "buy"
_SELL: Final = "sell"

_MESSAGES: Final = MappingProxyType(
    {
        (algo_trade_analytics.NAME, _BUY): "entryLong",
        (algo_trade_analytics.NAME, _SELL): "exitLong",
        (openalgo.SIGNAL_NAME, _BUY): "long_entry",
        (openalgo.SIGNAL_NAME, _SELL): "long_exit",
    }
)
"""What the script says as `alert_message` in dialects that TradingView's own words are not enough for."""


@dataclass(frozen=True, slots=True)
class Sample:
    """An order of a strategy that buys to be long and sells to be flat; nothing in it is checked."""

    symbol: str
    """With or without its `EXCHANGE:`."""
    action: str
    price: str
    quantity: str
    order_id: str
    """By which some dialects tell one alert from the next."""
    at_ms: int
    """When it fires."""


def sample_body(dialect: Dialect, sample: Sample, secret: str = "") -> str:
    """Return a dialect's template as TradingView would send it.

    Args:
        dialect: Whose.
        sample: What it is to say.
        secret: Put where the dialect has its credential, or as a field `secret` where it has no such place. Empty: the
            place that there is stays empty.
    """
    values = _values(sample, _MESSAGES.get((dialect.name, sample.action.lower()), sample.action))
    # TradingView leaves a name that is none as it was typed.
    body = _PLACEHOLDER.sub(lambda found: values.get(found[1].strip(), found[0]), dialect.template)
    is_json = dialect.split is None
    written = json.dumps(secret, ensure_ascii=False)[1:-1] if is_json else secret
    if PLACEHOLDER in body or not secret:
        return body.replace(PLACEHOLDER, written)
    if not is_json:
        return f"{body} {FREE_PLACES[0]}={written}"
    return body.replace("{", f'{{\n  "{FREE_PLACES[0]}": "{written}",', 1)


def _values(sample: Sample, message: str) -> dict[str, str]:
    exchange, ticker = split_exchange(sample.symbol)
    is_sell = sample.action.lower() == _SELL
    before, after = (sample.quantity, "0") if is_sell else ("0", sample.quantity)
    return {
        "ticker": ticker,
        "exchange": exchange or _EXCHANGE,
        "interval": INTERVAL,
        **dict.fromkeys(("open", "high", "low", "close"), sample.price),
        "volume": sample.quantity,
        "time": _time(sample.at_ms - sample.at_ms % _BAR_MS),
        "timenow": _time(sample.at_ms),
        "strategy.order.action": sample.action,
        "strategy.order.contracts": sample.quantity,
        "strategy.order.price": sample.price,
        "strategy.order.id": sample.order_id,
        "strategy.order.comment": sample.order_id,
        "strategy.order.alert_message": message,
        "strategy.position_size": after,
        "strategy.market_position": "flat" if is_sell else "long",
        "strategy.market_position_size": after,
        "strategy.prev_market_position": "long" if is_sell else "flat",
        "strategy.prev_market_position_size": before,
    }


def _time(at_ms: int) -> str:
    """Return a time as TradingView writes it: UTC, to the second."""
    return datetime.fromtimestamp(at_ms // 1_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
