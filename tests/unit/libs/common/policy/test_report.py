from typing import Any

import pytest

from libs.common.domain.ids import AccountName, WebhookName
from libs.common.domain.lifecycle import InstructionState, OrderState
from libs.common.policy.report import (
    MOST_GROUPS,
    OTHERS,
    AlertFate,
    Asked,
    OrderFate,
    ShareFate,
    Tally,
)

EXECUTED, REJECTED = InstructionState.EXECUTED, InstructionState.REJECTED


def order(state: OrderState = OrderState.FILLED, **fields: Any) -> OrderFate:
    known: dict[str, Any] = {
        "has_filled": state is OrderState.FILLED,
        "sent_at_ms": 1_010,
        "answered_at_ms": 1_030,
        "filled_at_ms": 1_030 if state is OrderState.FILLED else None,
        "slippage_bps": 2.5 if state is OrderState.FILLED else None,
    }
    return OrderFate(state=state, **(known | fields))


def share(account: str = "paper", **fields: Any) -> ShareFate:
    known: dict[str, Any] = {
        "market": "BTC/USDT",
        "state": EXECUTED,
        "reason": "filled",
        "first_sent_at_ms": 1_010,
        "orders": (order(),),
    }
    return ShareFate(account=AccountName(account), **(known | fields))


def alert(*shares: ShareFate, **fields: Any) -> AlertFate:
    known: dict[str, Any] = {
        "webhook": WebhookName("default"),
        "strategy": "trend",
        "symbol": "BTCUSDT",
        "received_at_ms": 1_000,
        "admitted_at_ms": 1_002,
        "is_whole": True,
        "shares": shares or (share(),),
    }
    return AlertFate(**(known | fields))


def tally(*alerts: AlertFate, **asked: str) -> Tally:
    found = Tally(Asked(**asked))
    for one in alerts:
        found.count_alert(one)
    return found


def test_an_alert_is_counted_once_and_its_shares_each() -> None:
    rejected = share("desk", state=REJECTED, reason="risk", first_sent_at_ms=None, orders=())

    found = tally(alert(share(), rejected), alert(strategy=None, symbol="ETHUSDT"))

    assert found.alerts == 2
    assert found.outcomes == {(EXECUTED, "filled"): 2, (REJECTED, "risk"): 1}
    assert found.states == {EXECUTED: 2, REJECTED: 1}
    assert (found.orders, found.fills) == ({OrderState.FILLED: 2}, 2)
    assert [(name, group.alerts) for name, group in found.strategies.busiest()] == [("trend", 1), (None, 1)]
    assert [(name, group.alerts) for name, group in found.accounts.busiest()] == [("paper", 2), ("desk", 1)]
    assert found.strategies["trend"].states == {EXECUTED: 1, REJECTED: 1}
    assert found.symbols["ETHUSDT"].states == {EXECUTED: 1}


def test_times_are_told_from_receipt_to_admission_and_sending_and_from_sending_to_answer_and_fill() -> None:
    resting = order(OrderState.ACCEPTED, answered_at_ms=1_050)

    found = tally(alert(share(orders=(order(), resting))))

    assert (found.admitted_ms.largest, found.sent_ms.largest) == (2, 10)
    assert (found.answered_ms.smallest, found.answered_ms.largest, found.answered_ms.count) == (20, 40, 2)
    assert (found.filled_ms.largest, found.filled_ms.count) == (20, 1)
    assert (found.slippage.largest, found.slippage.count) == (250, 1)
    assert found.strategies["trend"].slippage.largest == 250


def test_what_is_not_known_is_not_counted_as_nothing() -> None:
    unknown = order(OrderState.UNKNOWN, sent_at_ms=None, answered_at_ms=None)

    found = tally(alert(share(first_sent_at_ms=None, orders=(unknown,))))

    assert found.orders == {OrderState.UNKNOWN: 1}
    assert (found.sent_ms.count, found.answered_ms.count, found.filled_ms.count, found.fills) == (0, 0, 0, 0)


@pytest.mark.parametrize(
    ("asked", "instructions"),
    [
        ({}, 2),
        ({"webhook": "Default"}, 2),
        ({"webhook": "other"}, 0),
        ({"strategy": "TREND"}, 2),
        ({"strategy": "other"}, 0),
        ({"account": "desk"}, 1),
        ({"account": "nobody"}, 0),
        ({"symbol": "btcusdt"}, 2),
        ({"symbol": "BTC/USDT"}, 1),
        ({"symbol": "XBT", "account": "desk"}, 1),
        ({"symbol": "XBT", "account": "paper"}, 0),
    ],
)
def test_only_what_is_asked_for_is_counted(asked: dict[str, str], instructions: int) -> None:
    found = tally(alert(share(), share("desk", market="XBT")), **asked)

    assert found.outcomes.total() == instructions
    assert found.alerts == min(instructions, 1)


@pytest.mark.parametrize("name", ["strategy", "account", "symbol"])
def test_posts_that_were_not_admitted_name_a_webhook_alone(name: str) -> None:
    assert Asked(webhook="default").takes_posts
    assert not Asked(**{name: "x"}).takes_posts


def test_posts_are_counted_by_webhook_and_answer() -> None:
    found = tally(webhook="default")
    for _ in range(2):
        found.count_refused("default", 422, "invalid_action")
    found.count_refused("other", 422, "invalid_action")
    found.count_duplicate("default")
    found.count_duplicate("other")

    assert found.refused == {("default", 422, "invalid_action"): 2}
    assert found.duplicates == {"default": 1}


def test_of_an_alert_on_several_shards_the_owner_counts_it_and_each_its_shares() -> None:
    whole = tally(alert(share()))
    whole.merge(tally(alert(share("desk"), is_whole=False)))

    assert (whole.alerts, whole.outcomes.total()) == (1, 2)
    assert whole.symbols["BTCUSDT"].alerts == 1
    assert whole.admitted_ms.count == 1


def test_of_a_single_account_an_alert_is_counted_wherever_its_share_lies() -> None:
    assert tally(alert(share("desk"), is_whole=False), account="desk").alerts == 1


def test_names_beyond_what_is_told_apart_share_a_group_that_comes_last() -> None:
    found = tally(*(alert(strategy=f"s{number}") for number in range(MOST_GROUPS + 50)))
    found.merge(tally(*(alert(strategy=f"t{number}") for number in range(10))))

    groups = list(found.strategies.busiest())

    assert len(groups) == MOST_GROUPS + 1
    assert (groups[-1][0], groups[-1][1].alerts) == (OTHERS, 60)
    assert sum(group.alerts for _, group in groups) == found.alerts


def test_what_is_left_of_an_alert_without_a_record_is_held_against_what_is_asked_for() -> None:
    found = tally(account="desk")
    found.count_gone("default", "desk")
    found.count_gone("default", "paper")

    assert found.gone == 1
