"""What the documentation shows of the `http` interface is what the adapter sends and understands."""

import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest

from libs.common.domain.ids import AccountName, AlertId, Market, client_order_id
from libs.common.domain.order import OrderPlan, OrderRequest, OrderType, Side
from libs.common.domain.venue import Balance, Instrument
from libs.common.wire.signing import sign_request
from services.worker.brokers import http_facts, http_orders
from services.worker.brokers.http import CANCELLED_AT_ONCE
from services.worker.brokers.http_answers import NOT_OFFERED, Answer

pytestmark = pytest.mark.contract

PAGE = (Path(__file__).parents[2] / "docs/http-broker.md").read_text()
BLOCKS = [block.group().strip() for block in re.finditer(r"(?:^    .*\n)+", PAGE, re.MULTILINE)]


def block(start: str) -> str:
    """Return the indented block that starts so."""
    (found,) = [block for block in BLOCKS if block.startswith(start)]
    return found


def row(address: str) -> Answer:
    """Return the answer that the table gives for an address."""
    (line,) = [line for line in PAGE.splitlines() if line.startswith(f"| `GET {{url}}{address}` | `{{")]
    body = line.split("`")[3]
    return Answer(200, {}, body.encode())


def test_the_order_is_one_that_the_adapter_sends() -> None:
    shown: dict[str, Any] = orjson.loads(block('{"client_order_id"'))
    plan = msgspec.convert(
        {name: shown[name] for name in OrderPlan.__struct_fields__ if name in shown}, OrderPlan
    )
    request = OrderRequest(
        client_order_id=client_order_id(AccountName(shown["account"]), AlertId(shown["alert_id"]), 0),
        account=AccountName(shown["account"]),
        symbol=Market(shown["symbol"]),
        alert_id=AlertId(shown["alert_id"]),
        strategy=shown["strategy"],
        plan=plan,
        expires_at_ms=shown["expires_at_ms"],
    )
    assert orjson.loads(http_orders.encode(request)) == shown


def test_every_field_of_an_order_is_in_the_table() -> None:
    table = PAGE.partition("| field | |")[2].partition("\n\n")[0]
    for field in orjson.loads(block('{"client_order_id"')):
        assert f"`{field}`" in table


def test_the_list_of_orders_is_understood() -> None:
    listed = http_orders.open_orders(Answer(200, {}, block("[{").encode()), Market("BTC/USDT"))
    assert listed is not None
    (order,) = listed
    assert (order.order_id, order.side, order.type) == ("v-17", Side.BUY, OrderType.LIMIT)
    assert (order.quantity, order.filled_quantity) == (Decimal("0.25"), Decimal("0.1"))


def test_the_facts_are_understood() -> None:
    assert http_facts.position(row("/positions/{symbol}")) == Decimal("-1.5")
    assert http_facts.account(row("/account")) == Balance(
        equity=Decimal("10250.75"), day_pnl=Decimal("-120.5"), currency="USDT", exposure=Decimal(4100)
    )
    assert http_facts.instrument(row("/instruments/{symbol}")) == Instrument(
        quantity_step=Decimal("0.001"),
        price_step=Decimal("0.5"),
        min_quantity=Decimal("0.001"),
        max_quantity=Decimal(100),
        min_value=Decimal(5),
    )
    assert http_facts.price(row("/prices/{symbol}")) == Decimal("61012.5")
    assert http_facts.markets(row("/instruments")) == ("BTC/USDT", "BTC/USDT:USDT")


def test_the_signature_is_the_one_that_the_adapter_sends() -> None:
    method, path, at_ms = (line.strip() for line in block("GET\n").splitlines())
    assert f"`{sign_request('a-shared-secret', method, path, int(at_ms))}`" in PAGE


def test_the_numbers_are_those_of_the_adapter() -> None:
    assert f"At most {CANCELLED_AT_ONCE} are named at once" in PAGE
    assert "404, 405 or 501" in PAGE
    assert sorted(NOT_OFFERED) == [404, 405, 501]
    assert all(f"`{word}`" in PAGE for word in ("accepted", "partial", "filled", "canceled", "expired"))
