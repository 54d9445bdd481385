"""`bascule orders resolve`, and the orders that rest."""

import io
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from libs.common.domain.ids import ClientOrderId, client_order_id
from libs.common.domain.lifecycle import InstructionState, OrderState
from libs.common.domain.order import OrderReport
from libs.common.domain.reasons import Reason
from libs.common.store.keys import Keys
from tests.integration.cli.conftest import CommandLine
from tests.support.filled_store import FilledStore

FILLED = ("--as", "filled", "--reason", "seen at the venue", "--yes")
NOT_EXECUTED = ("--as", "not-executed", "--reason", "the venue has no such order", "--yes")


async def sent(store: FilledStore) -> ClientOrderId:
    """Have an order be sent, whose answer never came."""
    await store.admit("BTC", quantity="0.10")
    held, head = await store.take()
    await store.begin(held, head)
    await store.park(held)
    return client_order_id(head.account, head.alert_id, 0)


def lost(bascule: CommandLine) -> ClientOrderId:
    """Return an order whose outcome nobody can tell, and which can no longer execute."""
    order_id = bascule.fill(sent)
    with bascule.redis.client() as client:
        client.hset(Keys().order(order_id), mapping={"state": "UNKNOWN", "expires_at": "1"})
    return order_id


def shown(bascule: CommandLine) -> Any:
    [document] = bascule("orders", "--json").json
    return document


def test_an_order_said_to_be_filled_is_shown_so(bascule: CommandLine) -> None:
    order_id = lost(bascule)
    outcome = bascule("orders", "resolve", order_id, *FILLED, "--price", "101.5", "--json")
    assert outcome.code == 0
    document = outcome.json
    assert (document["state"], document["as"], document["outcome"]) == ("FILLED", "filled", "resolved")
    found = shown(bascule)
    assert (found["order_id"], found["filled_quantity"], found["average_price"]) == (
        "operator",
        "0.10",
        "101.5",
    )


def test_of_an_id_the_beginning_is_enough(bascule: CommandLine) -> None:
    order_id = lost(bascule)
    outcome = bascule("orders", "resolve", order_id[:6], *NOT_EXECUTED)
    assert outcome.code == 0
    assert f"order {order_id} is settled as not-executed" in outcome.out
    assert shown(bascule)["state"] == "NOT_EXECUTED"


def test_its_lane_goes_on_at_once(bascule: CommandLine) -> None:
    order_id = lost(bascule)
    with bascule.redis.client() as client:
        due_at_ms = client.zscore(Keys().parked, "paper:BTC")
        bascule("orders", "resolve", order_id, *FILLED)
        assert client.zscore(Keys().parked, "paper:BTC") < due_at_ms


def test_the_history_tells_who_and_why(bascule: CommandLine) -> None:
    order_id = lost(bascule)
    bascule("orders", "resolve", order_id, *FILLED)
    history = bascule("alerts", shown(bascule)["alert_id"], "--json").json["history"]
    [entry] = [one for one in history if one["event"] == "RESOLVED"]
    assert entry["client_order_id"] == order_id
    assert entry["detail"].startswith("filled: seen at the venue (by ")


def test_while_the_request_may_still_execute_it_says_for_how_long(bascule: CommandLine) -> None:
    order_id = bascule.fill(sent)
    outcome = bascule("orders", "resolve", order_id, *NOT_EXECUTED)
    assert outcome.code == 1
    assert "the request may still execute for" in outcome.err
    assert shown(bascule)["state"] == "SENDING"


def test_what_is_known_needs_no_word(bascule: CommandLine) -> None:
    async def executed(store: FilledStore) -> None:
        await store.admit()
        await store.execute()

    bascule.fill(executed)
    outcome = bascule("orders", "resolve", shown(bascule)["client_order_id"], *NOT_EXECUTED)
    assert outcome.code == 1
    assert "is FILLED: there is nothing to decide" in outcome.err


