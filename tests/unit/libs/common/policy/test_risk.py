import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.domain.alert import Action, MarketPosition
from libs.common.domain.ids import AccountName, AlertId, Market
from libs.common.domain.instruction import Instruction
from libs.common.domain.order import OrderPlan, OrderType, Plan, Side
from libs.common.domain.venue import Balance, OpenOrder
from libs.common.policy.readings import Need, Readings
from libs.common.policy.risk import Breach, Budget, Judgement, judge, risk_needs
from libs.common.policy.risk_rules import PositionSide, RiskRules
from libs.common.policy.sessions import Sessions

D = Decimal
BTC, ETH = Market("BTCUSDT"), Market("ETHUSDT")
FRIDAY_NOON_MS = int(dt.datetime(2026, 11, 20, 17, tzinfo=dt.UTC).timestamp() * 1000)
LONG, SHORT = frozenset({PositionSide.LONG}), frozenset({PositionSide.SHORT})


def instruction(action: Action = Action.BUY, **more: Any) -> Instruction:
    return Instruction(
        alert_id=AlertId("0" * 26),
        account=AccountName("desk"),
        market=BTC,
        action=action,
        quantity=D(2),
        **{"price": D(100), **more},
    )


def leg(side: Side = Side.BUY, quantity: str = "2", **more: Any) -> OrderPlan:
    return OrderPlan(side=side, quantity=D(quantity), reference_price=D(100), **more)


def limit(price: str, side: Side = Side.BUY, **more: Any) -> OrderPlan:
    return leg(side, type=OrderType.LIMIT, limit_price=D(price), **more)


EXIT = leg(Side.SELL, is_exit=True)


def verdict(rules: dict[str, Any], *legs: OrderPlan, price: str | None = "100", **read: Any) -> Judgement:
    read.setdefault("position", D(0))
    readings = Readings(price=None if price is None else D(price), **read)
    return judge(RiskRules(**rules), instruction(), Plan(legs=legs or (leg(),)), readings, FRIDAY_NOON_MS)


def rests(side: Side, quantity: str, price: str | None, market: Market = BTC, filled: str = "0") -> OpenOrder:
    return OpenOrder(
        order_id=f"{side}-{quantity}",
        symbol=market,
        side=side,
        quantity=D(quantity),
        filled_quantity=D(filled),
        limit_price=None if price is None else D(price),
    )


CASES: list[tuple[str, dict[str, Any], dict[str, Any], dict[str, Any], str, str]] = [
    # rule, rules that are kept, rules that are breached, readings, limit, value
    ("max_order_quantity", {"max_order_quantity": D(2)}, {"max_order_quantity": D("1.9")}, {}, "1.9", "2"),
    ("max_order_value", {"max_order_value": D(200)}, {"max_order_value": D(199)}, {}, "199", "200"),
    (
        "max_position_quantity",
        {"max_position_quantity": D(6)},
        {"max_position_quantity": D(5)},
        {
            "position": D(3),
            "open_orders": (rests(Side.BUY, "2", "90", filled="1"), rests(Side.SELL, "9", "110")),
        },
        "5",
        "6",
    ),
    (
        "max_position_value",
        {"max_position_value": D(500)},
        {"max_position_value": D("499.5")},
        {"position": D(3), "open_orders": ()},
        "499.5",
        "500",
    ),
    (
        "collar_bps",
        {"collar_bps": D(100)},
        {"collar_bps": D("99.9")},
        {"price": "101"},
        "99.9 basis points",
        "101 against the alert's 100",
    ),
    (
        "max_daily_loss",
        {"max_daily_loss": D(51)},
        {"max_daily_loss": D(50)},
        {"balance": Balance(equity=D(1000), day_pnl=D(-50))},
        "50",
        "50",
    ),
    (
        "sessions",
        {"sessions": Sessions.parse(["nyse"])},
        {"sessions": Sessions.parse(["Mon 09:00-10:00 UTC"])},
        {},
        "Mon 09:00-10:00 UTC",
        "outside of them",
    ),
    (
        "allowed_symbols",
        {"allowed_symbols": ("ETHUSDT", "btc*")},
        {"allowed_symbols": ("ETHUSDT",)},
        {},
        "ETHUSDT",
        "BTCUSDT",
    ),
    ("allowed_sides", {"allowed_sides": LONG}, {"allowed_sides": SHORT}, {}, "short", "long 2"),
    (
        "max_exposure",
        {"max_exposure": D(1290)},
        {"max_exposure": D(1289)},
        {
            "exposure": D(1000),
            "balance": Balance(equity=D(1)),
            "account_orders": (rests(Side.BUY, "2", "45", ETH),),
        },
        "1289",
        "1290",
    ),
    ("max_orders_per_minute", {"max_orders_per_minute": 1}, {"max_orders_per_minute": 0}, {}, "0", "1"),
]


