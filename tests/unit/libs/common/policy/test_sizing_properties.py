"""What holds for every position and size."""

from decimal import Decimal

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from libs.common.domain.alert import Action, MarketPosition, QuantityUnit
from libs.common.domain.instruction import beyond_plain
from libs.common.domain.order import OrderType
from libs.common.policy.readings import Readings, needs_of
from libs.common.policy.sizing import NothingToDo, Planned, plan_order
from tests.unit.libs.common.policy.sizing_answers import ALL, D, instruction, moved, positions, sizes, ways


@given(held=positions, size=sizes, way=ways)
def test_after_a_target_the_position_is_the_target(held: Decimal, size: Decimal, way: MarketPosition) -> None:
    asked = instruction(Action.TARGET, str(size), position=way)
    answer = plan_order(asked, Readings(position=held), None, ALL)
    wanted = size if way is MarketPosition.LONG else -size
    if isinstance(answer, NothingToDo):
        assert held == wanted
        return
    assert isinstance(answer, Planned)
    assert held + sum(moved(leg) for leg in answer.plan.legs) == wanted


@given(
    held=positions,
    size=st.none() | sizes,
    action=st.sampled_from(list(Action)),
    way=st.sampled_from([*MarketPosition]),
    reduce_only=st.booleans(),
)
def test_an_exit_never_turns_a_position_around(
    held: Decimal, size: Decimal | None, action: Action, way: MarketPosition, reduce_only: bool
) -> None:
    asked = msgspec.structs.replace(instruction(action, position=way, reduce_only=reduce_only), quantity=size)
    answer = plan_order(asked, Readings(position=held, open_orders=()), D(1), ALL)
    if not isinstance(answer, Planned):
        return
    for leg in answer.plan.legs:
        after = held + moved(leg)
        if leg.is_exit:
            assert abs(after) < abs(held)
            assert after * held >= 0
        else:
            assert not reduce_only
        held = after


@given(
    st.sampled_from([*Action]), st.sampled_from([*QuantityUnit]), st.sampled_from([*OrderType]), st.booleans()
)
def test_only_what_is_plain_needs_nothing_of_its_venue(
    action: Action, unit: QuantityUnit, kind: OrderType, reduce_only: bool
) -> None:
    asked = instruction(action, "1", unit=unit, order_type=kind, reduce_only=reduce_only)
    assert bool(needs_of(asked, ALL)) == bool(beyond_plain(asked))
