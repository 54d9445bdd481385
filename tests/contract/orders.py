"""Orders for broker tests."""

import itertools
import time
from decimal import Decimal
from typing import Any

from libs.common.domain.ids import AccountName, AlertId, Market, client_order_id
from libs.common.domain.order import OrderPlan, OrderRequest, Side

ACCOUNT = AccountName("desk")
MARKET = Market("BTC/USDT")
FINE = Decimal("123456789.123456789")
"""18 digits: more than a double holds."""

_numbers = itertools.count(1)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def order(
    side: Side = Side.BUY,
    quantity: Decimal = Decimal(1),
    price: Decimal | None = Decimal(100),
    *,
    market: Market = MARKET,
    expires_in_ms: int = 5_000,
    **plan: Any,
) -> OrderRequest:
    """Return an order of an alert of its own."""
    alert_id = AlertId(f"alert{next(_numbers):021d}")
    return OrderRequest(
        client_order_id=client_order_id(ACCOUNT, alert_id, 0),
        account=ACCOUNT,
        symbol=market,
        alert_id=alert_id,
        strategy=None,
        plan=OrderPlan(side=side, quantity=quantity, reference_price=price, **plan),
        expires_at_ms=now_ms() + expires_in_ms,
    )


def ours() -> bool:
    return True


def not_ours() -> bool:
    return False
