"""Bodies of alerts and what they are read as, through the door that every body takes."""

import json
import re
from typing import Any

import pytest

from libs.common.domain.alert import AlertContent
from libs.common.domain.errors import AdmissionError
from libs.common.wire.dialects.catalogue import BY_NAME
from libs.common.wire.dialects.dialect import Document
from libs.common.wire.dialects.recognition import recognise

SECRET = "Sekret4711"

_PLACEHOLDERS = {
    "ticker": "BTCUSDT.P",
    "exchange": "BINANCE",
    "interval": "15",
    "open": "68000.5",
    "high": "68200",
    "low": "67900",
    "close": "68120.5",
    "volume": "1234.5",
    "time": "2026-11-03T09:15:00Z",
    "timenow": "2026-11-03T09:15:01Z",
    "syminfo.currency": "USDT",
    "syminfo.basecurrency": "BTC",
    "strategy.order.action": "buy",
    "strategy.order.contracts": "0.25",
    "strategy.order.price": "68120.5",
    "strategy.order.id": "Long",
    "strategy.order.comment": "Upper band",
    "strategy.order.alert_message": "",
    "strategy.position_size": "0.25",
    "strategy.market_position": "long",
    "strategy.market_position_size": "0.25",
    "strategy.prev_market_position": "flat",
    "strategy.prev_market_position_size": "0",
}
"""All that TradingView fills in of a strategy's alert, with a long entry."""


def encoded(body: dict[str, Any] | bytes | str) -> bytes:
    """Return a body's bytes; of an object without the fields whose value is `...`."""
    if isinstance(body, bytes):
        return body
    if isinstance(body, str):
        return body.encode()
    return json.dumps({key: value for key, value in body.items() if value is not ...}).encode()


def document_of(body: dict[str, Any] | bytes | str, dialect: str) -> Document:
    """Return the document of a body, which must be recognised as a dialect's."""
    document = recognise(encoded(body))
    assert document.dialect == dialect
    return document


def read(body: dict[str, Any] | bytes | str, dialect: str) -> AlertContent:
    """Return the meaning of a body, which must be recognised as a dialect's."""
    content = document_of(body, dialect).read()
    assert content.dialect == dialect
    return content


def refusal(body: dict[str, Any] | bytes | str, dialect: str) -> AdmissionError:
    """Return how a body is refused, once it was recognised as a dialect's."""
    document = document_of(body, dialect)
    with pytest.raises(AdmissionError) as caught:
        document.read()
    assert caught.value.status == 422
    assert caught.value.detail
    return caught.value


def filled(dialect: str, **values: str) -> str:
    """Return a dialect's template as TradingView would send it; `values` by placeholder, `__` for a dot."""
    return rendered(BY_NAME[dialect].template, **values)


def rendered(message: str, **values: str) -> str:
    """Return any message as TradingView would send it, the secret in its place; `values` as for `filled`."""
    known = _PLACEHOLDERS | {name.replace("__", "."): value for name, value in values.items()}
    text = message.replace("<SECRET>", SECRET)
    return re.sub(r"\{\{([^}]*)\}\}", lambda found: known[found[1]], text)
