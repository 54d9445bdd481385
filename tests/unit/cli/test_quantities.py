import pytest

from cli.quantities import quantity_words
from libs.common.domain.alert import QuantityUnit


@pytest.mark.parametrize("unit", [one for one in QuantityUnit if one is not QuantityUnit.UNITS])
def test_what_a_quantity_counts_is_said(unit: QuantityUnit) -> None:
    words = quantity_words("10", unit.value)
    assert words is not None
    assert words.startswith("10 ")
    assert words != "10 "


def test_base_units_go_without_saying() -> None:
    assert quantity_words("10", QuantityUnit.UNITS.value) == "10"


@pytest.mark.parametrize("unit", QuantityUnit)
def test_an_alert_without_a_quantity_has_no_words_for_it(unit: QuantityUnit) -> None:
    assert quantity_words(None, unit.value) is None
