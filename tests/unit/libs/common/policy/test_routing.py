from decimal import Decimal
from typing import Any

import pytest

from libs.common.domain.alert import (
    Action,
    AlertContent,
    ExitLevel,
    MarketPosition,
    QuantityUnit,
    TimeInForce,
)
from libs.common.domain.errors import AdmissionError
from libs.common.domain.ids import AccountName, AlertId, Market
from libs.common.domain.instruction import Instruction
from libs.common.domain.lifecycle import InstructionState
from libs.common.domain.order import OrderType
from libs.common.domain.reasons import Reason
from libs.common.policy.allowance import Only
from libs.common.policy.routing import Declined, Destination, LaneBy, Route, Router, instruction_of
from libs.common.policy.symbols import SymbolEntry, SymbolMap, SymbolMode

DESK, FUND = AccountName("desk"), AccountName("fund")
ALERT = AlertId("a" * 26)
NO_SYMBOLS = SymbolMap([])


def content(**changes: Any) -> AlertContent:
    whole = {"dialect": "factorqx", "action": Action.SELL, "symbol": "ETHUSDT", "quantity": Decimal("1.50")}
    return AlertContent(**{**whole, **changes})


def destination(router: Router, **changes: Any) -> Destination:
    [share] = router.shares(content(**changes))
    assert isinstance(share, Destination)
    return share


def test_an_account_gets_what_the_alert_asks_for() -> None:
    share = destination(Router([Route(DESK)], NO_SYMBOLS))
    assert (share.market, share.lane) == ("ETHUSDT", "desk:ETHUSDT")
    assert instruction_of(ALERT, content(), share) == Instruction(
        alert_id=ALERT, account=DESK, market=Market("ETHUSDT"), action=Action.SELL, quantity=Decimal("1.50")
    )


def test_everything_the_alert_says_reaches_the_instruction() -> None:
    said = {
        "action": Action.TARGET,
        "unit": QuantityUnit.QUOTE,
        "position": MarketPosition.SHORT,
        "previous_position": MarketPosition.LONG,
        "take_profit": ExitLevel(Decimal(60)),
        "strategy": "trend",
        "reduce_only": True,
    }
    share = destination(Router([Route(DESK)], NO_SYMBOLS), **said)
    instruction = instruction_of(ALERT, content(**said), share)
    assert {name: getattr(instruction, name) for name in said} == said


SAID: dict[str, Any] = {
    "action": Action.BUY,
    "symbol": "BTCUSDT",
    "exchange": "BYBIT",
    "quantity": Decimal(7),
    "unit": QuantityUnit.QUOTE,
    "order_type": OrderType.STOP_LIMIT,
    "limit_price": Decimal(2),
    "stop_price": Decimal(3),
    "take_profit": ExitLevel(Decimal(60)),
    "stop_loss": ExitLevel(Decimal(50)),
    "reduce_only": True,
    "time_in_force": TimeInForce.GTC,
    "price": Decimal(4),
    "strategy": "trend",
    "position": MarketPosition.LONG,
    "position_size": Decimal(5),
    "previous_position": MarketPosition.SHORT,
    "previous_position_size": Decimal(6),
}


def test_these_are_all_the_words_that_an_alert_shares_with_its_instructions() -> None:
    shared = set(AlertContent.__struct_fields__) & set(Instruction.__struct_fields__)
    assert set(SAID) == shared


@pytest.mark.parametrize("name", SAID)
def test_each_word_of_an_alert_reaches_the_instruction_alone_and_with_all_others(name: str) -> None:
    table = SymbolMap([SymbolEntry(one, Market("A/B")) for one in ("ETHUSDT", "BTCUSDT")])
    for said in ({name: SAID[name]}, SAID):
        share = destination(Router([Route(DESK)], table), **said)
        instruction = instruction_of(ALERT, content(**said), share)
        assert getattr(instruction, name) == SAID[name]


def test_the_lane_is_that_of_the_market_so_aliases_share_it() -> None:
    table = [SymbolEntry(name, Market("ETH/USDT")) for name in ("ETHUSDT", "ETHUSD")]
    router = Router([Route(DESK)], SymbolMap(table))
    lanes = {destination(router, symbol=name).lane for name in ("ETHUSDT", "BYBIT:ETHUSD", "ethusdt")}
    assert lanes == {"desk:ETH/USDT"}


def test_a_market_that_is_not_the_symbol_can_be_mapped_again_later() -> None:
    router = Router([Route(DESK)], SymbolMap([SymbolEntry("ETHUSDT", Market("ETH/USDT"))]))
    alert = content(exchange="BYBIT")
    [share] = router.shares(alert)
    instruction = instruction_of(ALERT, alert, share)
    assert (instruction.symbol, instruction.exchange) == ("ETHUSDT", "BYBIT")


@pytest.mark.parametrize(
    ("lane_by", "strategy", "lane"),
    [
        (LaneBy.SYMBOL, "trend", "desk:ETHUSDT"),
        (LaneBy.STRATEGY, "trend", "desk:ETHUSDT:trend"),
        (LaneBy.STRATEGY, None, "desk:ETHUSDT"),
    ],
)
def test_an_account_may_keep_order_by_strategy(lane_by: LaneBy, strategy: str | None, lane: str) -> None:
    router = Router([Route(DESK, lane_by=lane_by)], NO_SYMBOLS)
    assert destination(router, strategy=strategy).lane == lane


def test_every_account_has_an_outcome_of_its_own() -> None:
    routes = [
        Route(DESK),
        Route(FUND, mode=SymbolMode.STRICT),
        Route(AccountName("gone"), is_known=False),
        Route(AccountName("btc"), only=Only(symbols=("BTC*",))),
    ]
    shares = Router(routes, NO_SYMBOLS).shares(content())
    outcomes = [
        (share.account, share.state, share.reason) if isinstance(share, Declined) else share.account
        for share in shares
    ]
    assert outcomes == [
        "desk",
        ("fund", InstructionState.REJECTED, Reason.UNKNOWN_SYMBOL),
        ("gone", InstructionState.REJECTED, Reason.UNKNOWN_ACCOUNT),
        ("btc", InstructionState.SKIPPED, Reason.NOT_ALLOWED),
    ]


@pytest.mark.parametrize(
    ("routes", "code", "field"),
    [
        ([Route(DESK, mode=SymbolMode.STRICT)], "unknown_symbol", "symbol"),
        ([Route(DESK, only=Only(actions=(Action.BUY,)))], "not_allowed", "action"),
        ([Route(DESK, is_known=False)], "unknown_account", None),
        ([Route(DESK, mode=SymbolMode.STRICT), Route(FUND, is_known=False)], "unknown_symbol", "symbol"),
    ],
)
def test_what_no_account_takes_is_refused_and_says_why(
    routes: list[Route], code: str, field: str | None
) -> None:
    with pytest.raises(AdmissionError) as caught:
        Router(routes, NO_SYMBOLS).shares(content())
    assert (caught.value.status, caught.value.code, caught.value.field) == (422, code, field)


def test_what_is_on_none_of_the_webhooks_lists_is_refused_whatever_its_accounts_take() -> None:
    router = Router([Route(DESK)], NO_SYMBOLS, Only(exchanges=("BYBIT",)))
    with pytest.raises(AdmissionError) as caught:
        router.shares(content(exchange="OKX"))
    assert (caught.value.code, caught.value.field) == ("not_allowed", "exchange")
    assert '"BYBIT"' in caught.value.detail
