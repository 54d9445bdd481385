"""What the tests of sizing ask, and what they read from the answers."""

from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from libs.common.domain.alert import Action, MarketPosition
from libs.common.domain.ids import AccountName, AlertId, Market
from libs.common.domain.instruction import Instruction
from libs.common.domain.order import OrderPlan, OrderType, Side
from libs.common.domain.venue import OrderAbilities
from libs.common.policy.readings import Readings
from libs.common.policy.sizing import NothingToDo, Planned, Refused, plan_order

ALL = OrderAbilities()
PLAIN_VENUE = OrderAbilities(
    types=frozenset({OrderType.MARKET}),
    has_take_profit=False,
    has_stop_loss=False,
    has_reduce_only=False,
    times_in_force=frozenset(),
)
D = Decimal
BTC = Market("BTCUSDT")
LONG, SHORT, FLAT = D("1.5"), D("-1.5"), D(0)


def instruction(action: Action = Action.BUY, quantity: str | None = None, **more: Any) -> Instruction:
    return Instruction(
        alert_id=AlertId("0" * 26),
        account=AccountName("desk"),
        market=BTC,
        action=action,
        quantity=None if quantity is None else D(quantity),
        **more,
    )


def planned(asked: Instruction, abilities: OrderAbilities = ALL, **read: Any) -> Planned:
    answer = plan_order(asked, Readings(**read), None, abilities)
    assert isinstance(answer, Planned), answer
    return answer


def legs(asked: Instruction, **read: Any) -> list[tuple[Side, str, bool]]:
    return [(leg.side, str(leg.quantity), leg.is_exit) for leg in planned(asked, **read).plan.legs]


def refused(asked: Instruction, abilities: OrderAbilities = ALL, **read: Any) -> Refused:
    answer = plan_order(asked, Readings(**read), None, abilities)
    assert isinstance(answer, Refused), answer
    return answer


def idle(asked: Instruction, **read: Any) -> NothingToDo:
    answer = plan_order(asked, Readings(**read), None, ALL)
    assert isinstance(answer, NothingToDo), answer
    return answer


positions = st.decimals(min_value=D(-1000), max_value=D(1000), places=4)
sizes = st.decimals(min_value=D("0.0001"), max_value=D(1000), places=4)
ways = st.sampled_from([MarketPosition.LONG, MarketPosition.SHORT])


def moved(leg: OrderPlan) -> Decimal:
    return leg.quantity if leg.side is Side.BUY else -leg.quantity