@pytest.mark.parametrize(
    ("rule", "kept", "breached", "read", "limit_text", "value"), CASES, ids=[case[0] for case in CASES]
)
def test_a_limit_holds_up_to_its_last_digit_and_a_breach_names_rule_limit_and_value(
    rule: str,
    kept: dict[str, Any],
    breached: dict[str, Any],
    read: dict[str, Any],
    limit_text: str,
    value: str,
) -> None:
    passed = verdict(kept, **read)
    assert passed.breach is None
    assert rule in passed.verdicts[-1]
    failed = verdict(breached, **read)
    assert failed.breach == Breach(rule, limit_text, value)
    assert failed.verdicts[-1] == f"{rule}: {value}, limit {limit_text}"
    assert failed.budgets == ()


@pytest.mark.parametrize(
    ("rules", "read", "legs"),
    [
        ({"max_order_value": D(1)}, {"price": None}, (leg(),)),
        ({"max_position_quantity": D(9)}, {"position": None, "open_orders": ()}, (leg(),)),
        ({"max_position_quantity": D(9)}, {}, (leg(),)),
        ({"max_position_value": D(9)}, {"position": D(0)}, (leg(),)),
        ({"collar_bps": D(9)}, {"price": None}, (leg(),)),
        ({"max_daily_loss": D(9)}, {}, (leg(),)),
        ({"max_daily_loss": D(9)}, {"balance": Balance(equity=D(1))}, (leg(),)),
        ({"allowed_sides": LONG}, {"position": None}, (leg(),)),
        ({"max_exposure": D(9999)}, {"account_orders": ()}, (leg(),)),
        ({"max_exposure": D(9999)}, {"exposure": D(1)}, (leg(),)),
        (
            {"max_exposure": D(9999)},
            {"exposure": D(1), "account_orders": (rests(Side.BUY, "1", None),)},
            (leg(),),
        ),
        ({"max_open_orders": 9}, {}, (limit("99"),)),
    ],
)
def test_a_rule_whose_facts_nobody_tells_is_breached(
    rules: dict[str, Any], read: dict[str, Any], legs: tuple[OrderPlan, ...]
) -> None:
    # The value of an order is counted at the alert's price where the venue has none; a collar takes both.
    asked = instruction(price=D(100) if "collar_bps" in rules else None)
    readings = Readings(**{"position": D(0), "price": D(100), **read})
    breach = judge(RiskRules(**rules), asked, Plan(legs=legs), readings, FRIDAY_NOON_MS).breach
    assert breach is not None
    assert breach.rule == next(iter(rules))
    assert breach.value.startswith("unknown, the venue does not tell the ")


def test_a_collar_takes_the_alerts_price() -> None:
    readings = Readings(position=D(0), price=D(100))
    found = judge(
        RiskRules(collar_bps=D(1)), instruction(price=None), Plan(legs=(leg(),)), readings, FRIDAY_NOON_MS
    )
    assert found.breach == Breach("collar_bps", "1", "unknown, the alert names no price")


@pytest.mark.parametrize(
    ("price", "is_kept"), [("99", True), ("101", True), ("98.99", False), ("101.01", False)]
)
def test_a_collar_holds_an_orders_own_price_either_way(price: str, is_kept: bool) -> None:
    found = verdict({"collar_bps": D(100)}, limit(price), price="500")
    assert (found.breach is None) is is_kept


def test_an_order_is_valued_at_its_own_price() -> None:
    assert verdict({"max_order_value": D(100)}, limit("50"), price="500").breach is None
    stop = leg(type=OrderType.STOP, stop_price=D(51))
    assert verdict({"max_order_value": D(100)}, stop, price="5").breach is not None


