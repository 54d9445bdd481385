from collections.abc import Callable
from decimal import Decimal
from typing import Any

import orjson
import pytest

from libs.common.domain.errors import LookUpUnavailable
from libs.common.domain.venue import Balance, Instrument
from services.worker.brokers import http_facts
from services.worker.brokers.http_answers import Answer

FINE = "123456789.123456789"

Fact = Callable[[Answer], object]
OPTIONAL: list[Fact] = [http_facts.price, http_facts.account, http_facts.instrument, http_facts.markets]


def told(document: Any, status: int = 200) -> Answer:
    return Answer(status, {}, orjson.dumps(document))


@pytest.mark.parametrize("fact", OPTIONAL)
@pytest.mark.parametrize("status", [404, 405, 501])
def test_a_venue_may_leave_out_everything_but_positions(fact: Fact, status: int) -> None:
    assert fact(Answer(status, {}, b"<html>not here</html>")) is None


@pytest.mark.parametrize("fact", [*OPTIONAL, http_facts.position])
@pytest.mark.parametrize(
    "answer",
    [Answer(200, {}, b""), told([]), told("text"), told(None), Answer(429, {}, b""), Answer(500, {}, b"")]
    + [Answer(status, {}, b"{}") for status in (202, 204, 301, 401, 403, 503)],
)
def test_what_is_not_an_answer_is_never_taken_for_one(fact: Fact, answer: Answer) -> None:
    with pytest.raises(LookUpUnavailable):
        fact(answer)


@pytest.mark.parametrize("status", [404, 405, 501])
def test_no_position_told_is_not_no_position(status: int) -> None:
    with pytest.raises(LookUpUnavailable):
        http_facts.position(Answer(status, {}, b'{"quantity":"0"}'))


@pytest.mark.parametrize("quantity", ["-1.5", "0", FINE])
def test_a_position_is_signed_and_exact(quantity: str) -> None:
    assert str(http_facts.position(told({"quantity": quantity}))) == quantity


@pytest.mark.parametrize("price", ["0", "-1", None, "NaN", "1E999999999", ""])
def test_a_price_is_above_zero(price: str | None) -> None:
    with pytest.raises(LookUpUnavailable):
        http_facts.price(told({"price": price}))


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"equity": FINE}, Balance(equity=Decimal(FINE))),
        ({"equity": "-3"}, Balance(equity=Decimal(-3))),
        ({"equity": "0", "day_pnl": None, "currency": None}, Balance(equity=Decimal(0))),
        (
            {"equity": "1", "day_pnl": "-0.5", "currency": "USD", "more": [1]},
            Balance(equity=Decimal(1), day_pnl=Decimal("-0.5"), currency="USD"),
        ),
        ({"equity": "1", "exposure": "0"}, Balance(equity=Decimal(1), exposure=Decimal(0))),
        ({"equity": "1", "exposure": FINE}, Balance(equity=Decimal(1), exposure=Decimal(FINE))),
        ({"equity": "1", "exposure": None}, Balance(equity=Decimal(1))),
    ],
)
def test_the_accounts_money_is_its_equity_and_what_else_is_told(document: Any, expected: Balance) -> None:
    assert http_facts.account(told(document)) == expected


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"equity": None},
        {"equity": "Infinity"},
        {"equity": "1", "day_pnl": "NaN"},
        {"equity": "1", "exposure": "-1"},
        {"equity": "1", "exposure": "much"},
    ],
)
def test_money_without_usable_numbers_is_none_told(document: Any) -> None:
    with pytest.raises(LookUpUnavailable):
        http_facts.account(told(document))


def test_steps_and_limits_are_exact() -> None:
    body = b'{"quantity_step":0.00000001,"price_step":"0.10","min_quantity":1e-8,"max_quantity":"1000","min_value":5}'
    assert http_facts.instrument(Answer(200, {}, body)) == Instrument(
        quantity_step=Decimal("0.00000001"),
        price_step=Decimal("0.1"),
        min_quantity=Decimal("0.00000001"),
        max_quantity=Decimal(1000),
        min_value=Decimal(5),
    )


@pytest.mark.parametrize("document", [{}, {"quantity_step": None}, {"quantity_step": "0", "max_quantity": 0}])
def test_a_limit_that_is_missing_null_or_0_is_none(document: Any) -> None:
    assert http_facts.instrument(told(document)) == Instrument()


@pytest.mark.parametrize(
    "field", ["quantity_step", "price_step", "min_quantity", "max_quantity", "min_value"]
)
@pytest.mark.parametrize("value", ["-1", "NaN", "1E999999999", True, "much"])
def test_a_limit_that_cannot_be_one_is_not_guessed_at(field: str, value: Any) -> None:
    with pytest.raises(LookUpUnavailable, match=field):
        http_facts.instrument(told({field: value}))
