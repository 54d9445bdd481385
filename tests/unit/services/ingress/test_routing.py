from decimal import Decimal

import pytest

from libs.common.domain.alert import Action, AlertContent
from libs.common.domain.ids import AccountName, AlertId, Market, lane_name
from libs.common.domain.instruction import Instruction
from libs.common.runtime.settings import LaneBy, PaperAccount
from libs.common.wire import codec
from services.ingress.routing import Router

DESK, SPARE = AccountName("desk"), AccountName("spare")
ALERT = AlertId("06gvm3g1f035itjb4jt902836c")


def content(symbol: str = "ETHUSDT", strategy: str | None = None) -> AlertContent:
    return AlertContent(
        dialect="factorqx", action=Action.SELL, symbol=symbol, quantity=Decimal("1.50"), strategy=strategy
    )


def router(lane_by: LaneBy = LaneBy.SYMBOL) -> Router:
    accounts = {DESK: PaperAccount(lane_by=lane_by), SPARE: PaperAccount()}
    return Router.of([DESK, SPARE], accounts)


def test_every_account_gets_its_own_instruction_in_the_order_of_the_configuration() -> None:
    shares = router().route(ALERT, content())
    assert [share.account for share in shares] == [DESK, SPARE]
    assert [share.lane for share in shares] == ["desk:ETHUSDT", "spare:ETHUSDT"]
    assert codec.INSTRUCTION.decode(shares[0].body) == Instruction(
        alert_id=ALERT, account=DESK, market=Market("ETHUSDT"), action=Action.SELL, quantity=Decimal("1.50")
    )


@pytest.mark.parametrize("symbol", ["BINANCE:BTCUSDT.P", 'A"B', "S" * 64])
def test_the_market_is_the_symbol_as_sent(symbol: str) -> None:
    share = router().route(ALERT, content(symbol))[0]
    assert share.market == symbol
    assert codec.INSTRUCTION.decode(share.body).market == symbol
    assert share.lane == lane_name(DESK, share.market)


def test_a_lane_is_per_strategy_only_where_the_account_says_so() -> None:
    shares = router(LaneBy.STRATEGY).route(ALERT, content(strategy="breakout"))
    assert [share.lane for share in shares] == ["desk:ETHUSDT:breakout", "spare:ETHUSDT"]


def test_without_a_strategy_the_lane_is_the_symbols() -> None:
    assert router(LaneBy.STRATEGY).route(ALERT, content())[0].lane == "desk:ETHUSDT"