EVERYTHING: dict[str, Any] = {
    "max_order_quantity": D(1),
    "max_order_value": D(1),
    "max_position_quantity": D(1),
    "max_position_value": D(1),
    "max_open_orders": 1,
    "max_exposure": D(1),
    "max_orders_per_minute": 1,
    "collar_bps": D(1),
    "max_daily_loss": D(1),
    "sessions": Sessions.parse(["Mon 09:00-10:00 UTC"]),
    "allowed_symbols": ("ETHUSDT",),
    "allowed_sides": SHORT,
}


@pytest.mark.parametrize("rule", list(EVERYTHING))
def test_exits_go_past_every_rule_unless_told_otherwise(rule: str) -> None:
    rules = {rule: EVERYTHING[rule]}
    assert verdict(rules, EXIT, price=None, position=D(2)) == Judgement(
        ("exempt: sell 2 only lessens what is open",)
    )
    assert verdict(rules, leg(Side.SELL), price=None, position=D(2)).breach is None


@pytest.mark.parametrize(
    ("side", "held", "is_exit"),
    [(Side.SELL, "2", True), (Side.SELL, "1.9", False), (Side.BUY, "-2", True), (Side.BUY, "2", False)],
)
def test_a_plain_order_is_an_exit_where_it_only_lessens_what_is_open(
    side: Side, held: str, is_exit: bool
) -> None:
    found = verdict({"max_order_quantity": D(1)}, leg(side), position=D(held))
    assert (found.breach is None) is is_exit


def test_exits_that_are_not_exempt_keep_the_rules_of_orders_but_not_those_of_positions() -> None:
    rules = {**EVERYTHING, "exempt_exits": False}
    for rule in ("max_position_quantity", "max_position_value", "max_exposure", "allowed_sides"):
        assert verdict({rule: EVERYTHING[rule], "exempt_exits": False}, EXIT, position=D(2)).breach is None
    assert verdict(rules, EXIT, position=D(2)).breach is not None
    [budget] = verdict({"max_orders_per_minute": 3, "exempt_exits": False}, EXIT).budgets
    assert budget.rule == "max_orders_per_minute"


FLIP = (leg(Side.SELL, "3", is_exit=True), leg(Side.SELL, "2"))


@pytest.mark.parametrize("held", ["3", "0"])
def test_a_pair_is_judged_alike_before_and_after_its_first_order(held: str) -> None:
    assert verdict({"max_position_quantity": D(2)}, *FLIP, position=D(held), open_orders=()).breach is None
    found = verdict({"max_position_quantity": D("1.9")}, *FLIP, position=D(held), open_orders=())
    assert found.breach == Breach("max_position_quantity", "1.9", "2")
    assert verdict({"allowed_sides": LONG}, *FLIP, position=D(held)).breach is not None


def test_a_pair_that_may_not_open_does_not_close_either() -> None:
    found = verdict({"max_order_quantity": D(1)}, *FLIP, position=D(3))
    assert found.breach == Breach("max_order_quantity", "1", "2")


def test_a_long_only_account_may_sell_what_it_has_and_no_more() -> None:
    rules = {"allowed_sides": LONG, "exempt_exits": False}
    assert verdict(rules, leg(Side.SELL), position=D(2)).breach is None
    assert verdict(rules, leg(Side.SELL), position=D("1.5")).breach == Breach(
        "allowed_sides", "long", "short 0.5"
    )


def test_limits_of_the_account_come_with_budgets() -> None:
    orders = (rests(Side.BUY, "1", "90"), rests(Side.SELL, "3", "110", ETH))
    rules = {"max_open_orders": 5, "max_exposure": D(2000), "max_orders_per_minute": 30}
    found = verdict(
        rules,
        limit("95"),
        position=D(-1),
        account_orders=orders,
        balance=Balance(equity=D(1), exposure=D(1000)),
    )
    assert found.breach is None
    assert found.budgets == (
        Budget(rule="max_exposure", measure="value", base=D(1420), limit=D(2000), add=D(0)),
        Budget(rule="max_open_orders", measure="orders", base=D(2), limit=D(5), add=D(1)),
        Budget(rule="max_orders_per_minute", measure="minute", base=D(0), limit=D(30), add=D(1)),
    )


def test_budgets_are_those_of_the_last_order_alone() -> None:
    found = verdict({"max_orders_per_minute": 3, "exempt_exits": False}, *FLIP, position=D(3))
    assert [budget.rule for budget in found.budgets] == ["max_orders_per_minute"]


def test_market_orders_are_not_held_against_the_open_ones() -> None:
    found = verdict({"max_open_orders": 1}, leg(), account_orders=(rests(Side.BUY, "1", "90"),))
    assert found == Judgement()


