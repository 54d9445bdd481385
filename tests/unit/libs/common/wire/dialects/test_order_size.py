from decimal import Decimal

import pytest

from libs.common.domain.alert import MarketPosition, QuantityUnit
from libs.common.wire.dialects.order_size import Size, position_of


def test_what_names_no_size_leaves_it_to_the_account() -> None:
    assert Size() == Size(None, QuantityUnit.UNITS)


@pytest.mark.parametrize(
    ("size", "position"),
    [
        ("1e-30", MarketPosition.LONG),
        ("0", MarketPosition.FLAT),
        ("-0.0", MarketPosition.FLAT),
        ("-1.5", MarketPosition.SHORT),
    ],
)
def test_the_sign_of_a_size_is_its_position(size: str, position: MarketPosition) -> None:
    assert position_of(Decimal(size)) is position
