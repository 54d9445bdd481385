from libs.common.domain.order import Side


def test_the_opposite_of_a_side_undoes_it() -> None:
    assert (Side.BUY.opposite, Side.SELL.opposite) == (Side.SELL, Side.BUY)
