from decimal import Decimal

import pytest

from libs.common.domain.ids import Market
from libs.common.policy.risk_rules import NO_RISK, RiskBook, RiskRules

BTC, ETH = Market("BTCUSDT"), Market("ETHUSDT")

BOOK = RiskBook(
    RiskRules(max_order_quantity=Decimal(1), max_order_value=Decimal(1), collar_bps=Decimal(1)),
    {"scalper": RiskRules(max_order_value=Decimal(2), collar_bps=Decimal(2), exempt_exits=False)},
    {BTC: RiskRules(collar_bps=Decimal(3))},
)


@pytest.mark.parametrize(
    ("strategy", "market", "expected"),
    [
        (None, ETH, (1, 1, 1, True)),
        ("other", ETH, (1, 1, 1, True)),
        ("scalper", ETH, (1, 2, 2, False)),
        (None, BTC, (1, 1, 3, True)),
        ("scalper", BTC, (1, 2, 3, False)),
    ],
)
def test_each_rule_is_the_symbols_else_the_strategys_else_the_accounts(
    strategy: str | None, market: Market, expected: tuple[object, ...]
) -> None:
    rules = BOOK.rules_for(strategy, market)
    assert rules is not None
    found = (rules.max_order_quantity, rules.max_order_value, rules.collar_bps, rules.exempts_exits)
    assert found == expected


def test_without_any_limit_there_are_no_rules() -> None:
    assert NO_RISK.rules_for("scalper", BTC) is None
    assert RiskBook(RiskRules(exempt_exits=False)).rules_for(None, BTC) is None
    only_btc = RiskBook(symbols={BTC: RiskRules(max_open_orders=1)})
    assert only_btc.rules_for(None, ETH) is None
    assert only_btc.rules_for(None, BTC) is not None
