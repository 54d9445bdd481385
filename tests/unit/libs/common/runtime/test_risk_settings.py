from decimal import Decimal

import pytest

from libs.common.domain.ids import Market
from libs.common.policy.risk_rules import NO_RULES, PositionSide, RiskBook
from libs.common.runtime.risk_settings import RiskLimits, RiskSettings
from libs.common.runtime.sections import Misfit, read_section

NUMBERS = (
    "max_order_quantity",
    "max_order_value",
    "max_position_quantity",
    "max_position_value",
    "max_exposure",
    "collar_bps",
    "max_daily_loss",
)
COUNTS = ("max_open_orders", "max_orders_per_minute")


def test_without_settings_there_is_no_limit() -> None:
    assert RiskSettings().book() == RiskBook(NO_RULES)


@pytest.mark.parametrize("name", [*NUMBERS, *COUNTS])
def test_every_limit_reaches_the_rules(name: str) -> None:
    settings = read_section(
        RiskSettings, {name: 7, "strategies": {"x": {name: 8}}, "symbols": {"B": {name: 9}}}
    )
    book = settings.book()
    found = [getattr(one, name) for one in (book.account, book.strategies["x"], book.symbols[Market("B")])]
    assert found == [7, 8, 9]


def test_lists_and_exemptions_reach_the_rules() -> None:
    written = {
        "sessions": ["nyse"],
        "allowed_symbols": ["BTC*"],
        "allowed_sides": ["long"],
        "exempt_exits": False,
        "max_order_value": 0.1,
    }
    rules = read_section(RiskSettings, written).book().account
    assert rules.sessions is not None
    assert (rules.sessions.text, rules.allowed_symbols) == ("nyse", ("BTC*",))
    assert (rules.allowed_sides, rules.exempts_exits) == (frozenset({PositionSide.LONG}), False)
    assert rules.max_order_value == Decimal("0.1")


@pytest.mark.parametrize(
    ("written", "remark"),
    [
        *(({name: 0}, f"risk.{name}: got 0, expected a number above 0") for name in NUMBERS),
        *(({name: 0}, f"risk.{name}: got 0, expected a whole number >= 1") for name in COUNTS),
        *(
            ({name: []}, f"risk.{name}: got a list, expected at least one")
            for name in ("sessions", "allowed_symbols", "allowed_sides")
        ),
        ({"sessions": ["lse"]}, "risk.sessions: got a list, expected hours such as"),
        ({"allowed_sides": ["buy"]}, 'risk.allowed_sides.0: got "buy", expected long or short'),
        ({"max_order": 1}, "risk.max_order: there is no such key; did you mean max_order_value?"),
        ({"strategies": {"x": {"collar_bps": -1}}}, "risk.strategies.x.collar_bps: got -1, expected"),
        ({"symbols": {"B": {"symbols": {}}}}, "risk.symbols.B.symbols: there is no such key"),
    ],
)
def test_what_does_not_fit_says_where_and_what_was_expected(written: dict[str, object], remark: str) -> None:
    with pytest.raises(Misfit) as caught:
        read_section(RiskSettings, written, ("risk",))
    assert remark in str(caught.value)


def test_every_rule_can_be_set() -> None:
    assert set(RiskLimits.__struct_fields__) == set(NO_RULES.__dataclass_fields__)