def test_an_order_that_rested_and_that_nobody_can_follow_can_be_settled(bascule: CommandLine) -> None:
    order_id = lost(bascule)
    with bascule.redis.client() as client:
        key = Keys().order(order_id)
        client.hset(key, mapping={"state": "ACCEPTED", "answer": '{"order_id":"1","state":"ACCEPTED"}'})
        rested = bascule("orders", "resolve", order_id, *NOT_EXECUTED)
        assert "is ACCEPTED: there is nothing to decide" in rested.err
        client.hdel(key, "plan")
    assert bascule("orders", "resolve", order_id, *NOT_EXECUTED).code == 0
    assert shown(bascule)["state"] == "CANCELED"


@pytest.mark.parametrize(
    ("typed", "is_done"), [("not-executed\n", True), ("filled\n", False), ("y\n", False), ("", False)]
)
def test_the_verdict_must_be_typed(
    bascule: CommandLine, monkeypatch: pytest.MonkeyPatch, typed: str, is_done: bool
) -> None:
    order_id = lost(bascule)
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    outcome = bascule("orders", "resolve", order_id, *NOT_EXECUTED[:-1])
    assert "buy 0.10 market" in outcome.out
    assert "Type not-executed to settle it so:" in outcome.err
    assert (outcome.code == 0) is is_done
    assert (shown(bascule)["state"] == "NOT_EXECUTED") is is_done


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--as", "filled", "--yes"), 2),
        (("--reason", "x", "--yes"), 2),
        (("--as", "lost", "--reason", "x", "--yes"), 2),
        (("--as", "filled", "--reason", " ", "--yes"), 2),
        ((*FILLED, "--quantity", "0"), 2),
        ((*FILLED, "--quantity", "much"), 2),
        ((*FILLED, "--quantity", "nan"), 2),
        ((*FILLED, "--price", "-1"), 2),
        ((*NOT_EXECUTED, "--quantity", "0.05"), 2),
        ((*NOT_EXECUTED, "--price", "1"), 2),
        ((*FILLED, "--quantity", "0.11"), 1),
    ],
)
def test_a_word_that_makes_no_sense_is_refused(
    bascule: CommandLine, arguments: tuple[str, ...], code: int
) -> None:
    order_id = lost(bascule)
    assert bascule("orders", "resolve", order_id, *arguments).code == code
    assert shown(bascule)["state"] == "UNKNOWN"


@pytest.mark.parametrize("name", ["a" * 26, "zzzzz", "abc", "a"])
def test_an_order_that_there_is_not_is_refused(bascule: CommandLine, name: str) -> None:
    lost(bascule)
    assert bascule("orders", "resolve", name, *FILLED).code == 1


def test_a_part_can_be_said_to_be_filled(bascule: CommandLine) -> None:
    order_id = lost(bascule)
    bascule("orders", "resolve", order_id, *FILLED, "--quantity", "0.05")
    assert shown(bascule)["filled_quantity"] == "0.05"


def test_orders_that_rest_are_listed_with_what_is_filled_of_them(bascule: CommandLine, config: Path) -> None:
    async def resting(store: FilledStore) -> None:
        await store.admit("DONE")
        await store.execute()
        await store.admit("RESTS")
        held, head = await store.take()
        intent = await store.begin(held, head)
        report = OrderReport(order_id="v1", state=OrderState.PARTIAL, filled_quantity=Decimal("0.04"))
        await store.settle(
            held, head, InstructionState.EXECUTED, Reason.ACCEPTED, intent=intent, report=report
        )

    bascule.fill(resting)
    [document] = bascule("orders", "--open", "--json").json
    assert (document["symbol"], document["state"], document["filled_quantity"]) == (
        "RESTS",
        "PARTIAL",
        "0.04",
    )
    assert "0.04" in bascule("orders", "--open").out
    assert bascule("orders", "--open", "--account", "desk", "--json").json == []
    assert len(bascule("orders", "--json").json) == 2
