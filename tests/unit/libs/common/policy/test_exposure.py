from decimal import Decimal

import pytest

from libs.common.policy.exposure import gross_value
from libs.common.policy.fills import Position

LONG = Position(quantity=Decimal(2), last_price=Decimal(110))
SHORT = Position(quantity=Decimal("-0.5"), last_price=Decimal(40))
FLAT = Position()
UNPRICED = Position(quantity=Decimal(1))
DIGITS = Position(quantity=Decimal("-1234567890123456789012345678901234567.891"), last_price=Decimal(1))


@pytest.mark.parametrize(
    ("positions", "expected"),
    [
        ((), 0),
        ((LONG,), 220),
        ((LONG, SHORT, FLAT), 240),
        ((LONG, UNPRICED), None),
        ((DIGITS,), Decimal("1234567890123456789012345678901234567.891")),
    ],
)
def test_longs_and_shorts_add_up_and_an_open_position_without_a_price_is_unknown(
    positions: tuple[Position, ...], expected: Decimal | int | None
) -> None:
    assert gross_value(positions) == expected