def test_resting_orders_of_the_account_are_told_by_market() -> None:
    orders = (rests(Side.BUY, "5", "90", ETH), rests(Side.BUY, "1", "90"))
    assert verdict({"max_position_quantity": D(3)}, account_orders=orders).breach is None


def test_a_cancel_is_not_judged() -> None:
    asked = instruction(Action.CANCEL)
    rules = RiskRules(**EVERYTHING)
    assert risk_needs(rules, asked) == frozenset()
    assert judge(rules, asked, Plan(cancels=("a",)), Readings(), FRIDAY_NOON_MS) == Judgement()


@pytest.mark.parametrize(
    ("rules", "more", "needs"),
    [
        ({"max_order_quantity": D(1)}, {}, {Need.POSITION}),
        ({"max_order_quantity": D(1), "exempt_exits": False}, {}, set()),
        ({"max_order_value": D(1), "exempt_exits": False}, {}, {Need.PRICE}),
        ({"max_order_value": D(1), "exempt_exits": False}, {"order_type": OrderType.LIMIT}, {Need.PRICE}),
        ({"max_open_orders": 1, "exempt_exits": False}, {}, set()),
        (
            {"max_open_orders": 1, "exempt_exits": False},
            {"order_type": OrderType.LIMIT},
            {Need.ACCOUNT_ORDERS},
        ),
        ({"max_daily_loss": D(1), "exempt_exits": False}, {}, {Need.BALANCE}),
        (
            EVERYTHING,
            {},
            {
                Need.POSITION,
                Need.OPEN_ORDERS,
                Need.PRICE,
                Need.BALANCE,
                Need.EXPOSURE,
                Need.ACCOUNT_ORDERS,
            },
        ),
    ],
)
def test_a_venue_is_asked_for_no_more_than_the_rules_take(
    rules: dict[str, Any], more: dict[str, Any], needs: set[Need]
) -> None:
    assert risk_needs(RiskRules(**rules), instruction(**more)) == needs


quantities = st.decimals(min_value=D("0.001"), max_value=D(100), places=3)


@given(
    held=st.decimals(min_value=D(-100), max_value=D(100), places=3),
    quantity=quantities,
    most=quantities,
    side=st.sampled_from(list(Side)),
)
def test_no_order_that_passes_takes_a_position_beyond_its_limit(
    held: Decimal, quantity: Decimal, most: Decimal, side: Side
) -> None:
    found = verdict({"max_position_quantity": most}, leg(side, str(quantity)), position=held, open_orders=())
    after = held + (quantity if side is Side.BUY else -quantity)
    lessens = abs(after) < abs(held) and after * held >= 0
    assert (found.breach is None) == (lessens or abs(after) <= most)


def test_the_direction_of_a_goal_makes_no_difference() -> None:
    asked = instruction(Action.TARGET, position=MarketPosition.LONG)
    assert risk_needs(RiskRules(max_order_quantity=D(1)), asked) == {Need.POSITION}


@pytest.mark.parametrize(("last_digit", "is_exempt"), [("8", True), ("9", True), ("91", False)])
def test_an_order_lessens_a_position_to_its_last_digit_and_no_further(
    last_digit: str, is_exempt: bool
) -> None:
    whole = "1234567890123456789012345678901234567.89"
    judged = verdict(
        {"max_order_quantity": D(1)}, leg(quantity=whole + last_digit), position=D("-" + whole + "9")
    )
    assert (judged.breach is None) is is_exempt


def test_a_sell_far_below_the_market_is_valued_at_the_market() -> None:
    order = OrderPlan(side=Side.SELL, quantity=D(10), type=OrderType.LIMIT, limit_price=D(1))
    found = verdict({"max_order_value": D(100)}, order, price="1000", position=D(0))
    assert found.breach == Breach("max_order_value", "100", "10000")


def test_an_order_that_may_rest_is_never_taken_for_one_that_lessens() -> None:
    order = OrderPlan(side=Side.SELL, quantity=D(1), type=OrderType.LIMIT, limit_price=D(10))
    rules = {"max_open_orders": 2}
    resting = tuple(rests(Side.SELL, "1", "10", BTC) for _ in range(2))
    found = verdict(rules, order, position=D(1), account_orders=resting, open_orders=resting)
    assert found.breach is not None
