"""What people are told of alarms and dead letters."""

from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from libs.common.domain.alert import Action
from libs.common.domain.ids import AccountName, AlertId, Market
from libs.common.domain.instruction import Instruction
from libs.common.policy.alarms import Message, alarm_message, dead_letter_message

BUY = Instruction(
    alert_id=AlertId("a1"),
    account=AccountName("desk"),
    market=Market("BTC"),
    action=Action.BUY,
    strategy="trend",
)


def letter(instruction: Instruction | None, **fields: Any) -> Message:
    facts: dict[str, Any] = {
        "alert_id": "a1",
        "account": "desk",
        "lane": "desk:BTC",
        "market": "BTC",
        "state": "EXPIRED",
        "reason": "too_old",
        "detail": "waited",
        "attempts": 2,
        "at_ms": 7,
    }
    return dead_letter_message("s0-dead-1", instruction, **facts | fields)


@pytest.mark.parametrize(
    ("subject", "text"),
    [
        ("example.com", "Bascule: certificate of example.com raised: it has expired"),
        ("", "Bascule: certificate raised: it has expired"),
    ],
)
def test_an_alarm_says_what_it_is_about_and_what_became_of_it(subject: str, text: str) -> None:
    message = alarm_message(
        "s0-alarm-1", kind="certificate", subject=subject, change="raised", detail="it has expired", at_ms=7
    )
    assert (message.id, message.type, message.text, message.at_ms) == ("s0-alarm-1", "alarm", text, 7)
    assert (message.kind, message.state, message.subject) == ("certificate", "raised", subject)


def test_an_alarm_that_stands_says_since_when() -> None:
    message = alarm_message(
        "s0-raised-1",
        kind="silence",
        subject="trend",
        change="raised",
        detail="not heard for 6 h",
        at_ms=1_795_268_732_000,
        is_standing=True,
    )
    assert message.text == "Bascule: silence of trend raised on 2026-11-21 at 13:45 UTC: not heard for 6 h"
    assert message.state == "raised"


@pytest.mark.parametrize(
    ("quantity", "asked"),
    [(Decimal("1.50"), "buy 1.50 BTC"), (Decimal("1E+3"), "buy 1000 BTC"), (None, "buy BTC")],
)
def test_a_dead_letter_says_what_was_asked_for_and_why_it_was_not_done(
    quantity: Decimal | None, asked: str
) -> None:
    message = letter(replace(BUY, quantity=quantity))
    assert message.text == f"Bascule: desk did not trade (EXPIRED, too_old): {asked}; waited"
    assert (message.type, message.alert_id, message.strategy, message.attempts) == (
        "dead_letter",
        "a1",
        "trend",
        2,
    )


@pytest.mark.parametrize(("market", "asked"), [("BTC", "BTC"), ("", "desk:BTC")])
def test_of_a_dead_letter_that_nobody_can_read_the_market_is_told_or_else_the_lane(
    market: str, asked: str
) -> None:
    message = letter(None, market=market)
    assert message.text == f"Bascule: desk did not trade (EXPIRED, too_old): {asked}; waited"
    assert (message.strategy, message.action, message.quantity) == ("", "", "")
